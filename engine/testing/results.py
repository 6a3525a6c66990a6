"""Turn hidden and revealed groups into a results folder: scores, tables and pictures."""

import csv
import io
import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from data.files import write_beside
from data.images import write_picture
from engine.testing.figures import group_figure, histogram
from engine.testing.protocol import PROTOCOL
from engine.testing.report import DIGITS, KINDS, write_report
from engine.testing.scoring import Elsewhere, HiddenGroup, Scores, score_groups
from metrics.capacity import capacity_bound, cdt_db, cdt_efficiency
from metrics.image import FIELDS
from metrics.intervals import FEWEST, mean_interval


def write_results(
    out: Path,
    groups: Iterable[HiddenGroup | Elsewhere],
    summary: dict,
    save_images: int = 4,
    capacity: bool = True,
    columns: int = 0,
) -> dict:
    """Score groups, write the results into the existing folder `out`, and return the metrics.

    Writes metrics.json (it begins with `summary`), per_image.csv, attacks.csv if there are attacks,
    pictures/ and figures/ of the first `save_images` groups, figures/psnr.png and report.html.

    summary: what is known beforehand, at least `method`, `dataset` and `through` (the kind of file).
    capacity: also measure how many bits a codec needs for each revealed secret (metrics/capacity.py). This
    takes longer than everything else.
    columns: the number of columns in which figures show the secrets; 0: the grid closest to a square.
    """
    scores = score_groups(groups, capacity, lambda group: save_pictures(out, group, save_images, columns))
    return write_scores(out, scores, summary)


def write_scores(out: Path, scores: Scores, summary: dict) -> dict:
    """Write the results of groups that are already scored: the second part of `write_results`."""
    rows = scores.pairs
    cover, revealed = (summarise(rows, kind) for kind in KINDS)
    assert cover is not None, "no groups"
    metrics = {
        "protocol": PROTOCOL,
        **summary,
        "groups": cover["pairs"],
        "num_secrets": revealed["pairs"] // cover["pairs"] if revealed else 0,
        "pictures_sha256": scores.pictures_sha256,
        "cover_stego": cover,
        "secret_revealed": revealed,
        **_capacity(rows, cover, revealed, scores.codec),
        "attacks": [_summarise_attack(name, attacked) for name, attacked in scores.attacks.items()],
    }
    for k, name in enumerate(("seconds_hide", "seconds_reveal") if scores.seconds else ()):
        metrics |= _mean_with_interval(name, [pair[k] for pair in scores.seconds], range(cover["pairs"]))
    _write_rows(out / "per_image.csv", rows)
    if metrics["attacks"]:
        _write_rows(out / "attacks.csv", [_attack_row(attack) for attack in metrics["attacks"]])
    spread = {kind: [row["psnr_rgb"] for row in rows if row["kind"] == kind] for kind in KINDS}
    (out / "figures").mkdir(exist_ok=True)
    write_picture(out / "figures" / "psnr.png", histogram({k: v for k, v in spread.items() if v}))
    text = json.dumps(metrics, indent=2, allow_nan=False) + "\n"
    write_beside(out / "metrics.json", text.encode())
    write_report(out)
    return metrics


# --- summaries ----------------------------------------------------------------------------------


def summarise(rows: list[dict], kind: str) -> dict | None:
    """Return the means over the pairs of one kind, the mean squared error and the worst PSNR.

    Returns None if there are no pairs. Each mean `<field>` comes with its 95 % interval `<field>_interval`
    (metrics/intervals.py; null for too few groups). Infinite values, and MS-SSIM of pictures that are too
    small for it, are counted but not averaged.
    """
    chosen = [row for row in rows if row["kind"] == kind]
    if not chosen:
        return None
    summary: dict = {"pairs": len(chosen)}
    for name in FIELDS:
        scored = [row for row in chosen if row[name] is not None]
        values = [row[name] for row in scored]
        summary |= _mean_with_interval(name, values, [row["group"] for row in scored])
        if infinite := sum(map(math.isinf, values)):
            summary[f"{name}_infinite"] = infinite
        if len(values) < len(chosen):
            summary[f"{name}_too_small"] = len(chosen) - len(values)
    squares = [row["rmse"] ** 2 for row in chosen]
    summary |= _mean_with_interval("mse", squares, [row["group"] for row in chosen])
    summary["worst_psnr_rgb"] = _json_number(min(row["psnr_rgb"] for row in chosen))
    return summary


def _mean_with_interval(name: str, values: Sequence[float], groups: Sequence[int]) -> dict:
    """Return {name: mean of the finite values, "inf" or None; name_interval: [low, high] or None}."""
    mean = _json_number(mean_finite(values)[0]) if len(values) else None
    return {name: mean, f"{name}_interval": mean_interval(values, groups)}


def mean_finite(values: Sequence[float]) -> tuple[float, int]:
    """Return the mean of the finite values (inf if there are none), and the number of the others."""
    finite = [x for x in values if math.isfinite(x)]
    return (float(np.mean(finite)) if finite else math.inf), len(values) - len(finite)


def _capacity(rows: list[dict], cover: dict, revealed: dict | None, codec: str | None) -> dict:
    """Return the capacity-distortion figures of a data set, at its mean distortions (metrics/capacity.py).

    cover, revealed: the summaries of the two kinds of pairs. codec: its name, or None if the payload was not
    measured.
    """
    names = ("cdt_db", "cdt_efficiency", "payload_bpp", "payload_bpp_interval")
    figures: dict = dict.fromkeys(names)
    figures["capacity"] = {"bound_bpp": capacity_bound(cover["mse"])}
    if revealed is None:
        return figures
    num_secrets = revealed["pairs"] / cover["pairs"]
    figures["cdt_db"] = _json_number(cdt_db(num_secrets, cover["mse"], revealed["mse"]))
    if codec is not None:
        chosen = [row for row in rows if row["kind"] == "secret_revealed"]
        totals: dict[int, float] = {}
        for row in chosen:
            totals[row["group"]] = totals.get(row["group"], 0.0) + row["payload_bpp"]
        figures |= _mean_with_interval("payload_bpp", list(totals.values()), list(totals))
        figures["cdt_efficiency"] = _json_number(cdt_efficiency(figures["payload_bpp"], cover["mse"]))
        ways = [row["payload_from"] for row in chosen]
        counts = {f"{way}_secrets": ways.count(way) for way in sorted({*ways})}
        figures["capacity"] |= {"codec": codec, **counts}
    return figures


def _summarise_attack(name: str, rows: list[dict]) -> dict:
    """Summarise one attack: PSNR of the attacked stegos, the share that was revealed, and their scores."""
    stegos = [row for row in rows if row["kind"] == "stego"]
    groups = [row["group"] for row in stegos]
    return {
        "attack": name,
        **_mean_with_interval("stego_psnr_rgb", [row["psnr_rgb"] for row in stegos], groups),
        **_mean_with_interval("revealed_share", [float(row["revealed"]) for row in stegos], groups),
        "secret_revealed": summarise(rows, "secret_revealed"),
    }


def _attack_row(attack: dict) -> dict:
    """Flatten an attack's summary to one row of a table. The scores are empty if no stego was revealed."""
    inner = attack["secret_revealed"] or {}
    names = ("pairs", *(n for field in FIELDS for n in (field, f"{field}_interval")), "worst_psnr_rgb")
    flat = {k: v for k, v in attack.items() if k != "secret_revealed"} | {k: inner.get(k) for k in names}
    return {k: " ".join(map(str, value)) if isinstance(value, list) else value for k, value in flat.items()}


# --- for the terminal ---------------------------------------------------------------------------


def table(metrics: dict) -> str:
    """Format the summary of one data set: scores with their intervals, capacity and attacks."""
    lines = _table("", [(words, metrics[kind]) for kind, words in KINDS.items() if metrics[kind]])
    if metrics["groups"] < FEWEST:
        lines.append(f"no 95 % intervals: {metrics['groups']} groups, but at least {FEWEST} are needed")
    if metrics["secret_revealed"]:
        said = f"CDT {_cell(metrics['cdt_db'], 2)} dB"
        if metrics["payload_bpp"] is not None:
            used, most = metrics["payload_bpp"], metrics["capacity"]["bound_bpp"]
            said += f"; payload {used:.2f} of at most {most:.2f} bits a pixel, efficiency "
            said += _cell(metrics["cdt_efficiency"], 3)
        lines.append(said)
    if metrics["attacks"]:
        lines += _table("revealed after", [(a["attack"], a["secret_revealed"]) for a in metrics["attacks"]])
        for attack in metrics["attacks"]:
            if attack["revealed_share"] < 1:
                share = f"{100 * attack['revealed_share']:.0f} % of the stegos revealed"
                lines.append(f"{attack['attack']}: {share}, the others refused; scores are of the revealed")
    return "\n".join(lines)


def _table(title: str, rows: list[tuple[str, dict | None]]) -> list[str]:
    width = max(18, *(len(name) + 2 for name, _ in rows))

    def line(name: str, cells: Iterable[str]) -> str:
        return f"{name:<{width}}" + "".join(f"{cell:>9}" for cell in cells)

    lines = [line(title, (*FIELDS, "worst"))]
    for name, summary in rows:
        scores = [(summary or {}).get(one) for one in (*FIELDS, "worst_psnr_rgb")]
        digits = [DIGITS.get(one, 4) for one in (*FIELDS, "worst_psnr_rgb")]
        lines.append(line(name, map(_cell, scores, digits)))
        intervals = [(summary or {}).get(f"{one}_interval") for one in FIELDS]
        if any(intervals):
            for k, words in enumerate(("  95 % from", "  95 % to")):
                ends = [interval[k] if interval else None for interval in intervals]
                lines.append(line(words, map(_cell, ends, digits)))
    return lines


def _cell(value: float | str | None, digits: int) -> str:
    return "-" if value is None else value if isinstance(value, str) else f"{value:.{digits}f}"


# --- files --------------------------------------------------------------------------------------


def save_pictures(out: Path, group: HiddenGroup, save_images: int, columns: int) -> None:
    """Write pictures/ and a figure, if the group is among the first `save_images`."""
    if group.index >= save_images:
        return
    name = f"{group.index:04d}"
    for kind in ("cover", "stego", "secret", "revealed"):
        (out / "pictures" / kind).mkdir(parents=True, exist_ok=True)
    write_picture(out / "pictures" / "cover" / f"{name}.png", group.cover)
    write_picture(out / "pictures" / "stego" / f"{name}.png", group.stego)
    for k, (secret, revealed) in enumerate(zip(group.secrets, group.revealed, strict=True), 1):
        write_picture(out / "pictures" / "secret" / f"{name}_{k:02d}.png", secret)
        write_picture(out / "pictures" / "revealed" / f"{name}_{k:02d}.png", revealed)
    (out / "figures").mkdir(exist_ok=True)
    figure = group_figure(group.cover, group.stego, group.secrets, group.revealed, columns)
    write_picture(out / "figures" / f"group_{name}.png", figure)


def _write_rows(path: Path, rows: list[dict]) -> None:
    text = io.StringIO()
    # The columns of all rows together: only secrets have `payload_from`.
    columns = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(text, fieldnames=columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_beside(path, text.getvalue().encode())


def _json_number(value: float | None) -> float | str | None:
    return value if value is None or math.isfinite(value) else "inf"
