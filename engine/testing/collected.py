"""Results as data: one small JSON file per run in docs/results/<set>/, the source of tables and plots."""

import csv
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import yaml

from data.files import write_beside
from engine.log import ROOT
from engine.testing.protocol import check_protocol, read_json, read_metrics
from errors import UserError
from metrics.intervals import paired_difference

RESULTS = ROOT / "docs" / "results"
KINDS = ("cover_stego", "secret_revealed")
PER_PAIR = ("psnr_rgb", "psnr_y")  # kept for every pair, for paired differences
DIGITS = 4  # decimals kept of a PSNR in dB
SEED_PART = re.compile(r"_seed_(\d+)$")
LEFT_OUT = ("packages", "capacity")  # keys of metrics.json that are not kept


@dataclass(frozen=True)
class Run:
    """A test run as data: its set, its name, and the content that `collect` keeps."""

    set: str
    name: str
    content: dict

    def __getitem__(self, key: str):
        return self.content[key]

    @property
    def base(self) -> str:
        """The name without the seed. Runs with the same base form one row of a table."""
        return SEED_PART.sub("", self.name)

    @property
    def training(self) -> dict | None:
        """Seed, minutes, threads, commit, machine and command; None for a method without training."""
        return self.content.get("training")

    def pairs(self, kind: str, field: str) -> list[list[float]]:
        """The scores of each group; `inf` for an identical pair."""
        return [[float(value) for value in group] for group in self.content["per_group"][kind][field]]


def difference(
    first: Sequence[Run], second: Sequence[Run], kind: str, field: str = "psnr_rgb"
) -> tuple[float, list[float] | None]:
    """Return the mean difference of two methods on the same pictures, and its interval.

    Each method counts as the mean over its seeds. Raises UserError if the pictures are not the same.
    """
    if len(sums := {run["pictures_sha256"] for run in (*first, *second)}) > 1:
        raise UserError(
            f"{first[0].name} and {second[0].name}: tested on different pictures ({len(sums)} checksums), "
            "so they cannot be compared in pairs"
        )
    values, groups = mean_pairs(first, kind, field)
    return paired_difference(values, mean_pairs(second, kind, field)[0], groups)


def mean_pairs(runs: Sequence[Run], kind: str, field: str) -> tuple[list[float], list[int]]:
    """Return the score of each pair, averaged over runs of the same pictures, and the group of each pair."""
    scores = [run.pairs(kind, field) for run in runs]
    flat = [[value for group in one for value in group] for one in scores]
    groups = [k for k, group in enumerate(scores[0]) for _ in group]
    return [fmean(values) for values in zip(*flat, strict=True)], groups


# --- from results folders -------------------------------------------------------------------------


def collect(folder: Path, set_name: str | None = None, name: str | None = None) -> Run:
    """Read what docs/results keeps of a results folder (experiments/<name>/results/<data set>/).

    set_name, name: replace the names of the data set and the run. Absolute paths in texts become
    DIR/<last name>. Raises UserError if the folder has no results, or results of another protocol.
    """
    folder = folder.resolve()
    metrics = read_metrics(folder)
    run_folder = folder.parent.parent
    content = {key: value for key, value in metrics.items() if key not in LEFT_OUT}
    if content.get("training"):
        content["training"] = content["training"] | _training_environment(run_folder)
    content["per_group"] = _per_group(folder / "per_image.csv")
    if history := _history(run_folder / "history.jsonl"):
        content["history"] = history
    content = without_paths(content)
    return Run(set_name or metrics["dataset"], name or run_folder.name, content)


def result_folders(place: Path) -> list[Path]:
    """Return the results folders that a path means: itself, or all */results/* below a folder of runs.

    Raises UserError if there are none.
    """
    if (place / "metrics.json").exists():
        return [place]
    found = sorted(file.parent for file in place.glob("*/results/*/metrics.json"))
    found += sorted(file.parent for file in place.glob("results/*/metrics.json"))
    if not found:
        raise UserError(f"{place}: no results here, and none below in */results/*")
    return found


def _per_group(file: Path) -> dict:
    """Return {kind: {field: [scores of group 0, ...]}}, rounded, with "inf" as text."""
    kept: dict = {kind: {field: {} for field in PER_PAIR} for kind in KINDS}
    with open(file, newline="", encoding="utf-8") as rows:
        for row in csv.DictReader(rows):
            for field in PER_PAIR:
                value = float(row[field])
                cell = round(value, DIGITS) if math.isfinite(value) else "inf"
                kept[row["kind"]][field].setdefault(int(row["group"]), []).append(cell)
    return {kind: {field: [*found.values()] for field, found in by.items()} for kind, by in kept.items()}


def _history(file: Path) -> list[dict]:
    """Return the validations in the order of steps. A later line replaces an earlier one of the same step."""
    if not file.exists():
        return []
    steps = {}
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        try:
            one = json.loads(line)
            steps[one["step"]] = {key: _kept(value) for key, value in one.items()}
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{file}, line {number}: not a validation ({error})") from error
    return [steps[step] for step in sorted(steps)]


def _kept(value: float | str) -> float | str:
    """Round a number to 3 digits. JSON has no infinity, which an unchanged cover gives: it becomes "inf"."""
    if not isinstance(value, float):
        return value
    return round(value, 3) if math.isfinite(value) else str(value)


def _training_environment(run_folder: Path) -> dict:
    """Return command, commit and machine of the training, if it ran in this run's folder."""
    found: dict = {}
    if (run_folder / "env.json").exists():
        environment = read_json(run_folder / "env.json")
        found = {key: environment.get(key) for key in ("command", "git_commit", "machine", "cpu_threads")}
    if (run_folder / "options.yml").exists():
        options = yaml.safe_load((run_folder / "options.yml").read_text(encoding="utf-8"))
        found["optimizer"] = options["train"]["optimizer"]
    return found


_PATH = re.compile(r"""(?<![\w.:/])~?/[^\s,\]\["'=]*""")


def without_paths(value):
    """Return a JSON value with each absolute path in its texts replaced by DIR/<last name>."""
    if isinstance(value, dict):
        return {key: without_paths(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [without_paths(inner) for inner in value]
    if isinstance(value, str):
        return _PATH.sub(lambda found: f"DIR/{Path(found[0]).name}", value)
    return value


# --- files ------------------------------------------------------------------------------------------


def write_runs(runs: Sequence[Run], results: Path = RESULTS, replace: bool = False) -> list[Path]:
    """Write each run to results/<set>/<name>.json, and return the files.

    If one run is refused, nothing is written. Raises UserError if two runs have the same name, if other
    results already have that name (unless `replace`), or if runs of a set with the same number of secrets
    were tested on different pictures.
    """
    files: dict[Path, Run] = {}
    for run in runs:
        file = results / run.set / f"{run.name}.json"
        if file in files:
            raise UserError(f"two runs are called {run.name} in the set {run.set}; rename one of them")
        files[file] = run
        if file.exists() and not replace and read_json(file) != json.loads(_text(run)):
            raise UserError(f"{file}: already holds other results; --replace overwrites them")
    for set_name in {run.set for run in runs}:
        others = [r for r in read_set(set_name, results) if results / r.set / f"{r.name}.json" not in files]
        _check_pictures([*others, *(run for run in runs if run.set == set_name)])
    for file, run in files.items():
        write_beside(file, _text(run).encode())
    return list(files)


def read_set(name: str, results: Path = RESULTS) -> list[Run]:
    """Read all runs of a set, sorted by name. Raises UserError for a file of another protocol."""
    runs = []
    for file in sorted((results / name).glob("*.json")):
        content = read_json(file)
        check_protocol(content, file)
        runs.append(Run(name, file.stem, content))
    return runs


def _check_pictures(runs: Sequence[Run]) -> None:
    first: dict[int, Run] = {}
    for run in runs:
        other = first.setdefault(run["num_secrets"], run)
        if other["pictures_sha256"] != run["pictures_sha256"]:
            raise UserError(
                f"{run.name}: tested on other pictures than {other.name}; runs of a set with the same number "
                "of secrets need the same pictures, so that they can be compared in pairs"
            )


def _text(run: Run) -> str:
    """Write JSON that a person can read and git can compare: a line for each group, not for each number."""
    text = json.dumps(run.content, indent=1, allow_nan=False)
    flat = re.compile(r"\[\s+([^\[\]{}]*?)\s+\]")
    text = flat.sub(lambda found: "[" + re.sub(r"\s*\n\s*", " ", found[1]) + "]", text)
    assert json.loads(text) == run.content
    return text + "\n"
