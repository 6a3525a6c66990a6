"""The affine coupling block of all invertible methods here, and a stack of such blocks."""

import torch
from torch import Tensor, nn

from models.layers.recompute import Recomputing
from models.layers.subnets import DenseBlock


class CouplingBlock(nn.Module):
    """One invertible block over two branches (InvMIHNet eq. 1-2, HiNet eq. 1-2), with an optional condition.

        a' = a + phi(b | c)
        b' = b * exp(s(rho(a' | c))) + eta(a' | c),     s(x) = clamp * (2 sigmoid(x) - 1)

    The branch `a` (cover, or low band) changes by addition. `b` (secret, or high bands) changes by an affine
    map whose logarithmic scale stays within +-clamp, so that the inverse is stable:

        b = (b' - eta(a' | c)) * exp(-s(rho(a' | c)))
        a = a' - phi(b | c)

    `block(a, b, c) -> (a', b')`, `block.inverse(a', b', c) -> (a, b)`. All are (B,.,h,w) with the same h
    and w. Law: inverse(*block(a, b, c), c) == (a, b) to rounding, for any weights and any condition c, if
    both directions get the same condition.

    a, b, condition: channels. growth, slope: see `DenseBlock`. affine_a: a fourth sub-network scales `a` too
    (DeepMIH): a' = a * exp(s(psi(b | c))) + phi(b | c).
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
        affine_a: bool = False,
    ):
        super().__init__()
        self.clamp = clamp
        self.phi = DenseBlock(b + condition, a, growth, slope)
        self.rho = DenseBlock(a + condition, b, growth, slope)
        self.eta = DenseBlock(a + condition, b, growth, slope)
        self.psi = DenseBlock(b + condition, a, growth, slope) if affine_a else None

    def forward(self, a: Tensor, b: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        a = self.forward_a(a, b, c)
        seen = _given(a, c)
        b = b * torch.exp(self._scale(self.rho, seen)) + self.eta(seen)
        return a, b

    def forward_a(self, a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
        """Return only a'; rho and eta do not run."""
        seen = _given(b, c)
        if self.psi is not None:
            a = a * torch.exp(self._scale(self.psi, seen))
        return a + self.phi(seen)

    def inverse_b(self, a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
        """Return only b, from a' and b'; phi and psi do not run."""
        seen = _given(a, c)
        return (b - self.eta(seen)) * torch.exp(-self._scale(self.rho, seen))

    def inverse(self, a: Tensor, b: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        b = self.inverse_b(a, b, c)
        seen = _given(b, c)
        a = a - self.phi(seen)
        if self.psi is not None:
            a = a * torch.exp(-self._scale(self.psi, seen))
        return a, b

    def _scale(self, subnet: DenseBlock, seen: Tensor) -> Tensor:
        x = subnet(seen).to(seen.dtype)  # keeps the exponential in full precision under autocast
        return self.clamp * (2 * torch.sigmoid(x) - 1)


class CouplingStack(Recomputing, nn.ModuleList):
    """Coupling blocks in sequence, which all see the same condition c.

    `stack(a, b, c) -> (a', b')`, `stack.inverse(a', b', c) -> (a, b)`.
    Law: inverse(*stack(a, b, c), c) == (a, b) to rounding.

    A sender drops b', and most receivers do not need a. `forward_a` gives the same a' and `inverse_b` the
    same b, but skips the sub-networks that only the other result needs. Both need at least one block.
    """

    def forward(self, a: Tensor, b: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        for block in self:
            a, b = self._run(block, a, b, c)
        return a, b

    def forward_a(self, a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
        """Return only a'; the last block's rho and eta do not run."""
        *before, last = self
        for block in before:
            a, b = self._run(block, a, b, c)
        return self._run(last.forward_a, a, b, c)

    def inverse(self, a: Tensor, b: Tensor, c: Tensor | None = None) -> tuple[Tensor, Tensor]:
        for block in reversed(self):
            a, b = self._run(block.inverse, a, b, c)
        return a, b

    def inverse_b(self, a: Tensor, b: Tensor, c: Tensor | None = None) -> Tensor:
        """Return only b; the first block's phi and psi do not run."""
        first, *others = self
        for block in reversed(others):
            a, b = self._run(block.inverse, a, b, c)
        return self._run(first.inverse_b, a, b, c)


def _given(x: Tensor, condition: Tensor | None) -> Tensor:
    return x if condition is None else torch.cat((x, condition), dim=1)
