"""Read, write, list and check picture files. Pixels are RGB, uint8, (H,W,3), 0..255."""

import multiprocessing
import os
import signal
import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps
from PIL.PngImagePlugin import MAX_TEXT_CHUNK, PngImageFile
from tqdm import tqdm

from data.files import replaced_at_once
from data.kept_lists import keep, kept_sizes, read_kept
from data.samples import sample_pictures
from errors import UserError

if TYPE_CHECKING:
    import torch

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".pgm", ".ppm")
LOSSLESS_FORMATS = {".png": "PNG", ".bmp": "BMP", ".tif": "TIFF", ".tiff": "TIFF"}

IGNORE_CTRL_C = (signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the main one ends the others
ORIENTATION = 0x0112  # the Exif tag; values 5..8 swap height and width


def read_picture(path: str | Path) -> np.ndarray:
    """Read a picture file as RGB. The whole project reads pictures with this function.

    It applies the Exif orientation, expands a palette, replicates grey, converts CMYK, and composites
    transparency over white. It keeps the upper 8 of 16 bits and the first frame of an animation. It ignores
    colour profiles: the numbers in the file are the picture.

    path: a file of any format that Pillow reads.
    Returns (H,W,3) uint8 RGB, 0..255.
    Raises UserError, one line that starts with the path, if the file is missing, not a picture, cut short or
    damaged, or if its pixels have no agreed white (float, 32-bit integer).
    """
    with _opened(path) as picture:
        upright = ImageOps.exif_transpose(picture)
    return _to_rgb(upright, path)


def picture_size(path: str | Path) -> tuple[int, int]:
    """Return (height, width) [px] of what `read_picture` returns, without decoding the pixels.

    Raises UserError as `read_picture`, but does not notice damage after the header.
    """
    with _opened(path) as picture:
        width, height = picture.size
        # Pillow already swaps the size of a TIFF.
        if picture.format != "TIFF" and _orientation(picture) >= 5:
            height, width = width, height
    return height, width


def picture_sizes(paths: Sequence[Path]) -> list[tuple[int, int]]:
    """Return what `picture_size` returns for each picture, and keep it if there are many (kept_lists.py)."""
    return kept_sizes(paths, picture_size)


@contextmanager
def _opened(path: str | Path) -> Iterator[Image.Image]:
    """Yield Pillow's picture. Any failure until it is closed becomes a UserError with the path."""
    path = Path(path)
    if path.is_dir():
        raise UserError(f"{path}: a folder, not a picture")
    if path.exists() and not path.is_file():  # reading a pipe might wait forever
        raise UserError(f"{path}: not a file")
    try:
        # Pass an open file, not a name. Pillow (13.0) maps a named TIFF without compression into memory, and
        # then gets height and width wrong if the orientation swaps them.
        with open(path, "rb") as file, Image.open(file) as picture:
            yield picture
    except Image.UnidentifiedImageError as error:
        empty = path.stat().st_size == 0
        problem = "an empty file" if empty else "not a picture, or its beginning is damaged"
        raise UserError(f"{path}: {problem}") from error
    except Image.DecompressionBombError as error:
        raise UserError(f"{path}: too large for Pillow: {_one_line(error)}") from error
    except Exception as error:  # decoders raise nearly every type of exception on damaged bytes
        if isinstance(error, OSError) and error.strerror:
            raise UserError(f"{path}: {error.strerror}") from error
        raise UserError(f"{path}: damaged or cut short ({_one_line(error)})") from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _orientation(picture: Image.Image) -> int:
    """Return the Exif orientation, 1..8; 1 if there is none."""
    # To find Exif after the pixels, Pillow decodes a whole PNG. Avoid this if the PNG has no Exif.
    if isinstance(picture, PngImageFile) and not _png_has_exif(picture.fp):
        return 1
    return picture.getexif().get(ORIENTATION, 1)


def _png_has_exif(file) -> bool:
    """Say whether a chunk of this PNG may hold an orientation. Keeps the file's position."""
    position = file.tell()
    file.seek(8)
    found = False
    while not found and len(head := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", head)
        start = file.read(min(length, 21))
        found = kind == b"eXIf" or (
            kind in (b"tEXt", b"zTXt", b"iTXt")
            and start.startswith((b"Raw profile type exif", b"XML:com.adobe.xmp"))
        )
        file.seek(length - len(start) + 4, os.SEEK_CUR)
    file.seek(position)
    return found


def _to_rgb(picture: Image.Image, path: str | Path) -> np.ndarray:
    """Convert a picture of any Pillow mode to (H,W,3) uint8."""
    if picture.mode.startswith("I;16"):  # grey; Pillow itself keeps the upper 8 bits of 16-bit colour
        grey = (np.asarray(picture) >> 8).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if picture.mode in ("I", "F"):
        kind = "float" if picture.mode == "F" else "32-bit or signed integer"
        raise UserError(f"{path}: {kind} pixels have no agreed white; save it with 8 or 16 bits a channel")
    if picture.has_transparency_data:
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture.convert("RGBA"))
    try:
        return np.array(picture.convert("RGB"))
    except ValueError as error:
        raise UserError(f"{path}: colour mode {picture.mode} is not supported; save it as RGB") from error


def icc_profile(path: str | Path) -> bytes | None:
    """Return the file's ICC profile for RGB, unchanged; None if it has none, or one too large for a PNG.

    The profile says what colours the numbers mean. Without it, viewers show a wide-gamut picture too pale.
    Profiles for grey or CMYK do not fit the RGB that `read_picture` returns. Raises UserError as
    `picture_size`.
    """
    with _opened(path) as picture:
        profile = picture.info.get("icc_profile") or b""
    rgb = profile[16:20] == b"RGB "  # the header's data colour space (ICC.1:2022, 7.2.8)
    return profile if rgb and len(profile) <= MAX_TEXT_CHUNK else None


def write_picture(path: str | Path, array: np.ndarray, icc_profile: bytes | None = None) -> None:
    """Write a picture so that `read_picture` returns every value unchanged; no metadata but the profile.

    path: ends in .png, .bmp, .tif or .tiff, in a folder that exists. Replaces an old file in one step, so
        there is never half a picture under this name.
    array: (H,W,3) uint8 RGB.
    icc_profile: see the function `icc_profile`; PNG and TIFF carry it, BMP does not.
    Raises UserError for another format, shape or type, and if the folder is missing.
    """
    path = Path(path)
    file_format = LOSSLESS_FORMATS.get(path.suffix.lower())
    if file_format is None:
        raise UserError(
            f"{path}: only lossless files keep what is hidden, lossy ones (JPEG, WebP) destroy it; "
            f"choose a name that ends in {', '.join(LOSSLESS_FORMATS)}"
        )
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:
        raise UserError(f"{path}: expected an array (H,W,3) of uint8, got {array.shape} of {array.dtype}")
    with replaced_at_once(path) as part:
        Image.fromarray(array).save(part, format=file_format, icc_profile=icc_profile)


def list_pictures(source: str | Path | Iterable[str | Path]) -> list[Path]:
    """List the picture files that `source` names.

    source: one of these, or a list of them (which takes each picture only once):
        a folder: all pictures in it and below, sorted by relative path, without hidden files and folders;
        a .txt file: one path per line, relative to the list's folder, in its order; # starts a comment line;
        one picture file;
        `samples:train` or `samples:test`, see `data.samples`.
    Raises UserError with the path if something is missing or if a folder or list is empty.
    """
    if not isinstance(source, str | Path):
        found = [path for part in source for path in list_pictures(part)]
        return list({os.path.abspath(path): path for path in found}.values())
    if str(source).startswith("samples:"):
        return sample_pictures(str(source).removeprefix("samples:"))
    path = Path(source).expanduser()
    if path.is_dir():
        return _list_folder(path)
    if path.suffix.lower() == ".txt":
        return _list_file(path)
    if path.suffix.lower() in PICTURE_SUFFIXES:
        if not path.is_file():
            raise UserError(f"{path}: no such picture")
        return [path]
    if path.exists():
        raise UserError(f"{path}: not a folder, a .txt list or a picture ({', '.join(PICTURE_SUFFIXES)})")
    raise UserError(f"{path}: no such folder")


def _list_folder(folder: Path) -> list[Path]:
    names = read_kept(folder)
    if names is None:
        names = _walk(folder)
    return [folder / name for name in names]


def _walk(folder: Path) -> list[str]:
    """Return the relative paths of the pictures, sorted, and keep the list if the folder is large."""
    found: list[str] = []
    seen: set[str] = set()
    times: dict[str, int] = {}
    # Follow links, since data sets are often made of them; `seen` stops at a cycle.
    for here, folders, files in os.walk(folder, followlinks=True, onerror=_refuse_folder):
        if os.path.realpath(here) in seen:
            folders.clear()
            continue
        seen.add(os.path.realpath(here))
        times[os.path.abspath(here)] = os.stat(here).st_mtime_ns
        # Sort, so that of two links to the same folder every machine takes the same one.
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        below = os.path.relpath(here, folder)
        start = "" if below == "." else Path(below).as_posix() + "/"
        found += [start + name for name in files if _is_picture_name(name)]
    if not found:
        raise UserError(f"{folder}: no pictures in it (looked for {', '.join(PICTURE_SUFFIXES)})")
    found.sort()
    keep(folder, times, found)
    return found


def _refuse_folder(error: OSError) -> None:
    raise UserError(f"{error.filename}: {error.strerror}") from error


def _is_picture_name(name: str) -> bool:
    return not name.startswith(".") and name.lower().endswith(PICTURE_SUFFIXES)


def _list_file(path: Path) -> list[Path]:
    if not path.is_file():
        raise UserError(f"{path}: no such list")
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")  # a file's name may hold U+2028
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not a text file in UTF-8") from error
    found = []
    for number, line in enumerate(lines, start=1):
        entry = line.strip()
        if not entry or entry.startswith("#"):
            continue
        picture = beside(path, entry)
        if not picture.is_file():
            raise UserError(f"{path}, line {number}: no such picture: {picture}")
        found.append(picture)
    if not found:
        raise UserError(f"{path}: no pictures in it (expected one path per line)")
    return list(dict.fromkeys(found))


def beside(file: Path, entry: str) -> Path:
    """Return the path that `entry`, a line in `file`, means: it is relative to that file's folder."""
    return Path(os.path.normpath(file.parent / entry))


def picture_format(path: str | Path) -> tuple[str, str]:
    """Return Pillow's (format, mode), such as ("PNG", "RGB"), from the content, not the suffix."""
    with _opened(path) as picture:
        return str(picture.format), picture.mode


def check_pictures(
    paths: Iterable[str | Path], smallest: int | None = None, progress: bool = False, workers: int = 1
) -> list[tuple[Path, str]]:
    """Decode every picture and return each bad one with its problem; the list is empty if all are fine.

    smallest: if given, a short side below this is also a problem [px].
    progress: show a progress bar if stderr is a terminal.
    workers: the number of processes that decode; with 1, this process does.
    """
    every = [Path(path) for path in paths]
    check = partial(_problem, smallest=smallest)
    with tqdm(total=len(every), desc="checking", unit="picture", disable=None if progress else True) as bar:
        problems = []
        with ExitStack() as stack:
            found: Iterable[str | None] = map(check, every)
            if workers > 1:
                pool = stack.enter_context(multiprocessing.Pool(workers, signal.signal, IGNORE_CTRL_C))
                found = pool.imap(check, every, chunksize=16)
            for path, problem in zip(every, found, strict=True):
                bar.update()
                if problem is not None:
                    problems.append((path, problem))
    return problems


def _problem(path: Path, smallest: int | None) -> str | None:
    try:
        height, width = read_picture(path).shape[:2]
    except UserError as error:
        return str(error).removeprefix(f"{path}: ")
    if smallest is not None and min(height, width) < smallest:
        return f"{width}x{height} pixels, the short side is below {smallest}"
    return None


def to_tensor(array: np.ndarray) -> "torch.Tensor":
    """Copy an array (H,W,3) uint8 into a tensor (3,H,W) uint8 with the same values."""
    import torch  # imported here, so that commands that only look at files do not wait for it

    return torch.from_numpy(array.transpose(2, 0, 1).copy())


def to_array(tensor: "torch.Tensor") -> np.ndarray:
    """Convert a tensor (3,H,W) uint8 on any device to an array (H,W,3) uint8 with the same values."""
    return np.ascontiguousarray(tensor.detach().cpu().numpy().transpose(1, 2, 0))
