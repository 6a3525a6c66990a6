"""Folders of pictures that any program made, as groups to score: pairs by file name, secrets to covers."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from data.images import read_picture
from data.pairs import lossy_pictures, named_pairs
from engine.log import logger
from engine.testing.scoring import HiddenGroup
from errors import UserError

LISTED = 10  # of many mistakes, so many are told


@dataclass(frozen=True)
class Files:
    """The files of one group: secrets and revealed are in the same order, both may be empty."""

    cover: Path
    stego: Path
    secrets: tuple[Path, ...] = ()
    revealed: tuple[Path, ...] = ()


def match_folders(
    cover: str | Path,
    stego: str | Path,
    secret: str | Path | None = None,
    revealed: str | Path | None = None,
) -> list[Files]:
    """Pair the pictures of two or four folders (or .txt lists), and secrets with covers.

    Pairs are files of the same name, whatever their suffix: cover/0001.png and stego/0001.png,
    secret/0001_02.jpg and revealed/0001_02.png. Secrets belong to covers
    by name, where every secret is called like a cover (0001) or like a cover and a number (0001_02), and
        each cover has the same number of them;
    else in order, where their number is a multiple N of the covers': the first N to the first cover.

    Raises UserError, listing what has no partner, pairs of different sizes, or a name that is
    there twice. Pictures are not decoded, stegos in lossy formats are warned of.
    """
    if (secret is None) != (revealed is None):
        raise UserError("--secret and --revealed go together: the pictures before and after")
    pairs = named_pairs(cover, stego)
    _warn_of_lossy([files[1] for files in pairs.values()])
    if secret is None or revealed is None:
        groups = [Files(*files) for files in pairs.values()]
        logger.info(f"{len(groups)} pairs of cover and stego")
        return groups
    hidden = named_pairs(secret, revealed)
    names, how = _assign(list(pairs), list(hidden))
    groups = [
        Files(*files, *(tuple(hidden[name][side] for name in chosen) for side in (0, 1)))
        for files, chosen in zip(pairs.values(), names, strict=True)
    ]
    logger.info(f"{len(groups)} groups of one cover and {len(names[0])} secrets, matched {how}")
    return groups


def read_folders(groups: Sequence[Files]) -> Iterator[HiddenGroup]:
    """The pictures of these groups, read one group at a time."""
    for index, files in enumerate(tqdm(groups, desc="score", unit="group")):
        yield HiddenGroup(
            index,
            read_picture(files.cover),
            read_picture(files.stego),
            [read_picture(path) for path in files.secrets],
            [read_picture(path) for path in files.revealed],
        )


def _assign(covers: list[str], secrets: list[str]) -> tuple[list[list[str]], str]:
    """(the secrets of each cover, in words how they were found)."""
    known = set(covers)
    owners = [name if name in known else re.sub(r"_\d+$", "", name) for name in secrets]
    strangers = [name for name, owner in zip(secrets, owners, strict=True) if owner not in known]
    by_cover: dict[str, list[str]] = {cover: [] for cover in covers}
    if not strangers:
        for name, owner in zip(secrets, owners, strict=True):
            by_cover[owner].append(name)
        if len({len(names) for names in by_cover.values()}) == 1:
            return list(by_cover.values()), "by name"
    if len(secrets) % len(covers) == 0:
        count = len(secrets) // len(covers)
        return [secrets[k * count : (k + 1) * count] for k in range(len(covers))], "in order of their names"
    uneven = [f"cover {name} has {len(names)} secrets" for name, names in by_cover.items()]
    listed = [f"secret of no cover: {name}" for name in strangers] or uneven
    raise UserError(
        f"{len(secrets)} secrets for {len(covers)} covers: not a multiple, nor the same number each by name "
        f"(cover 0001, secrets 0001_01, 0001_02, ...):\n{_capped(listed)}"
    )


def _warn_of_lossy(stegos: list[Path]) -> None:
    if lossy := lossy_pictures(stegos):
        logger.warning(
            f"warning: {len(lossy)} of {len(stegos)} stegos are JPEG ({lossy[0]}), which loses what a "
            "network hides; scored are the files as they are"
        )


def _capped(lines: list[str]) -> str:
    more = [f"and {len(lines) - LISTED} more"] if len(lines) > LISTED else []
    return "\n".join(f"  {line}" for line in lines[:LISTED] + more)
