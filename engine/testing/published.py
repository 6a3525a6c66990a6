"""What the papers say (scripts/published.yml), and what was measured here (results folders)."""

import json
from dataclasses import dataclass
from pathlib import Path

import yaml

from engine.log import ROOT
from engine.testing.protocol import read_metrics
from errors import UserError

PUBLISHED = ROOT / "scripts" / "published.yml"


def read_published() -> dict:
    """sources, names and tables; every number as the text that the paper prints, so that 0.990 stays so."""
    return yaml.load(PUBLISHED.read_text(encoding="utf-8"), yaml.BaseLoader)


@dataclass(frozen=True)
class Result:
    """A results folder: its place in a list, its metrics, and each steganalysis that was run into it."""

    number: int
    folder: Path
    metrics: dict
    security: dict[str, dict]

    @property
    def mark(self) -> str:
        return f"[{self.number}]"


def read_results(experiments: Path, folders: list[Path] | None = None) -> list[Result]:
    """All results of `experiments` (its */results/*), and of more folders, numbered from 1.

    Raises UserError for a folder that holds none.
    """
    found = sorted(file.parent for file in experiments.glob("*/results/*/metrics.json"))
    return [_read_result(k, folder) for k, folder in enumerate([*found, *(folders or ())], 1)]


def _read_result(number: int, folder: Path) -> Result:
    metrics = read_metrics(folder)
    try:
        security = {}
        for file in sorted((*folder.glob("security.json"), *folder.glob("*/security.json"))):
            one = json.loads(file.read_text(encoding="utf-8"))
            security[one.get("features") or one.get("network") or one.get("detector", file.parent.name)] = one
    except (OSError, ValueError) as error:
        raise UserError(f"{folder}: no results that could be read ({error})") from error
    return Result(number, folder, metrics, security)
