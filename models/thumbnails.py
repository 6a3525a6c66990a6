"""The plain lattice carries tiled small pictures: the baseline that a network must beat."""

import math

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from errors import UserError
from models.base import HidingModel, check_positive
from models.layers.lattice import MODULI, embed, extract, key_dither, margin
from models.layers.mosaic import tile, untile

PUBLIC_DITHER = bytes(32)  # a key that everybody has: the dither only adds noise, it is not a secret


class Thumbnails(HidingModel):
    """Shrinks each secret, hides it as it is, and enlarges it again. Nothing is trained.

    This is the project's own trivial baseline for methods that hide a mosaic: whatever a network reveals
    beyond it, it has learned.

        secrets (B,N,3,H,W) -- Lanczos to (H/rows, W/cols), tiled -- each to [margin, 1 - margin] -|
                                                                                                   |-- stego
        cover (B,3,H,W) -- each sample to the nearest level whose residue says the value ----------|

        stego -- values of the residues -- untiled -- Lanczos to (H, W) -- revealed

    Arguments:
        num_secrets  N; rows is the largest divisor of N up to its square root, cols = N / rows
        modulus      M, 2 to 64 grey levels. The stego does not store it: both sides must use the same

    There is no key and no header, and the dither is public, so anybody can reveal the secrets. The mean
    squared error of the stego is (M^2 + 2) / 12 for even M (models/layers/lattice.py). Values are spread
    evenly; SMILENet-L's companding, before training, reveals 0.9 dB less for N = 4 (docs/log.md). Rows and
    columns of the cover beyond rows * (H // rows) and cols * (W // cols) carry nothing.
    """

    trainable = False

    def __init__(self, *, num_secrets: int = 4, modulus: int = 12):
        super().__init__()
        check_positive(num_secrets=num_secrets)
        if modulus not in MODULI:
            raise UserError(f"modulus: must be a whole number of grey levels from 2 to 64, got {modulus}")
        self.num_secrets, self.levels = num_secrets, int(modulus)
        self.rows = max(k for k in range(1, math.isqrt(num_secrets) + 1) if num_secrets % k == 0)
        self.cols = num_secrets // self.rows
        self.smallest = (self.rows, self.cols)
        self.figure_columns = self.cols

    def encode(self, cover: Tensor, secrets: Tensor) -> Tensor:
        height, width = (side // count for side, count in self._sides(cover))
        mosaic = tile(_resized(secrets.flatten(0, 1), height, width), self.rows, self.cols)
        low = margin(self.levels)
        values = low + (1 - 2 * low) * mosaic
        stego = (cover * 255).round()
        inner = stego[..., : mosaic.shape[-2], : mosaic.shape[-1]]
        inner[...] = embed(inner, values, self._dither(inner), self.levels).to(stego)
        return stego / 255

    def decode(self, stego: Tensor) -> Tensor:
        height, width = (side // count * count for side, count in self._sides(stego))
        inner = (stego[..., :height, :width] * 255).round()
        values = extract(inner, self._dither(inner), self.levels)
        low = margin(self.levels)
        small = untile(((values - low) / (1 - 2 * low)).clamp(0, 1), self.rows, self.cols)
        revealed = _resized(small.to(stego), *stego.shape[-2:])
        return revealed.reshape(-1, self.num_secrets, *stego.shape[1:])

    def _dither(self, inner: Tensor) -> Tensor:
        """Return the dither for pictures of this size: (B,3,h,w) -> (3,h,w) float64 in [0, M)."""
        dither = key_dither(PUBLIC_DITHER, inner[0].numel(), self.levels)
        return dither.reshape(inner.shape[1:]).to(inner.device)

    def _sides(self, picture: Tensor) -> list[tuple[int, int]]:
        """(H, rows), (W, cols)."""
        return list(zip(picture.shape[-2:], (self.rows, self.cols), strict=True))


def _resized(pictures: Tensor, height: int, width: int) -> Tensor:
    """Resize 8-bit pictures by Pillow's Lanczos: (K,3,H,W) in [0,1] -> (K,3,height,width) in [0,1]."""
    arrays = (pictures * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    resized = [
        np.asarray(Image.fromarray(array).resize((width, height), Image.Resampling.LANCZOS))
        for array in arrays
    ]
    return torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2).to(pictures) / 255
