"""k-bit LSB substitution: the oldest baseline."""

import torch
from torch import Tensor

from errors import UserError
from models.base import HidingModel, check_between


class LSB(HidingModel):
    """LSB substitution: puts the top k bits of each secret into the low bits of the cover.

    The baseline "4bit-LSB" of J. Jing et al., "HiNet: Deep Image Hiding by Invertible Network", ICCV 2021,
    table 1 (k = 4, N = 1). It needs no training and has no key: anybody who looks at the low bits sees the
    secret.

        cover (B,3,H,W)       -- its upper 8 - Nk bits --------------------|
                                                                           |-- stego
        secrets (B,N,3,H,W)   -- the top k bits of each, the first highest-|

    Arguments:
        num_secrets  N; N * bits must not exceed 7
        bits         k, 1 to 7

    A revealed value is the middle of the 2^(8-k) values that share its k bits. This halves the largest error
    and makes the mean error 0.5 grey levels. (The table's source does not say how it fills the low bits.
    For uniform values, zeros give 29.2 dB at k = 4, the middle 34.8 dB.) As in the tables, the cover's bits
    are replaced, not adjusted to the nearest value; `codec_lsb` adjusts them.
    """

    trainable = False

    def __init__(self, *, num_secrets: int = 1, bits: int = 4):
        super().__init__()
        check_between(bits=(bits, 1, 7))
        if not 1 <= num_secrets <= 7 // bits:
            raise UserError(f"num_secrets: 1 to {7 // bits} secrets of {bits} bits fit, got {num_secrets}")
        self.num_secrets, self.bits = num_secrets, bits

    def encode(self, cover: Tensor, secrets: Tensor) -> Tensor:
        whole = 2 ** (self.bits * self.num_secrets)
        low = torch.zeros_like(cover)
        for secret in secrets.unbind(1):
            low = low * 2**self.bits + _levels(secret).div(2 ** (8 - self.bits), rounding_mode="floor")
        return (_levels(cover) - _levels(cover) % whole + low) / 255

    def decode(self, stego: Tensor) -> Tensor:
        levels, step, count = _levels(stego), 2 ** (8 - self.bits), 2**self.bits
        places = range(self.num_secrets - 1, -1, -1)
        top = [levels.div(count**place, rounding_mode="floor") % count for place in places]
        return torch.stack([x * step + step // 2 for x in top], dim=1) / 255


def _levels(x: Tensor) -> Tensor:
    """[0,1] -> whole grey levels 0..255, in floats."""
    return (x * 255).round()
