"""Process many secrets a few at a time, so that 25 large pictures need only the memory of a few."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from tqdm import tqdm

LARGEST = {"cpu": 2**19}  # pixels at a time; on a CPU, more is not faster
LARGEST_ELSEWHERE = 2**23
SHARE = 0.5  # the most of the free memory that a slice may take


@dataclass(frozen=True)
class Slices:
    """How hide and reveal divide their work.

    room: bytes of free memory; None: unknown. A slice takes at most half of it, but holds at least one
    secret. progress: show the progress and the time left on stderr.
    """

    room: int | None = None
    progress: bool = False

    def at_once(self, pixels: int, bytes_a_pixel: int, device: torch.device) -> int:
        """Return how many secrets of so many pixels to process at a time."""
        most = LARGEST.get(device.type, LARGEST_ELSEWHERE)
        if self.room is not None:
            most = min(most, int(SHARE * self.room) // bytes_a_pixel)
        return max(1, most // pixels)

    def map(self, function: Callable[[slice], Tensor], count: int, step: int, what: str) -> Tensor:
        """Call function(slice) for `step` secrets at a time, and join the results (.,..) to (count,..).

        With gradients, everything runs at once, because the activations stay in memory anyway.
        """
        if torch.is_grad_enabled():
            return function(slice(None))
        done = None
        with tqdm(total=count, desc=what, unit="secret", disable=not self.progress, leave=False) as bar:
            for k in range(0, count, step):
                part = function(slice(k, k + step))
                if done is None:  # filled in place, because joining at the end would need twice the memory
                    done = part.new_empty(count, *part.shape[1:])
                done[k : k + step] = part
                bar.update(len(part))
        assert done is not None
        return done


USUAL = Slices()
