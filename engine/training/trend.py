"""Whether a training is exploding: the loss's trend against the lowest that it has had."""

import math

MEMORY = 0.98  # of the running mean: about 50 steps
FIRST = 50  # steps of a phase before its trend says anything
CALM, EXPLODED = math.log(2), math.log(5)  # above the lowest trend


class Trend:
    """The running geometric mean of a phase's loss, and how far above its lowest it is.

    A single bad batch moves it by a part of 50; losses that stay five times above what they have been
    do not come back by themselves, and every number in them may be finite.
    """

    def __init__(self, phase: int | None = None):
        self.phase, self.count = phase, 0
        self.mean, self.lowest = 0.0, math.inf  # of the loss's logarithm

    def add(self, loss: float) -> None:
        self.count += 1
        weight = max(1 - MEMORY, 1 / self.count)  # a plain mean at first
        self.mean += weight * (math.log(max(loss, 1e-30)) - self.mean)
        if self.count >= FIRST:
            self.lowest = min(self.lowest, self.mean)

    @property
    def rise(self) -> float:
        """Logarithm of the trend over its lowest; 0 where there is none yet."""
        return self.mean - self.lowest if math.isfinite(self.lowest) else 0.0

    def state(self) -> dict:
        return dict(vars(self))

    def restore(self, state: dict) -> None:
        vars(self).update(state)
