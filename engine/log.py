"""Where a run leaves its traces: console, train.log, env.json."""

import json
import logging
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

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
        file = logging.FileHandler(path, encoding="utf-8")
        file.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
        logger.addHandler(file)


def close_log() -> None:
    for handler in list(logger.handlers):
        handler.close()
        logger.removeHandler(handler)


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
