"""Folders of runs: one writer at a time, no earlier run is lost, no results of other settings mixed in."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

import yaml

from data.files import locked, write_beside
from errors import UserError
from options import dotted


def open_run(run: Path, about: dict[str, str], resume: bool) -> tuple[ExitStack, str | None]:
    """Make a run's folder, or take up the one that is there; an earlier run of the name is moved aside.

    about: the text of each file that says what the run is. Returns what holds the folder's lock until it
    is closed, and the name under which an earlier run was kept. Raises UserError where another process is
    writing there.
    """
    with ExitStack() as lock:
        lock.enter_context(locked(run, "another run is writing there; stop it or choose another name"))
        archived = None
        if resume:
            _write(run, about)
        else:
            archived = _make(run, about)
        return lock.pop_all(), archived.name if archived else None


def _make(run: Path, about: dict[str, str]) -> Path | None:
    """Make a run's folder; returns where an earlier one went, if there was one."""
    # Made beside and renamed: where the disk is full, the earlier run keeps its name.
    new = run.with_name(f".{run.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    (new / "checkpoints").mkdir(parents=True)
    _write(new, about)
    archived = _archive_name(run) if run.exists() else None
    if archived:
        os.rename(run, archived)
    os.rename(new, run)
    return archived


def started_by(run: Path, launch: tuple[str, int] | None) -> bool:
    """Whether a run began under this very call of torchrun, which has started its processes again since.

    launch: see engine/processes.py. A run of the same name that is older is not gone on with.
    """
    if launch is None or launch[1] == 0 or not any(run.glob("checkpoints/*.state")):
        return False
    before = json.loads((run / "env.json").read_text()).get("launch")
    return before is not None and before[0] == launch[0]


def changes(before: str, now: str) -> Iterator[str]:
    """What differs between two option files' texts: "train.lr: 0.001 -> 0.002", ..."""
    old, new = dotted(yaml.safe_load(before)), dotted(yaml.safe_load(now))
    for key in sorted(old.keys() | new.keys()):
        if old.get(key) != new.get(key):
            yield f"{key}: {old.get(key)} -> {new.get(key)}"


def keep_settings(file: Path, settings: dict) -> None:
    """Write what a folder's results are made with; UserError where that was something else before."""
    if file.exists():
        before = json.loads(file.read_text())
        for key, value in settings.items():
            if before.get(key, value) != value:
                raise UserError(f"{file}: made with {key} {before[key]}, not {value}; choose another folder")
        settings = before | settings
    file.parent.mkdir(parents=True, exist_ok=True)
    write_beside(file, (json.dumps(settings, indent=2) + "\n").encode())


def record_validation(run: Path, step: int, seconds: float, scores: dict[str, float]) -> None:
    """Append a validation to the run's history.jsonl: step, seconds of the run so far, PSNR in dB.

    After a return to a checkpoint a step can be there twice: the last line of a step counts.
    """
    line = json.dumps({"step": step, "seconds": round(seconds, 1), **scores})
    with open(run / "history.jsonl", "a", encoding="utf-8") as file:
        file.write(line + "\n")


def _write(run: Path, about: dict[str, str]) -> None:
    for name, text in about.items():
        write_beside(run / name, text.encode())


def _archive_name(run: Path) -> Path:
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    names = [f"{run.name}_archived_{stamp}"] + [f"{run.name}_archived_{stamp}-{k}" for k in range(2, 100)]
    return next(path for path in map(run.with_name, names) if not path.exists())
