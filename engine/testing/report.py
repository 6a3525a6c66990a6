"""report.html: a test's results in one file that needs nothing else, for a browser, a mail, a phone."""

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

GROUPS = 4  # whose pictures are shown: some 0.3 MB each
BINS = 24
KINDS = {"cover_stego": "cover/stego", "secret_revealed": "secret/revealed"}
DIGITS = {"psnr_rgb": 2, "psnr_y": 2, "mae": 3, "rmse": 3, "worst_psnr_rgb": 2, "stego_psnr_rgb": 2}  # 4 else
SHOWN_APART = {*KINDS, "attacks", "packages", "capacity"}  # in sections of their own


def write_report(folder: Path) -> Path:
    """Write report.html into a results folder, from what lies there: metrics.json, per_image.csv,
    pictures/ and, where steganalysis was run into this folder or one in it, security.json and roc*.png.

    No scripts, nothing from elsewhere: pictures are part of the file. Returns its path. Raises
    UserError where the folder holds no results.
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
    """One steganalysis: its detector, AUC, all figures by dotted names, and its ROC curves as data URIs."""
    said = read_json(file)
    curves = [_data_uri(Image.fromarray(read_picture(p))) for p in sorted(file.parent.glob("roc*.png"))]
    name = said.get("features") or said.get("network") or said.get("detector", file.parent.name)
    left_out = ("packages", "by_train_pairs")
    figures = _shown({k: v for k, v in said.items() if k not in left_out})
    return {"name": name, "auc": said.get("auc"), "figures": figures, "curves": curves}


def number(value, name: str = "") -> str:
    """A score for a person: its usual digits, "-" where there is none."""
    if value is None or value == "":
        return "-"
    return f"{value:.{DIGITS.get(name, 4)}f}" if isinstance(value, float) else str(value)


def interval(summary: dict, name: str) -> str:
    """The 95 % interval of a score for a person: "36.81 to 37.29", nothing where there is none."""
    ends = summary.get(f"{name}_interval")
    return " to ".join(number(end, name) for end in ends) if ends else ""


def _shown(values: dict) -> dict[str, str]:
    """Nested values as dotted names; lists of more than 8 (whole curves) are left to their own files."""
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
    """{name, panels: (title, data URI) each} of one group whose pictures were kept."""
    stego = folder / "pictures" / "stego" / cover.name
    secrets, revealed = (
        [read_picture(path) for path in _kept(folder, kind, f"{cover.stem}_")]
        for kind in ("secret", "revealed")
    )
    shown = panels(read_picture(cover), read_picture(stego), secrets, revealed)
    return {"name": cover.stem, "panels": [(title, _data_uri(panel)) for title, panel in shown]}


def _data_uri(picture: Image.Image) -> str:
    # JPEG without chroma subsampling: a report is for eyes, the exact pictures lie beside it.
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=90, subsampling="4:4:4")
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


def _histograms(rows: Path) -> list[dict]:
    """The distribution of PSNR for each kind of pair: bars of 0 to 1 between `low` and `high` dB."""
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
