"""Keep the lists of large folders, so that a folder of a million files is only walked once."""

import hashlib
import json
import os
from pathlib import Path

from data.files import write_beside

FEWEST = 10_000  # pictures; shorter lists are not kept


def read_kept(folder: Path) -> list[str] | None:
    """Return the relative paths that `keep` stored; None if there are none or a folder changed since then.

    A folder's modification time changes when a file in it is added, removed or renamed.
    """
    try:
        kept = json.loads(_place(folder).read_text(encoding="utf-8"))
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
        text = json.dumps({"folders": folders, "files": files})
        write_beside(_place(folder), text.encode())
    except (OSError, ValueError):
        pass  # no home folder, a full disk, or names that are not text: the next start walks the folder again


def _place(folder: Path) -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    mark = hashlib.sha256(os.path.abspath(folder).encode(errors="surrogateescape")).hexdigest()[:24]
    return cache / "image-hiding" / f"list_{mark}.json"
