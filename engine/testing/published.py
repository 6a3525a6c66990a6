"""Put the papers' figures (scripts/published.yml) beside our own measurements (results folders)."""

import json
from dataclasses import dataclass
from pathlib import Path

import yaml

from engine.log import ROOT
from engine.testing.protocol import read_metrics
from errors import UserError

PUBLISHED = ROOT / "scripts" / "published.yml"
KINDS = {"cover/stego": "cover_stego", "secret/revealed": "secret_revealed"}
HEADS = {
    "psnr": "PSNR (dB)",
    "ssim": "SSIM",
    "ms_ssim": "MS-SSIM",
    "scc": "SCC",
    "mae": "MAE",
    "rmse": "RMSE",
    "mse": "MSE",
    "srm": "SRM (%)",
    "csr": "CSR (%)",
    "xunet": "XuNet (%)",
}
OURS = {  # our fields with another name, for papers that measure over RGB or over luma
    "rgb": {"psnr": "psnr_rgb", "ssim": "ssim_rgb"},
    "luma": {"psnr": "psnr_y", "ssim": "ssim_y"},
}
DIGITS = {"psnr": 2, "mse": 5, "mae": 2, "rmse": 2, "srm": 2, "csr": 2, "xunet": 2}  # all others: 4


def read_published() -> dict:
    """Read sources, names and tables. Numbers stay text as printed, so that 0.990 keeps its 0."""
    return yaml.load(PUBLISHED.read_text(encoding="utf-8"), yaml.BaseLoader)


@dataclass(frozen=True)
class Result:
    """The measurements of one run: its mark in a table, its metrics, and the result of each steganalysis."""

    mark: str
    metrics: dict
    security: dict[str, dict]


def read_results(experiments: Path, folders: list[Path] | None = None) -> list[Result]:
    """Read all results below `experiments` (*/results/*) and in `folders`, numbered [1], [2], ...

    Hidden folders are left out: they belong to a test that is still running or was cut off.
    Raises UserError for a folder without results.
    """
    found = sorted(file.parent for file in experiments.glob("*/results/[!.]*/metrics.json"))
    return [_read_result(k, folder) for k, folder in enumerate([*found, *(folders or ())], 1)]


def _read_result(number: int, folder: Path) -> Result:
    metrics = read_metrics(folder)
    try:
        security = {}
        for file in sorted((*folder.glob("security.json"), *folder.glob("*/security.json"))):
            one = json.loads(file.read_text(encoding="utf-8"))
            security[one.get("features") or one.get("network") or one.get("detector", file.parent.name)] = one
    except (OSError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{folder}: cannot read its steganalysis results ({error})") from error
    return Result(f"[{number}]", metrics, security)


# --- tables ------------------------------------------------------------------------------------


def compared_parts(table: dict, results: list[Result], names: dict) -> list[str]:
    """Return all parts of a published table with our figures beside them."""
    lines: list[str] = []
    for part, sets in table["parts"].items():
        lines += [*([""] if lines else []), f"**{part}**", ""]
        lines += compared(table["columns"], table.get("scale", "rgb"), part, sets, results, names)
    return lines


def compared(
    columns: list[str], scale: str, part: str, sets: dict, results: list[Result], names: dict
) -> list[str]:
    """Make one part of a published table: a row per method and data set, each figure as paper and ours."""
    ours: dict[tuple[str, str], list[tuple[str, dict]]] = {}
    for result in results:
        method = names.get(result.metrics["method"], result.metrics["method"])
        for detail, values in figures(result, part, scale):
            key = (method, result.metrics["dataset"])
            ours.setdefault(key, []).append((f"{result.mark} {detail}".strip(), values))
    rows = []
    for dataset, methods in sets.items():
        for method, numbers in methods.items():
            paired = ours.pop((method, dataset), [("", {})])
            for mark, values in paired:
                rows.append([method, dataset, *beside(columns, numbers, values), mark])
    for (method, dataset), measured in ours.items():
        rows += [[method, dataset, *beside(columns, [], values), mark] for mark, values in measured]
    luma = OURS["luma"] if scale == "luma" else {}
    said = [HEADS[column] + (", luma," if column in luma else "") for column in columns]
    heads = [f"{head} {whose}" for head in said for whose in ("paper", "ours")]
    return markdown(["method", "data", *heads, "run"], rows)


def beside(columns: list[str], numbers: list[str], values: dict) -> list[str]:
    cells = []
    for k, column in enumerate(columns):
        cells += [numbers[k] if numbers else "-", shown(values.get(column), DIGITS.get(column, 4))]
    return cells


def figures(result: Result, part: str, scale: str) -> list[tuple[str, dict]]:
    """Return what a run contributes to one part of a table: a list of (detail, {column: value})."""
    if part in KINDS:
        summary = result.metrics[KINDS[part]]
        return [(_setting(result), scores(summary, scale))] if summary else []
    if part == "steganalysis":
        errors = {name: 100 * one["p_e"] for name, one in result.security.items() if "p_e" in one}
        return [("", errors)] if errors.keys() & HEADS.keys() else []
    kind = part.removeprefix("after ")
    found = []
    for attack in result.metrics.get("attacks", ()):
        if attack["attack"].split()[0] == kind and " + " not in attack["attack"]:  # no chains
            share = attack["revealed_share"]
            refused = f", {100 * share:.0f} % revealed" if share < 1 else ""
            found.append((attack["attack"] + refused, scores(attack["secret_revealed"] or {}, scale)))
    return found


def _setting(result: Result) -> str:
    """Return what else a figure depends on: the modulus, if the method has no weights."""
    modulus = result.metrics.get("arguments", {}).get("modulus")
    return f"M = {modulus}" if modulus and not result.metrics.get("weights_sha256") else ""


def scores(summary: dict, scale: str) -> dict:
    values = {column: summary.get(OURS[scale].get(column, column)) for column in HEADS}
    if isinstance(summary.get("mse"), float):
        values["mse"] = summary["mse"] / 255**2  # grey levels squared, brought to a range of 0 to 1
    return values


def shown(value: float | str | None, digits: int = 2) -> str:
    return "-" if value is None else f"{value:.{digits}f}" if isinstance(value, float) else str(value)


def markdown(heads: list[str], rows: list[list[str]]) -> list[str]:
    lines = [heads, ["---"] * len(heads), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in lines]
