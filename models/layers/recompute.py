"""Blocks that keep no more than their inputs for the backward pass, and are run a second time in it."""

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

Result = TypeVar("Result")


class Recomputing:
    """Base of the modules that are made of blocks, which they run through `_run`.

    recompute: True saves memory in training, for the time of a second forward pass. Values and gradients
    stay the same to the last bit.
    """

    recompute: bool = False

    def _run(self, block: Callable[..., Result], *inputs: torch.Tensor | None) -> Result:
        """block(*inputs). The block must be a function of its inputs and weights: no dropout, no noise."""
        if self.recompute and torch.is_grad_enabled():
            return checkpoint(block, *inputs, use_reentrant=False, preserve_rng_state=False)
        return block(*inputs)


def recompute_blocks(model: nn.Module, wanted: bool) -> int:
    """Set `recompute` wherever a network is made of blocks; in how many places that is."""
    places = [part for part in model.modules() if isinstance(part, Recomputing)]
    for part in places:
        part.recompute = wanted
    return len(places)
