"""List what can be trained and used: methods, option files, runs, and shipped weights."""

import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path

from engine.checkpoint import read_metadata, shipped
from engine.log import ROOT
from engine.option_schema import HINT
from errors import UserError
from models import MODELS


def listing(experiments: Path) -> Iterator[str]:
    """Yield the list as lines of text; a run whose weights cannot be read says so."""
    yield "methods (network.type):"
    for name, method in MODELS.items():
        yield f"  {name:14} {first_sentence(method)}"
    for kind, command in (("train", "train.py"), ("test", "test.py")):
        yield f"option files ({command} -opt):"
        for file in sorted((ROOT / "options" / kind).glob("*.yml")):
            yield f"  {file.relative_to(ROOT)!s:40} {head(file)}"
    yield f"runs in {experiments}:"
    runs = sorted(experiments.glob("*/checkpoints")) if experiments.is_dir() else []
    for run in runs:
        best, last = run / "best.safetensors", run / "last.safetensors"
        yield f"  {run.parent.name:40} {_about(best if best.is_file() else last)}"
    if not runs:
        yield "  none yet"
    yield "shipped weights (hide.py --weights, docs/model_zoo.md):"
    for name, path in shipped(experiments).items():
        yield f"  {name:40} {_about(path)}"


def first_sentence(method: type) -> str:
    """Return the first sentence of a class's docstring, in one line."""
    text = " ".join((inspect.getdoc(method) or "").split("\n\n")[0].split())
    return re.split(r"(?<=[a-z)])\. ", text)[0].rstrip(".")


def head(file: Path) -> str:
    """Return the first line of an option file's head that is not a hint for editors."""
    lines = (line for line in file.read_text().splitlines() if not line.startswith(HINT))
    return next(lines).removeprefix("#").strip()


def _about(weights: Path) -> str:
    try:
        about = read_metadata(weights)
    except (UserError, OSError):
        return "no weights that can be read"
    arguments = json.loads(about["arguments"])
    shown = ", ".join(
        f"{name} {arguments[name]}" for name in ("rows", "cols", "num_secrets") if name in arguments
    )
    return f"{about['method']}{f' ({shown})' if shown else ''}" + (
        f", step {about['step']}" if "step" in about else ""
    )
