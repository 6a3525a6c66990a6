"""Whether a training is exploding: the loss's trend against the lowest that it has had."""

import math

MEMORY = 0.98  # of the running mean: about 50 steps
FIRST = 50  # steps before a trend says anything
CALM, EXPLODED = math.log(2), math.log(5)  # above the lowest trend


class Trend:
    """The running geometric mean of a phase's loss, and how far above its lowest it is.

    A single bad batch moves it by a part of 50; losses that stay five times above what they have been
    do not come back by themselves, and every number in them may be finite.

    Only what the terms measure may raise the trend, never their weights: a term counts with the least
    weight that it has had in the phase, so not at all once it was absent. A term that is ever negative
    measures no distance (a critic's score, say). It is left out from then on, and the trend begins anew.
    """

    def __init__(self, phase: int | None = None):
        self.phase = phase
        self.weights: dict[str, float] | None = None  # the least so far, by term
        self._begin()

    def _begin(self) -> None:
        self.count, self.mean, self.lowest = 0, 0.0, math.inf  # the latter two of the loss's logarithm

    def add(self, terms: dict[str, float], weights: dict[str, float]) -> None:
        """A step's weighted terms, and what each was multiplied by (1 where nothing is said)."""
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
        """Logarithm of the trend over its lowest; 0 where there is none yet."""
        return self.mean - self.lowest if math.isfinite(self.lowest) else 0.0

    def state(self) -> dict:
        return dict(vars(self))

    def restore(self, state: dict) -> None:
        vars(self).update(state)
