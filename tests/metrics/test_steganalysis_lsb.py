"""The estimators of replaced bits give the rate that was embedded, and the chi-square attack its p-value."""

import numpy as np
import pytest
from scipy.stats import chi2
from skimage.data import astronaut, camera, coffee

from metrics.steganalysis.lsb import (
    chi_square,
    lsb_scores,
    primary_sets,
    rs_analysis,
    sample_pairs,
    weighted_stego,
)

PICTURES = {"astronaut": astronaut()[..., 1], "coffee": coffee()[:, :400, 0], "camera": camera()}


def replaced(x: np.ndarray, rate: float, seed: int = 0) -> np.ndarray:
    """A share `rate` of the samples gets a random last bit."""
    rng = np.random.default_rng(seed)
    carries = rng.random(x.shape) < rate
    return np.where(carries, (x & 0xFE) | rng.integers(2, size=x.shape, dtype=np.uint8), x)


@pytest.mark.parametrize("rate", [0, 0.25, 0.5, 0.75, 1])
@pytest.mark.parametrize("picture", PICTURES)
@pytest.mark.parametrize("estimate", [sample_pairs, rs_analysis])
def test_own_estimators_find_the_rate(estimate, picture, rate):
    # At full rate two roots meet, and noise moves them most.
    assert estimate(replaced(PICTURES[picture], rate)) == pytest.approx(rate, abs=0.06 if rate < 1 else 0.1)


@pytest.mark.parametrize("rate", [0, 0.25, 0.5, 1])
@pytest.mark.parametrize("estimate", [primary_sets, weighted_stego])
def test_library_estimators_give_the_share_that_carries(estimate, rate):
    pytest.importorskip("sealwatch", reason="pip install -e '.[steganalysis]'")
    assert estimate(replaced(PICTURES["camera"], rate)) == pytest.approx(rate, abs=0.06)


@pytest.mark.parametrize("estimate", [sample_pairs, rs_analysis])
def test_matching_is_not_replacement(estimate):
    """+-1 at random instead of a flip inside (2k, 2k+1): nothing that these two could see."""
    x = PICTURES["coffee"].astype(int)
    rng = np.random.default_rng(0)
    changed = np.clip(x + rng.choice([-1, 1], x.shape) * (rng.random(x.shape) < 0.25), 0, 255)
    assert abs(estimate(changed.astype(np.uint8))) < 0.1


def test_chi_square_is_near_0_on_a_cover_and_near_1_when_full():
    x = PICTURES["camera"][..., None]
    assert chi_square(x) < 0.01
    assert chi_square(replaced(x, 1)) > 0.95


def test_chi_square_measures_a_message_in_scan_order():
    x = PICTURES["camera"]
    half = np.concatenate((replaced(x[:256], 1), x[256:]))
    assert chi_square(half[..., None]) == pytest.approx(0.5, abs=0.06)


def test_p_value_has_one_degree_of_freedom_less_than_pairs():
    """One block, so one test: half of sealwatch's distance, which counts both values of each pair."""
    sealwatch = pytest.importorskip("sealwatch", reason="pip install -e '.[steganalysis]'")
    x = replaced(PICTURES["astronaut"][:32, :32], 0.6)
    frequency = np.bincount(x.ravel(), minlength=256).reshape(128, 2)
    tested = frequency.sum(1) / 2 > 4
    distance, _ = sealwatch.chi2.attack(x)
    p = chi2.sf(distance / 2, tested.sum() - 1)
    assert 0.01 < p < 0.99
    assert chi_square(x[..., None]) == pytest.approx(p, rel=1e-9)


def test_fusion_is_the_mean_of_four_and_grey_counts_once():
    pytest.importorskip("sealwatch", reason="pip install -e '.[steganalysis]'")
    grey = replaced(PICTURES["camera"], 0.5)
    scores = lsb_scores(np.repeat(grey[..., None], 3, axis=2))
    four = [scores[name] for name in ("chi_square", "sample_pairs", "rs", "primary_sets")]
    assert scores["stegexpose"] == pytest.approx(np.mean(four))
    assert scores["chi_square"] == chi_square(grey[..., None])
    assert scores["rs"] == pytest.approx(rs_analysis(grey))


@pytest.mark.parametrize("level", [0, 128, 255])
def test_flat_pictures_have_nothing_to_find(level):
    pytest.importorskip("sealwatch", reason="pip install -e '.[steganalysis]'")
    scores = lsb_scores(np.full((40, 40, 3), level, np.uint8))
    assert all(abs(value) < 1e-3 for value in scores.values()), scores
