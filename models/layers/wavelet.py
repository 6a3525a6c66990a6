"""The orthonormal 2-D Haar wavelet, without parameters."""

import torch
from torch import Tensor

from errors import UserError


def haar(x: Tensor) -> Tensor:
    """Apply one level of the orthonormal 2-D Haar transform.

    (B,C,H,W) -> (B,4C,H/2,W/2). The bands are LL, HL, LH, HH with C channels each (the order of HiNet's
    released networks). For four neighbours a, b / c, d (b right of a, c below a):
    LL = (a+b+c+d)/2, HL = (-a+b-c+d)/2, LH = (-a-b+c+d)/2, HH = (a-b-c+d)/2.
    Law: ihaar(haar(x)) == x and |haar(x)| == |x|. Raises UserError for an odd H or W.
    """
    if x.shape[-2] % 2 or x.shape[-1] % 2:
        raise UserError(f"the Haar transform needs an even height and width, got {_size(x)}")
    a, b = x[..., 0::2, 0::2], x[..., 0::2, 1::2]
    c, d = x[..., 1::2, 0::2], x[..., 1::2, 1::2]
    bands = (a + b + c + d, b - a + d - c, c - a + d - b, a - b - c + d)
    return torch.cat(bands, dim=1) / 2


def ihaar(y: Tensor) -> Tensor:
    """The inverse of `haar`: (B,4C,H,W) -> (B,C,2H,2W). Raises UserError if the channels are not 4C."""
    if y.shape[1] % 4:
        raise UserError(f"the inverse Haar transform needs 4C channels, got {y.shape[1]}")
    ll, hl, lh, hh = y.chunk(4, dim=1)
    top = torch.stack((ll - hl - lh + hh, ll + hl - lh - hh), dim=-1)  # a, b of every 2x2 block
    bottom = torch.stack((ll - hl + lh - hh, ll + hl + lh + hh), dim=-1)  # c, d
    x = torch.stack((top, bottom), dim=-3) / 2  # (B, C, H, 2, W, 2)
    return x.flatten(-2).flatten(-3, -2)


def _size(x: Tensor) -> str:
    return f"{x.shape[-2]}x{x.shape[-1]}"
