"""The running mean of a network's weights (exponential moving average, EMA)."""

import copy

import torch
from torch import Tensor

from models import HidingModel


class Average:
    """A second network whose weights are the running mean of the weights under training.

        mean = d mean + (1 - d) weights,   d = min(decay, (1 + t) / (10 + t)) in step t

    The smaller d of the first steps makes the mean forget the hardly trained weights soon, as in TensorFlow's
    ExponentialMovingAverage. Floating-point buffers, such as the means of batch normalisation, are averaged
    in the same way.

    decay: d once the run is long enough, 0 to 1.
    """

    def __init__(self, model: HidingModel, decay: float):
        self.model = copy.deepcopy(model).requires_grad_(False)
        self.decay = decay
        self.pairs = [
            (mean, now)
            for mean, now in zip(_tensors(self.model), _tensors(model), strict=True)
            if mean.is_floating_point()
        ]

    @torch.no_grad()
    def update(self, number: int, good: Tensor) -> None:
        """Add the weights after step `number` to the mean, if `good` (a boolean scalar on the device)."""
        share = good * (1 - min(self.decay, (1 + number) / (10 + number)))
        means = [mean for mean, _ in self.pairs]
        towards = torch._foreach_sub([now.detach() for _, now in self.pairs], means)
        torch._foreach_mul_(towards, share)
        torch._foreach_add_(means, towards)


def _tensors(model: HidingModel) -> list[Tensor]:
    return [*model.parameters(), *model.buffers()]
