"""Decoded pictures in memory that all processes share, and how much memory there is."""

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
    """Pictures (3,H,W) uint8 of any sizes, one behind the other in one block of memory.

    One block, since a tensor that is sent to another process takes a file descriptor there: thousands of
    tensors would run out of them.

    sizes: (H,W) of each picture [px], in the order in which `fill` gets them.
    """

    def __init__(self, sizes: Sequence[tuple[int, int]]):
        self.sizes = list(sizes)
        self.starts = np.cumsum([0] + [3 * height * width for height, width in self.sizes])
        self.block = torch.empty(int(self.starts[-1]), dtype=torch.uint8)
        if not forks():
            # From the start: pickling would do it too, but would hold the pictures twice for a moment.
            self.block.share_memory_()

    def fill(self, pictures: Iterator[torch.Tensor]) -> None:
        for k, picture in enumerate(pictures):
            self[k].copy_(picture)

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, k):
        height, width = self.sizes[k]
        return self.block[self.starts[k] : self.starts[k + 1]].view(3, height, width)


def forks() -> bool:
    """Whether new processes begin as copies of this one; Python's default on Linux until 3.13."""
    # The first of the list is the default. Asking for it by get_start_method() would make it final.
    method = multiprocessing.get_start_method(allow_none=True) or multiprocessing.get_all_start_methods()[0]
    return method == "fork"


def available_memory(root: Path = ROOT) -> int | None:
    """Bytes that this process can still claim; None where the system does not say (not Linux).

    The least of what the machine has left, what the process's control groups (v1 and v2) leave it, as a
    container or a batch system sets them, and, unless processes are forked, the room for shared memory.
    root: where /proc, /sys and /dev are found.
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
    """Bytes that a device has left: a GPU's own, or what this process can still claim; None: not known."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return available_memory()


def _left_by_groups(root: Path) -> Iterator[int]:
    """What each control group of this process leaves it [bytes]; groups without a limit say nothing."""
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
        # The limits of all groups above hold too. In a container the path may be the host's, which is not
        # there: then the container's own group is at the top.
        for folder in (group, *group.parents):
            limit, used = _text(folder / names[0]), _text(folder / names[1])
            if limit and used and limit.strip() != "max" and int(limit) < UNLIMITED:
                # Files that were read and are no longer in use count as used, but give way.
                cached = re.search(rf"^{names[2]} (\d+)$", _text(folder / "memory.stat") or "", re.MULTILINE)
                yield max(0, int(limit) - int(used) + (int(cached[1]) if cached else 0))
            if folder == top:
                break


def _text(path: Path) -> str | None:
    try:
        return path.read_text()
    except OSError:
        return None
