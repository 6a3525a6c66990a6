"""report.html: a test's results in one self-contained file, for a browser, an email or a phone."""

import base64
import csv
import io
import math
from pathlib import Path

import jinja2
import numpy as np
from PIL import Image

from data.files import write_beside
from data.images import read_picture
from engine.testing.figures import panels
from engine.testing.protocol import read_json, read_metrics
from metrics.image import FIELDS
from metrics.intervals import FEWEST
from options import dotted

GROUPS = 4  # the most groups whose pictures are shown: about 0.3 MB each
BINS = 24
KINDS = {"cover_stego": "cover/stego", "secret_revealed": "secret/revealed"}
DIGITS = {"psnr_rgb": 2, "psnr_y": 2, "mae": 3, "rmse": 3, "worst_psnr_rgb": 2, "stego_psnr_rgb": 2}
SHOWN_APART = {*KINDS, "attacks", "packages", "capacity"}  # each has its own section


def write_report(folder: Path) -> Path:
    """Write report.html into a results folder, and return its path.

    Reads metrics.json, per_image.csv and pictures/. If steganalysis wrote into this folder or a folder in
    it, reads security.json and roc*.png too. The file has no scripts and loads nothing from elsewhere: its
    pictures are inside it. Raises UserError if the folder holds no results.
    """
    metrics = read_metrics(folder)
    found = sorted((*folder.glob("security.json"), *folder.glob("*/security.json")))
    page = _TEMPLATE.render(
        metrics=metrics,
        scores=[(words, metrics[kind]) for kind, words in KINDS.items() if metrics.get(kind)],
        fields=(*FIELDS, "worst_psnr_rgb"),
        fewest=FEWEST,
        histograms=_histograms(folder / "per_image.csv"),
        groups=[_group(folder, cover) for cover in _kept(folder, "cover")[:GROUPS]],
        security=[_security(file) for file in found],
        about=_shown({k: v for k, v in metrics.items() if k not in SHOWN_APART}),
        capacity=_shown(metrics.get("capacity") or {}),
        packages=metrics.get("packages", {}),
    )
    out = folder / "report.html"
    write_beside(out, page.encode())
    return out


def _security(file: Path) -> dict:
    """Read one steganalysis: detector, AUC, all figures by dotted names, and ROC curves as data URIs."""
    said = read_json(file)
    curves = [_data_uri(Image.fromarray(read_picture(p))) for p in sorted(file.parent.glob("roc*.png"))]
    name = said.get("features") or said.get("network") or said.get("detector", file.parent.name)
    left_out = ("packages", "by_train_pairs")
    figures = _shown({k: v for k, v in said.items() if k not in left_out})
    return {"name": name, "auc": said.get("auc"), "figures": figures, "curves": curves}


def number(value, name: str = "") -> str:
    """Format a score with its usual number of digits; "-" if there is none."""
    if value is None or value == "":
        return "-"
    return f"{value:.{DIGITS.get(name, 4)}f}" if isinstance(value, float) else str(value)


def interval(summary: dict, name: str) -> str:
    """Format the 95 % interval of a score: "36.81 to 37.29"; an empty string if there is none."""
    ends = summary.get(f"{name}_interval")
    return " to ".join(number(end, name) for end in ends) if ends else ""


def _shown(values: dict) -> dict[str, str]:
    """Flatten nested values to dotted names. Lists longer than 8 (whole curves) are left out."""
    flat = {}
    for name, value in dotted(values, into_lists=False).items():
        if not isinstance(value, list):
            flat[name] = number(value)
        elif len(value) <= 8 and not any(isinstance(x, list | dict) for x in value):
            flat[name] = " ".join(number(x) for x in value)
    return flat


def _kept(folder: Path, kind: str, group: str = "") -> list[Path]:
    return sorted((folder / "pictures" / kind).glob(f"{group}*.png"))


def _group(folder: Path, cover: Path) -> dict:
    """Return {name, panels: [(title, data URI), ...]} of a group whose pictures were kept."""
    stego = folder / "pictures" / "stego" / cover.name
    secrets, revealed = (
        [read_picture(path) for path in _kept(folder, kind, f"{cover.stem}_")]
        for kind in ("secret", "revealed")
    )
    shown = panels(read_picture(cover), read_picture(stego), secrets, revealed)
    return {"name": cover.stem, "panels": [(title, _data_uri(panel)) for title, panel in shown]}


def _data_uri(picture: Image.Image) -> str:
    # JPEG without chroma subsampling is enough for the eye. The exact pictures are in pictures/.
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=90, subsampling="4:4:4")
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


def _histograms(rows: Path) -> list[dict]:
    """Return the distribution of PSNR for each kind of pair: bars of 0 to 1, from `low` to `high` dB."""
    with open(rows, newline="", encoding="utf-8") as file:
        values: dict[str, list[float]] = {}
        for row in csv.DictReader(file):
            values.setdefault(row["kind"], []).append(float(row["psnr_rgb"]))
    drawn = []
    for kind, scores in values.items():
        finite = [x for x in scores if math.isfinite(x)]
        if finite:
            low, high = math.floor(min(finite)), math.ceil(max(finite) + 1e-9)
            counts, _ = np.histogram(finite, BINS, (low, high))
            bars = [round(float(count / counts.max()), 3) for count in counts]
            about = {
                "mean": float(np.mean(finite)),
                "worst": min(finite),
                "infinite": len(scores) - len(finite),
            }
            drawn.append({"title": KINDS[kind], "bars": bars, "low": low, "high": high, **about})
    return drawn


_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters["number"] = number
_ENVIRONMENT.filters["interval"] = interval
_TEMPLATE = _ENVIRONMENT.get_template("report.html.j2")
