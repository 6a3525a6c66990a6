"""A cover, its stego and what differs, to be looked at."""

import numpy as np

from metrics.image import AMPLIFY, residual

GAP = 8  # px of white between two pictures


def side_by_side(cover: np.ndarray, stego: np.ndarray, gain: float = AMPLIFY) -> np.ndarray:
    """Cover, stego and |stego - cover| x gain in a row: (H,W,3) uint8, twice -> (H,3W+2*GAP,3) uint8."""
    white = np.full((cover.shape[0], GAP, 3), 255, np.uint8)
    return np.concatenate((cover, white, stego, white, residual(cover, stego, gain)), axis=1)
