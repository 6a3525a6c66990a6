"""What a detector's scores are worth. A higher score means that a picture is more likely a stego.

cover, stego: finite scores (N,). Place n of both belongs to pair n.
"""

import numpy as np
from scipy.stats import rankdata

RESAMPLES = 1000


def auc(cover: np.ndarray, stego: np.ndarray) -> float:
    """Return the area under the ROC: P(a stego scores higher than a cover) + P(equal)/2; 0.5 is chance.

    This is the Mann-Whitney statistic, computed from ranks.
    """
    ranks = rankdata(np.concatenate((cover, stego)))[len(cover) :]
    above = ranks.sum() - len(stego) * (len(stego) + 1) / 2
    return float(above / (len(cover) * len(stego)))


def roc(cover: np.ndarray, stego: np.ndarray) -> np.ndarray:
    """Return the ROC, (K,3): threshold, false alarm rate, detection rate.

    A score above the threshold is called a stego. The rates go from (0,0) at the highest score to (1,1) at
    minus infinity.
    """
    thresholds = np.append(np.unique(np.concatenate((cover, stego)))[::-1], -np.inf)
    alarms, hits = (
        1 - np.searchsorted(np.sort(x), thresholds, side="right") / len(x) for x in (cover, stego)
    )
    return np.stack((thresholds, alarms, hits), axis=1)


def detection_error(cover: np.ndarray, stego: np.ndarray) -> float:
    """Return P_E = min over thresholds of (P_FA + P_MD) / 2; 0 if all are told apart, 0.5 if none.

    This is the field's measure (Kodovsky, Fridrich, Holub, 2012). The threshold is chosen on the same scores,
    which flatters the detector if there are few of them.
    """
    _, alarms, hits = roc(cover, stego).T
    return float(1 - np.max(hits - alarms)) / 2


def accuracy(cover: np.ndarray, stego: np.ndarray, threshold: float = 0) -> float:
    """Return the share of right decisions at a threshold fixed beforehand. An equal score is half right."""
    right_covers = np.mean(cover < threshold) + np.mean(cover == threshold) / 2
    right_stegos = np.mean(stego > threshold) + np.mean(stego == threshold) / 2
    return float(right_covers + right_stegos) / 2


def auc_interval(cover: np.ndarray, stego: np.ndarray, seed: int = 0) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the AUC (percentiles). A draw takes covers with their stegos."""
    rng = np.random.default_rng(seed)
    draws = rng.integers(len(cover), size=(RESAMPLES, len(cover)))
    low, high = np.quantile([auc(cover[draw], stego[draw]) for draw in draws], (0.025, 0.975))
    return float(low), float(high)


def summary(cover: np.ndarray, stego: np.ndarray, seed: int, threshold: float) -> dict:
    """Return all of the above, by name."""
    return {
        "auc": auc(cover, stego),
        "auc_interval": auc_interval(cover, stego, seed),
        "p_e": detection_error(cover, stego),
        "accuracy": accuracy(cover, stego, threshold),
    }
