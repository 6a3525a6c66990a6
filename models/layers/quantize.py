"""A layer that stands for the 8-bit picture file between sender and receiver."""

from collections.abc import Callable

import torch
from torch import Tensor

from channel.layers import to_8_bit
from errors import NotFinite

Channel = Callable[[Tensor], Tensor]  # the path of a stego: (B,3,H,W) in [0,1] -> the same shape


def quantize(x: Tensor) -> Tensor:
    """Clamp to [0,1] and round to multiples of 1/255. The gradient passes, but never outwards.

    Forward: what an 8-bit file keeps of x. Backward: the identity (straight-through, Bengio et al., 2013),
    beyond the clamp too, so that values outside the range can come back. Only the part that would push them
    further out is dropped, because the clamp undoes its effect. On blown-out covers that part made
    SMILENet's latents grow until the training exploded (docs/log.md).
    """
    return to_8_bit(x)


def transmit(stego: Tensor, channel: Channel | None) -> tuple[Tensor, Tensor]:
    """Return the stego as sent and as received: (B,3,H,W) each, multiples of 1/255.

    channel: what happens in between; None: nothing.
    """
    sent = quantize(stego)
    return sent, sent if channel is None else quantize(channel(sent))


def finite(x: Tensor) -> Tensor:
    """Return x. Raises NotFinite if a value is NaN or infinite, which would be black in an 8-bit picture."""
    if not torch.isfinite(x).all():
        raise NotFinite(
            "the network gave NaN or infinite values, so its weights are broken; use other weights"
        )
    return x
