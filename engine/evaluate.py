"""Scoring, shared by validation and test.py: every number comes from 8-bit pictures."""

import csv
import io
import json
import math
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from data.groups import write_groups
from data.images import read_picture, to_array, to_tensor, write_beside, write_picture
from data.loader import EvaluationGroups
from engine.figures import group_figure, histogram
from metrics.image import FIELDS, psnr, score_pair
from models import HidingModel


@dataclass
class Scored:
    """One group after hiding and revealing, uint8: pictures (H,W,3), lists of N, and the seconds it took."""

    index: int
    cover: np.ndarray
    stego: np.ndarray
    secrets: np.ndarray
    revealed: np.ndarray
    seconds_hide: float
    seconds_reveal: float


def validate(model: HidingModel, groups: EvaluationGroups) -> tuple[dict[str, float], np.ndarray]:
    """Mean PSNR (RGB, dB) through 8 bit: ({cover_stego, secret_revealed}, a figure of the first group).

    The model's mode is left as it was. uint8 arrays stand in for the file: a PNG keeps them exactly
    (test.py goes through the file all the same).
    """
    training = model.training
    model.eval()
    stego_scores, revealed_scores = [], []
    for index in range(len(groups)):
        item = groups[index]
        cover, secrets = item["cover"], item["secrets"]
        stego = model.hide(cover[None], secrets[None])
        revealed = model.reveal(stego)[0]
        stego_scores.append(psnr(to_array(cover), to_array(stego[0])))
        pairs = zip(_arrays(secrets), _arrays(revealed), strict=True)
        revealed_scores += [psnr(a, b) for a, b in pairs]
        if index == 0:
            pictures = to_array(cover), to_array(stego[0]), _arrays(secrets), _arrays(revealed)
            figure = group_figure(*pictures, cols=model.figure_columns)
    model.train(training)
    return {
        "cover_stego": mean_finite(stego_scores)[0],
        "secret_revealed": mean_finite(revealed_scores)[0],
    }, figure


def evaluate(
    model: HidingModel,
    groups: EvaluationGroups,
    out: Path,
    summary: dict,
    save_images: int = 4,
) -> dict:
    """Test a model on a data set by the protocol of docs/evaluation.md, and write the results to `out`.

    hide -> stego.png on disk -> a fresh read of that file -> reveal. Writes metrics.json (returned;
    it begins with `summary`), per_image.csv, groups.csv, pictures/ and figures/ of the first
    `save_images` groups, figures/psnr.png. They appear together at the end, in place of earlier
    results: a test that fails leaves those as they were.
    """
    new, old = out.with_name(f".{out.name}.new"), out.with_name(f".{out.name}.old")
    for left_over in (new, old):
        shutil.rmtree(left_over, ignore_errors=True)
    try:
        metrics = _evaluate(model, groups, new, summary, save_images)
        if out.exists():
            out.rename(old)
        new.rename(out)
    finally:
        for left_over in (new, old):
            shutil.rmtree(left_over, ignore_errors=True)
    return metrics


def _evaluate(
    model: HidingModel, groups: EvaluationGroups, out: Path, summary: dict, save_images: int
) -> dict:
    out.mkdir(parents=True)
    write_groups(out / "groups.csv", groups.groups)
    rows: list[dict] = []
    seconds: list[tuple[float, float]] = []
    for group in _through_png(model, groups):
        rows += _score(group)
        seconds.append((group.seconds_hide, group.seconds_reveal))
        if group.index < save_images:
            _save_pictures(out, group, model.figure_columns)
    metrics = {
        **summary,
        "groups": len(groups),
        "num_secrets": model.num_secrets,
        "cover_stego": summarise(rows, "cover_stego"),
        "secret_revealed": summarise(rows, "secret_revealed"),
        "seconds_hide": float(np.mean([s[0] for s in seconds])),
        "seconds_reveal": float(np.mean([s[1] for s in seconds])),
        "params": sum(p.numel() for p in model.parameters()),
    }
    _write_rows(out / "per_image.csv", rows)
    spread = {
        kind: [row["psnr_rgb"] for row in rows if row["kind"] == kind]
        for kind in ("cover_stego", "secret_revealed")
    }
    (out / "figures").mkdir(exist_ok=True)
    write_picture(out / "figures" / "psnr.png", histogram(spread))
    text = json.dumps(metrics, indent=2, allow_nan=False) + "\n"
    write_beside(out / "metrics.json", text.encode())
    return metrics


def summarise(rows: list[dict], kind: str) -> dict:
    """Means over the pairs of one kind, and the worst PSNR. Infinite values are counted, not averaged."""
    chosen = [row for row in rows if row["kind"] == kind]
    summary: dict = {"pairs": len(chosen)}
    for field in FIELDS:
        summary[field], infinite = mean_finite([row[field] for row in chosen])
        if infinite:
            summary[f"{field}_infinite"] = infinite
        summary[field] = _json_number(summary[field])
    summary["worst_psnr_rgb"] = _json_number(min(row["psnr_rgb"] for row in chosen))
    return summary


def mean_finite(values: list[float]) -> tuple[float, int]:
    """(mean of the finite values, how many were not); inf where none is."""
    finite = [x for x in values if math.isfinite(x)]
    return (float(np.mean(finite)) if finite else math.inf), len(values) - len(finite)


def table(metrics: dict) -> str:
    """The summary of one data set, for the terminal."""
    lines = [f"{'':<18}" + "".join(f"{field:>10}" for field in (*FIELDS, "worst"))]
    for kind, label in (("cover_stego", "cover/stego"), ("secret_revealed", "secret/revealed")):
        summary = metrics[kind]
        values = [summary[field] for field in FIELDS] + [summary["worst_psnr_rgb"]]
        digits = (2, 2, 4, 4, 3, 3, 2)
        cells = [
            f"{v:>10.{d}f}" if isinstance(v, float) else f"{v:>10}"
            for v, d in zip(values, digits, strict=True)
        ]
        lines.append(f"{label:<18}" + "".join(cells))
    return "\n".join(lines)


def _through_png(model: HidingModel, groups: EvaluationGroups) -> Iterator[Scored]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "stego.png"
        for index in tqdm(range(len(groups)), desc="test", unit="group"):
            item = groups[index]
            cover, secrets = item["cover"], item["secrets"]
            stego, seconds_hide = _timed(model.hide, model.device, cover[None], secrets[None])
            write_picture(file, to_array(stego[0]))
            received = to_tensor(read_picture(file))
            revealed, seconds_reveal = _timed(model.reveal, model.device, received[None])
            yield Scored(
                index,
                to_array(cover),
                to_array(received),
                _arrays(secrets),
                _arrays(revealed[0]),
                seconds_hide,
                seconds_reveal,
            )


def _timed(function, device: torch.device, *arguments: Tensor) -> tuple[Tensor, float]:
    start = time.perf_counter()
    result = function(*arguments)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return result, time.perf_counter() - start


def _score(group: Scored) -> list[dict]:
    rows = [{"kind": "cover_stego", "secret": "", **score_pair(group.cover, group.stego)}]
    for k, (secret, revealed) in enumerate(zip(group.secrets, group.revealed, strict=True), 1):
        rows.append({"kind": "secret_revealed", "secret": k, **score_pair(secret, revealed)})
    return [{"group": group.index, **row} for row in rows]


def _save_pictures(out: Path, group: Scored, cols: int) -> None:
    name = f"{group.index:04d}"
    for kind in ("cover", "stego", "secret", "revealed"):
        (out / "pictures" / kind).mkdir(parents=True, exist_ok=True)
    (out / "figures").mkdir(exist_ok=True)
    write_picture(out / "pictures" / "cover" / f"{name}.png", group.cover)
    write_picture(out / "pictures" / "stego" / f"{name}.png", group.stego)
    for k, (secret, revealed) in enumerate(zip(group.secrets, group.revealed, strict=True), 1):
        write_picture(out / "pictures" / "secret" / f"{name}_{k:02d}.png", secret)
        write_picture(out / "pictures" / "revealed" / f"{name}_{k:02d}.png", revealed)
    figure = group_figure(group.cover, group.stego, group.secrets, group.revealed, cols)
    write_picture(out / "figures" / f"group_{name}.png", figure)


def _write_rows(path: Path, rows: list[dict]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_beside(path, text.getvalue().encode())


def _arrays(pictures: Tensor) -> np.ndarray:
    """(N,3,H,W) uint8 tensor -> (N,H,W,3) uint8 array."""
    return pictures.permute(0, 2, 3, 1).cpu().numpy()


def _json_number(value: float) -> float | str:
    return value if math.isfinite(value) else "inf"
