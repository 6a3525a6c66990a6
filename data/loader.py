"""Groups as tensors: drawn at random in training, fixed in validation and test.

Training item i only depends on the seed and on i. So a run sees the same pictures with any number of workers,
and an interrupted run continues exactly where it stopped, by starting at that item.
"""

import atexit
import multiprocessing
import signal
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from data.broken import BrokenPictures
from data.groups import Group
from data.images import picture_sizes, read_picture, to_tensor
from data.memory import SharedPictures, available_memory
from data.packed import packed
from data.transforms import (
    load_group,
    resize_picture,
    resized_size,
    to_grey,
    usable_pictures,
)
from errors import UserError

CACHES = ("none", "ram", "packed")
BROKEN_IN_ROW = 20  # after so many in a row, not single pictures are broken: the disk or the folder is gone
LARGEST_CACHE = 0.6  # share of the available memory that cache="ram" may fill


class TrainingGroups(Dataset):
    """`length` groups of a cover and N secrets, all different pictures, each cropped at random.

    Item i: {"cover": (3,crop,crop) uint8, "secrets": (N,3,crop,crop) uint8}.
    If a picture cannot be read, another one takes its place, drawn from the same random numbers. `broken`
    counts such pictures over all workers and names the latest.

    pictures: files; see `list_pictures`.
    crop: side of the square [px]. flip, rotate: see `training_transform`.
    seed: 0 or more.
    length: the number of items: training steps times groups per step.
    resize: resize the short side to this before the crop [px]; None keeps the picture's size.
    small: what to do with pictures that are smaller than the crop: "error", "skip" or "enlarge".
    cache: "none" decodes a picture each time it is drawn. "ram" decodes every picture once at the start, and
        all workers share them. "packed" decodes them once for all runs into a file beside the pictures; see
        data/packed.py.
    grey: turn pictures to grey, see `to_grey`.
    Raises UserError for pictures that are too small, too few or, with "ram", too many.
    """

    def __init__(
        self,
        pictures: Sequence[Path],
        num_secrets: int,
        crop: int,
        seed: int,
        length: int,
        flip: bool = True,
        rotate: bool = True,
        resize: int | None = None,
        small: str = "error",
        cache: str = "none",
        grey: bool = False,
    ):
        if cache not in CACHES:
            raise UserError(f"cache {cache!r}: expected {' or '.join(CACHES)}")
        self.pictures = usable_pictures(pictures, crop, resize, small)
        if len(self.pictures) < num_secrets + 1:
            raise UserError(
                f"a group needs 1 cover + {num_secrets} secrets = {num_secrets + 1} pictures, "
                f"but there are {len(self.pictures)} to train on"
            )
        self.num_secrets, self.seed, self.length = num_secrets, seed, length
        self.crop, self.resize, self.small, self.grey = crop, resize, small, grey
        from data.variation import training_transform  # slow to import, and only needed for training

        self.vary = training_transform(crop, flip, rotate)
        self.broken = BrokenPictures()
        self.cached: Sequence[torch.Tensor] | None = None
        if cache == "ram":
            self.cached = self._read_all()
        elif cache == "packed":
            self.cached = packed(self.pictures, self._read, f"{crop} {resize} {small} {grey}")

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        if not 0 <= index < self.length:  # `for item in dataset` needs the IndexError to end
            raise IndexError(f"item {index} of {self.length}")
        rng = np.random.default_rng([self.seed, index])
        chosen = rng.choice(len(self.pictures), self.num_secrets + 1, replace=False)
        # The transforms draw from torch's global generator. Seed it for this item, then restore it.
        # `torch.manual_seed` would also reseed the GPUs' generators, and they would not be restored.
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(int(rng.integers(2**63)))
            taken = {int(which) for which in chosen}
            cover, *secrets = (self.vary(self._readable(int(which), taken, rng)) for which in chosen)
        return {"cover": cover, "secrets": torch.stack(secrets)}

    def _readable(self, which: int, taken: set[int], rng: np.random.Generator) -> torch.Tensor:
        """Read picture `which`, or if it cannot be read, another one that is not in the group."""
        for _ in range(BROKEN_IN_ROW):
            try:
                return self._picture(which)
            except UserError as error:
                self.broken.add(str(error))
                last = error
            if len(taken) == len(self.pictures):
                break
            which = int(rng.choice([k for k in range(len(self.pictures)) if k not in taken]))
            taken.add(which)
        raise UserError(f"no readable picture was found in place of broken ones; the last one: {last}")

    def _picture(self, which: int) -> torch.Tensor:
        return self._read(self.pictures[which]) if self.cached is None else self.cached[which]

    def _read(self, path: Path) -> torch.Tensor:
        array = to_grey(read_picture(path)) if self.grey else read_picture(path)
        return resize_picture(to_tensor(array), self.crop, self.resize, self.small)

    def _read_all(self) -> SharedPictures:
        sizes = [
            resized_size(*size, self.crop, self.resize, self.small) for size in picture_sizes(self.pictures)
        ]
        needed, available = sum(3 * height * width for height, width in sizes), available_memory()
        if available is not None and needed > LARGEST_CACHE * available:
            raise UserError(
                f"cache ram: {len(self.pictures)} pictures need {needed / 1e9:.1f} GB, more than "
                f"{LARGEST_CACHE:.0%} of the {available / 1e9:.1f} GB available; use cache: none"
            )
        cached = SharedPictures(sizes)
        bar = tqdm(self.pictures, "reading pictures", unit="picture", disable=None)
        cached.fill(self._read(picture) for picture in bar)
        return cached


def training_loader(
    dataset: TrainingGroups,
    batch_size: int,
    start_step: int = 0,
    workers: int = 0,
    pin_memory: bool = False,
    rank: int = 0,
    ranks: int = 1,
) -> DataLoader:
    """Load the batches of all steps from `start_step` on; the loader's length is the number of these steps.

    Step k takes the items k*B to (k+1)*B - 1, where B = batch_size * ranks. Of these, process `rank` takes
    every ranks-th item. An incomplete last step is left out.

    batch_size: groups per step in each process.
    workers: the number of processes that read pictures; with 0, this process does.
    rank, ranks: the number of this process, from 0, and how many there are.
    Each batch is a dict: cover (batch_size,3,H,W) and secrets (batch_size,N,3,H,W), uint8.
    """
    step_items = batch_size * ranks
    end = len(dataset) // step_items * step_items
    return DataLoader(
        dataset,
        batch_size=batch_size,
        sampler=range(start_step * step_items + rank, end, ranks),
        num_workers=workers,
        pin_memory=pin_memory,
        persistent_workers=workers > 0,
        worker_init_fn=_start_worker,
        # A separate generator, because the loader would draw from the global one at each start. A resumed run
        # would then differ from an uninterrupted one.
        generator=torch.Generator(),
    )


def _start_worker(worker: int) -> None:
    # Ctrl-C, or a SIGTERM to the process group, reaches all processes. The main one decides what to do, and
    # ends the workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    torch.set_num_threads(1)


@atexit.register
def _end_workers() -> None:
    """Kill the loader's workers when Python exits.

    The workers are daemons. At its exit Python sends daemons a SIGTERM and waits for them, but the workers
    ignore SIGTERM, so Python would wait forever. SIGCHLD is reset because torch would raise an error for each
    worker that ends.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for process in multiprocessing.active_children():
        if process.daemon:
            process.kill()


class EvaluationGroups(Dataset):
    """Fixed groups for validation and test.

    Item g: {"cover": (3,H,W) uint8, "secrets": (N,3,H,W) uint8}; see `load_group` for the sizes.
    Without a crop, sizes differ between groups, so a batch can only hold one group.

    crop, resize, small, grey: see `load_group`.
    Raises UserError if a picture is smaller than the crop, unless small is "enlarge": a picture cannot be
    left out of a group that is already made (see `usable_pictures`).
    """

    def __init__(
        self,
        groups: Sequence[Group],
        crop: int | None = None,
        resize: int | None = None,
        small: str = "error",
        grey: bool = False,
    ):
        self.groups = list(groups)
        self.crop, self.resize, self.small, self.grey = crop, resize, small, grey
        pictures = dict.fromkeys(p for group in self.groups for p in (group.cover, *group.secrets))
        usable_pictures(list(pictures), crop, resize, "error" if small == "skip" else small)

    def __len__(self) -> int:
        return len(self.groups)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        cover, secrets = load_group(self.groups[index], self.crop, self.resize, self.small, self.grey)
        return {"cover": cover, "secrets": secrets}
