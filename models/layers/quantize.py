"""The 8-bit picture file between sender and receiver, as a layer."""

import torch
from torch import Tensor


class _Round8Bit(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        return torch.round(x.clamp(0, 1) * 255) / 255

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        return gradient


def quantize(x: Tensor) -> Tensor:
    """Clamp to [0,1] and round to multiples of 1/255; the gradient passes straight through.

    Forward: what an 8-bit file keeps of x. Backward: the identity everywhere, beyond the clamp too,
    so that values that left the range can be pulled back (Bengio et al., 2013, straight-through).
    """
    return _Round8Bit.apply(x)
