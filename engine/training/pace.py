"""How fast a run is: groups a second, the share of time spent waiting for pictures, peak memory."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeVar

import torch

Item = TypeVar("Item")


class Figures(NamedTuple):
    """groups a second; share of the time (0 to 1) in which the loop waited for pictures; bytes, or None."""

    groups_per_second: float
    waiting: float
    peak_memory: int | None

    def __str__(self) -> str:
        memory = "" if self.peak_memory is None else f", peak memory {self.peak_memory / 2**30:.2f} GiB"
        return f"{self.groups_per_second:.3g} groups/s, waiting {self.waiting:.0%}{memory}"


class Pace:
    """Measures between one line of the log and the next. `begin` leaves out what was done before it."""

    def __init__(self, device: torch.device):
        self.device = device
        self.begin()

    def begin(self) -> None:
        self.since, self.groups, self.waited = time.perf_counter(), 0, 0.0

    def watched(self, batches: Iterable[Item]) -> Iterator[Item]:
        """The batches themselves; how long each was waited for is added up."""
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
        """The figures since `begin`, which this is too. On a GPU: after the device was asked for values."""
        elapsed = max(time.perf_counter() - self.since, 1e-9)
        figures = Figures(self.groups / elapsed, min(1.0, self.waited / elapsed), peak_memory(self.device))
        self.begin()
        return figures


def peak_memory(device: torch.device) -> int | None:
    """The most memory that was in use so far [bytes]: of the GPU by tensors, or of this process on a CPU.

    None where the system does not say (MPS, Windows).
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if device.type != "cpu" or sys.platform == "win32":
        return None
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
