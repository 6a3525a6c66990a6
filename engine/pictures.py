"""A person's own pictures: hide some in a cover file, reveal them from a stego file."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from data.images import (
    LOSSLESS_FORMATS,
    list_pictures,
    picture_format,
    read_picture,
    to_array,
    to_tensor,
    write_picture,
)
from data.transforms import fit_secret
from metrics.image import psnr
from models import HidingModel
from models.base import EMPTY


@dataclass
class HiddenFile:
    """What `hide_files` did: the stego's path and PSNR (dB, RGB), and which file went to which place."""

    stego: Path
    psnr: float
    secrets: list[Path]
    empty: int
    resized: list[Path]


def hide_files(
    model: HidingModel,
    cover: str | Path,
    secrets: list[str | Path],
    out: str | Path,
    fit: str = "stretch",
    force: bool = False,
) -> HiddenFile:
    """Hide picture files in a cover file and write the stego, losslessly.

    secrets: files, or one folder (sorted by name). They are brought to the cover's size: "stretch"
    fills it, "pad" keeps their shape between grey bars. Raises ValueError before anything is
    written: too many secrets, a lossy or existing `out` (without `force`), a cover that is too small.
    """
    out = Path(out)
    check_output(out, force)
    if out.exists() and out.samefile(cover):
        raise ValueError(f"{out}: that is the cover; give the stego another name")
    files = [file for secret in secrets for file in list_pictures(str(secret))]
    if len(files) > model.num_secrets:
        raise ValueError(
            f"{len(files)} secrets, but these weights hide at most {model.num_secrets} in one cover"
        )
    cover_array = read_picture(cover)
    height, width = cover_array.shape[:2]
    if height < model.smallest[0] or width < model.smallest[1]:
        raise ValueError(
            f"{cover}: {width}x{height} pixels are too few to hide {model.num_secrets} pictures, at "
            f"least {model.smallest[1]}x{model.smallest[0]} are needed"
        )
    arrays = [read_picture(file) for file in files]
    resized = [f for f, a in zip(files, arrays, strict=True) if a.shape != cover_array.shape]
    fitted = torch.stack([to_tensor(fit_secret(a, height, width, fit)) for a in arrays])
    stego = to_array(model.hide(to_tensor(cover_array)[None], fitted[None])[0])
    write_picture(out, stego)
    return HiddenFile(out, psnr(cover_array, stego), files, model.num_secrets - len(files), resized)


@dataclass
class RevealedFiles:
    """What `reveal_files` wrote, and the numbers of the places that look empty (counted from 1)."""

    written: list[Path]
    empty: list[int]


def reveal_files(
    model: HidingModel,
    stego: str | Path,
    out: str | Path,
    force: bool = False,
    keep_empty: bool = False,
) -> RevealedFiles:
    """Reveal the secrets of a stego file into a folder, as secret_01.png and so on.

    Places that were left empty come back as plain mid-grey and are not written, unless
    `keep_empty`. Raises ValueError before anything is written: a lossy file, one that is too small
    to be a stego of these weights, files that are there already (without `force`).
    """
    stego, out = Path(stego), Path(out)
    kind, mode = picture_format(stego)
    if kind not in LOSSLESS_FORMATS.values() or mode != "RGB":
        raise ValueError(
            f"{stego}: a {kind} file in mode {mode} is not what hide.py wrote (PNG, BMP or TIFF in RGB); "
            "converting a stego loses what is hidden in it"
        )
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out}: a file, expected a folder to put the revealed pictures in")
    picture = read_picture(stego)
    height, width = picture.shape[:2]
    if height < model.smallest[0] or width < model.smallest[1]:
        raise ValueError(
            f"{stego}: {width}x{height} pixels; a stego of these weights has at least "
            f"{model.smallest[1]}x{model.smallest[0]}"
        )
    paths = [out / f"secret_{k:02d}.png" for k in range(1, model.num_secrets + 1)]
    for path in paths:
        if path.exists() and not force:
            raise ValueError(f"{path}: exists already; --force replaces it")
    revealed = model.reveal(to_tensor(picture)[None])[0]
    out.mkdir(parents=True, exist_ok=True)
    written, empty = [], []
    for k, (path, secret) in enumerate(zip(paths, revealed, strict=True), 1):
        array = to_array(secret)
        if looks_empty(array):
            empty.append(k)
            if not keep_empty:
                path.unlink(missing_ok=True)  # with force: no stale picture of an earlier reveal
                continue
        write_picture(path, array)
        written.append(path)
    return RevealedFiles(written, empty)


def looks_empty(picture: np.ndarray) -> bool:
    """Whether a revealed picture is flat mid-grey to within 8 grey levels (RMS), as empty places mostly are.

    Strict on purpose: a picture too many is a nuisance, a real one that is not written is a loss.
    """
    return psnr(picture, np.full_like(picture, EMPTY)) > 30


def check_output(out: Path, force: bool) -> None:
    """Raises ValueError unless `out` is a lossless picture file that may be written."""
    if out.suffix.lower() not in LOSSLESS_FORMATS:
        raise ValueError(
            f"{out}: the stego must be lossless ({', '.join(LOSSLESS_FORMATS)}); JPEG, WebP and the "
            "like change pixel values, and the hidden pictures would be lost"
        )
    if out.is_dir():
        raise ValueError(f"{out}: a folder, expected a file name")
    if out.exists() and not force:
        raise ValueError(f"{out}: exists already; --force replaces it")
    if not out.parent.is_dir():
        raise ValueError(f"{out.parent}: no such folder")
