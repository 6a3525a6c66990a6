"""The Laplacian pyramid: split features into bands, from fine to coarse, and join them again exactly."""

import torch
import torch.nn.functional as F
from torch import Tensor

BINOMIAL = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)  # Burt & Adelson's kernel with a = 0.375


def decompose(x: Tensor, levels: int) -> list[Tensor]:
    """(B,C,H,W) -> `levels` bands, the finest first. The last one holds the low frequencies.

        G_0 = x,   G_(k+1) = down(G_k),   L_k = G_k - up(G_(k+1)),   bands = L_0, L_1, .., G_(levels-1)

    (P. Burt, E. Adelson, "The Laplacian Pyramid as a Compact Image Code", 1983.) Each band has half the
    height and width of the previous one, rounded up. Law: compose(decompose(x, levels)) == x to rounding,
    for any size.
    """
    bands = []
    for _ in range(levels - 1):
        low = down(x)
        bands.append(x - up(low, like=x))
        x = low
    return [*bands, x]


def compose(bands: list[Tensor]) -> Tensor:
    """The inverse of `decompose`: G_k = L_k + up(G_(k+1)), from the coarsest band on."""
    x = bands[-1]
    for band in reversed(bands[:-1]):
        x = band + up(x, like=band)
    return x


def down(x: Tensor) -> Tensor:
    """Apply the 5x5 binomial kernel and keep every second value: (B,C,H,W) -> (B,C,ceil(H/2),ceil(W/2)).

    Copies of the last values extend the border.
    """
    channels = x.shape[1]
    weights = torch.tensor(BINOMIAL, dtype=x.dtype, device=x.device)
    along_w = weights.view(1, 1, 1, 5).expand(channels, 1, 1, 5)
    x = F.conv2d(F.pad(x, (2, 2, 0, 0), mode="replicate"), along_w, stride=(1, 2), groups=channels)
    along_h = weights.view(1, 1, 5, 1).expand(channels, 1, 5, 1)
    return F.conv2d(F.pad(x, (0, 0, 2, 2), mode="replicate"), along_h, stride=(2, 1), groups=channels)


def up(x: Tensor, like: Tensor) -> Tensor:
    """Double the size with the same kernel, cropped to `like`: (B,C,h,w) -> (B,C,H,W), H = 2h or 2h - 1.

    A constant stays the same. Along each axis, values in place become (1,6,1)/8 of three neighbours, and
    values in between (1,1)/2 of two. The binomial kernel gives the same on a signal with zeros between its
    values.
    """
    for axis in (-1, -2):
        padded = F.pad(x, (1, 1, 0, 0) if axis == -1 else (0, 0, 1, 1), mode="replicate")
        before, here, after = (padded.narrow(axis, k, x.shape[axis]) for k in range(3))
        in_place, between = 0.125 * (before + after) + 0.75 * here, 0.5 * (here + after)
        x = torch.stack((in_place, between), dim=axis)  # along W (B,C,h,w,2), along H (B,C,h,2,w)
        x = x.flatten(-2) if axis == -1 else x.flatten(-3, -2)
    return x[..., : like.shape[-2], : like.shape[-1]]
