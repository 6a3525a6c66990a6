"""Warnings about pictures that make bad covers."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np

from data.images import picture_format
from errors import UserError

BLOCKY = 1.06  # from this ratio on, the steps across JPEG's block borders give away that it was JPEG


def cover_warnings(path: str | Path, cover: np.ndarray) -> Iterator[str]:
    """Yield a line for each thing that makes this picture a bad cover.

    path: names the picture, and tells its format. cover: its pixels, (H,W,3) uint8.
    """
    height, width = cover.shape[:2]
    if min(height, width) < 128:
        yield f"{path}: tiny, {width}x{height} pixels; it holds little"
    extreme = ((cover <= 4) | (cover >= 251)).mean()
    if extreme > 0.1:
        yield f"{path}: {extreme:.0%} of its samples are black or blown out; changes there are clipped"
    flat = _flat_share(cover)
    if flat > 0.3:
        yield f"{path}: {flat:.0%} of it is flat, so changes show; a picture full of detail hides better"
    if (cover == cover[..., :1]).all():
        yield f"{path}: grey; its stego will be faintly coloured, which gives it away"
    with suppress(UserError):
        if picture_format(path)[0] in ("JPEG", "MPO") or _blocky(cover):
            yield f"{path}: was JPEG; hiding disturbs the traces of JPEG, so detectors find it more easily"


def _flat_share(cover: np.ndarray) -> float:
    """Return the share of 8x8 blocks whose grey values have a standard deviation below one level."""
    grey = cover.astype(np.float32).mean(axis=2)
    rows, columns = grey.shape[0] // 8, grey.shape[1] // 8
    if not rows * columns:
        return 0.0
    blocks = grey[: rows * 8, : columns * 8].reshape(rows, 8, columns, 8)
    return float((blocks.std(axis=(1, 3)) < 1).mean())


def _blocky(cover: np.ndarray) -> bool:
    """Say whether neighbours differ more across the borders of 8x8 blocks than inside, as after JPEG."""
    grey = cover.astype(np.float32).mean(axis=2)
    for plane in (grey, grey.T):
        steps = np.abs(np.diff(plane, axis=1)).mean(axis=0)  # between columns k and k + 1
        if len(steps) < 64 or steps[7::8].mean() <= BLOCKY * steps[3::8].mean():
            return False
    return True
