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


def with_rim(inner: Tensor, outer: Tensor) -> Tensor:
    """`inner` from the top left, extended by the last rows and columns of `outer` that it lacks."""
    height, width = inner.shape[-2:]
    wide = torch.cat((inner, outer[..., :height, width:]), dim=-1)
    return torch.cat((wide, outer[..., height:, :]), dim=-2)


def grown(inner: Tensor, like: Tensor) -> Tensor:
    """(B,C,h,w) -> (B,C,H,W), the size of `like`: copies of the last row and column fill what is missing."""
    gap = (0, like.shape[-1] - inner.shape[-1], 0, like.shape[-2] - inner.shape[-2])
    return F.pad(inner, gap, mode="replicate")
