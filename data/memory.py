"""Decoded pictures in memory that all processes share, and how much memory is free."""

import multiprocessing
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

ROOT = Path("/")
UNLIMITED = 2**60  # cgroup v1 writes "no limit" as a number near 2**63


class SharedPictures(Sequence[torch.Tensor]):
    """Pictures (3,H,W) uint8 of any sizes, one after the other in a single block of memory.

    There is only one block, because each tensor that is sent to another process takes a file descriptor
    there. Thousands of tensors would use them up.

    sizes: (H,W) of each picture [px], in the order in which `fill` gets the pictures.
    """

    def __init__(self, sizes: Sequence[tuple[int, int]]):
        self.sizes = list(sizes)
        self.starts = np.cumsum([0] + [3 * height * width for height, width in self.sizes])
        self.block = torch.empty(int(self.starts[-1]), dtype=torch.uint8)
        if not forks():
            # Share now. Pickling would share later, but would hold the pictures twice for a moment.
            self.block.share_memory_()

    def fill(self, pictures: Iterator[torch.Tensor]) -> None:
        """Copy all pictures into the block, in order."""
        for k, picture in enumerate(pictures):
            self[k].copy_(picture)

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, k):
        height, width = self.sizes[k]
        return self.block[self.starts[k] : self.starts[k + 1]].view(3, height, width)


def forks() -> bool:
    """Say whether new processes start as copies of this one, as is Python's default on Linux up to 3.13."""
    # The first of the list is the default. get_start_method() would make the default final.
    method = multiprocessing.get_start_method(allow_none=True) or multiprocessing.get_all_start_methods()[0]
    return method == "fork"


def available_memory(root: Path = ROOT) -> int | None:
    """Return how many bytes this process can still claim; None if the system does not say (not Linux).

    This is the smallest of the machine's free memory, the limits of the process's control groups (v1 and v2,
    set by containers and batch systems), and, unless processes are forked, the free shared memory.

    root: the folder that holds /proc, /sys and /dev.
    """
    report = _text(root / "proc/meminfo") or ""
    found = re.search(r"MemAvailable:\s*(\d+) kB", report)
    limits = [int(found[1]) * 1024] if found else []
    limits += _left_by_groups(root)
    shared = root / "dev/shm"
    if not forks() and shared.is_dir():
        limits.append(shutil.disk_usage(shared).free)
    return min(limits, default=None)


def free_memory(device: torch.device) -> int | None:
    """Return the free bytes of a device; None if unknown.

    For a CUDA device this is its own memory, otherwise what `available_memory` returns.
    """
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return available_memory()


def _left_by_groups(root: Path) -> Iterator[int]:
    """Yield the free bytes in each control group of this process; groups without a limit yield nothing."""
    for line in (_text(root / "proc/self/cgroup") or "").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":  # v2
            top, names = root / "sys/fs/cgroup", ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):  # v1
            top = root / "sys/fs/cgroup/memory"
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        group = top / path.lstrip("/")
        # The limits of all parent groups apply too. In a container the path may be the host's and not exist
        # here; the container's own group is then at the top.
        for folder in (group, *group.parents):
            limit, used = _text(folder / names[0]), _text(folder / names[1])
            if limit and used and limit.strip() != "max" and int(limit) < UNLIMITED:
                # Cached files count as used, but the system frees them if needed.
                cached = re.search(rf"^{names[2]} (\d+)$", _text(folder / "memory.stat") or "", re.MULTILINE)
                yield max(0, int(limit) - int(used) + (int(cached[1]) if cached else 0))
            if folder == top:
                break


def _text(path: Path) -> str | None:
    try:
        return path.read_text()
    except OSError:
        return None
