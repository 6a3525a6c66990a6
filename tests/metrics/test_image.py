"""Metrics in closed form, and SSIM against the definition that HiNet and BasicSR compute."""

import math

import cv2
import numpy as np
import pytest
from skimage.data import astronaut, coffee

from metrics.image import FIELDS, luma, mae, psnr, rmse, score_pair, ssim


def field_ssim(a: np.ndarray, b: np.ndarray) -> float:
    """SSIM from its definition: 11 x 11 Gaussian window of deviation 1.5, valid region, one channel."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    window = np.outer(kernel := cv2.getGaussianKernel(11, 1.5), kernel)

    def mean(x):
        return cv2.filter2D(x, -1, window)[5:-5, 5:-5]

    mu_a, mu_b = mean(a), mean(b)
    var_a, var_b = mean(a * a) - mu_a**2, mean(b * b) - mu_b**2
    covariance = mean(a * b) - mu_a * mu_b
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    top = (2 * mu_a * mu_b + c1) * (2 * covariance + c2)
    return float((top / ((mu_a**2 + mu_b**2 + c1) * (var_a + var_b + c2))).mean())


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    a = astronaut()[:200, :260]
    b = np.clip(a + rng.normal(0, 12, a.shape), 0, 255).astype(np.uint8)
    return a, b


def test_known_errors():
    a = np.full((16, 16, 3), 100, np.uint8)
    b = a.copy()
    b[..., 0] = 106  # errors 6, 0, 0: squares average to 12
    assert psnr(a, b) == pytest.approx(10 * math.log10(255**2 / 12))
    assert rmse(a, b) == pytest.approx(math.sqrt(12))
    assert mae(a, b) == pytest.approx(2)


def test_no_wrap_around():
    black, white = np.zeros((16, 16, 3), np.uint8), np.full((16, 16, 3), 255, np.uint8)
    assert psnr(black, white) == pytest.approx(0) and mae(black, white) == 255


def test_identical_pictures():
    a = coffee()[:64, :64]
    scores = score_pair(a, a)
    assert set(scores) == set(FIELDS)
    assert scores["psnr_rgb"] == scores["psnr_y"] == math.inf
    assert scores["ssim_rgb"] == scores["ssim_y"] == 1 and scores["mae"] == scores["rmse"] == 0


def test_luma_is_studio_range():
    primaries = np.array([[[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0]]], np.uint8)
    assert luma(primaries)[0] == pytest.approx([16, 235, 81.481, 144.553])


def test_ssim_is_the_fields(pair):
    a, b = pair
    channels = [field_ssim(a[..., c], b[..., c]) for c in range(3)]
    assert ssim(a, b) == pytest.approx(np.mean(channels), abs=1e-5)
    assert ssim(luma(a), luma(b)) == pytest.approx(field_ssim(luma(a), luma(b)), abs=1e-5)


@pytest.mark.parametrize(
    "a, b, message",
    [
        (np.zeros((16, 16, 3), np.uint8), np.zeros((16, 17, 3), np.uint8), "different sizes"),
        (np.zeros((16, 16, 3)), np.zeros((16, 16, 3)), "uint8"),
        (np.zeros((8, 8, 3), np.uint8), np.zeros((8, 8, 3), np.uint8), "at least 11 x 11"),
    ],
)
def test_refusals(a, b, message):
    with pytest.raises(ValueError, match=message):
        score_pair(a, b)
