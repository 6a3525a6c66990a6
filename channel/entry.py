"""One entry of a training channel: an attack whose strengths may be ranges."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from channel.attacks import Attack, StrengthError, is_number
from channel.notation import Written, make_attack
from errors import UserError

STEPS = {"size": 2}  # the step in a range of integers, if it is not 1; sizes are odd


@dataclass(frozen=True)
class Entry:
    """What may happen to a stego, and how often compared with the other entries of the channel.

    links: the attacks of a chain, each as a mapping in the notation of `make_attack`. A strength may be a
        range: a list [low, high] of two numbers.
    weight: how often the entry is drawn, relative to the other entries; above 0.
    """

    links: tuple[Mapping[str, Any], ...]
    weight: float = 1.0

    def __post_init__(self):
        if not (is_number(self.weight) and 0 < self.weight < float("inf")):
            raise StrengthError("weight", f"expected a number above 0, got {self.weight}")
        for end in (0, 1):
            self.at_end(end)

    @classmethod
    def read(cls, written: Written) -> "Entry":
        """Read an entry such as {"type": "jpeg", "quality": [70, 95], "weight": 2}. A list is a chain.

        A chain has its weight in its first attack. Raises UserError as `make_attack` does, and for
        a weight of 0 or less, a weight elsewhere in a chain, and a list that is not a range.
        """
        links = [dict(link) for link in ([written] if isinstance(written, Mapping) else written)]
        weight = links[0].pop("weight", 1.0) if links else 1.0
        if any("weight" in link for link in links):
            raise UserError("weight: a chain's weight belongs in its first attack")
        return cls(tuple(links), weight)

    def at_end(self, end: int) -> Attack:
        """Return the attack with each range at its low (0) or high (1) end."""
        return make_attack([{k: end_of(k, v, end) for k, v in link.items()} for link in self.links])

    def draw(self, rng: np.random.Generator) -> Attack:
        """Draw an attack. Its strengths are drawn evenly from their ranges.

        A range of integers gives integers, including both ends (odd ones for a size). Any other range gives
        floats.
        """
        return make_attack([{k: _draw(k, v, rng) for k, v in link.items()} for link in self.links])


def end_of(name: str, value: Any, end: int) -> Any:
    """Return the low (0) or high (1) end of a range, or the value itself if it is no range.

    Raises StrengthError for a list that is not a range.
    """
    if not isinstance(value, list | tuple):
        return value
    if not (len(value) == 2 and all(map(is_number, value)) and value[0] <= value[1]):
        raise StrengthError(
            name, f"expected one value or a range [low, high], the lower number first, got {list(value)}"
        )
    return value[end]


def _draw(name: str, value: Any, rng: np.random.Generator) -> Any:
    if not isinstance(value, list | tuple):
        return value
    low, high = value
    if isinstance(low, int) and isinstance(high, int):
        step = STEPS.get(name, 1)
        return low + step * int(rng.integers((high - low) // step, endpoint=True))
    return float(rng.uniform(low, high))
