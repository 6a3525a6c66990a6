"""The states that a training resumes from, and those of the random generators.

They hold data, never code: torch.load(weights_only=True). They are written as weights are, see
engine/checkpoint.py.
"""

import io
import os
import random
import shutil
from pathlib import Path

import numpy as np
import torch

from data.files import replaced_at_once
from errors import UserError

PREVIOUS = "previous.state"  # the state that last.state replaced


def save_state(path: Path, state: dict, keep_previous: bool = False) -> None:
    """Write a state of tensors, numbers, texts, lists and dicts.

    keep_previous: keep the replaced state beside it as previous.state.
    Raises OSError if the disk is full. The state is serialised in memory first, because torch would raise
    another error.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced_at_once(path) as part:
        part.write_bytes(buffer.getvalue())
        if keep_previous and path.exists():  # only now, so that a full disk leaves both unchanged
            _keep_as(path, path.with_name(PREVIOUS))


def _keep_as(path: Path, kept: Path) -> None:
    """Give a file a second name, which stays when the first name gets a new file."""
    with replaced_at_once(kept) as part:
        try:
            os.link(path, part)
        except OSError:  # a file system without links
            shutil.copyfile(path, part)


def load_newest(path: Path) -> tuple[dict, str | None]:
    """The state at `path`, and None; if it is damaged, the previous state, and a log line that says so."""
    previous = path.with_name(PREVIOUS)
    try:
        return load_state(path), None
    except UserError as error:
        if not previous.exists():
            if not path.exists():
                raise UserError(f"{path}: nothing to resume from; start without --resume") from None
            raise
        state = load_state(previous)
        return state, f"{error}; continued from the one before it, {PREVIOUS}, of step {state['step']}"


def load_state(path: Path) -> dict:
    """Read what `save_state` wrote. Raises UserError if the file is missing or truncated or holds code."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such training state") from None
    except Exception as error:  # torch raises a dozen kinds of errors, from zipfile's to pickle's
        reason = str(error).splitlines()[0][:120]
        raise UserError(
            f"{path}: not a whole training state, or it holds more than data ({reason}); nothing was executed"
        ) from error


def random_state() -> dict:
    """The state of every random generator that training may use: tensors, numbers and lists."""
    kind, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)
    return {
        "python": random.getstate(),
        "numpy": [kind, np.asarray(keys).tolist(), int(position), int(has_gauss), float(gauss)],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_random_state(state: dict) -> None:
    """Restore what `random_state` returned; CUDA's only if there are as many devices as then."""
    random.setstate(state["python"])
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, np.array(keys, dtype=np.uint32), *rest))
    torch.set_rng_state(state["torch"])
    if state["cuda"] and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
