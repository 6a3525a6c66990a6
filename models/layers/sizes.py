"""Pictures of any size, for networks that need an even size or multiples of m and n."""

import torch
import torch.nn.functional as F
from torch import Tensor


def even_size(picture: Tensor) -> tuple[int, int]:
    """Return height and width of the largest even region: (...,H,W) -> (H or H-1, W or W-1)."""
    return picture.shape[-2] // 2 * 2, picture.shape[-1] // 2 * 2


def tiled_size(picture: Tensor, rows: int, cols: int) -> tuple[int, int]:
    """Return height and width of the largest region within the even one that rows x cols tiles divide."""
    height, width = even_size(picture)
    return height // rows * rows, width // cols * cols


def rim(picture: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Return what lies outside the top left height x width: columns (...,height,W-width), then rows."""
    return picture[..., :height, width:], picture[..., height:, :]


def rim_shapes(lead: tuple[int, ...], size: tuple[int, int], inner: tuple[int, int]) -> list[tuple[int, ...]]:
    """Return the shapes of the two parts of `rim`, for a picture (*lead, *size) and its `inner` size."""
    (full_height, full_width), (height, width) = size, inner
    return [(*lead, height, full_width - width), (*lead, full_height - height, full_width)]


def join_rim(inner: Tensor, right: Tensor, below: Tensor) -> Tensor:
    """Join a picture and the two parts of its `rim`."""
    return torch.cat((torch.cat((inner, right), dim=-1), below), dim=-2)


def with_rim(inner: Tensor, outer: Tensor) -> Tensor:
    """Extend `inner` to the size of `outer`, with the last rows and columns of `outer`."""
    return join_rim(inner, *rim(outer, *inner.shape[-2:]))


def grown(inner: Tensor, like: Tensor) -> Tensor:
    """Extend (B,C,h,w) to (B,C,H,W), the size of `like`, with copies of the last row and column."""
    return extended(inner, *like.shape[-2:])


def extended(x: Tensor, height: int, width: int) -> Tensor:
    """Extend (B,C,h,w) to (B,C,height,width) with copies of the last row and column."""
    gap = (0, width - x.shape[-1], 0, height - x.shape[-2])
    if not any(gap):  # always so in training; torch 2.14 cannot compile the backward pass of this padding
        return x
    return F.pad(x, gap, mode="replicate")
