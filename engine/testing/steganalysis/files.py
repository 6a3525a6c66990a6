"""The files that an analysis writes: security.json, curves, scores, the trained detector."""

import csv
import io
import json
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from PIL import Image

from data.files import write_beside
from engine.testing.steganalysis.analysis import Analysis
from engine.testing.steganalysis.extract import Extraction
from engine.testing.steganalysis.kept import NAMES
from metrics.steganalysis.scores import roc


def write_analysis(analysis: Analysis, out: Path) -> None:
    """Write security.json, roc.csv, roc.png, scores.csv and detector.*; for "cnn" also pairs.csv, pairs.png.

    All contents are ready before the first file is written. Each file is written as a whole, security.json
    last. The detector of an earlier analysis is deleted, so that it does not stay beside other figures.
    """
    points = [(name, *map(float, point)) for name, both in analysis.scores.items() for point in roc(*both)]
    rows = [
        (path.name, kind, *(float(both[side][k]) for both in analysis.scores.values()))
        for k, pair in enumerate(analysis.tested)
        for side, (path, kind) in enumerate(zip(pair, ("cover", "stego"), strict=True))
    ]
    files = {
        **({analysis.detector[0]: analysis.detector[1]} if analysis.detector else {}),
        "roc.csv": table(("detector", "threshold", "false_alarm_rate", "detection_rate"), points),
        "roc.png": png(partial(_draw_roc, analysis)),
        "scores.csv": table(("picture", "kind", *analysis.scores), rows),
    }
    if analysis.curve:
        header = ("train_pairs", "accuracy", "p_e", "auc", "auc_low", "auc_high")
        lines = [
            (c["train_pairs"], c["accuracy"], c["p_e"], c["auc"], *c["auc_interval"]) for c in analysis.curve
        ]
        files["pairs.csv"] = table(header, lines)
        files["pairs.png"] = png(partial(_draw_curve, analysis.curve))
    files["security.json"] = (json.dumps(analysis.summary, indent=2) + "\n").encode()
    for name in set(NAMES) - files.keys():
        (out / name).unlink(missing_ok=True)
    for name, content in files.items():
        write_beside(out / name, content)


def write_extraction(extraction: Extraction, out: Path) -> None:
    """Write extraction.json, extraction.csv, extraction.png and detector.safetensors."""
    sheet = io.BytesIO()
    Image.fromarray(extraction.sheet).save(sheet, "PNG", optimize=True)
    name, network = extraction.network
    files = {
        name: network,
        "extraction.csv": table(extraction.rows[0], [row.values() for row in extraction.rows]),
        "extraction.png": sheet.getvalue(),
        "extraction.json": (json.dumps(extraction.summary, indent=2) + "\n").encode(),
    }
    for name, content in files.items():
        write_beside(out / name, content)


def table(header: Iterable[str], rows: Iterable[Iterable]) -> bytes:
    """Return the content of a CSV file."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().encode()


def png(draw: Callable) -> bytes:
    """Return the content of a PNG file; draw: a function that draws on Matplotlib axes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    draw(figure.subplots())
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=120)
    return content.getvalue()


def _draw_roc(analysis: Analysis, axes) -> None:
    parts = analysis.summary.get("parts", {})
    for name, both in analysis.scores.items():
        _, alarms, hits = roc(*both).T
        area = parts[name]["auc"] if name in parts else analysis.summary["auc"]
        style = {"linewidth": 1} if name in parts else {"color": "black", "linewidth": 2, "zorder": 3}
        axes.plot(alarms, hits, label=f"{name.replace('_', ' ')}: AUC {area:.3f}", **style)
    axes.plot((0, 1), (0, 1), color="grey", linestyle=":", linewidth=1)
    axes.set(xlabel="covers called stego", ylabel="stegos called stego", aspect="equal")
    axes.set(title=f"{analysis.summary['test_pairs']} pairs", xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    axes.legend(loc="lower right", fontsize="small")


def _draw_curve(curve: list[dict], axes) -> None:
    axes.plot([c["train_pairs"] for c in curve], [100 * c["accuracy"] for c in curve], "o-", color="#4477aa")
    axes.axhline(50, color="grey", linestyle=":", linewidth=1)
    axes.set(
        xlabel="training pairs",
        ylabel="accuracy (%)",
        ylim=(min(45, *(95 * c["accuracy"] for c in curve)), 101),
    )
