"""Spread secrets over several covers, in order, and reveal them from all of the stegos."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from container.header import ContainerError, WrongKey
from container.keys import PUBLIC, Key
from container.notes import Album, distinct, file_names
from data.images import list_pictures, picture_size
from engine.own.hiding import HiddenFile, most_secrets, write_hidden
from engine.own.revealing import Revealed, hider_of, revealed, write_secrets
from engine.own.secrets import Secrets
from errors import UserError
from models import HidingModel, KeyedMethod

MARK = 8  # bytes of the random mark that an album's stegos share


def hide_album(
    model: HidingModel,
    folder: Path,
    wanted: Secrets,
    out: Path,
    fit: str = "stretch",
    force: bool = False,
    key: Key = PUBLIC,
    marked: bool = True,
    longest_side: int | None = None,
) -> list[HiddenFile]:
    """Spread secrets over the pictures of a folder, as evenly as their sizes allow.

    The stegos go into the folder `out` under the covers' names, as PNG: all of them or none. Each stego holds
    the names of all secrets. A cover that no secret is left for is not used.

    The other arguments are those of `hide_files`. Returns what was done with each cover that was used. Raises
    UserError for a method without a key, a secret that is a cover, too many secrets, and a stego that exists
    already (without `force`) or would replace a cover or a secret.
    """
    if not isinstance(model, KeyedMethod):
        raise UserError("a folder of covers needs a method with a key, such as codec_lsb")
    covers = list_pictures(folder)
    for file in wanted.all:
        if any(file.samefile(cover) for cover in covers):
            raise UserError(f"{file}: this secret is also one of the covers; hide it in other pictures")
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: a file; expected a folder for the stegos of an album")
    rooms = [_room(model, cover) for cover in covers]
    counts = divided(_loads(model, wanted, sum(rooms)), rooms, most_secrets(model))
    used = [(cover, share) for cover, share in zip(covers, _shares(wanted, counts), strict=True) if share.all]
    targets = [out / name for name in file_names([cover.name for cover, _ in used], len(used))]
    for target in targets:
        if target.exists() and not force:
            raise UserError(f"{target}: exists already; --force replaces it")
        if any(target.exists() and target.samefile(file) for file in (*covers, *wanted.all)):
            raise UserError(f"{target}: this file is a cover or a secret; choose another folder for --out")
    mark, names = os.urandom(MARK), [[file.name for file in share.all] for _, share in used]
    out.mkdir(parents=True, exist_ok=True)
    done = []
    with TemporaryDirectory(dir=out, prefix=".") as unfinished:
        for place, ((cover, share), target) in enumerate(zip(used, targets, strict=True)):
            album = Album(mark, place, names)
            part = Path(unfinished, target.name)
            done.append(
                write_hidden(model, cover, share, part, fit, False, key, marked, longest_side, None, album)
            )
        for one, target in zip(done, targets, strict=True):
            os.replace(one.stego, target)
            one.stego = target
    return done


def divided(loads: Sequence[float], rooms: Sequence[float], most: int) -> list[int]:
    """Return how many of the loads, in order, go into each room, so that the fullest room is least full.

    loads, rooms: in the same unit. most: the largest number of loads in one room. Raises UserError if there
    are too many loads.
    """
    if len(loads) > most * len(rooms):
        raise UserError(f"{len(loads)} secrets, but {len(rooms)} covers take at most {most * len(rooms)}")
    low, high = 0.0, sum(loads) / min(rooms) + 1
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (
            (low, middle) if sum(_filled(loads, rooms, most, middle)) == len(loads) else (middle, high)
        )
    return _filled(loads, rooms, most, high)


def _filled(loads: Sequence[float], rooms: Sequence[float], most: int, share: float) -> list[int]:
    """Return how many loads each room takes if the rooms are filled in order, each up to this share."""
    counts, next_one = [], 0
    for room in rooms:
        count, left = 0, share * room
        while next_one < len(loads) and count < most and loads[next_one] <= left:
            left -= loads[next_one]
            count += 1
            next_one += 1
        counts.append(count)
    return counts


def _loads(model: KeyedMethod, wanted: Secrets, room: float) -> list[float]:
    """Return how much room each secret needs, in pixels of a cover; `room` is the total.

    Files take what they need. Pictures share the rest in proportion to their pixels. If the method brings
    pictures to the cover's size, each secret takes one place.
    """
    if not model.own_sizes:
        return [1.0] * len(wanted.all)
    files = [file.stat().st_size / model.bytes_a_pixel for file in wanted.files]
    pixels = [height * width for height, width in map(picture_size, wanted.pictures)]
    share = max(room - sum(files), 1.0) / max(sum(pixels), 1)
    return [*(share * count for count in pixels), *files]


def _room(model: KeyedMethod, cover: Path) -> float:
    height, width = picture_size(cover)
    return float(height * width) if model.own_sizes else 1.0


def _shares(wanted: Secrets, counts: Sequence[int]) -> Iterator[Secrets]:
    start, pictures = 0, len(wanted.pictures)
    for count in counts:
        files = wanted.all[start : start + count]
        own = max(0, min(count, pictures - start))
        yield Secrets(files[:own], files[own:], [])
        start += count


@dataclass
class RevealedAlbum:
    """What `reveal_album` did.

    written: the files of the secrets. damaged: whether a stego was changed after hiding. missing: a line for
    each missing stego. others: a line for each picture that is not part of the album, with the reason.
    """

    written: list[Path]
    damaged: bool
    missing: list[str]
    others: list[str]


def reveal_album(
    model: HidingModel,
    folder: Path,
    out: Path,
    force: bool = False,
    key: Key = PUBLIC,
    damaged_ok: bool = False,
) -> RevealedAlbum:
    """Reveal all stegos of an album, in order, into one folder.

    The other arguments are those of `reveal_files`. Raises UserError if nothing in the folder opens, if it
    holds parts of several albums, and if a file exists already (without `force`).
    """
    found: dict[int, tuple[Path, Revealed]] = {}
    others: list[str] = []
    errors: list[ContainerError] = []
    album: Album | None = None
    for path in list_pictures(folder):
        try:
            one = revealed(model, path, key, damaged_ok)
        except UserError as error:
            others.append(str(error))
            if isinstance(error, ContainerError):
                errors.append(error)
            continue
        if one.album is None:
            others.append(f"{path}: was hidden alone, not as part of an album")
            continue
        if album is not None and one.album.mark != album.mark:
            raise UserError(f"{path}: belongs to another album; put each album in its own folder")
        album = one.album
        if album.place in found:
            others.append(f"{path}: a copy of {found[album.place][0].name}")
        else:
            found[album.place] = path, one
    if album is None:
        wrong = next((error for error in errors if isinstance(error, WrongKey)), None)
        raise wrong or UserError(f"{folder}: holds no stego of an album ({others[0]})")
    written: list[Path] = []
    taken: set[str] = set()
    for place in sorted(found):
        path, one = found[place]
        names = distinct(list(one.secrets), taken)
        renamed = dict(zip(names, one.secrets.values(), strict=True))
        written += write_secrets(renamed, out, force, path)
    missing = [
        f"stego {place + 1} of {len(album.names)} is missing; lost: {', '.join(file_names([], 0, names))}"
        for place, names in enumerate(album.names)
        if place not in found
    ]
    damaged = any(one.damaged for _, one in found.values())
    return RevealedAlbum(written, damaged, missing, others)


def first_that_opens(folder: Path, key: Key) -> tuple[str, bytes]:
    """Return (method, fingerprint) of the first picture in a folder that the key opens; see `hider_of`."""
    wrong: ContainerError | None = None
    for path in list_pictures(folder):
        try:
            return hider_of(path, key)
        except ContainerError as error:
            wrong = error if wrong is None or isinstance(error, WrongKey) else wrong
        except UserError:  # not an intact picture
            continue
    raise wrong or UserError(f"{folder}: holds no stego")
