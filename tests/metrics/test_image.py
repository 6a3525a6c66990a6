"""Metrics in closed form, and SSIM, MS-SSIM and SCC against scikit-image and torchmetrics."""

import math

import cv2
import numpy as np
import pytest
import torch
from skimage.data import astronaut, coffee
from skimage.metrics import structural_similarity
from torchmetrics.functional.image import (
    multiscale_structural_similarity_index_measure,
    spatial_correlation_coefficient,
)

from metrics.image import FIELDS, luma, mae, ms_ssim, psnr, rmse, scc, score_pair, ssim


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
    assert scores["ms_ssim"] is None and scores["scc"] == 1
    assert scores["ssim_rgb"] == scores["ssim_y"] == 1 and scores["mae"] == scores["rmse"] == 0


def test_luma_is_studio_range():
    primaries = np.array([[[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0]]], np.uint8)
    assert luma(primaries)[0] == pytest.approx([16, 235, 81.481, 144.553])


def test_ssim_is_the_fields(pair):
    a, b = pair
    channels = [field_ssim(a[..., c], b[..., c]) for c in range(3)]
    assert ssim(a, b) == pytest.approx(np.mean(channels), abs=1e-5)
    assert ssim(luma(a), luma(b)) == pytest.approx(field_ssim(luma(a), luma(b)), abs=1e-5)


def test_ssim_is_scikit_images_with_the_fields_settings(pair):
    settings = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    a, b = pair
    assert ssim(a, b) == pytest.approx(structural_similarity(a, b, channel_axis=-1, **settings), abs=1e-12)
    a, b = luma(a), luma(b)
    assert ssim(a, b) == pytest.approx(structural_similarity(a, b, **settings), abs=1e-12)


def batch(a: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(a).permute(2, 0, 1)[None].double()


@pytest.mark.parametrize("size", [(176, 176), (199, 260), (200, 177)])
@pytest.mark.parametrize("deviation", [2, 12, 70])
def test_ms_ssim_and_scc_are_torchmetrics(size, deviation):
    rng = np.random.default_rng(deviation)
    a = astronaut()[: size[0], : size[1]]
    b = np.clip(a + rng.normal(0, deviation, a.shape), 0, 255).astype(np.uint8)
    theirs = multiscale_structural_similarity_index_measure(batch(a), batch(b), data_range=255.0)
    assert ms_ssim(a, b) == pytest.approx(float(theirs), abs=1e-7)
    assert scc(a, b) == pytest.approx(float(spatial_correlation_coefficient(batch(a), batch(b))), abs=1e-6)


def test_ms_ssim_by_hand_at_one_scale_each():
    """A change that only the finest scale sees, and one that only luminance sees."""
    a = np.full((256, 256, 3), 100.0)
    checks = np.indices((256, 256)).sum(0)[..., None] % 2 * 20.0 - 10  # vanishes in every 2 x 2 mean
    # Under the window variances are 100, 100 and covariance -100; from the second scale on all is flat.
    c2 = (0.03 * 255) ** 2
    assert ms_ssim(a + checks, a + checks) == pytest.approx(1, abs=1e-9)
    contrast = (2 * 100 * 0 + c2) / (100 + c2)  # against the flat picture: no covariance
    assert ms_ssim(a + checks, a) == pytest.approx(contrast**0.0448, abs=1e-4)
    c1 = (0.01 * 255) ** 2
    luminance = (2 * 100 * 120 + c1) / (100**2 + 120**2 + c1)
    assert ms_ssim(a, a + 20) == pytest.approx(luminance**0.1333, abs=1e-9)


def test_ms_ssim_of_small_pictures_is_no_number():
    a = coffee()[:175, :300]
    assert ms_ssim(a, a) is None and ms_ssim(coffee()[:176, :300], coffee()[:176, :300]) == pytest.approx(1)
    with pytest.raises(ValueError, match="image height"):  # the limit is the library's own
        multiscale_structural_similarity_index_measure(batch(a), batch(a), data_range=255.0)


def test_scc_of_edges():
    """A negative has the opposite edges; brightness and contrast do not matter; flat windows count 0."""
    rng = np.random.default_rng(0)
    a = rng.integers(40, 120, (64, 64, 3)).astype(np.uint8)
    assert scc(a, 255 - a) == pytest.approx(-1)
    assert scc(a, a * 2) == pytest.approx(1) and scc(a, a + 30) == pytest.approx(1)
    assert abs(scc(a, rng.permutation(a.reshape(-1, 3)).reshape(a.shape))) < 0.05
    half = a.copy()
    half[:, :32] = 50
    flat = 28 / 64  # windows of columns -4 .. 3 that see nothing from column 31 on, where the filter responds
    assert scc(half, half) == pytest.approx(1 - flat, abs=1e-9)


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
