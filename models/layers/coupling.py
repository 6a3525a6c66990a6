"""The affine coupling block that all invertible methods here are stacked from."""

import torch
from torch import Tensor, nn

from models.layers.subnets import DenseBlock


class CouplingBlock(nn.Module):
    """One invertible block over two branches (InvMIHNet eq. 1-2, HiNet eq. 1-2), with an optional condition.

        a' = a + phi(b | c)
        b' = b * exp(s(rho(a' | c))) + eta(a' | c),     s(x) = clamp * (2 sigmoid(x) - 1)

    The branch `a` (cover, or low band) is changed by addition, `b` (secret, or high bands) by an
    affine map whose logarithmic scale stays within +-clamp, so that the inverse is stable:

        b = (b' - eta(a' | c)) * exp(-s(rho(a' | c)))
        a = a' - phi(b | c)

    `block(a, b, c) -> (a', b')`, `block.inverse(a', b', c) -> (a, b)`. All of (B,.,h,w), same h and
    w. Law: inverse(*block(a, b, c), c) == (a, b) to rounding, for any weights and any condition c,
    as long as both directions are given the same one.
    """

    def __init__(
        self,
        a: int,
        b: int,
        condition: int = 0,
        *,
        growth: int = 32,
        clamp: float = 1.0,
        slope: float = 0.2,
    ):
        super().__init__()
        self.clamp = clamp
        self.phi = DenseBlock(b + condition, a, growth, slope)
        self.rho = DenseBlock(a + condition, b, growth, slope)
        self.eta = DenseBlock(a + condition, b, growth, slope)

    def forward(self, a: Tensor, b: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        a = a + self.phi(_given(b, c))
        seen = _given(a, c)
        b = b * torch.exp(self._scale(seen)) + self.eta(seen)
        return a, b

    def inverse(self, a: Tensor, b: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        seen = _given(a, c)
        b = (b - self.eta(seen)) * torch.exp(-self._scale(seen))
        a = a - self.phi(_given(b, c))
        return a, b

    def _scale(self, seen: Tensor) -> Tensor:
        x = self.rho(seen).to(seen.dtype)  # under autocast: the exponential stays in full precision
        return self.clamp * (2 * torch.sigmoid(x) - 1)


def _given(x: Tensor, condition: Tensor | None) -> Tensor:
    return x if condition is None else torch.cat((x, condition), dim=1)
