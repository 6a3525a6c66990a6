"""Keep the list of a large folder and the sizes of its pictures.

So a folder of a million files is walked, and the headers of its pictures are read, only once.
"""

import hashlib
import io
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from data.files import write_beside

FEWEST = 10_000  # pictures; nothing is kept of shorter lists


def read_kept(folder: Path) -> list[str] | None:
    """Return the relative paths that `keep` stored; None if there are none or a folder changed since then.

    A folder's modification time changes when a file in it is added, removed or renamed.
    """
    try:
        place = _place(os.path.abspath(folder), "list", "json")
        kept = json.loads(place.read_text(encoding="utf-8"))
        unchanged = all(os.stat(here).st_mtime_ns == time for here, time in kept["folders"].items())
        return kept["files"] if unchanged else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # there is no kept list, or it cannot be used


def keep(folder: Path, folders: dict[str, int], files: list[str]) -> None:
    """Store the list of a folder if it is long.

    folders: each folder that was walked, with its modification time (st_mtime_ns) before the walk. files: the
    relative paths of the pictures.
    """
    if len(files) < FEWEST:
        return
    try:
        text = json.dumps({"folders": folders, "files": files}).encode()
    except ValueError:
        return  # names that are not text: the next start walks the folder again
    _write(_place(os.path.abspath(folder), "list", "json"), text)


def kept_sizes(pictures: Sequence[Path], read: Callable[[Path], tuple[int, int]]) -> list[tuple[int, int]]:
    """Return (height, width) [px] of each picture; `read` only gets those that changed since the last time.

    The kept file is (count,3) int64: the modification time of each file (st_mtime_ns), height and width.
    """
    if len(pictures) < FEWEST:
        return [read(picture) for picture in pictures]
    place = _place("\n".join(map(os.path.abspath, pictures)), "sizes", "npy")
    rows = np.full((len(pictures), 3), -1, np.int64)
    try:
        kept = np.load(place, allow_pickle=False)
        if kept.shape == rows.shape and kept.dtype == rows.dtype:
            rows = kept
    except (OSError, ValueError, EOFError):
        pass  # none was kept, or it cannot be used: all headers are read
    changed = False
    bar = tqdm(pictures, "reading sizes", unit="picture", disable=None, leave=False)
    for row, picture in zip(rows, bar, strict=True):
        time = _changed_at(picture)
        if row[0] != time:
            row[:] = (time, *read(picture))
            changed = True
    if changed:
        content = io.BytesIO()
        np.save(content, rows)
        _write(place, content.getvalue())
    return [(int(height), int(width)) for _, height, width in rows]


def _changed_at(picture: Path) -> int:
    """Return the modification time of a file [ns]; 0 if it is gone, which `read` will report."""
    try:
        return os.stat(picture).st_mtime_ns
    except OSError:
        return 0


def _write(place: Path, content: bytes) -> None:
    try:
        write_beside(place, content)
    except (OSError, ValueError):
        pass  # no home folder or a full disk: the next start reads the folder again


def _place(what: str, kind: str, suffix: str) -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    mark = hashlib.sha256(what.encode(errors="surrogateescape")).hexdigest()[:24]
    return cache / "image-hiding" / f"{kind}_{mark}.{suffix}"
