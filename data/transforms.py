"""Bringing pictures to one size. Everything stays uint8."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from data.groups import Group
from data.images import picture_size, picture_sizes, read_picture, to_array, to_tensor
from errors import UserError

SMALL = ("error", "skip", "enlarge")


def drop_small(pictures: Sequence[Path], smallest: int) -> tuple[list[Path], list[Path]]:
    """(kept, dropped): dropped are those whose short side is below `smallest` [px]."""
    kept: list[Path] = []
    dropped: list[Path] = []
    for picture, size in zip(pictures, picture_sizes(pictures), strict=True):
        (dropped if min(size) < smallest else kept).append(picture)
    return kept, dropped


def usable_pictures(
    pictures: Sequence[Path], crop: int | None, resize: int | None = None, small: str = "error"
) -> list[Path]:
    """The pictures that can be cropped; to be called before they are grouped.

    Only headers are read, and not even those where `resize` or "enlarge" make every picture fit.
    small: what to do about pictures that are smaller than the crop: "skip" leaves them out,
        "error" raises UserError with their number and the first, "enlarge" keeps them.
    """
    if small not in SMALL:
        raise UserError(f"small {small!r}: expected {', '.join(SMALL)}")
    if crop is not None and resize is not None and resize < crop:
        raise UserError(f"resize {resize} leaves every picture smaller than the crop of {crop}")
    if crop is None or resize is not None or small == "enlarge":
        return list(pictures)
    kept, dropped = drop_small(pictures, crop)
    if dropped and (small == "error" or not kept):
        raise UserError(
            f"{_too_small(dropped[0], *picture_size(dropped[0]), crop)}"
            f" ({len(dropped)} of {len(pictures)} pictures are)"
        )
    return kept


def _too_small(path: str | Path, height: int, width: int, crop: int) -> str:
    return (
        f"{path}: {width}x{height} pixels, smaller than the crop of {crop}; "
        "choose a smaller crop, small: skip or small: enlarge"
    )


def resized_size(
    height: int, width: int, crop: int | None, resize: int | None, small: str
) -> tuple[int, int]:
    """(height, width) [px] that a picture of this size has before it is cropped."""
    side = min(height, width)
    wanted = side
    if resize is not None:
        wanted = resize
    elif crop is not None and small == "enlarge":
        wanted = max(side, crop)
    # The long side is rounded down, as torchvision's Resize does.
    return height * wanted // side, width * wanted // side


def resize_picture(
    tensor: torch.Tensor, crop: int | None, resize: int | None = None, small: str = "error"
) -> torch.Tensor:
    """(3,H,W) uint8 -> (3,H',W') uint8 of the size that `resized_size` gives.

    The shape is kept; bicubic, antialiased.
    """
    height, width = tensor.shape[-2:]
    wanted = resized_size(height, width, crop, resize, small)
    return tensor if wanted == (height, width) else to_tensor(_resize(to_array(tensor), *wanted))


def _resize(array: np.ndarray, height: int, width: int) -> np.ndarray:
    """(h,w,3) uint8 -> (height,width,3) uint8."""
    # Pillow's integer arithmetic gives the same values on every machine. torchvision's for uint8
    # depends on the processor, and is wrong for pictures that are a pixel wide (torch 2.15).
    picture = Image.fromarray(array).resize((width, height), Image.Resampling.BICUBIC)
    return np.array(picture)


def fit_picture(
    tensor: torch.Tensor,
    crop: int | None = None,
    resize: int | None = None,
    small: str = "error",
    path: str | Path = "picture",
) -> torch.Tensor:
    """Bring a picture to size for evaluation: nothing is left to chance.

    tensor: (3,H,W) uint8.
    crop: side of the square that is cut from the centre [px]; None: no cut.
    resize: the short side before the crop, up or down [px]; None: the picture's own.
    small: "enlarge" brings a short side below the crop up to it. Otherwise that raises UserError
        with `path`: "skip" is for `usable_pictures`, which leaves such pictures out beforehand.
    Returns (3,crop,crop), or (3,H',W') where crop is None, uint8.
    """
    tensor = resize_picture(tensor, crop, resize, small)
    if crop is None:
        return tensor
    height, width = tensor.shape[-2:]
    if min(height, width) < crop:
        raise UserError(_too_small(path, height, width, crop))
    top, left = round((height - crop) / 2), round((width - crop) / 2)
    return tensor[:, top : top + crop, left : left + crop]


def to_grey(array: np.ndarray) -> np.ndarray:
    """(H,W,3) uint8 -> the same shape, three equal channels: BT.601 luma, rounded, as Pillow makes grey."""
    return np.repeat(np.asarray(Image.fromarray(array).convert("L"))[..., None], 3, axis=2)


def load_group(
    group: Group,
    crop: int | None = None,
    resize: int | None = None,
    small: str = "error",
    grey: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Read one group for evaluation -> cover (3,H,W) uint8, secrets (N,3,H,W) uint8.

    With a crop, every picture is fitted by itself and H = W = crop. Without, the cover sets the
    size and the secrets are stretched to it. grey: all are turned to grey first, see `to_grey`.
    """
    read = (lambda path: to_grey(read_picture(path))) if grey else read_picture
    cover = fit_picture(to_tensor(read(group.cover)), crop, resize, small, group.cover)
    secrets = []
    for path in group.secrets:
        picture = read(path)
        if crop is None:
            secrets.append(to_tensor(fit_secret(picture, *cover.shape[-2:])))
        else:
            secrets.append(fit_picture(to_tensor(picture), crop, resize, small, path))
    return cover, torch.stack(secrets)


def fit_secret(array: np.ndarray, height: int, width: int, mode: str = "stretch") -> np.ndarray:
    """Bring a person's own picture to the cover's size: (h,w,3) uint8 -> (height,width,3) uint8.

    "stretch": to the size, whatever becomes of the shape.
    "pad": as large as fits, up or down, with the shape kept; centred on mid-grey (128).
    Resized by antialiased bicubic interpolation.
    """
    if mode not in ("stretch", "pad"):
        raise UserError(f"mode {mode!r}: expected stretch or pad")
    if array.shape[:2] == (height, width):
        return array.copy()
    if mode == "stretch":
        return _resize(array, height, width)
    inside = _inside(array.shape[0], array.shape[1], height, width)
    padded = np.full((height, width, 3), 128, np.uint8)
    inner_height, inner_width = padded[inside].shape[:2]
    padded[inside] = _resize(array, inner_height, inner_width)
    return padded


def unfit_secret(array: np.ndarray, height: int, width: int, mode: str = "stretch") -> np.ndarray:
    """Undo `fit_secret` for a picture that was height x width: (H,W,3) uint8 -> (height,width,3) uint8.

    The bars of "pad" are cut off, and the rest is resized by antialiased bicubic interpolation.
    """
    if mode not in ("stretch", "pad"):
        raise UserError(f"mode {mode!r}: expected stretch or pad")
    if array.shape[:2] == (height, width):
        return array.copy()
    if mode == "pad":
        array = np.ascontiguousarray(array[_inside(height, width, array.shape[0], array.shape[1])])
    return _resize(array, height, width)


def _inside(height: int, width: int, full_height: int, full_width: int) -> tuple[slice, slice]:
    """Where in a full_height x full_width picture a padded one stands: as large as fits, centred."""
    scale = min(full_height / height, full_width / width)
    inner_height = min(full_height, max(1, round(height * scale)))
    inner_width = min(full_width, max(1, round(width * scale)))
    top, left = (full_height - inner_height) // 2, (full_width - inner_width) // 2
    return slice(top, top + inner_height), slice(left, left + inner_width)
