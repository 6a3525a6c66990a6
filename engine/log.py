"""The log of a run (console, train.log) and what env.json records."""

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

if TYPE_CHECKING:  # torch takes seconds to import, and --help must not wait for it
    import torch

ROOT = Path(__file__).resolve().parents[1]
EXPERIMENTS = ROOT / "experiments"

logger = logging.getLogger("hiding")


def log_to(path: Path | None = None) -> None:
    """Send the log to the console and, if there is a path, append it to that file too."""
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
    """Send the log nowhere, because another process of the run writes it."""
    close_log()
    logger.propagate = False
    logger.addHandler(logging.NullHandler())


@contextmanager
def failures_logged() -> Iterator[None]:
    """Write an exception that ends the block to the log's file, and raise it again.

    A user's mistake takes one line, as on the console. Any other exception gets its traceback. The console
    gets nothing here, because `run_command` prints the error there.
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
                with suppress(OSError):  # the failure may be a full disk
                    handler.handle(logger.makeRecord(logger.name, logging.ERROR, "", 0, text, (), None))
        raise


class _File(logging.FileHandler):
    """A log file that raises an error with its name if it cannot be written.

    logging.FileHandler would print a traceback for each line instead.
    """

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if isinstance(error, OSError):
            reason = error.strerror or error
            raise OSError(f"{self.baseFilename}: could not be written ({reason}); checkpoints are kept")
        super().handleError(record)


def close_log() -> None:
    """Close all handlers of the log."""
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        with suppress(OSError):  # a full disk was reported already
            handler.close()


@cache
def git_commit() -> str | None:
    """Return the checkout's commit, with "+changes" if tracked files differ from it; None outside of git.

    The first call reads it, so that it describes the code that runs even if the checkout changes later.
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
    """Return what results depend on besides the options: command line, commit, machine, device, versions."""
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
    """Return the processor and its number of cores, such as "AMD EPYC 9R14, 2 cores"."""
    name = platform.processor() or platform.machine()
    with suppress(OSError):  # on Linux this file says more than `platform`
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        name = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), name)
    return f"{name}, {os.cpu_count()} cores"


def device_name(device: "torch.device") -> str:
    """Return the GPU's name, or the kind of device and the processor, such as "cpu (x86_64)"."""
    if device.type == "cuda":
        import torch

        return torch.cuda.get_device_name(device)
    return f"{device.type} ({platform.processor() or platform.machine()})"
