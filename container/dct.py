"""JPEG's own domain: luma as JFIF defines it, cut into 8x8 blocks from the top left, and their DCT.

A JPEG encoder rounds the coefficients of this orthonormal DCT, each to a multiple of its entry in a table.
Data that is written into them with a wider spacing survives the rounding. Rows and columns beyond a multiple
of 8 stay unchanged.
"""

import numpy as np

SIDE = 8  # side of a block [px]
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # of R, G, B: ITU-R BT.601, full range, as in JFIF

# ITU-T T.81, Annex K, table K.1: the luminance table at quality 50, row by row.
ANNEX_K = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ]
).reshape(-1)


def table(quality: int) -> np.ndarray:
    """Return libjpeg's luminance table at a quality of 1 to 100, row by row: (64,) int64.

    Its unit is that of the DCT.
    """
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    return np.clip((ANNEX_K * scale + 50) // 100, 1, 255)


def luma(picture: np.ndarray) -> np.ndarray:
    """Return the luma of an RGB picture: (H,W,3) -> (H,W) float32, 0 to 255."""
    return picture.astype(np.float32) @ LUMA


def whole_blocks(height: int, width: int) -> tuple[int, int]:
    """Return how many rows and columns of whole blocks a picture has."""
    return height // SIDE, width // SIDE


def to_blocks(plane: np.ndarray) -> np.ndarray:
    """Cut a plane into its whole blocks: (H,W,...) -> (blocks in raster order, 64, ...)."""
    rows, columns = whole_blocks(*plane.shape[:2])
    rest = plane.shape[2:]
    cut = plane[: rows * SIDE, : columns * SIDE].reshape(rows, SIDE, columns, SIDE, *rest)
    return np.ascontiguousarray(cut.swapaxes(1, 2)).reshape(rows * columns, SIDE * SIDE, *rest)


def put_blocks(plane: np.ndarray, blocks: np.ndarray) -> None:
    """Put blocks back into a plane, in place: the inverse of `to_blocks`. The rest of the plane stays."""
    rows, columns = whole_blocks(*plane.shape[:2])
    parts = blocks.reshape(rows, columns, SIDE, SIDE, *plane.shape[2:]).swapaxes(1, 2)
    plane[: rows * SIDE, : columns * SIDE] = parts.reshape(rows * SIDE, columns * SIDE, *plane.shape[2:])


def _basis() -> np.ndarray:
    """Return the basis (64,64) float32. Row u*8+v is the orthonormal basis picture of coefficient (u,v)."""
    u, x = np.mgrid[:SIDE, :SIDE]
    norm = np.where(u == 0, np.sqrt(1 / SIDE), np.sqrt(2 / SIDE))
    one = norm * np.cos((2 * x + 1) * u * np.pi / (2 * SIDE))
    return np.kron(one, one).astype(np.float32)


BASIS = _basis()


def coefficients(blocks: np.ndarray, which: np.ndarray) -> np.ndarray:
    """Return the coefficients `which` (k,) of luma blocks: (n,64) -> (n,k) float32."""
    return blocks @ BASIS[which].T
