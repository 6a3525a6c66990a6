"""Where a run leaves its traces: console, train.log, env.json."""

import json
import logging
import platform
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from torch.utils.tensorboard import SummaryWriter

ROOT = Path(__file__).resolve().parents[1]
EXPERIMENTS = ROOT / "experiments"

logger = logging.getLogger("hiding")


def log_to(path: Path | None = None) -> None:
    """Send the log to the console and, with a path, to that file too (appended)."""
    close_log()
    logger.setLevel(logging.INFO)
    logger.propagate = False
    console = logging.StreamHandler(sys.stdout)
    console.setFormatter(logging.Formatter("%(message)s"))
    logger.addHandler(console)
    if path is not None:
        file = logging.FileHandler(path, encoding="utf-8")
        file.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
        logger.addHandler(file)


def close_log() -> None:
    for handler in list(logger.handlers):
        handler.close()
        logger.removeHandler(handler)


class Board:
    """TensorBoard's writer for scalars and pictures, whose failures to write are plain errors.

    The writer works in a thread of its own, which dies with a traceback where the disk is full, and
    tells of it at a later call; here that is one OSError that names the folder.
    """

    def __init__(self, folder: Path, step: int):
        self.folder = folder
        self._hook, threading.excepthook = threading.excepthook, self._quiet
        with self._plain_errors():
            self._writer = SummaryWriter(str(folder), purge_step=step)

    def scalar(self, name: str, value: float, step: int) -> None:
        with self._plain_errors():
            self._writer.add_scalar(name, value, step)

    def picture(self, name: str, picture: np.ndarray, step: int) -> None:
        """picture: (H,W,3) uint8."""
        with self._plain_errors():
            self._writer.add_image(name, picture, step, dataformats="HWC")

    def close(self) -> None:
        try:
            with self._plain_errors():
                self._writer.close()
        finally:
            threading.excepthook = self._hook

    @contextmanager
    def _plain_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = error.strerror or error
            raise OSError(f"{self.folder}: could not be written ({reason}); checkpoints are kept") from error

    def _quiet(self, failure) -> None:
        if not isinstance(failure.exc_value, OSError):
            self._hook(failure)


def git_commit() -> str | None:
    """The checkout's commit, with "+changes" where files differ from it; None outside of git."""
    try:
        commit = _git("rev-parse", "HEAD")
        return commit + ("+changes" if _git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(*words: str) -> str:
    command = ["git", "-C", str(ROOT), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
    return done.stdout.strip()


def environment(device: torch.device) -> dict:
    """What a figure depends on besides the options: versions, device, commit, command line."""
    packages = ("torch", "torchvision", "numpy", "pillow", "scikit-image", "opencv-python-headless")
    return {
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "git_commit": git_commit(),
        "python": platform.python_version(),
        "system": platform.platform(),
        "device": device_name(device),
        "cpu_threads": torch.get_num_threads(),
        "packages": {name: version(name) for name in packages},
    }


def device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} ({platform.processor() or platform.machine()})"


def write_json(path: Path, content: dict) -> None:
    path.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")
