"""Process every picture in several processes, and compute features only once for each file content."""

import io
import signal
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
from tqdm import tqdm

from data.files import write_beside
from data.images import read_picture
from errors import UserError
from metrics.steganalysis.ica import component_moments, ica_features
from metrics.steganalysis.rich import rich_features

ICA_VERSION = 1  # raise it when the features of `ica` change


def everywhere(function: Callable, items: list, workers: int | None, what: str) -> dict:
    """Return {item: function(item)}, computed in `workers` processes (None: one per core), with a bar."""
    items = list(dict.fromkeys(items))
    bar = partial(tqdm, total=len(items), desc=what, unit="picture", disable=None)
    if workers == 1:
        return dict(zip(items, bar(map(function, items)), strict=True))
    # Ctrl-C reaches all processes: the workers ignore it and finish their picture, this one stops.
    ignore = (signal.SIGINT, signal.SIG_IGN)
    with ProcessPoolExecutor(workers, initializer=signal.signal, initargs=ignore) as pool:
        try:
            return dict(zip(items, bar(pool.map(function, items, chunksize=4)), strict=True))
        except BaseException:  # a bad picture or Ctrl-C: do not wait for all the others
            pool.shutdown(cancel_futures=True)
            raise


def features_of(
    paths: list[Path],
    digests: dict[Path, str],
    features: str,
    channel: str,
    cache: Path,
    workers: int | None,
) -> dict[Path, np.ndarray]:
    """Return {path: its rich features}. cache: the folder that keeps them."""
    name = f"{features}-{channel}-sealwatch-{version('sealwatch')}"
    compute = partial(rich_features, features=features, channel=channel)
    return _kept_features(paths, digests, compute, cache / "features" / name, workers, f"{features} features")


def moments_of(
    paths: list[Path],
    digests: dict[Path, str],
    chosen: tuple[int, int] | None,
    cache: Path,
    workers: int | None,
) -> dict[Path, np.ndarray]:
    """Return {path: moments}: of all PCA components, (120,), or of the `chosen` two after ICA, (8,)."""
    name = f"ica{ICA_VERSION}-" + ("all" if chosen is None else "_".join(map(str, chosen)))
    compute = component_moments if chosen is None else partial(ica_features, chosen=chosen)
    return _kept_features(paths, digests, compute, cache / "features" / name, workers, name)


def _kept_features(
    paths: list[Path],
    digests: dict[Path, str],
    compute: Callable[[np.ndarray], np.ndarray],
    folder: Path,
    workers: int | None,
    what: str,
) -> dict[Path, np.ndarray]:
    items = [(path, digests[path]) for path in paths]
    found = everywhere(partial(_kept, compute, folder), items, workers, what)
    return {path: value for (path, _), value in found.items()}


def _kept(compute: Callable[[np.ndarray], np.ndarray], folder: Path, item: tuple[Path, str]) -> np.ndarray:
    """Return a picture's features, from the cache if it has them for this file content."""
    path, digest = item
    kept = folder / f"{digest}.npy"
    if kept.exists():
        try:
            return np.load(kept)
        except (ValueError, EOFError) as error:
            raise UserError(f"{kept}: damaged; delete it") from error
    values = compute(read_picture(path))
    buffer = io.BytesIO()
    np.save(buffer, values)
    write_beside(kept, buffer.getvalue())
    return values
