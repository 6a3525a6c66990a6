"""z, the part that hiding drops: its replacement at reveal, and its flat form for the exact inverse."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from errors import UserError


def stand_in(like: Tensor, shape: tuple[int, ...], std: float, sampled: bool) -> Tensor:
    """Return the receiver's replacement of z: zeros if std is 0, otherwise Gaussian noise of that deviation.

    sampled: draw new noise at each call (training). Otherwise all pictures of a shape get the same noise, in
    every call and on any device, so that reveal is deterministic and does not depend on the other pictures
    of a batch. dtype and device are those of `like`.
    """
    if not std:
        return like.new_zeros(shape)
    if sampled:
        return torch.randn(shape, dtype=like.dtype, device=like.device) * std
    noise = torch.randn(shape[1:], generator=torch.Generator().manual_seed(0))
    return (noise.to(like) * std).expand(shape)


def pack(batch: int, parts: Sequence[Tensor]) -> Tensor:
    """Join tensors of `batch` pictures to one flat z (B,K)."""
    return torch.cat([part.reshape(batch, -1) for part in parts], dim=1)


def unpack(z: Tensor, batch: int, shapes: Sequence[tuple[int, ...]]) -> list[Tensor]:
    """Undo `pack`, given the shapes of the parts. Raises UserError if z does not fit them."""
    lengths = [math.prod(shape) // batch for shape in shapes]
    if z.shape != (batch, sum(lengths)):
        raise UserError(f"z: expected {(batch, sum(lengths))} for this stego, got {tuple(z.shape)}")
    return [part.reshape(shape) for part, shape in zip(z.split(lengths, 1), shapes, strict=True)]
