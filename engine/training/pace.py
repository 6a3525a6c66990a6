"""How fast a run is: groups per second, share of time spent waiting for pictures, peak memory."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeVar

import torch

Item = TypeVar("Item")


class Figures(NamedTuple):
    """How fast a run was between two lines of its log.

    waiting: share of the time in which the loop waited for pictures, 0 to 1.
    peak_memory: bytes; None if the system does not say.
    """

    groups_per_second: float
    waiting: float
    peak_memory: int | None

    def __str__(self) -> str:
        memory = "" if self.peak_memory is None else f", peak memory {self.peak_memory / 2**30:.2f} GiB"
        return f"{self.groups_per_second:.3g} groups/s, waiting {self.waiting:.0%}{memory}"


class Pace:
    """Measures the speed between one line of the log and the next."""

    def __init__(self, device: torch.device):
        self.device = device
        self.begin()

    def begin(self) -> None:
        """Start a new measurement; everything before this call is left out."""
        self.since, self.groups, self.waited = time.perf_counter(), 0, 0.0

    def watched(self, batches: Iterable[Item]) -> Iterator[Item]:
        """Yield the batches unchanged and add up the time spent waiting for each."""
        source = iter(batches)
        while True:
            asked = time.perf_counter()
            try:
                batch = next(source)
            except StopIteration:
                return
            self.waited += time.perf_counter() - asked
            yield batch

    def read(self) -> Figures:
        """The figures since the last `begin` or `read`.

        On a GPU, read values from the device first, so that its work is done.
        """
        elapsed = max(time.perf_counter() - self.since, 1e-9)
        figures = Figures(self.groups / elapsed, min(1.0, self.waited / elapsed), peak_memory(self.device))
        self.begin()
        return figures


def peak_memory(device: torch.device) -> int | None:
    """The most memory used so far [bytes]: by tensors on a GPU, or by this process on a CPU.

    None if the system does not say (MPS, Windows).
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if device.type != "cpu" or sys.platform == "win32":
        return None
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
