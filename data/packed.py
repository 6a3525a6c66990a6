"""Decoded pictures in one memory-mapped file beside them, made once and shared by all processes and runs."""

import hashlib
import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from filelock import FileLock
from tqdm import tqdm

from data.files import replaced_at_once
from errors import UserError


class PackedPictures(Sequence[torch.Tensor]):
    """The pictures (3,H,W) uint8 of a packed file.

    Each process only reads what it needs from the disk, and the system keeps in memory what is used often.

    The file holds all values, one picture after the other, then the sizes (count,2) as int64, then the count
    as int64. Raises UserError if the file is not whole.
    """

    def __init__(self, file: Path):
        self.file = file
        content = np.memmap(file, np.uint8, "r")
        count = int(content[-8:].view(np.int64)[0]) if len(content) >= 8 else -1
        ends = len(content) - 8 - 16 * count
        if count < 1 or ends < 0:
            raise UserError(f"{file}: not a whole packed cache; delete it, and it is made again")
        self.sizes = np.frombuffer(content[ends:-8].tobytes(), np.int64).reshape(count, 2)
        self.starts = np.concatenate(([0], np.cumsum(3 * self.sizes.prod(axis=1))))
        if self.starts[-1] != ends:
            raise UserError(f"{file}: not a whole packed cache; delete it, and it is made again")
        with warnings.catch_warnings():  # torch warns of read-only memory, but nothing writes to it
            warnings.simplefilter("ignore", UserWarning)
            self.values = torch.from_numpy(content)

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, k):
        height, width = self.sizes[k]
        # A view, not a copy, so that cutting a patch only reads the rows of the patch.
        return self.values[self.starts[k] : self.starts[k + 1]].view(3, height, width)


def packed(pictures: Sequence[Path], read: Callable[[Path], torch.Tensor], how: str) -> PackedPictures:
    """Open the packed file of these pictures. Make it first if it does not exist; other processes then wait.

    read: reads a picture as (3,H,W) uint8. how: names what `read` does to a picture; part of the file's name.
    Raises UserError if the folder may not be written to, if a picture is newer than the file, and if the file
    is not whole.
    """
    folder = Path(os.path.commonpath([os.path.abspath(picture.parent) for picture in pictures]))
    names = "\n".join(os.path.relpath(picture, folder) for picture in pictures)
    mark = hashlib.sha256(f"{how}\n{names}".encode(errors="surrogateescape")).hexdigest()[:16]
    file = folder / f".packed_{mark}"
    if not os.access(folder, os.W_OK) and not file.exists():
        raise UserError(f"cache packed: no permission to write in {folder}; use cache: none or ram")
    with FileLock(f"{file}.lock"):
        if not file.exists():
            _make(file, pictures, read)
    made = file.stat().st_mtime_ns
    for picture in pictures:
        if picture.stat().st_mtime_ns > made:
            raise UserError(f"{file}: older than {picture}; delete this cache, and it is made again")
    found = PackedPictures(file)
    assert len(found) == len(pictures)
    return found


def _make(file: Path, pictures: Sequence[Path], read: Callable[[Path], torch.Tensor]) -> None:
    sizes = []
    with replaced_at_once(file) as part, open(part, "wb") as out:
        for picture in tqdm(pictures, "packing pictures", unit="picture", disable=None):
            values = read(picture)
            sizes.append(values.shape[1:])
            out.write(values.contiguous().numpy().tobytes())
        out.write(np.array(sizes, np.int64).tobytes())
        out.write(np.int64(len(sizes)).tobytes())
