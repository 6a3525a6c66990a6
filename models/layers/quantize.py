"""The 8-bit picture file between sender and receiver, as a layer."""

from collections.abc import Callable

import torch
from torch import Tensor

from channel.layers import to_8_bit
from errors import NotFinite

Channel = Callable[[Tensor], Tensor]  # what a stego passes through: (B,3,H,W) in [0,1] -> the same shape


def quantize(x: Tensor) -> Tensor:
    """Clamp to [0,1] and round to multiples of 1/255; the gradient passes, but never outwards.

    Forward: what an 8-bit file keeps of x. Backward: the identity (straight-through, Bengio et al., 2013),
    beyond the clamp too, so that values outside the range can be pulled back. Only the part that would
    push them further out is dropped: the clamp undoes its effect. On blown-out covers it made SMILENet's
    latents grow until the training exploded (docs/log.md).
    """
    return to_8_bit(x)


def transmit(stego: Tensor, channel: Channel | None) -> tuple[Tensor, Tensor]:
    """From sender to receiver: (the stego as sent, what is received), (B,3,H,W) on the grid of 8-bit values.

    channel: what happens in between; None: nothing.
    """
    sent = quantize(stego)
    return sent, sent if channel is None else quantize(channel(sent))


def finite(x: Tensor) -> Tensor:
    """x itself. Raises NotFinite if a value is NaN or infinite: as 8-bit pictures these would be black."""
    if not torch.isfinite(x).all():
        raise NotFinite("the network gave NaN or infinite values: its weights are broken, use others")
    return x
