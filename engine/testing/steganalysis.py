"""How well stegos can be told from their covers: picture files in, security.json and the ROC out."""

import csv
import hashlib
import io
import json
import signal
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
from tqdm import tqdm

from data.files import sha256, write_beside
from data.images import picture_size, read_picture
from engine.build import choose_device
from engine.log import git_commit
from engine.testing.steganalysis_cnn import Training, network_scores, train_network
from errors import UserError
from metrics.steganalysis.library import sealwatch
from metrics.steganalysis.lsb import THRESHOLD, lsb_scores
from metrics.steganalysis.rich import FEATURES, Ensemble, rich_features
from metrics.steganalysis.scores import roc, summary

DETECTORS = ("stegexpose", "rich", "cnn")
LEAST = {"stegexpose": (0, 4), "rich": (8, 4), "cnn": (4, 4)}  # pairs that training and test need
SMALLEST = 32  # px, short side of a picture

Pairs = list[tuple[Path, Path]]


@dataclass
class Analysis:
    """What a detector found.

    scores: name -> (of the covers, of the stegos), (N,) each, of the N pairs `tested`; the detector's
        own name first, then those that are part of it.
    curve: of "cnn", accuracy and more for each number of training pairs.
    """

    summary: dict
    tested: Pairs
    scores: dict[str, tuple[np.ndarray, np.ndarray]]
    curve: list[dict] = field(default_factory=list)


def analyse(
    pairs: Pairs,
    detector: str,
    work: Path,
    *,
    seed: int = 0,
    train_share: float = 0.5,
    features: str = "spam",
    training: Training | None = None,
    train_pairs: list[int] | None = None,
    device: str = "auto",
    workers: int | None = None,
) -> Analysis:
    """Put a detector to work on pairs (cover, stego) of picture files.

    detector: "stegexpose" needs no training and scores all pairs; "rich" (an ensemble on `features`)
        and "cnn" learn from a share `train_share` of the pairs and score the others.
    work: folder for what is worth keeping when a run is repeated: features, states of training.
    training: of "cnn"; its seed is `seed`. train_pairs: train anew with so many pairs each; the last,
        largest number gives the overall result. None: all training pairs.
    workers: processes that read pictures and extract features; None: one a core.
    Raises UserError for too few pairs (says how many are needed), or too small pictures.
    """
    started = time.monotonic()
    if detector != "cnn":
        sealwatch()  # say at once if it is missing
    _check_sizes(pairs)
    digests = _everywhere(sha256, [path for pair in pairs for path in pair], workers, "reading")
    learn, tested = split(pairs, digests, 0 if detector == "stegexpose" else train_share, seed)
    _check_count(detector, len(pairs), len(learn), len(tested), train_share)
    analysis = Analysis({}, tested, {})
    about: dict = {}
    threshold = 0.0

    if detector == "stegexpose":
        found = _everywhere(_lsb_scores, _paths(tested), workers, "detecting")
        for name in next(iter(found.values())):
            analysis.scores[name] = _columns(tested, {path: scores[name] for path, scores in found.items()})
        threshold = THRESHOLD
    elif detector == "rich":
        extract = partial(_features, work / "features", features)
        of = _everywhere(
            extract, [(path, digests[path]) for path in _paths(pairs)], workers, f"{features} features"
        )
        extracted = {path: value for (path, _), value in of.items()}
        ensemble = Ensemble(*_columns(learn, extracted), seed)
        about = {"features": features, "learners": ensemble.learners, "subspace": ensemble.subspace}
        cover, stego = (ensemble.scores(x) for x in _columns(tested, extracted))
        analysis.scores[detector] = (cover, stego)
    else:
        training = replace(training or Training(), seed=seed)
        on = choose_device(device)
        about = {"device": on.type, **asdict(training)}
        for count in _checked_counts(train_pairs, len(learn)):
            # The pairs of a smaller number are among those of a larger one.
            chosen = learn[:count]
            prints = hashlib.sha256("".join(digests[path] for path in _paths(chosen)).encode()).hexdigest()
            state = work / "checkpoints" / f"{training.network}_{count}.pt"
            network = train_network(chosen, training, on, state, prints)
            cover, stego = (network_scores(network, list(side), on) for side in zip(*tested, strict=True))
            analysis.scores[detector] = (cover, stego)
            analysis.curve.append({"train_pairs": count, **summary(cover, stego, seed, threshold)})
        learn = learn[: analysis.curve[-1]["train_pairs"]]

    packages = [*(["sealwatch"] if detector != "cnn" else []), "numpy", "scipy", "torch", "pillow"]
    parts = {name: summary(*both, seed, threshold) for name, both in analysis.scores.items()}
    analysis.summary = {
        **parts.pop(detector),
        "detector": detector,
        **about,
        "seed": seed,
        "pairs": len(pairs),
        "train_pairs": len(learn),
        "test_pairs": len(tested),
        "pairs_of_equal_files": sum(digests[cover] == digests[stego] for cover, stego in pairs),
        **({"parts": parts} if parts else {}),
        **({"by_train_pairs": analysis.curve} if analysis.curve else {}),
        "seconds": round(time.monotonic() - started, 1),
        "packages": {name: version(name) for name in packages},
        "git_commit": git_commit(),
    }
    return analysis


# --- pairs ----------------------------------------------------------------------------------------


def split(pairs: Pairs, digests: dict[Path, str], share: float, seed: int) -> tuple[Pairs, Pairs]:
    """(pairs to learn from, pairs to test on), fixed by the seed and the names, both in shuffled order.

    A cover and its stego are on one side, and so are all pairs whose cover is the same file under
    several names: a detector that has seen a picture would know it again.
    """
    scenes: dict[str, Pairs] = {}
    for pair in sorted(pairs, key=lambda pair: pair[0].name):
        scenes.setdefault(digests[pair[0]], []).append(pair)
    groups = list(scenes.values())
    shuffled = [groups[k] for k in np.random.default_rng(seed).permutation(len(groups))]
    learn: Pairs = []
    while shuffled and len(learn) + len(shuffled[0]) <= round(share * len(pairs)):
        learn += shuffled.pop(0)
    return learn, [pair for group in shuffled for pair in group]


def without(pairs: Pairs, excluded: Iterable[Path]) -> Pairs:
    """The pairs whose cover's name, suffix aside, is not among those of `excluded`."""
    names = {path.stem for path in excluded}
    return [pair for pair in pairs if pair[0].stem not in names]


def _check_sizes(pairs: Pairs) -> None:
    for cover, _ in pairs:
        height, width = picture_size(cover)
        if min(height, width) < SMALLEST:
            raise UserError(f"{cover}: {width}x{height}, a detector needs at least {SMALLEST} pixels a side")


def _check_count(detector: str, pairs: int, learn: int, test: int, share: float) -> None:
    need_learn, need_test = LEAST[detector]
    if learn >= need_learn and test >= need_test:
        return
    if not need_learn:
        raise UserError(f"{detector} needs at least {need_test} pairs of cover and stego, there are {pairs}")
    raise UserError(
        f"{detector} needs at least {need_learn} pairs to learn from and {need_test} to test on; "
        f"{pairs} pairs with a train share of {share:g} give {learn} and {test}"
    )


def _checked_counts(counts: list[int] | None, learn: int) -> list[int]:
    counts = sorted(set(counts or [learn]))
    least = LEAST["cnn"][0]
    if counts[0] < least or counts[-1] > learn:
        wrong = counts[0] if counts[0] < least else counts[-1]
        raise UserError(
            f"{wrong} training pairs: expected {least} to {learn}, as many as there are to learn from"
        )
    return counts


# --- work on every picture ------------------------------------------------------------------------


def _everywhere(function: Callable, items: list, workers: int | None, what: str) -> dict:
    """{item: function(item)}, in `workers` processes (None: one a core), with a bar."""
    items = list(dict.fromkeys(items))
    bar = partial(tqdm, total=len(items), desc=what, unit="picture", disable=None)
    if workers == 1:
        return dict(zip(items, bar(map(function, items)), strict=True))
    # Ctrl-C reaches all processes: the workers finish their picture, this one stops.
    ignore = (signal.SIGINT, signal.SIG_IGN)
    with ProcessPoolExecutor(workers, initializer=signal.signal, initargs=ignore) as pool:
        try:
            return dict(zip(items, bar(pool.map(function, items, chunksize=4)), strict=True))
        except BaseException:  # a bad picture, or Ctrl-C: do not read all the others first
            pool.shutdown(cancel_futures=True)
            raise


def _lsb_scores(path: Path) -> dict[str, float]:
    return lsb_scores(read_picture(path))


def _features(cache: Path, features: str, item: tuple[Path, str]) -> np.ndarray:
    """A picture's features; those of the same file content were kept and are not computed again."""
    path, digest = item
    kept = cache / f"{features}-sealwatch-{version('sealwatch')}" / f"{digest}.npy"
    if kept.exists():
        try:
            return np.load(kept)
        except (ValueError, EOFError) as error:
            raise UserError(f"{kept}: damaged; delete it") from error
    values = rich_features(read_picture(path), features)
    assert values.shape == FEATURES[features][:1], (path, values.shape)
    buffer = io.BytesIO()
    np.save(buffer, values)
    write_beside(kept, buffer.getvalue())
    return values


def _paths(pairs: Pairs) -> list[Path]:
    return [path for pair in pairs for path in pair]


def _columns(pairs: Pairs, values: dict) -> tuple[np.ndarray, np.ndarray]:
    """Of a value for each path: (those of the covers, those of the stegos), stacked."""
    covers, stegos = (np.stack([values[path] for path in side]) for side in zip(*pairs, strict=True))
    return covers, stegos


# --- results --------------------------------------------------------------------------------------


def write_analysis(analysis: Analysis, out: Path) -> None:
    """security.json, roc.csv, roc.png, scores.csv; of "cnn" also pairs.csv and pairs.png.

    All are made first and then written, each whole, security.json last.
    """
    points = [(name, *map(float, point)) for name, both in analysis.scores.items() for point in roc(*both)]
    rows = [
        (path.name, kind, *(float(both[side][k]) for both in analysis.scores.values()))
        for k, pair in enumerate(analysis.tested)
        for side, (path, kind) in enumerate(zip(pair, ("cover", "stego"), strict=True))
    ]
    files = {
        "roc.csv": _table(("detector", "threshold", "false_alarm_rate", "detection_rate"), points),
        "roc.png": _png(partial(_draw_roc, analysis)),
        "scores.csv": _table(("picture", "kind", *analysis.scores), rows),
    }
    if analysis.curve:
        header = ("train_pairs", "accuracy", "p_e", "auc", "auc_low", "auc_high")
        lines = [
            (c["train_pairs"], c["accuracy"], c["p_e"], c["auc"], *c["auc_interval"]) for c in analysis.curve
        ]
        files["pairs.csv"] = _table(header, lines)
        files["pairs.png"] = _png(partial(_draw_curve, analysis.curve))
    files["security.json"] = (json.dumps(analysis.summary, indent=2) + "\n").encode()
    for name, content in files.items():
        write_beside(out / name, content)


def _table(header: Iterable[str], rows: Iterable[Iterable]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().encode()


def _png(draw: Callable) -> bytes:
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
