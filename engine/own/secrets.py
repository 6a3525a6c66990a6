"""Which files a person wants to hide, and how: pictures that are coded to fit, or files byte for byte."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from container.payload import File
from data.images import PICTURE_SUFFIXES
from errors import UserError


class Secrets(NamedTuple):
    """Pictures, which are coded to fit; files, which stay byte for byte; files of folders that stay out."""

    pictures: list[Path]
    files: list[Path]
    left_out: list[Path]

    @property
    def all(self) -> list[Path]:
        """What is hidden, in the order in which it comes back."""
        return [*self.pictures, *self.files]


def chosen(given: Sequence[str | Path], exact: bool = False, takes_files: bool = True) -> Secrets:
    """What `--secrets` means: files and folders, taken in order, folders sorted by relative path.

    A file counts as a picture by its suffix. exact: pictures stay byte for byte too, and folders give all
    their files; otherwise folders give their pictures, and the others stay out. takes_files: whether the
    method hides files. Raises UserError where a file is missing, a folder holds nothing to hide, or a file
    is not a picture and the method hides only those.
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
            f"{found.files[0]}: not a picture ({', '.join(PICTURE_SUFFIXES)}), and this method hides nothing "
            "else; codec_lsb and codec_dct hide any file"
        )
    return found


def read_files(paths: Sequence[Path], room: int) -> list[File]:
    """The files' names and bytes. Raises UserError before reading if they are larger than `room` bytes."""
    size = sum(path.stat().st_size for path in paths)
    if size > room:
        raise UserError(
            f"the files have {size} bytes, and the cover holds fewer than {room}; take a larger cover"
        )
    return [File(path.name, path.read_bytes()) for path in paths]


def _below(folder: Path) -> list[Path]:
    """All files in a folder and below, sorted; hidden ones are left out, links are followed once."""
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
