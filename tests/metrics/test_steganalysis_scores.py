"""AUC, P_E, ROC and the bootstrap interval, in closed form and against their definitions."""

import numpy as np
import pytest
from scipy.integrate import trapezoid

from metrics.steganalysis.scores import accuracy, auc, auc_interval, detection_error, roc


def test_told_apart_and_not():
    low, high = np.arange(5.0), np.arange(5.0) + 10
    assert (auc(low, high), detection_error(low, high)) == (1, 0)
    assert (auc(high, low), detection_error(high, low)) == (0, 0.5)
    assert (auc(low, low), detection_error(low, low)) == (0.5, 0.5)
    assert (auc(np.zeros(4), np.zeros(4)), detection_error(np.zeros(4), np.zeros(4))) == (0.5, 0.5)


def test_by_definition():
    rng = np.random.default_rng(0)
    cover, stego = rng.integers(0, 8, 30) / 4, rng.integers(2, 10, 30) / 4  # many are equal
    wins = (stego[:, None] > cover).mean() + (stego[:, None] == cover).mean() / 2
    assert auc(cover, stego) == pytest.approx(wins, abs=1e-12)
    errors = [(np.mean(cover > t) + np.mean(stego <= t)) / 2 for t in np.arange(-0.125, 3, 0.25)]
    assert detection_error(cover, stego) == pytest.approx(min(errors), abs=1e-12)
    threshold, alarms, hits = roc(cover, stego).T
    assert (alarms[0], hits[0], alarms[-1], hits[-1]) == (0, 0, 1, 1)
    assert (np.diff(alarms) >= 0).all() and (np.diff(hits) >= 0).all() and (np.diff(threshold) < 0).all()
    assert trapezoid(hits, alarms) == pytest.approx(wins, abs=1e-12)


def test_accuracy_at_a_threshold():
    cover, stego = np.array([-1.0, -1, 0, 1]), np.array([0.0, 1, 1, -1])
    assert accuracy(cover, stego) == pytest.approx(((2 + 0.5) + (2 + 0.5)) / 8)
    assert accuracy(cover, stego, 5) == 0.5


def test_interval_covers_the_truth_and_narrows():
    """Scores of deviation 1, the stegos 1 higher: AUC = Phi(1/sqrt 2) = 0.760."""
    rng = np.random.default_rng(1)
    widths = []
    for count in (40, 640):
        low, high = auc_interval(rng.normal(0, 1, count), rng.normal(1, 1, count), seed=0)
        assert low < 0.760 < high
        widths.append(high - low)
    assert widths[1] < widths[0] / 2


def test_pairs_are_drawn_together():
    """Each stego scores just above its own cover: the interval knows that pictures differ more than that."""
    cover = np.random.default_rng(0).normal(0, 10, 200)
    low, high = auc_interval(cover, cover + 0.01)
    assert 0.5 < low <= high < 0.51
