"""Markdown tables and a plot that compare runs, for scripts/compare.py and the pages."""

import math
from collections.abc import Iterable, Sequence
from statistics import fmean

import numpy as np

from engine.testing.collected import KINDS, Run, difference, mean_pairs
from metrics.intervals import mean_interval

Row = list[Run]  # runs that differ only in their seeds
TARGET = {"cover_stego": 36.0, "secret_revealed": 28.0}  # dB

COLUMNS = (
    "method",
    "secrets",
    "parameters",
    "minutes",
    "steps",
    *("stego dB", "95 %", "luma dB", "SSIM"),
    *("revealed dB", "95 %", "luma dB", "SSIM"),
    "seeds",
    "spread dB",
)


def rows_of(runs: Iterable[Run]) -> list[Row]:
    """Sort runs into rows: by number of secrets, then by revealed PSNR, untrained methods last."""
    by_name: dict[str, Row] = {}
    for run in runs:
        by_name.setdefault(run.base, []).append(run)

    def place(row: Row) -> tuple:
        trained = row[0].training is not None
        order = -score(row, "secret_revealed") if trained else float(row[0]["arguments"].get("modulus", 0))
        return row[0]["num_secrets"], not trained, "" if trained else row[0]["method"], order

    return sorted(by_name.values(), key=place)


def label(row: Row) -> str:
    """Return a row's name: that of its run; method and modulus for an untrained method."""
    run = row[0]
    if run.training is None and "modulus" in run["arguments"]:
        return f"{run['method']} M = {run['arguments']['modulus']}"
    if "survive" in run["arguments"]:
        return " ".join(run["arguments"]["survive"])
    return run.base


def score(row: Row, kind: str, field: str = "psnr_rgb") -> float:
    """Return the mean over the seeds; inf if all pairs are identical."""
    return fmean(float(run[kind][field]) for run in row)


def interval(row: Row, kind: str, field: str = "psnr_rgb") -> list[float] | None:
    """Return the 95 % interval of `score` over the groups. Each pair counts as its mean over the seeds."""
    if len(row) == 1:
        return row[0][kind][f"{field}_interval"]
    return mean_interval(*mean_pairs(row, kind, field))


def comparison(rows: Sequence[Row]) -> list[str]:
    """Make a table with a row per method: mean PSNR, its interval over pictures, its spread over seeds."""
    lines = []
    for row in rows:
        run = row[0]
        cells = [label(row), str(run["num_secrets"])]
        if run.training is None:
            cells += ["-", "-", "-"]
        else:
            cells += [f"{run['params'] / 1e6:.2f} M", f"{run.training['minutes']:.0f}"]
            cells += [f"{fmean(run['weights_step'] for run in row):.0f}"]
        for kind in KINDS:
            cells += [number(score(row, kind)), between(interval(row, kind))]
            cells += [number(score(row, kind, "psnr_y")), number(score(row, kind, "ssim_rgb"), 4)]
        cells += ["-", "-"] if run.training is None else [str(len(row)), spread(row)]
        lines.append(cells)
    return markdown(COLUMNS, lines)


def brief(rows: Sequence[Row]) -> list[str]:
    """Make a table with a row per method: PSNR of stego and revealed, with intervals over the pictures."""
    lines = []
    for row in rows:
        arguments = row[0]["arguments"]
        name = f"{row[0]['method']} {label(row)}" if "survive" in arguments else label(row)
        cells = [name, str(row[0]["num_secrets"])]
        for kind in KINDS:
            cells.append(f"{number(score(row, kind))} ({between(interval(row, kind))})")
        lines.append(cells)
    return markdown(("method", "secrets", "stego dB (95 %)", "revealed dB (95 %)"), lines)


def spread(row: Row) -> str:
    """Return the highest minus the lowest mean of the seeds [dB], stego / revealed."""
    if len(row) == 1:
        return "one seed"
    ends = []
    for kind in KINDS:
        means = [float(run[kind]["psnr_rgb"]) for run in row]
        ends.append(number(max(means) - min(means)))
    return " / ".join(ends)


def differences(pairs: Sequence[tuple[Row, Row]]) -> list[str]:
    """Make a table with a row per pair of methods: the difference in PSNR on the same pictures."""
    lines = []
    for first, second in pairs:
        cells = [label(first), label(second), str(first[0]["num_secrets"])]
        for kind in KINDS:
            mean, ends = difference(first, second, kind)
            cells += [number(mean, signed=True), between(ends, signed=True)]
        lines.append(cells)
    return markdown(("method", "minus", "secrets", "stego dB", "95 %", "revealed dB", "95 %"), lines)


def usual_pairs(rows: Sequence[Row]) -> list[tuple[Row, Row]]:
    """Pair each trained method with the best trained one and the untrained ones at M = 12.

    Both methods of a pair hide the same number of secrets.
    """
    pairs = []
    for row in (row for row in rows if row[0].training is not None):
        alike = [other for other in rows if other[0]["num_secrets"] == row[0]["num_secrets"]]
        plain = [other for other in alike if other[0].training is None]
        at_12 = [other for other in plain if other[0]["arguments"].get("modulus") == 12]
        best = [alike[0]] if alike[0] is not row and alike[0][0].training is not None else []
        pairs += [(row, other) for other in best + at_12]
    return pairs


def survival(rows: Sequence[Row]) -> list[str]:
    """Make a table with a column per run: PSNR, and the share of stegos that come back after each attack.

    It shows only the first seed of a row. Shares are rounded down, so 100 % means all. "-" stands for an
    attack that the run was not tested with.
    """
    runs = [row[0] for row in rows]
    shares = [{one["attack"]: one for one in run.content.get("attacks", ())} for run in runs]
    lines = [["stegos", *(str(run["groups"]) for run in runs)]]
    for kind, word in zip(KINDS, ("stego", "revealed"), strict=True):
        lines.append([f"{word}, dB", *(number(score([run], kind)) for run in runs)])
        lines.append([f"{word}, 95 %", *(between(interval([run], kind)) for run in runs)])
        if kind == "cover_stego":
            lines.append(["worst stego, dB", *(number(run[kind]["worst_psnr_rgb"]) for run in runs)])
    for attack in dict.fromkeys(name for one in shares for name in one):
        cells = (
            f"{math.floor(100 * one[attack]['revealed_share'])} %" if attack in one else "-" for one in shares
        )
        lines.append([f"come back after {attack}", *cells])
    return markdown(["", *(f"`{label(row)}`" for row in rows)], lines)


def target(rows: Sequence[Row]) -> list[str]:
    """Make a table of the core minutes until a validation reaches 36 dB (stego) and 28 dB (revealed)."""
    lines = []
    for row in rows:
        told = [run for run in row if run.content.get("history")]
        if not told:
            continue
        found = [minutes for minutes in map(reached, told) if minutes is not None]
        if len(found) == len(told):
            cell = number(fmean(found), 1)
        else:
            cell = f"{len(found)} of {len(told)} seeds" if found else "not reached"
        ends = f"{min(found):.1f} to {max(found):.1f}" if len(found) > 1 else "-"
        length = fmean(run["history"][-1]["seconds"] / 60 * _cores(run) for run in told)
        last = [number(fmean(float(run["history"][-1][kind]) for run in told)) for kind in KINDS]
        lines.append([label(row), cell, ends, str(len(told)), f"{length:.0f}", " / ".join(last)])
    heads = (
        "method",
        "minutes to 36 / 28 dB",
        "range",
        "seeds",
        "minutes trained",
        "final stego / revealed dB",
    )
    return markdown(heads, lines)


def reached(run: Run) -> float | None:
    """Return the core minutes until a validation first reaches both targets; None if none does."""
    for one in run["history"]:
        if all(float(one[kind]) >= least for kind, least in TARGET.items()):
            return one["seconds"] / 60 * _cores(run)
    return None


def _cores(run: Run) -> int:
    assert run.training is not None
    return run.training.get("threads") or run.training.get("cpu_threads") or 1


# --- plot -------------------------------------------------------------------------------------------


def points(rows: Sequence[Row]) -> list[list]:
    """Return the points of the plot: [label, number of secrets, trained, stego dB, revealed dB] per row.

    The labels leave out `_nano`, to save space.
    """
    shown = [
        [
            label(row).replace("_nano", ""),
            row[0]["num_secrets"],
            row[0].training is not None,
            *(score(row, k) for k in KINDS),
        ]
        for row in rows
    ]
    return [point for point in shown if all(map(math.isfinite, point[3:]))]


def plot(rows: Sequence[Row]) -> np.ndarray:
    """Plot stego against revealed PSNR, and return the picture (h,w,3) uint8.

    Each trained network is a point. Each other method is a curve over M.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6), layout="constrained")
    canvas, axes = FigureCanvasAgg(figure), figure.subplots()
    shown = points(rows)
    counts = sorted({point[1] for point in shown})
    places = [tuple(point[3:]) for point in shown if point[2]]
    for colour, count in enumerate(counts):
        curves: dict[str, list] = {}
        for name, secrets, trained, stego, revealed in shown:
            if secrets != count:
                continue
            if not trained:
                curves.setdefault(name.partition(" M = ")[0], []).append((stego, revealed))
                continue
            # The name goes to the left if another point at this height is further right.
            left = any(abs(revealed - y) < 1 and stego < x for x, y in places)
            axes.plot(stego, revealed, "o", color=f"C{colour}")
            side = "right" if left else "left"
            axes.annotate(f" {name} ", (stego, revealed), va="center", ha=side, fontsize=9)
        for name, curve in curves.items():
            style = ".:" if name == "thumbnails" else ".-"
            x, y = zip(*sorted(curve), strict=True)
            axes.plot(x, y, style, color=f"C{colour}", label=f"{name}, N = {count}")
    axes.set(xlabel="cover/stego PSNR (dB, RGB)", ylabel="secret/revealed PSNR (dB, RGB)")
    axes.margins(x=0.15)
    axes.grid(alpha=0.3)
    if axes.get_legend_handles_labels()[0]:
        axes.legend()
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


# --- cells ------------------------------------------------------------------------------------------


def number(value: float, digits: int = 2, signed: bool = False) -> str:
    return f"{value:{'+' if signed else ''}.{digits}f}" if math.isfinite(value) else "inf"


def between(ends: Sequence[float] | None, signed: bool = False) -> str:
    """Format an interval: "36.81 to 37.29"; "too few groups" if there is none."""
    return " to ".join(number(end, signed=signed) for end in ends) if ends else "too few groups"


def markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Make a Markdown table. The first column is left-aligned, the others are right-aligned."""
    lines = [list(heads), ["---", *["---:"] * (len(heads) - 1)], *map(list, rows)]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]
