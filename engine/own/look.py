"""A picture that shows a cover, its stego and their difference."""

import numpy as np

from metrics.image import AMPLIFY, residual

GAP = 8  # px of white between two pictures


def side_by_side(cover: np.ndarray, stego: np.ndarray, gain: float = AMPLIFY) -> np.ndarray:
    """Put cover, stego and |stego - cover| x gain side by side.

    cover, stego: (H,W,3) uint8. Returns (H,3W+2*GAP,3) uint8.
    """
    white = np.full((cover.shape[0], GAP, 3), 255, np.uint8)
    return np.concatenate((cover, white, stego, white, residual(cover, stego, gain)), axis=1)
