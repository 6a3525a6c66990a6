"""Where a run leaves its traces: console, train.log, env.json."""

import logging
import os
import platform
import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from engine.command import MISTAKES, one_line

if TYPE_CHECKING:  # torch takes seconds to import, which --help need not wait for
    import torch

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
        file = _File(path, encoding="utf-8")
        file.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
        logger.addHandler(file)


def silence() -> None:
    """Send the log nowhere: another process of the run writes it."""
    close_log()
    logger.propagate = False
    logger.addHandler(logging.NullHandler())


@contextmanager
def failures_logged() -> Iterator[None]:
    """What ends the block goes to the log's file, not to the console, where `run_command` tells it.

    In one line what the user can mend, as on the console; anything else with its traceback.
    """
    try:
        yield
    except BaseException as error:
        if isinstance(error, MISTAKES):
            text = one_line(error)
        elif isinstance(error, KeyboardInterrupt):
            text = "interrupted"
        else:
            text = traceback.format_exc().rstrip()
        for handler in logger.handlers:
            if isinstance(handler, _File):
                with suppress(OSError):  # a full disk may be the very failure
                    handler.handle(logger.makeRecord(logger.name, logging.ERROR, "", 0, text, (), None))
        raise


class _File(logging.FileHandler):
    """A log file that cannot be written is an error that names it, not a traceback a line."""

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if isinstance(error, OSError):
            reason = error.strerror or error
            raise OSError(f"{self.baseFilename}: could not be written ({reason}); checkpoints are kept")
        super().handleError(record)


def close_log() -> None:
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        with suppress(OSError):  # a full disk has been told of already
            handler.close()


@cache
def git_commit() -> str | None:
    """The checkout's commit, with "+changes" where files differ from it; None outside of git.

    Read once, at the start: the code that runs is the code that was there then.
    """
    try:
        commit = _git("rev-parse", "HEAD")
        return commit + ("+changes" if _git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(*words: str) -> str:
    command = ["git", "-C", str(ROOT), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
    return done.stdout.strip()


def environment(device: "torch.device") -> dict:
    """What a figure depends on besides the options: versions, device, commit, command line."""
    import torch

    packages = ("torch", "torchvision", "numpy", "pillow", "scikit-image", "safetensors")
    return {
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "git_commit": git_commit(),
        "python": platform.python_version(),
        "system": platform.platform(),
        "machine": machine_name(),
        "device": device_name(device),
        "cpu_threads": torch.get_num_threads(),
        "packages": {name: version(name) for name in packages},
    }


def machine_name() -> str:
    """The processor and how many cores of it there are: "AMD EPYC 9R14, 2 cores"."""
    name = platform.processor() or platform.machine()
    with suppress(OSError):  # Linux says more here than through `platform`
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        name = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), name)
    return f"{name}, {os.cpu_count()} cores"


def device_name(device: "torch.device") -> str:
    if device.type == "cuda":
        import torch

        return torch.cuda.get_device_name(device)
    return f"{device.type} ({platform.processor() or platform.machine()})"
