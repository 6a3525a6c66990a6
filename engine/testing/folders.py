"""Turn folders of pictures, made by any program, into groups to score: file names say what goes together."""

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

LISTED = 10  # the most mistakes that an error lists


@dataclass(frozen=True)
class Files:
    """The files of one group. `secrets` and `revealed` are in the same order; both may be empty."""

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
    """Match the pictures of two or four folders (or .txt lists), and assign the secrets to the covers.

    Two files form a pair if their names are the same without the suffix: cover/0001.png and stego/0001.png,
    secret/0001_02.jpg and revealed/0001_02.png. Secrets are assigned to covers
    by name, if every secret has a cover's name (0001), or that name and a number (0001_02), and all covers
        have the same number of secrets;
    otherwise in order, if the number of secrets is a multiple N of the number of covers: the first N belong
        to the first cover.

    Warns about stegos in a lossy format. Does not decode the pictures. Raises UserError with a list of the
    files without a partner, pairs of different sizes, or names that occur twice.
    """
    if (secret is None) != (revealed is None):
        raise UserError("--secret and --revealed go together: give both or neither")
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
    """Read the pictures of these groups, one group at a time."""
    for index, files in enumerate(tqdm(groups, desc="score", unit="group")):
        yield HiddenGroup(
            index,
            read_picture(files.cover),
            read_picture(files.stego),
            [read_picture(path) for path in files.secrets],
            [read_picture(path) for path in files.revealed],
        )


def _assign(covers: list[str], secrets: list[str]) -> tuple[list[list[str]], str]:
    """Return the secrets of each cover, and how they were assigned, in words."""
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
    listed = [f"secret without a cover: {name}" for name in strangers] or uneven
    raise UserError(
        f"{len(secrets)} secrets for {len(covers)} covers: expected as many secrets for each cover, or "
        "names that give each cover the same number (cover 0001, secrets 0001_01, 0001_02, ...):\n"
        f"{_capped(listed)}"
    )


def _warn_of_lossy(stegos: list[Path]) -> None:
    if lossy := lossy_pictures(stegos):
        logger.warning(
            f"warning: {len(lossy)} of {len(stegos)} stegos are JPEG ({lossy[0]}), which destroys what a "
            "network hides; the files are scored as they are"
        )


def _capped(lines: list[str]) -> str:
    more = [f"and {len(lines) - LISTED} more"] if len(lines) > LISTED else []
    return "\n".join(f"  {line}" for line in lines[:LISTED] + more)
