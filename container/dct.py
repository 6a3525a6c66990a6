"""JPEG's own domain: luma as JFIF defines it, 8x8 blocks from the top left, the orthonormal DCT of each.

What a JPEG encoder rounds are these coefficients, each to a multiple of its entry in a table. What is
written into them with a wider spacing survives that. Rows and columns beyond a multiple of 8 stay as they
are.
"""

import numpy as np

SIDE = 8  # px, of a block
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, full range, as JFIF has it

# ITU-T T.81, Annex K, table K.1: luminance at quality 50, by rows.
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
    """(64,) int64: libjpeg's luminance table at a quality of 1 to 100, by rows, in units of the DCT."""
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    return np.clip((ANNEX_K * scale + 50) // 100, 1, 255)


def luma(picture: np.ndarray) -> np.ndarray:
    """(H,W,3) RGB -> (H,W) float32, 0..255."""
    return picture.astype(np.float32) @ LUMA


def whole_blocks(height: int, width: int) -> tuple[int, int]:
    """How many rows and columns of whole blocks a picture has."""
    return height // SIDE, width // SIDE


def to_blocks(plane: np.ndarray) -> np.ndarray:
    """(H,W,...) -> (blocks in raster order, 64, ...), the rim left out."""
    rows, columns = whole_blocks(*plane.shape[:2])
    rest = plane.shape[2:]
    cut = plane[: rows * SIDE, : columns * SIDE].reshape(rows, SIDE, columns, SIDE, *rest)
    return np.ascontiguousarray(cut.swapaxes(1, 2)).reshape(rows * columns, SIDE * SIDE, *rest)


def put_blocks(plane: np.ndarray, blocks: np.ndarray) -> None:
    """The inverse of `to_blocks`, in place; the rim stays."""
    rows, columns = whole_blocks(*plane.shape[:2])
    parts = blocks.reshape(rows, columns, SIDE, SIDE, *plane.shape[2:]).swapaxes(1, 2)
    plane[: rows * SIDE, : columns * SIDE] = parts.reshape(rows * SIDE, columns * SIDE, *plane.shape[2:])


def _basis() -> np.ndarray:
    """(64, 64) float32: row u*8+v is the orthonormal basis picture of coefficient (u, v), by rows."""
    u, x = np.mgrid[:SIDE, :SIDE]
    norm = np.where(u == 0, np.sqrt(1 / SIDE), np.sqrt(2 / SIDE))
    one = norm * np.cos((2 * x + 1) * u * np.pi / (2 * SIDE))
    return np.kron(one, one).astype(np.float32)


BASIS = _basis()


def coefficients(blocks: np.ndarray, which: np.ndarray) -> np.ndarray:
    """Blocks (n,64) of luma -> their coefficients `which` (k,), (n,k) float32."""
    return blocks @ BASIS[which].T
