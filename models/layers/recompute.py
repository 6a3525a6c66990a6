"""Blocks that keep only their inputs for the backward pass, and run a second time in it."""

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

Result = TypeVar("Result")


class Recomputing:
    """Base of modules that consist of blocks, and run them through `_run`.

    recompute: True saves memory in training, at the cost of a second forward pass. Values and gradients stay
    the same to the last bit.
    """

    recompute: bool = False

    def _run(self, block: Callable[..., Result], *inputs: torch.Tensor | None) -> Result:
        """Run block(*inputs). The block must depend only on its inputs and weights: no dropout, no noise."""
        if self.recompute and torch.is_grad_enabled():
            return checkpoint(block, *inputs, use_reentrant=False, preserve_rng_state=False)
        return block(*inputs)


def recompute_blocks(model: nn.Module, wanted: bool) -> int:
    """Set `recompute` in every module that consists of blocks, and return the number of these modules."""
    places = [part for part in model.modules() if isinstance(part, Recomputing)]
    for part in places:
        part.recompute = wanted
    return len(places)
