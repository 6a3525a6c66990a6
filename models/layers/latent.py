"""z: what hiding drops, what stands in for it at reveal, and its flat form for the exact inverse."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from errors import UserError


def stand_in(like: Tensor, shape: tuple[int, ...], std: float, sampled: bool) -> Tensor:
    """What a receiver puts in the place of z: zeros where std is 0, else Gaussian noise of that deviation.

    sampled: drawn anew at each call (training); otherwise the same noise for every picture of a shape,
    call after call and on any device, so that a reveal is deterministic and a picture's place in a
    batch does not matter. dtype and device are those of `like`.
    """
    if not std:
        return like.new_zeros(shape)
    if sampled:
        return torch.randn(shape, dtype=like.dtype, device=like.device) * std
    noise = torch.randn(shape[1:], generator=torch.Generator().manual_seed(0))
    return (noise.to(like) * std).expand(shape)


def pack(batch: int, parts: Sequence[Tensor]) -> Tensor:
    """Tensors of `batch` pictures -> one flat z (B,K)."""
    return torch.cat([part.reshape(batch, -1) for part in parts], dim=1)


def unpack(z: Tensor, batch: int, shapes: Sequence[tuple[int, ...]]) -> list[Tensor]:
    """The inverse of `pack`, given the shapes of its parts. Raises UserError if z does not fit them."""
    lengths = [math.prod(shape) // batch for shape in shapes]
    if z.shape != (batch, sum(lengths)):
        raise UserError(f"z: expected {(batch, sum(lengths))} for this stego, got {tuple(z.shape)}")
    return [part.reshape(shape) for part, shape in zip(z.split(lengths, 1), shapes, strict=True)]
