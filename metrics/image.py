"""Scores of a pair of 8-bit pictures, as the field computes them (docs/evaluation.md)."""

import numpy as np
from skimage.color import rgb2ycbcr
from skimage.metrics import structural_similarity

FIELDS = ("psnr_rgb", "psnr_y", "ssim_rgb", "ssim_y", "mae", "rmse")


def score_pair(a: np.ndarray, b: np.ndarray) -> dict[str, float]:
    """All scores of a pair: (H,W,3) uint8, twice -> {field: value}, the names of `FIELDS`."""
    _check(a, b)
    luma_a, luma_b = luma(a), luma(b)
    return {
        "psnr_rgb": psnr(a, b),
        "psnr_y": psnr(luma_a, luma_b),
        "ssim_rgb": ssim(a, b),
        "ssim_y": ssim(luma_a, luma_b),
        "mae": mae(a, b),
        "rmse": rmse(a, b),
    }


def luma(a: np.ndarray) -> np.ndarray:
    """BT.601 studio-range luma, not rounded: (H,W,3) uint8 -> (H,W) float in [16,235].

    What the scripts of HiNet and DeepMIH score; it reads several dB above RGB.
    """
    return rgb2ycbcr(a)[..., 0]


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """10 log10(255^2 / mean((a-b)^2)) over all values of the pair, in dB; inf where equal."""
    error = mse(a, b)
    return float(10 * np.log10(255.0**2 / error)) if error else float("inf")


def mse(a: np.ndarray, b: np.ndarray) -> float:
    """Mean of (a-b)^2, grey levels squared, 0 to 255^2; 0 where equal."""
    return float(np.mean((a.astype(np.float64) - b.astype(np.float64)) ** 2))


def rmse(a: np.ndarray, b: np.ndarray) -> float:
    """Square root of the mean of (a-b)^2, grey levels; 0 where equal."""
    return float(np.sqrt(mse(a, b)))


def mae(a: np.ndarray, b: np.ndarray) -> float:
    """Mean of |a-b|, grey levels; 0 where equal."""
    return float(np.mean(np.abs(a.astype(np.float64) - b.astype(np.float64))))


def ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Structural similarity (Wang et al., 2004), Gaussian window of deviation 1.5, 11 x 11; 1 where equal.

    (H,W) or (H,W,3), values 0 to 255, at least 11 x 11 pixels; colours are averaged. These settings
    give the figures of BasicSR and HiNet to 1e-6; scikit-image's own defaults do not.
    """
    if min(a.shape[:2]) < 11:
        raise ValueError(f"SSIM needs pictures of at least 11 x 11 pixels, got {a.shape[:2]}")
    return float(
        structural_similarity(
            a,
            b,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=255,
            channel_axis=-1 if a.ndim == 3 else None,
        )
    )


def _check(a: np.ndarray, b: np.ndarray) -> None:
    for x in (a, b):
        if x.dtype != np.uint8 or x.ndim != 3 or x.shape[2] != 3:
            raise ValueError(f"expected a picture (H,W,3) uint8, got {x.shape} {x.dtype}")
    if a.shape != b.shape:
        raise ValueError(f"pictures of different sizes cannot be compared: {a.shape} and {b.shape}")
