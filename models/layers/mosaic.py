"""From pictures to small pictures and back: the block transform T, and the tiling of a mosaic."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from errors import UserError


def tile(x: Tensor, rows: int, cols: int) -> Tensor:
    """(B*N,C,h,w) -> (B,C,rows*h,cols*w). Small picture k of a group goes to tile (k // cols, k % cols)."""
    bn, c, h, w = x.shape
    x = x.reshape(bn // (rows * cols), rows, cols, c, h, w)
    return x.permute(0, 3, 1, 4, 2, 5).reshape(-1, c, rows * h, cols * w)


def untile(x: Tensor, rows: int, cols: int) -> Tensor:
    """The inverse of `tile`: (B,C,rows*h,cols*w) -> (B*N,C,h,w). Raises UserError for an uneven size."""
    b, c, h, w = x.shape
    if h % rows or w % cols:
        raise UserError(f"{h}x{w} cannot be cut into {rows} x {cols} tiles of equal size")
    x = x.reshape(b, c, rows, h // rows, cols, w // cols)
    return x.permute(0, 2, 4, 1, 3, 5).reshape(b * rows * cols, c, h // rows, w // cols)


def dct_matrix(rows: int, cols: int) -> Tensor:
    """The orthonormal 2-D DCT-II of rows x cols blocks: (mn, mn) float64, frequencies from low to high.

    Row 0 is constant. The others are sorted by relative frequency, so that neighbouring rows are similar.
    """

    def dct(size: int) -> Tensor:
        k, x = torch.arange(size).double()[:, None], torch.arange(size).double()[None]
        basis = torch.cos(math.pi * (x + 0.5) * k / size) * math.sqrt(2 / size)
        basis[0] /= math.sqrt(2)
        return basis

    matrix = torch.kron(dct(rows), dct(cols))
    order = sorted(range(rows * cols), key=lambda i: (i // cols / rows + i % cols / cols, i))
    return matrix[order]


def small_pictures(secrets: Tensor, rows: int, cols: int) -> Tensor:
    """Make the readable mosaic: shrink secrets (B,N,3,H,W) to 1/m and 1/n, bicubic, and tile -> (B,3,H,W)."""
    height, width = secrets.shape[-2] // rows, secrets.shape[-1] // cols
    small = F.interpolate(secrets.flatten(0, 1), size=(height, width), mode="bicubic", antialias=True)
    return tile(small, rows, cols)


class BlockTransform(nn.Module):
    """T: (B,3,H,W) -> (B,3mn,H/m,W/n), invertible by construction.

    It is space to depth by (m, n), then one learned orthonormal mn x mn matrix for all blocks and colours,
    divided by sqrt(mn). It starts as the 2-D DCT, so band 0 starts as the block mean. The order is
    band-major: the first 3 channels are the small RGB picture. Zero stays zero (inputs are centred).
    torch.nn.utils.parametrizations.orthogonal keeps the matrix orthonormal, so the inverse is the transposed
    matrix at every step of training.
    """

    def __init__(self, rows: int, cols: int):
        super().__init__()
        self.rows, self.cols = rows, cols
        size = rows * cols
        # Cayley needs only rational arithmetic, is orthonormal to rounding, and cheap for 25 x 25. It starts
        # as the identity, and is multiplied by a DCT of its own dtype: a DCT stored in float32 would not be
        # orthonormal in float64.
        linear = nn.Linear(size, size, bias=False)
        self.rotation = parametrizations.orthogonal(linear, orthogonal_map="cayley")
        self.rotation.weight = torch.eye(size, dtype=linear.weight.dtype)
        self._dct = dct_matrix(rows, cols)

    def matrix(self) -> Tensor:
        """Return the (mn, mn) orthonormal matrix. Row 0 makes the small picture."""
        rotation = self.rotation.weight
        if (self._dct.dtype, self._dct.device) != (rotation.dtype, rotation.device):
            self._dct = dct_matrix(self.rows, self.cols).to(rotation)
        return rotation @ self._dct

    def forward(self, x: Tensor) -> Tensor:
        m, n = self.rows, self.cols
        b, c, h, w = x.shape
        if h % m or w % n:
            raise UserError(f"{h}x{w} cannot be cut into blocks of {m} x {n} pixels")
        blocks = x.reshape(b, c, h // m, m, w // n, n).permute(0, 3, 5, 1, 2, 4)
        bands = self._mix(blocks.reshape(b, m * n, -1))  # (B, mn, C * H/m * W/n)
        return bands.reshape(b, m * n * c, h // m, w // n) / math.sqrt(m * n)

    def inverse(self, y: Tensor) -> Tensor:
        m, n = self.rows, self.cols
        b, channels, h, w = y.shape
        c = channels // (m * n)
        blocks = self._mix(y.reshape(b, m * n, -1), transpose=True) * math.sqrt(m * n)
        x = blocks.reshape(b, m, n, c, h, w).permute(0, 3, 4, 1, 5, 2)
        return x.reshape(b, c, h * m, w * n)

    def _mix(self, blocks: Tensor, transpose: bool = False) -> Tensor:
        with torch.autocast(blocks.device.type, enabled=False):  # half precision has no exact inverse
            matrix = self.matrix()
            return (matrix.T if transpose else matrix) @ blocks.to(matrix.dtype)
