"""InvMIHNet's decompositions: pictures <-> mean band and detail bands. Every `inverse` is exact.

Bands are in the order of the authors' released networks, band-major: the first C channels are the means.
"""

import torch
from torch import Tensor, nn

from errors import UserError
from models.layers.wavelet import haar, ihaar


class MeanHaar(nn.Module):
    """The 2x2 Haar transform as means: (B,C,H,W) -> (B,4C,H/2,W/2). It has no parameters.

    With a, b / c, d the four neighbours: (a+b+c+d)/4, (a-b+c-d)/4, (a+b-c-d)/4, (a-b-c+d)/4.
    """

    rows, cols = 2, 2

    def forward(self, x: Tensor) -> Tensor:
        return self._signs(haar(x)) / 2

    def inverse(self, y: Tensor) -> Tensor:
        return ihaar(self._signs(y) * 2)

    @staticmethod
    def _signs(y: Tensor) -> Tensor:  # flips the middle two bands, which have the other sign in `haar`
        mean, horizontal, vertical, diagonal = y.chunk(4, dim=1)
        return torch.cat((mean, -horizontal, -vertical, diagonal), dim=1)


class BlockMatrix(nn.Module):
    """A learned invertible matrix over rows x cols pixels: (B,C,H,W) -> (B,mnC,H/m,W/n).

    matrix: (mn,mn) for all channels, or (C,mn,mn), one for each channel. The inverse is computed from it, so
    it stays exact at every step of training. It never runs in half precision.
    """

    def __init__(self, rows: int, cols: int, matrix: Tensor):
        super().__init__()
        self.rows, self.cols = rows, cols
        self.matrix = nn.Parameter(matrix)

    def forward(self, x: Tensor) -> Tensor:
        m, n = self.rows, self.cols
        b, c, h, w = x.shape
        if h % m or w % n:
            raise UserError(f"{h}x{w} cannot be cut into blocks of {m} x {n} pixels")
        blocks = x.reshape(b, c, h // m, m, w // n, n).permute(0, 1, 3, 5, 2, 4)
        bands = _apply(self.matrix, blocks.reshape(b, c, m * n, -1))
        return bands.transpose(1, 2).reshape(b, m * n * c, h // m, w // n)

    def inverse(self, y: Tensor) -> Tensor:
        m, n = self.rows, self.cols
        b, channels, h, w = y.shape
        c = channels // (m * n)
        bands = y.reshape(b, m * n, c, h * w).transpose(1, 2)
        blocks = _apply(torch.linalg.inv(self.matrix), bands).reshape(b, c, m, n, h, w)
        return blocks.permute(0, 1, 4, 2, 5, 3).reshape(b, c, h * m, w * n)


def _apply(matrix: Tensor, x: Tensor) -> Tensor:
    with torch.autocast(x.device.type, enabled=False):  # half precision has no exact inverse
        return matrix @ x.to(matrix.dtype)


def mean_first(rows: int, cols: int) -> BlockMatrix:
    """For 6 and 9: one (mn,mn) matrix. It starts as the identity with the mean as its first row."""
    matrix = torch.eye(rows * cols)
    matrix[0] = 1 / (rows * cols)
    return BlockMatrix(rows, cols, matrix)


def vertical_split(channels: int) -> BlockMatrix:
    """The second step for 8: a learned 2x2 matrix per channel. It starts as a above b -> (a+b)/2, (b-a)/2."""
    matrix = torch.tensor([[0.5, 0.5], [-0.5, 0.5]])
    return BlockMatrix(2, 1, matrix.repeat(channels, 1, 1))
