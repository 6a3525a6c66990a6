"""Lists of large folders, kept: a folder of a million files is walked once, not at every start."""

import hashlib
import json
import os
from pathlib import Path

from data.files import write_beside

FEWEST = 10_000  # pictures of a folder whose list is kept


def read_kept(folder: Path) -> list[str] | None:
    """The relative paths that `keep` got, where no folder below has changed since; else None.

    A folder's time changes when a file comes, goes or is renamed in it.
    """
    try:
        kept = json.loads(_place(folder).read_text(encoding="utf-8"))
        unchanged = all(os.stat(here).st_mtime_ns == time for here, time in kept["folders"].items())
        return kept["files"] if unchanged else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # none was kept, or it cannot be used: the folder is walked


def keep(folder: Path, folders: dict[str, int], files: list[str]) -> None:
    """folders: each that was walked, with its time (st_mtime_ns) before that. files: relative paths."""
    if len(files) < FEWEST:
        return
    try:
        text = json.dumps({"folders": folders, "files": files})
        write_beside(_place(folder), text.encode())
    except (OSError, ValueError):
        pass  # no home, a full disk, or names that are no text: the next start walks the folder again


def _place(folder: Path) -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    mark = hashlib.sha256(os.path.abspath(folder).encode(errors="surrogateescape")).hexdigest()[:24]
    return cache / "image-hiding" / f"list_{mark}.json"
