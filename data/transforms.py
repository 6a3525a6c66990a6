"""Bring pictures to one size. All values stay uint8."""

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
    """Split pictures into (kept, dropped): those with a short side below `smallest` [px] are dropped."""
    kept: list[Path] = []
    dropped: list[Path] = []
    for picture, size in zip(pictures, picture_sizes(pictures), strict=True):
        (dropped if min(size) < smallest else kept).append(picture)
    return kept, dropped


def usable_pictures(
    pictures: Sequence[Path], crop: int | None, resize: int | None = None, small: str = "error"
) -> list[Path]:
    """Return the pictures that can be cropped. Call this before grouping.

    Only reads headers, and not even those if `resize` or "enlarge" makes every picture fit.

    crop, resize: see `fit_picture`.
    small: what to do with pictures that are smaller than the crop. "skip" leaves them out, "error" raises
        UserError with their number and the first one, "enlarge" keeps them.
    Raises UserError also if no picture is left, and if `resize` is smaller than the crop.
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
            f" ({len(dropped)} of {len(pictures)} pictures are too small)"
        )
    return kept


def _too_small(path: str | Path, height: int, width: int, crop: int) -> str:
    return (
        f"{path}: {width}x{height} pixels, smaller than the crop of {crop}; "
        "use a smaller crop, small: skip or small: enlarge"
    )


def resized_size(
    height: int, width: int, crop: int | None, resize: int | None, small: str
) -> tuple[int, int]:
    """Return the (height, width) [px] to which a picture of this size is resized before the crop."""
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
    """Resize a picture (3,H,W) uint8 to the size that `resized_size` gives: (3,H',W') uint8.

    Keeps the aspect ratio. The interpolation is bicubic and antialiased.
    """
    height, width = tensor.shape[-2:]
    wanted = resized_size(height, width, crop, resize, small)
    return tensor if wanted == (height, width) else to_tensor(_resize(to_array(tensor), *wanted))


def _resize(array: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize (h,w,3) uint8 to (height,width,3) uint8."""
    # Pillow's integer arithmetic gives the same values on every machine. torchvision's result for uint8
    # depends on the processor, and is wrong for pictures that are one pixel wide (torch 2.15).
    picture = Image.fromarray(array).resize((width, height), Image.Resampling.BICUBIC)
    return np.array(picture)


def fit_picture(
    tensor: torch.Tensor,
    crop: int | None = None,
    resize: int | None = None,
    small: str = "error",
    path: str | Path = "picture",
) -> torch.Tensor:
    """Bring a picture to size for evaluation, without any randomness.

    tensor: (3,H,W) uint8.
    crop: side of the square to cut from the centre [px]; None does not crop.
    resize: resize the short side to this before the crop [px]; None keeps the picture's size.
    small: "enlarge" enlarges a short side that is below the crop. Any other value raises UserError with
        `path`; for "skip", `usable_pictures` leaves such pictures out beforehand.
    Returns (3,crop,crop) uint8, or (3,H',W') if crop is None.
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
    """Turn (H,W,3) uint8 to grey: three equal channels of the same shape (BT.601 luma, rounded by Pillow)."""
    return np.repeat(np.asarray(Image.fromarray(array).convert("L"))[..., None], 3, axis=2)


def load_group(
    group: Group,
    crop: int | None = None,
    resize: int | None = None,
    small: str = "error",
    grey: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Read one group for evaluation: cover (3,H,W) uint8 and secrets (N,3,H,W) uint8.

    With a crop, `fit_picture` fits each picture by itself, and H = W = crop. Without a crop, the cover sets
    the size and the secrets are stretched to it.

    crop, resize, small: see `fit_picture`. grey: turn all pictures to grey first, see `to_grey`.
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
    """Bring a secret to the cover's size: (h,w,3) uint8 to (height,width,3) uint8.

    mode: "stretch" fills the size and ignores the aspect ratio. "pad" keeps the aspect ratio, makes the
        picture as large as fits, and centres it on mid-grey (128).
    The interpolation is bicubic and antialiased. Raises UserError for another mode.
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
    """Undo `fit_secret` for a picture that was height x width: (H,W,3) uint8 to (height,width,3) uint8.

    Cuts off the bars of "pad" and resizes the rest. The interpolation is bicubic and antialiased. Raises
    UserError for another mode.
    """
    if mode not in ("stretch", "pad"):
        raise UserError(f"mode {mode!r}: expected stretch or pad")
    if array.shape[:2] == (height, width):
        return array.copy()
    if mode == "pad":
        array = np.ascontiguousarray(array[_inside(height, width, array.shape[0], array.shape[1])])
    return _resize(array, height, width)


def _inside(height: int, width: int, full_height: int, full_width: int) -> tuple[slice, slice]:
    """Return where a padded picture lies in full_height x full_width: as large as fits, centred."""
    scale = min(full_height / height, full_width / width)
    inner_height = min(full_height, max(1, round(height * scale)))
    inner_width = min(full_width, max(1, round(width * scale)))
    top, left = (full_height - inner_height) // 2, (full_width - inner_width) // 2
    return slice(top, top + inner_height), slice(left, left + inner_width)
