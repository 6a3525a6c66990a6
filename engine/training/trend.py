"""Detect that training explodes: compare the loss's trend with its lowest value so far."""

import math

MEMORY = 0.98  # decay of the running mean, which covers about 50 steps
FIRST = 50  # steps before the trend is reliable
CALM, EXPLODED = math.log(2), math.log(5)  # logarithm of the trend over its lowest


class Trend:
    """The running geometric mean of a phase's loss, and how far it is above its lowest value.

    A single bad batch moves the mean by only 1/50. A loss that stays at five times its former value does not
    recover by itself, even though every number in it may be finite.

    Only the measured terms may raise the trend, never their weights. A term therefore counts with the
    smallest weight that it has had in the phase, and not at all once it was absent. A term that becomes
    negative, such as a critic's score, is not a distance. It then stays out, and the trend restarts.

    phase: index of the phase that the trend belongs to.
    """

    def __init__(self, phase: int | None = None):
        self.phase = phase
        self.weights: dict[str, float] | None = None  # smallest weight of each term so far
        self._begin()

    def _begin(self) -> None:
        self.count, self.mean, self.lowest = 0, 0.0, math.inf  # mean and lowest are of the loss's logarithm

    def add(self, terms: dict[str, float], weights: dict[str, float]) -> None:
        """Take in a step's weighted terms.

        weights: the weight that each term already contains; 1 for a term without an entry.
        """
        now = {name: weights.get(name, 1.0) for name in terms}
        least = now if self.weights is None else self.weights
        self.weights = {name: min(weight, now.get(name, 0.0)) for name, weight in least.items()}
        for name, weight in self.weights.items():
            if weight > 0 and terms[name] < 0:
                self.weights[name] = 0.0
                self._begin()
        loss = sum(terms[name] * weight / now[name] for name, weight in self.weights.items() if weight > 0)
        if loss > 0:
            self._follow(math.log(loss))

    def _follow(self, loss: float) -> None:
        self.count += 1
        share = max(1 - MEMORY, 1 / self.count)  # a plain mean at first
        self.mean += share * (loss - self.mean)
        if self.count >= FIRST:
            self.lowest = min(self.lowest, self.mean)

    @property
    def rise(self) -> float:
        """Logarithm of the trend over its lowest value; 0 until there is a trend."""
        return self.mean - self.lowest if math.isfinite(self.lowest) else 0.0

    def state(self) -> dict:
        """Everything that `restore` needs, as plain data."""
        return dict(vars(self))

    def restore(self, state: dict) -> None:
        vars(self).update(state)
