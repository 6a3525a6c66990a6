"""The files that the user wants to hide: pictures, which are coded to fit, and files, byte for byte."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from container.payload import File
from data.images import PICTURE_SUFFIXES
from errors import UserError


class Secrets(NamedTuple):
    """What to hide.

    pictures: coded to fit. files: hidden byte for byte. left_out: files of folders that are not hidden.
    """

    pictures: list[Path]
    files: list[Path]
    left_out: list[Path]

    @property
    def all(self) -> list[Path]:
        """Everything that is hidden, in the order in which it is revealed."""
        return [*self.pictures, *self.files]


def chosen(given: Sequence[str | Path], exact: bool = False, takes_files: bool = True) -> Secrets:
    """Resolve `--secrets`: files and folders in the given order, each folder sorted by relative path.

    The suffix decides whether a file is a picture.

    exact: hide pictures byte for byte too, and take all files of a folder. Otherwise only a folder's pictures
        are taken.
    takes_files: whether the method hides files that are not pictures.
    Raises UserError if a file is missing, if a folder holds nothing to hide, and for a file that is not a
    picture if the method only hides pictures.
    """
    if exact and not takes_files:
        raise UserError("--exact: this method hides pictures only; codec_lsb and codec_dct hide any file")
    found = Secrets([], [], [])
    for path in map(Path, given):
        if not path.exists():
            picture = path.suffix.lower() in PICTURE_SUFFIXES
            raise UserError(f"{path}: no such {'picture' if picture else 'file or folder'}")
        if not (path.is_dir() or path.is_file()):
            raise UserError(f"{path}: neither a file nor a folder")
        files = _below(path) if path.is_dir() else [path]
        pictures = [file for file in files if file.suffix.lower() in PICTURE_SUFFIXES]
        others = [file for file in files if file not in pictures]
        if exact:
            found.files.extend(files)
        else:
            found.pictures.extend(pictures)
            (found.left_out if path.is_dir() else found.files).extend(others)
        if path.is_dir() and not (pictures or exact and others):
            hint = "; --exact hides the other files" if others and takes_files else ""
            raise UserError(f"{path}: no pictures in it (looked for {', '.join(PICTURE_SUFFIXES)}){hint}")
    if found.files and not takes_files:
        raise UserError(
            f"{found.files[0]}: not a picture ({', '.join(PICTURE_SUFFIXES)}), but this method hides "
            "pictures only; codec_lsb and codec_dct hide any file"
        )
    return found


def read_files(paths: Sequence[Path], room: int) -> list[File]:
    """Read the files' names and bytes. Raises UserError before reading if they exceed `room` bytes."""
    size = sum(path.stat().st_size for path in paths)
    if size > room:
        raise UserError(
            f"the files have {size} bytes, but the cover holds fewer than {room}; use a larger cover"
        )
    return [File(path.name, path.read_bytes()) for path in paths]


def _below(folder: Path) -> list[Path]:
    """Return all files in a folder and below, sorted, without hidden ones; follows each link once."""
    found, seen = [], set()
    for here, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(here)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(here, name) for name in files if not name.startswith(".")]
    return sorted((path for path in found if path.is_file()), key=lambda p: p.relative_to(folder).as_posix())
