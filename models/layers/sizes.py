"""Pictures of any size around networks that need even ones, or multiples of m and n."""

import torch
import torch.nn.functional as F
from torch import Tensor


def even_size(picture: Tensor) -> tuple[int, int]:
    """Height and width of the largest even region: (...,H,W) -> (H or H-1, W or W-1)."""
    return picture.shape[-2] // 2 * 2, picture.shape[-1] // 2 * 2


def tiled_size(picture: Tensor, rows: int, cols: int) -> tuple[int, int]:
    """Height and width of the largest region within the even one that rows x cols tiles divide."""
    height, width = even_size(picture)
    return height // rows * rows, width // cols * cols


def rim(picture: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """What (...,H,W) has beyond height x width from the top left: columns (...,height,W-width), then rows."""
    return picture[..., :height, width:], picture[..., height:, :]


def rim_shapes(lead: tuple[int, ...], size: tuple[int, int], inner: tuple[int, int]) -> list[tuple[int, ...]]:
    """The shapes of the two parts of `rim` for a picture (*lead, *size) beyond `inner` (height, width)."""
    (full_height, full_width), (height, width) = size, inner
    return [(*lead, height, full_width - width), (*lead, full_height - height, full_width)]


def join_rim(inner: Tensor, right: Tensor, below: Tensor) -> Tensor:
    """The inverse of cutting off `rim`."""
    return torch.cat((torch.cat((inner, right), dim=-1), below), dim=-2)


def with_rim(inner: Tensor, outer: Tensor) -> Tensor:
    """`inner` from the top left, extended by the last rows and columns of `outer` that it lacks."""
    return join_rim(inner, *rim(outer, *inner.shape[-2:]))


def grown(inner: Tensor, like: Tensor) -> Tensor:
    """(B,C,h,w) -> (B,C,H,W), the size of `like`: copies of the last row and column fill what is missing."""
    gap = (0, like.shape[-1] - inner.shape[-1], 0, like.shape[-2] - inner.shape[-2])
    if not any(gap):  # so in training, where patches fit; torch 2.14 compiles no backward of this padding
        return inner
    return F.pad(inner, gap, mode="replicate")
