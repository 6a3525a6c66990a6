"""Picture files in and out, and lists of them. Pixels are RGB, uint8, (H,W,3), 0..255."""

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

IGNORE_CTRL_C = (signal.SIGINT, signal.SIG_IGN)  # it reaches all processes; the main one ends the others
ORIENTATION = 0x0112  # the Exif tag; values 5..8 swap height and width


def read_picture(path: str | Path) -> np.ndarray:
    """Read a picture file in the one way that this project has.

    The Exif orientation is applied. A palette is expanded, grey is replicated, CMYK is converted;
    transparency is composited over white. Of 16 bits the upper 8 are kept. Of an animation the
    first frame is taken. Colour profiles are ignored: the numbers in the file are the picture.

    path: a file of any format that Pillow reads.
    Returns (H,W,3) uint8 RGB, 0..255.
    Raises UserError, one line that starts with the path, where the file is missing, not a picture,
    cut short, damaged, or has pixels without an agreed white (float, 32-bit integer).
    """
    with _opened(path) as picture:
        upright = ImageOps.exif_transpose(picture)
    return _to_rgb(upright, path)


def picture_size(path: str | Path) -> tuple[int, int]:
    """(height, width) in pixels, as `read_picture` would return it, without decoding the pixels.

    Raises UserError as `read_picture` does, but knows nothing of damage behind the header.
    """
    with _opened(path) as picture:
        width, height = picture.size
        # Pillow has swapped a TIFF's size already.
        if picture.format != "TIFF" and _orientation(picture) >= 5:
            height, width = width, height
    return height, width


def picture_sizes(paths: Sequence[Path]) -> list[tuple[int, int]]:
    """(height, width) of each picture, as `picture_size` gives it; those of a large folder are kept."""
    return kept_sizes(paths, picture_size)


@contextmanager
def _opened(path: str | Path) -> Iterator[Image.Image]:
    """Yield Pillow's picture; whatever fails until it is closed is a UserError with the path."""
    path = Path(path)
    if path.is_dir():
        raise UserError(f"{path}: a folder, not a picture")
    if path.exists() and not path.is_file():  # of a pipe nothing might ever come
        raise UserError(f"{path}: not a file")
    try:
        # By an open file, not by name: a named TIFF without compression is mapped into memory, and
        # Pillow (13.0) then gets height and width wrong where the orientation swaps them.
        with open(path, "rb") as file, Image.open(file) as picture:
            yield picture
    except Image.UnidentifiedImageError as error:
        empty = path.stat().st_size == 0
        problem = "an empty file" if empty else "not a picture, or its beginning is damaged"
        raise UserError(f"{path}: {problem}") from error
    except Image.DecompressionBombError as error:
        raise UserError(f"{path}: too large for Pillow: {_one_line(error)}") from error
    except Exception as error:  # decoders meet damaged bytes with nearly every type of exception
        if isinstance(error, OSError) and error.strerror:
            raise UserError(f"{path}: {error.strerror}") from error
        raise UserError(f"{path}: damaged or cut short ({_one_line(error)})") from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _orientation(picture: Image.Image) -> int:
    """The Exif orientation, 1..8; 1 where there is none."""
    # Pillow decodes a whole PNG to look for Exif behind the pixels: do so only where there is some.
    if isinstance(picture, PngImageFile) and not _png_has_exif(picture.fp):
        return 1
    return picture.getexif().get(ORIENTATION, 1)


def _png_has_exif(file) -> bool:
    """Whether a chunk of this PNG may hold an orientation; the file's position is kept."""
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
    """Any mode of Pillow -> (H,W,3) uint8."""
    if picture.mode.startswith("I;16"):  # grey; Pillow itself cuts 16-bit colour to the upper 8
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
    """The file's ICC profile of RGB colours, as it stands there; None where it has none, or a huge one.

    It says what colours the numbers mean: without it, a wide-gamut picture is shown too pale. Profiles of
    grey or CMYK do not fit the RGB that `read_picture` returns. Raises UserError as `picture_size` does.
    """
    with _opened(path) as picture:
        profile = picture.info.get("icc_profile") or b""
    rgb = profile[16:20] == b"RGB "  # the header's data colour space (ICC.1:2022, 7.2.8)
    return profile if rgb and len(profile) <= MAX_TEXT_CHUNK else None


def write_picture(path: str | Path, array: np.ndarray, icc_profile: bytes | None = None) -> None:
    """Write a picture so that `read_picture` gives back every value; no metadata but the profile.

    path: ends in .png, .bmp, .tif or .tiff; its folder exists. An old file of that name is
        replaced in one step: there is never half a picture under this name.
    array: (H,W,3) uint8 RGB.
    icc_profile: see `icc_profile`; PNG and TIFF carry it, BMP does not.
    Raises UserError for another format, shape or type, or where the folder is missing.
    """
    path = Path(path)
    file_format = LOSSLESS_FORMATS.get(path.suffix.lower())
    if file_format is None:
        raise UserError(
            f"{path}: only lossless files keep what is hidden, lossy ones (JPEG, WebP) destroy it; "
            f"name it {', '.join(LOSSLESS_FORMATS)}"
        )
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3:
        raise UserError(f"{path}: expected an array (H,W,3) of uint8, got {array.shape} of {array.dtype}")
    with replaced_at_once(path) as part:
        Image.fromarray(array).save(part, format=file_format, icc_profile=icc_profile)


def list_pictures(source: str | Path | Iterable[str | Path]) -> list[Path]:
    """The picture files that `source` names.

    source: one of these, or a list of them (each picture is then taken once):
        a folder: all in it and below, sorted by relative path; hidden files and folders are not;
        a .txt file: one path a line, relative to the list's folder, in its order; # is a comment;
        one picture file;
        `samples:train` or `samples:test`, see `data.samples`.
    Raises UserError with the path where something is missing or a folder or list is empty.
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
    """Relative paths of the pictures, sorted; the list of a large folder is kept."""
    found: list[str] = []
    seen: set[str] = set()
    times: dict[str, int] = {}
    # Links are followed, since data sets are often put together from them; `seen` ends a circle.
    for here, folders, files in os.walk(folder, followlinks=True, onerror=_refuse_folder):
        if os.path.realpath(here) in seen:
            folders.clear()
            continue
        seen.add(os.path.realpath(here))
        times[os.path.abspath(here)] = os.stat(here).st_mtime_ns
        # In order, so that of two links to one folder the same one is taken everywhere.
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
        raise UserError(f"{path}: no pictures in it (one path a line)")
    return list(dict.fromkeys(found))


def beside(file: Path, entry: str) -> Path:
    """The path that `entry`, written in `file`, means: relative to that file's folder."""
    return Path(os.path.normpath(file.parent / entry))


def picture_format(path: str | Path) -> tuple[str, str]:
    """(format, mode) as Pillow calls them, such as ("PNG", "RGB"), from the content, not the suffix."""
    with _opened(path) as picture:
        return str(picture.format), picture.mode


def check_pictures(
    paths: Iterable[str | Path], smallest: int | None = None, progress: bool = False, workers: int = 1
) -> list[tuple[Path, str]]:
    """Decode every picture and return each bad one with its problem; empty where all are sound.

    smallest: if given, a short side below this is a problem too [px].
    progress: show a bar on stderr where that is a terminal.
    workers: processes that decode; 1: this one does.
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
    """(H,W,3) uint8 array -> (3,H,W) uint8 tensor, the same values, its own memory."""
    # Here, not at the top: torch takes seconds to import, which commands that only look at files
    # need not wait for.
    import torch

    return torch.from_numpy(array.transpose(2, 0, 1).copy())


def to_array(tensor: "torch.Tensor") -> np.ndarray:
    """(3,H,W) uint8 tensor on any device -> (H,W,3) uint8 array, the same values."""
    return np.ascontiguousarray(tensor.detach().cpu().numpy().transpose(1, 2, 0))
