"""Scores of a pair of 8-bit pictures, as the field computes them (docs/evaluation.md).

SSIM, MS-SSIM and SCC stand here as their definitions over OpenCV's filters: scikit-image and
torchmetrics give the same values (the tests hold them to it) in six times the time, which is more
than a test run takes to read and write its pictures.
"""

import cv2
import numpy as np
from skimage.color import rgb2ycbcr

FIELDS = ("psnr_rgb", "psnr_y", "ssim_rgb", "ssim_y", "ms_ssim", "mae", "rmse", "scc")

WINDOW = 11  # px, side of SSIM's window
GAUSSIAN = cv2.getGaussianKernel(WINDOW, 1.5)
SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # exponents of MS-SSIM, the full size first
SMALLEST_MS_SSIM = WINDOW * 2 ** (len(SCALES) - 1)  # px: the last scale must hold a window


def score_pair(a: np.ndarray, b: np.ndarray) -> dict[str, float | None]:
    """All scores of a pair: (H,W,3) uint8, twice -> {field: value}, the names of `FIELDS`.

    `ms_ssim` is None for pictures that are too small for its five scales.
    """
    _check(a, b)
    luma_a, luma_b = luma(a), luma(b)
    return {
        "psnr_rgb": psnr(a, b),
        "psnr_y": psnr(luma_a, luma_b),
        "ssim_rgb": ssim(a, b),
        "ssim_y": ssim(luma_a, luma_b),
        "ms_ssim": ms_ssim(a, b),
        "mae": mae(a, b),
        "rmse": rmse(a, b),
        "scc": scc(a, b),
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

        SSIM = l * cs,  l = (2 ma mb + c1) / (ma^2 + mb^2 + c1),  cs = (2 vab + c2) / (va + vb + c2)

    with means m, variances and covariance v under the window (population, not sample), c1 = (0.01 * 255)^2,
    c2 = (0.03 * 255)^2; the mean over all full windows and colours. -1 to 1. (H,W) or (H,W,3), values 0
    to 255, at least 11 x 11 pixels. These settings are those of BasicSR and HiNet; the defaults of
    scikit-image and torchmetrics are others.
    """
    similarity, _ = _similarity(a, b)
    return float(_full_windows(similarity).mean())


def ms_ssim(a: np.ndarray, b: np.ndarray) -> float | None:
    """Multi-scale structural similarity (Wang, Simoncelli, Bovik, 2003), five scales; 1 where equal.

        MS-SSIM = cs_1^b1 * cs_2^b2 * ... * ssim_5^b5, each scale half the last by 2 x 2 means

    (H,W,3), values 0 to 255 -> 0 to 1; None where a side is below 176 px, since the last scale then
    has no full window. A negative mean counts as 0. As torchmetrics has it: colours are averaged
    within a scale, and the last scale's mean is taken over the whole picture, mirrored at the border.
    """
    if min(a.shape[:2]) < SMALLEST_MS_SSIM:
        return None
    a, b = a.astype(np.float64), b.astype(np.float64)
    product = 1.0
    for exponent in SCALES[:-1]:
        _, contrast = _similarity(a, b)
        product *= max(0.0, _full_windows(contrast).mean()) ** exponent
        a, b = _halved(a), _halved(b)
    similarity, _ = _similarity(a, b)
    return float(product * max(0.0, similarity.mean()) ** SCALES[-1])


def _similarity(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """SSIM and its contrast-structure part for every pixel, the border mirrored: two arrays of a's shape."""
    if min(a.shape[:2]) < WINDOW:
        raise ValueError(f"SSIM needs pictures of at least 11 x 11 pixels, got {a.shape[:2]}")
    a, b = a.astype(np.float64), b.astype(np.float64)

    def mean(x):
        return cv2.sepFilter2D(x, -1, GAUSSIAN, GAUSSIAN)

    mean_a, mean_b = mean(a), mean(b)
    squares, product = mean_a**2 + mean_b**2, mean_a * mean_b
    variances = mean(a * a + b * b) - squares
    covariance = mean(a * b) - product
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    contrast = (2 * covariance + c2) / (variances + c2)
    return (2 * product + c1) / (squares + c1) * contrast, contrast


def _full_windows(values: np.ndarray) -> np.ndarray:
    rim = WINDOW // 2
    return values[rim:-rim, rim:-rim]


def _halved(a: np.ndarray) -> np.ndarray:
    """Means of 2 x 2 pixels; an odd last row or column is left out."""
    height, width = (side // 2 * 2 for side in a.shape[:2])
    a = a[:height, :width]
    return (a[::2, ::2] + a[1::2, ::2] + a[::2, 1::2] + a[1::2, 1::2]) / 4


def scc(a: np.ndarray, b: np.ndarray) -> float:
    """Spatial correlation coefficient (Zhou, Civco, Silander, 1998): how alike the edges are.

    Both pictures are high-passed (8 times a pixel less its 8 neighbours); then the correlation in
    every window of 8 x 8, averaged over windows and colours. (H,W,3) -> -1 to 1. A window where one of
    the two is flat counts as 0, so that identical pictures give the share of windows that are not
    flat: 1 for photographs without flat areas. As torchmetrics and sewar compute it.
    """
    laplace = np.array([[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]], np.float64)
    a, b = (cv2.filter2D(x.astype(np.float64), -1, laplace, borderType=cv2.BORDER_REFLECT) for x in (a, b))

    def mean(x):  # of pixels -4 .. 3 in both directions, zeros outside; exact, as all are integers / 64
        return cv2.boxFilter(x, -1, (8, 8), anchor=(4, 4), borderType=cv2.BORDER_CONSTANT)

    mean_a, mean_b = mean(a), mean(b)
    variance_a, variance_b = mean(a * a) - mean_a**2, mean(b * b) - mean_b**2
    covariance = mean(a * b) - mean_a * mean_b
    deviations = np.sqrt(np.maximum(variance_a, 0) * np.maximum(variance_b, 0))
    return float(np.where(deviations > 0, covariance / np.where(deviations > 0, deviations, 1), 0).mean())


def _check(a: np.ndarray, b: np.ndarray) -> None:
    for x in (a, b):
        if x.dtype != np.uint8 or x.ndim != 3 or x.shape[2] != 3:
            raise ValueError(f"expected a picture (H,W,3) uint8, got {x.shape} {x.dtype}")
    if a.shape != b.shape:
        raise ValueError(f"pictures of different sizes cannot be compared: {a.shape} and {b.shape}")
