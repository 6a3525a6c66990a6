"""What detectors find, as measured: docs/results/detection/ and docs/results/detection.json."""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np

from engine.checkpoint import fingerprint
from engine.log import ROOT
from models import HidingModel

RESULTS = ROOT / "docs" / "results"
UNCHANGED = 65.0  # dB: one value in fifty changed by one level, which no detector notices
NEAR = 1.5  # dB: half the step from one payload to twice that payload


def label(found: dict) -> str:
    """Return a detector's name in tables, from its security.json: "spam", "srm green", "xunet", "ica"."""
    channel = found.get("channel", "all")
    name = found.get("features") or found.get("network") or found["detector"]
    return name if channel == "all" else f"{name} {channel}"


def measured(results: Path = RESULTS) -> Iterator[dict]:
    """Yield every kept security.json: those of the sets, then the points of plot_detection.py."""
    for file in sorted((results / "detection").glob("*/*/*.json")):
        found = json.loads(file.read_text())
        if "auc" in found:
            yield found
    points = results / "detection.json"
    if points.exists():
        yield from json.loads(points.read_text())["points"]


def expected(model: HidingModel, psnr: float, results: Path = RESULTS) -> str | None:
    """Say how well detectors are expected to find a stego, from the measured stegos that are most like it.

    psnr: of the stego [dB, RGB]. Stegos count as alike if method, weights, modulus and shaping are the same
    and their mean PSNR is within 1.5 dB. Of these, the stegos nearest in PSNR are used, and of the detectors
    tried on them the one with the largest AUC. Returns None if no stegos are alike.
    """
    own = {
        "method": model.method,
        "fingerprint": fingerprint(model).hex() if model.trainable else "",
        "modulus": getattr(model, "modulus", None),
        "shaping": getattr(model, "shaping", None),
    }
    alike = [
        found
        for found in measured(results)
        if (of := found.get("stegos"))
        and of.get("psnr")
        and all(of.get(key) == value for key, value in own.items())
    ]
    near = [(abs(found["stegos"]["psnr"] - psnr), found) for found in alike]
    least = min((distance for distance, _ in near), default=NEAR + 1)
    if least > NEAR:
        return None
    best = max((found for distance, found in near if distance == least), key=lambda found: found["auc"])
    learned = best.get("trained_pairs", best["train_pairs"])
    after = f"after {learned} training pairs, " if learned else ""
    return (
        f"{after}{label(best)} finds such stegos ({best['stegos']['psnr']:.1f} dB) with an AUC of "
        f"{best['auc']:.2f} (0.5 is chance; docs/steganalysis.md)"
    )


def likely_auc(psnr: float, results: Path = RESULTS) -> float:
    """Return the AUC to expect from a detector that learns, given only the stego's PSNR [dB, RGB].

    This interpolates between the measured stegos with more and with less noise, whatever their method. The
    best detector counts for each of them.
    """
    noise, aucs = _by_noise(results)
    return float(np.interp(-psnr, noise, aucs))


@cache
def _by_noise(results: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return minus the PSNR of the measured stegos, ascending, and the best AUC up to that noise."""
    best: dict[float, float] = {UNCHANGED: 0.5}
    for found in measured(results):
        if found["train_pairs"] and (of := found.get("stegos")):
            best[of["psnr"]] = max(found["auc"], best.get(of["psnr"], 0.5))
    noise, aucs = zip(*sorted((-psnr, auc) for psnr, auc in best.items()), strict=True)
    return np.array(noise), np.maximum.accumulate(aucs)
