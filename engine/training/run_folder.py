"""Folders of runs: one writer at a time; keeps earlier runs; refuses to mix results of different settings."""

import json
import math
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
    """Create a run's folder and rename an earlier run of that name; with `resume`, open the existing folder.

    about: file name -> text, for the files that describe the run.
    Returns a context that holds the folder's lock until closed, and the new name of an earlier run, or None.
    Raises UserError if another process is writing to the folder.
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
    """Create a run's folder; return the new path of an earlier run, if there was one."""
    # Written under another name first, so that the earlier run keeps its name if the disk is full.
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
    """Whether this same call of torchrun started the run and has since restarted its processes.

    Such a run continues; an older run of the same name does not. launch: see engine/processes.py.
    """
    if launch is None or launch[1] == 0 or not any(run.glob("checkpoints/*.state")):
        return False
    before = json.loads((run / "env.json").read_text()).get("launch")
    return before is not None and before[0] == launch[0]


def changes(before: str, now: str) -> Iterator[str]:
    """Yield the differences between the texts of two option files, such as "train.lr: 0.001 -> 0.002"."""
    old, new = dotted(yaml.safe_load(before)), dotted(yaml.safe_load(now))
    for key in sorted(old.keys() | new.keys()):
        if old.get(key) != new.get(key):
            yield f"{key}: {old.get(key)} -> {new.get(key)}"


def keep_settings(file: Path, settings: dict) -> None:
    """Write the settings behind a folder's results. Raises UserError if the file holds a different value."""
    if file.exists():
        before = json.loads(file.read_text())
        for key, value in settings.items():
            if before.get(key, value) != value:
                raise UserError(f"{file}: made with {key} {before[key]}, not {value}; choose another folder")
        settings = before | settings
    file.parent.mkdir(parents=True, exist_ok=True)
    write_beside(file, (json.dumps(settings, indent=2) + "\n").encode())


def record_validation(run: Path, step: int, seconds: float, scores: dict[str, float]) -> None:
    """Append a validation to the run's history.jsonl: step, seconds of the run so far, PSNR [dB].

    A step can occur twice, after a return to a checkpoint: the last line of a step counts. JSON has no
    infinity, which is the PSNR of a stego that equals its cover: it is written as "inf".
    """
    told = {name: score if math.isfinite(score) else str(score) for name, score in scores.items()}
    line = json.dumps({"step": step, "seconds": round(seconds, 1), **told}, allow_nan=False)
    with open(run / "history.jsonl", "a", encoding="utf-8") as file:
        file.write(line + "\n")


def _write(run: Path, about: dict[str, str]) -> None:
    for name, text in about.items():
        write_beside(run / name, text.encode())


def _archive_name(run: Path) -> Path:
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    names = [f"{run.name}_archived_{stamp}"] + [f"{run.name}_archived_{stamp}-{k}" for k in range(2, 100)]
    return next(path for path in map(run.with_name, names) if not path.exists())
