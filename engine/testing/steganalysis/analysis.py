"""Measure how well a detector tells stegos from their covers, on pairs of picture files."""

import hashlib
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np

from data.files import sha256
from data.images import read_picture
from engine.build import choose_device
from engine.log import git_commit
from engine.testing.steganalysis.cnn import network_scores, train_network
from engine.testing.steganalysis.features import everywhere, features_of, moments_of
from engine.testing.steganalysis.kept import arrays_file, load_detector, network_file
from engine.testing.steganalysis.pairs import (
    LEAST,
    Pairs,
    check_sizes,
    checked_split,
    columns,
    paths,
    sharing,
)
from engine.testing.steganalysis.training import Training
from errors import UserError
from metrics.steganalysis.ica import Machine, choose, sklearn_needed
from metrics.steganalysis.library import sealwatch
from metrics.steganalysis.lsb import THRESHOLD, lsb_scores
from metrics.steganalysis.rich import Ensemble
from metrics.steganalysis.scores import summary

PACKAGES = {"stegexpose": ("sealwatch",), "rich": ("sealwatch",), "cnn": (), "ica": ("scikit-learn",)}

Scores = tuple[np.ndarray, np.ndarray]  # of the covers, of the stegos: (N,) each


@dataclass
class Analysis:
    """The findings of a detector.

    scores: name -> (scores of the covers, scores of the stegos), (N,) each, for the N pairs in `tested`. The
        detector itself comes first, then its parts.
    curve: for "cnn", accuracy and more for each number of training pairs.
    detector: (name, content) of the file with the trained detector; None for "stegexpose".
    """

    summary: dict
    tested: Pairs
    scores: dict[str, Scores]
    curve: list[dict] = field(default_factory=list)
    detector: tuple[str, bytes] | None = None


@dataclass(frozen=True)
class Settings:
    """The settings of a detector. See `analyse`."""

    seed: int = 0
    train_share: float = 0.5
    features: str = "spam"
    channel: str = "all"
    training: Training = Training()
    train_pairs: tuple[int, ...] | None = None
    device: str = "auto"
    workers: int | None = None
    trained: Path | None = None


@dataclass
class Task:
    """The input of a detector: pairs, already split into those to learn from and those to test on."""

    learn: Pairs
    tested: Pairs
    digests: dict[Path, str]
    work: Path
    settings: Settings


def analyse(pairs: Pairs, detector: str, work: Path, settings: Settings = Settings()) -> Analysis:
    """Run a detector on pairs (cover, stego) of picture files.

    detector: "stegexpose" needs no training and scores all pairs. "rich" (an ensemble on `features` of
        `channel`), "ica" (eight features and a support vector machine) and "cnn" (a network) learn from a
        share `train_share` of the pairs and score the others.
    work: folder for files that a repeated run can use again: features and training states.
    settings.training: for "cnn"; its seed is `seed`. train_pairs: train once for each of these numbers of
        pairs; the largest gives the overall result. None: all training pairs. workers: processes that read
        pictures and extract features; None: one per core. trained: the file of a trained detector. It
        learns nothing, and scores all pairs except those whose cover's name it has learned from.
    Raises UserError for too few pairs (and says how many are needed), for pictures that are too small, and
    for a missing package.
    """
    started = time.monotonic()
    if "sealwatch" in PACKAGES[detector]:
        sealwatch()  # fails now if it is missing
    if detector == "ica":
        sklearn_needed()
    check_sizes(pairs)
    digests = everywhere(sha256, paths(pairs), settings.workers, "reading")
    if settings.trained is not None:
        analysis = _of_trained(pairs, detector, settings)
        learn: Pairs = []
    else:
        learn, tested = checked_split(detector, pairs, digests, settings.train_share, settings.seed)
        analysis = FINDERS[detector](Task(learn, tested, digests, work, settings))
        learn = learn[: analysis.curve[-1]["train_pairs"]] if analysis.curve else learn
    found = analysis.summary
    seed, threshold = settings.seed, THRESHOLD if detector == "stegexpose" else 0.0
    parts = {name: summary(*both, seed, threshold) for name, both in analysis.scores.items()}
    packages = [*PACKAGES[detector], "numpy", "scipy", "torch", "pillow"]
    analysis.summary = {
        **parts.pop(detector),
        "detector": detector,
        **found,
        "seed": seed,
        "pairs": len(pairs),
        "train_pairs": len(learn),
        "test_pairs": len(analysis.tested),
        "pairs_of_equal_files": sum(digests[cover] == digests[stego] for cover, stego in pairs),
        "pairs_that_share_files": sharing(pairs, digests),
        **({"parts": parts} if parts else {}),
        **({"by_train_pairs": analysis.curve} if analysis.curve else {}),
        "seconds": round(time.monotonic() - started, 1),
        "packages": {name: version(name) for name in packages},
        "git_commit": git_commit(),
    }
    return analysis


# --- the detectors --------------------------------------------------------------------------------


def _stegexpose(task: Task) -> Analysis:
    found = everywhere(_lsb_scores, paths(task.tested), task.settings.workers, "detecting")
    scores = {
        name: columns(task.tested, {path: of[name] for path, of in found.items()})
        for name in next(iter(found.values()))
    }
    return Analysis({}, task.tested, scores)


def _lsb_scores(path: Path) -> dict[str, float]:
    return lsb_scores(read_picture(path))


def _rich(task: Task) -> Analysis:
    settings = task.settings
    features, channel = settings.features, settings.channel
    everyone = paths(task.learn + task.tested)
    of = features_of(everyone, task.digests, features, channel, task.work, settings.workers)
    ensemble = Ensemble.learn(*columns(task.learn, of), settings.seed)
    about = {"features": features, "channel": channel}
    about |= {"learners": ensemble.learners, "subspace": ensemble.subspace}
    cover, stego = (ensemble.scores(x) for x in columns(task.tested, of))
    kept = arrays_file(ensemble.arrays, _about("rich", about, task))
    return Analysis(about, task.tested, {"rich": (cover, stego)}, detector=kept)


def _ica(task: Task) -> Analysis:
    workers = task.settings.workers
    learned = moments_of(paths(task.learn), task.digests, None, task.work, workers)
    chosen = choose(*columns(task.learn, learned))
    of = moments_of(paths(task.learn + task.tested), task.digests, chosen, task.work, workers)
    machine = Machine.learn(*columns(task.learn, of))
    about = {"components": list(chosen)}
    cover, stego = (machine.scores(x) for x in columns(task.tested, of))
    kept = arrays_file(machine.arrays, _about("ica", about, task))
    return Analysis(about, task.tested, {"ica": (cover, stego)}, detector=kept)


def _cnn(task: Task) -> Analysis:
    settings = task.settings
    training = replace(settings.training, seed=settings.seed)
    device = choose_device(settings.device)
    about = {"device": device.type, **asdict(training)}
    analysis = Analysis(about, task.tested, {})
    for count in _checked_counts(settings.train_pairs, len(task.learn)):
        # A smaller set of pairs is part of each larger one.
        chosen = task.learn[:count]
        prints = hashlib.sha256("".join(task.digests[path] for path in paths(chosen)).encode()).hexdigest()
        state = task.work / "checkpoints" / f"{training.network}_{count}.pt"
        network = train_network(chosen, training, device, state, prints)
        sides = zip(*task.tested, strict=True)
        cover, stego = (network_scores(network, list(side), device) for side in sides)
        analysis.scores["cnn"] = (cover, stego)
        analysis.curve.append({"train_pairs": count, **summary(cover, stego, settings.seed, 0)})
        analysis.detector = network_file(network, _about("cnn", about, task, count))
    return analysis


FINDERS: dict[str, Callable[[Task], Analysis]] = {
    "stegexpose": _stegexpose,
    "rich": _rich,
    "ica": _ica,
    "cnn": _cnn,
}


def _about(detector: str, about: dict, task: Task, count: int | None = None) -> dict:
    """Return what a detector's file says besides what the detector learned."""
    return {
        "detector": detector,
        **about,
        "seed": task.settings.seed,
        "train_share": task.settings.train_share,
        "learned": [cover.stem for cover, _ in task.learn[:count]],
        "tested": [cover.stem for cover, _ in task.tested],
        "git_commit": git_commit(),
    }


def _of_trained(pairs: Pairs, detector: str, settings: Settings) -> Analysis:
    """Score pairs with a detector that was trained before."""
    assert settings.trained is not None
    device = choose_device(settings.device)
    kept = load_detector(settings.trained, device)
    if kept.about["detector"] != detector:
        raise UserError(
            f"{settings.trained}: holds a detector of kind {kept.about['detector']}, expected {detector}"
        )
    learned = set(kept.about["learned"])
    tested = [pair for pair in pairs if pair[0].stem not in learned]
    if len(tested) < LEAST[detector][1]:
        raise UserError(
            f"{settings.trained}: needs at least {LEAST[detector][1]} pairs that it did not learn from, "
            f"but there are {len(tested)} of {len(pairs)}"
        )
    cover, stego = (kept.scores(list(side)) for side in zip(*tested, strict=True))
    about = {
        key: kept.about[key] for key in ("features", "channel", "network", "components") if key in kept.about
    }
    about |= {"trained": settings.trained.name, "trained_pairs": len(learned)}
    return Analysis(about, tested, {detector: (cover, stego)})


def _checked_counts(counts: tuple[int, ...] | None, learn: int) -> list[int]:
    several = sorted(set(counts or [learn]))
    least = LEAST["cnn"][0]
    if several[0] < least or several[-1] > learn:
        wrong = several[0] if several[0] < least else several[-1]
        raise UserError(
            f"{wrong} training pairs: expected {least} to {learn}, the number of pairs to learn from"
        )
    return several
