"""Results as data: a small JSON file a run in docs/results/<set>/, from which tables and plots are made."""

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
DIGITS = 4  # of a PSNR in dB that is kept
SEED_PART = re.compile(r"_seed_(\d+)$")
LEFT_OUT = ("packages", "capacity")  # of metrics.json


@dataclass(frozen=True)
class Run:
    """A test run as data: its set, its name, and what `collect` keeps of it."""

    set: str
    name: str
    content: dict

    def __getitem__(self, key: str):
        return self.content[key]

    @property
    def base(self) -> str:
        """The name without the seed: runs that share it are one row of a table."""
        return SEED_PART.sub("", self.name)

    @property
    def training(self) -> dict | None:
        """seed, minutes, threads, commit, machine, command; None for a method that is not trained."""
        return self.content.get("training")

    def pairs(self, kind: str, field: str) -> list[list[float]]:
        """The scores of each group, `inf` where a pair is identical."""
        return [[float(value) for value in group] for group in self.content["per_group"][kind][field]]


def difference(
    first: Sequence[Run], second: Sequence[Run], kind: str, field: str = "psnr_rgb"
) -> tuple[float, list[float] | None]:
    """(mean difference, its interval) of two methods on the same pictures, each the mean over its seeds.

    Raises UserError where they were not tested on the same pictures.
    """
    if len(sums := {run["pictures_sha256"] for run in (*first, *second)}) > 1:
        raise UserError(
            f"{first[0].name} and {second[0].name}: tested on other pictures ({len(sums)} checksums), "
            "so they cannot be compared in pairs"
        )
    values, groups = mean_pairs(first, kind, field)
    return paired_difference(values, mean_pairs(second, kind, field)[0], groups)


def mean_pairs(runs: Sequence[Run], kind: str, field: str) -> tuple[list[float], list[int]]:
    """(the score of each pair, the mean over runs of the same pictures; the group of each pair)."""
    scores = [run.pairs(kind, field) for run in runs]
    flat = [[value for group in one for value in group] for one in scores]
    groups = [k for k, group in enumerate(scores[0]) for _ in group]
    return [fmean(values) for values in zip(*flat, strict=True)], groups


# --- from results folders -------------------------------------------------------------------------


def collect(folder: Path, set_name: str | None = None, name: str | None = None) -> Run:
    """What docs/results keeps of a results folder (experiments/<name>/results/<data set>/).

    set_name, name: other names than the data set's and the run's. Paths of the machine are taken out of
    all texts: DIR/<last name> stands for them. Raises UserError for a folder without results or with
    results of another protocol.
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
    """The results folders that a path means: itself, or all */results/* below a folder of runs."""
    if (place / "metrics.json").exists():
        return [place]
    found = sorted(file.parent for file in place.glob("*/results/*/metrics.json"))
    found += sorted(file.parent for file in place.glob("results/*/metrics.json"))
    if not found:
        raise UserError(f"{place}: no results here, nor any below in */results/*")
    return found


def _per_group(file: Path) -> dict:
    """{kind: {field: [scores of group 0, ...]}}, rounded, "inf" as text."""
    kept: dict = {kind: {field: {} for field in PER_PAIR} for kind in KINDS}
    with open(file, newline="", encoding="utf-8") as rows:
        for row in csv.DictReader(rows):
            for field in PER_PAIR:
                value = float(row[field])
                cell = round(value, DIGITS) if math.isfinite(value) else "inf"
                kept[row["kind"]][field].setdefault(int(row["group"]), []).append(cell)
    return {kind: {field: [*found.values()] for field, found in by.items()} for kind, by in kept.items()}


def _history(file: Path) -> list[dict]:
    """Validations in the order of steps; of two with the same step the later."""
    if not file.exists():
        return []
    steps = {}
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        try:
            one = json.loads(line)
            steps[one["step"]] = {k: round(v, 3) if isinstance(v, float) else v for k, v in one.items()}
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{file}, line {number}: not a validation ({error})") from error
    return [steps[step] for step in sorted(steps)]


def _training_environment(run_folder: Path) -> dict:
    """Command, commit and machine of the training, where it was made in this run's folder."""
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
    """Any JSON value with DIR/<last name> for each absolute path in its texts."""
    if isinstance(value, dict):
        return {key: without_paths(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [without_paths(inner) for inner in value]
    if isinstance(value, str):
        return _PATH.sub(lambda found: f"DIR/{Path(found[0]).name}", value)
    return value


# --- files ------------------------------------------------------------------------------------------


def write_runs(runs: Sequence[Run], results: Path = RESULTS, replace: bool = False) -> list[Path]:
    """Write each run to results/<set>/<name>.json; the files.

    Nothing is written where one is refused. Raises UserError for two runs of one name, a name that is taken
    by other results (unless `replace`), and runs with as many secrets as others of the set, but other
    pictures.
    """
    files: dict[Path, Run] = {}
    for run in runs:
        file = results / run.set / f"{run.name}.json"
        if file in files:
            raise UserError(f"two runs are called {run.name} in the set {run.set}; give one another name")
        files[file] = run
        if file.exists() and not replace and read_json(file) != json.loads(_text(run)):
            raise UserError(f"{file}: holds other results of that name; --replace takes these instead")
    for set_name in {run.set for run in runs}:
        others = [r for r in read_set(set_name, results) if results / r.set / f"{r.name}.json" not in files]
        _check_pictures([*others, *(run for run in runs if run.set == set_name)])
    for file, run in files.items():
        write_beside(file, _text(run).encode())
    return list(files)


def read_set(name: str, results: Path = RESULTS) -> list[Run]:
    """All runs of a set, by name. Raises UserError for files of another protocol."""
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
                f"{run.name}: tested on other pictures than {other.name}; the runs of a set with as many "
                "secrets must have the same, so that they can be compared in pairs"
            )


def _text(run: Run) -> str:
    """JSON that a person can read and git can compare: one line for each group, not one for each number."""
    text = json.dumps(run.content, indent=1, allow_nan=False)
    flat = re.compile(r"\[\s+([^\[\]{}]*?)\s+\]")
    text = flat.sub(lambda found: "[" + re.sub(r"\s*\n\s*", " ", found[1]) + "]", text)
    assert json.loads(text) == run.content
    return text + "\n"
