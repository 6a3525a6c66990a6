"""Scores of a pair of 8-bit pictures, as the field computes them (docs/evaluation.md).

SSIM, MS-SSIM and SCC follow their definitions and use OpenCV's filters. scikit-image and torchmetrics give
the same values (tests compare them), but take six times as long. That is longer than reading and writing the
pictures of a test.
"""

import cv2
import numpy as np
from skimage.color import rgb2ycbcr

from errors import UserError

FIELDS = ("psnr_rgb", "psnr_y", "ssim_rgb", "ssim_y", "ms_ssim", "mae", "rmse", "scc")

WINDOW = 11  # px, side of SSIM's window
GAUSSIAN = cv2.getGaussianKernel(WINDOW, 1.5)
SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # exponents of MS-SSIM, the full size first
AMPLIFY = 10  # a residual is shown as |difference| x 10
SMALLEST_MS_SSIM = WINDOW * 2 ** (len(SCALES) - 1)  # px; the last scale must hold a window

Planes = list[np.ndarray]  # the colours of a picture, (H,W) float64 each


def score_pair(a: np.ndarray, b: np.ndarray) -> dict[str, float | None]:
    """Compute all scores of a pair: (H,W,3) uint8, twice -> {field: value}, with the names of `FIELDS`.

    `ms_ssim` is None for pictures that are too small for its five scales. Raises UserError for anything but
    two such pictures of one size, at least 11 x 11 pixels.
    """
    _check(a, b)
    luma_a, luma_b = luma(a), luma(b)
    planes = _planes(a), _planes(b)
    full_size = _similarities(*planes)  # of RGB, for SSIM and the first scale of MS-SSIM
    large = min(a.shape[:2]) >= SMALLEST_MS_SSIM
    return {
        "psnr_rgb": psnr(a, b),
        "psnr_y": psnr(luma_a, luma_b),
        "ssim_rgb": _mean([_full_windows(similarity) for similarity, _ in full_size]),
        "ssim_y": ssim(luma_a, luma_b),
        "ms_ssim": _multi_scale(*planes, full_size) if large else None,
        "mae": mae(a, b),
        "rmse": rmse(a, b),
        "scc": scc(a, b),
    }


def luma(a: np.ndarray) -> np.ndarray:
    """Return BT.601 studio-range luma, not rounded: (H,W,3) uint8 -> (H,W) float in [16,235].

    The scripts of HiNet and DeepMIH score luma. Its PSNR is several dB above that of RGB.
    """
    return rgb2ycbcr(a)[..., 0]


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Return 10 log10(255^2 / mean((a-b)^2)) over all values of the pair, in dB; inf if equal."""
    error = mse(a, b)
    return float(10 * np.log10(255.0**2 / error)) if error else float("inf")


def mse(a: np.ndarray, b: np.ndarray) -> float:
    """Return the mean of (a-b)^2 [grey levels squared], 0 to 255^2; 0 if equal."""
    return cv2.norm(a, b, cv2.NORM_L2SQR) / a.size


def rmse(a: np.ndarray, b: np.ndarray) -> float:
    """Return the square root of the mean of (a-b)^2 [grey levels]; 0 if equal."""
    return float(np.sqrt(mse(a, b)))


def mae(a: np.ndarray, b: np.ndarray) -> float:
    """Return the mean of |a-b| [grey levels]; 0 if equal."""
    return cv2.norm(a, b, cv2.NORM_L1) / a.size


def ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Return the structural similarity (Wang et al., 2004), -1 to 1; 1 if equal.

        SSIM = l * cs,  l = (2 ma mb + c1) / (ma^2 + mb^2 + c1),  cs = (2 vab + c2) / (va + vb + c2)

    The window is a Gaussian of deviation 1.5, 11 x 11 pixels. Under it, m are means, and v are variances and
    the covariance (population, not sample). c1 = (0.01 * 255)^2 and c2 = (0.03 * 255)^2. The result is the
    mean over all full windows and colours. Pictures are (H,W) or (H,W,3), values 0 to 255, at least 11 x 11
    pixels; a smaller one raises UserError. BasicSR and HiNet use these settings. scikit-image and
    torchmetrics have other defaults.
    """
    return _mean([_full_windows(similarity) for similarity, _ in _similarities(_planes(a), _planes(b))])


def ms_ssim(a: np.ndarray, b: np.ndarray) -> float | None:
    """Return the multi-scale structural similarity (Wang, Simoncelli, Bovik, 2003), five scales; 1 if equal.

        MS-SSIM = cs_1^b1 * cs_2^b2 * ... * ssim_5^b5, each scale half the one before by 2 x 2 means

    (H,W,3), values 0 to 255 -> 0 to 1; None if a side is below 176 px, because the last scale then has no
    full window. A negative mean counts as 0. As in torchmetrics, colours are averaged within a scale, and the
    last scale's mean is taken over the whole picture, mirrored at the border.
    """
    if min(a.shape[:2]) < SMALLEST_MS_SSIM:
        return None
    planes = _planes(a), _planes(b)
    return _multi_scale(*planes, _similarities(*planes))


def _multi_scale(a: Planes, b: Planes, full_size: list[tuple[np.ndarray, np.ndarray]]) -> float:
    """Return MS-SSIM. full_size: the result of `_similarities` at full size."""
    product, similarities = 1.0, full_size
    for exponent in SCALES[:-1]:
        contrast = _mean([_full_windows(contrast) for _, contrast in similarities])
        product *= max(0.0, contrast) ** exponent
        a, b = [_halved(x) for x in a], [_halved(x) for x in b]
        similarities = _similarities(a, b)
    return float(product * max(0.0, _mean([similarity for similarity, _ in similarities])) ** SCALES[-1])


def _similarities(a: Planes, b: Planes) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return SSIM and its contrast part for every pixel of each plane. The border is mirrored."""
    return [_similarity(x, y) for x, y in zip(a, b, strict=True)]


def _similarity(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    # This works in place and on one plane at a time, to stay in the processor's cache: half the time.
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    mean_a, mean_b = _window_mean(a), _window_mean(b)
    product = mean_a * mean_b
    squares = np.square(mean_a, out=mean_a)
    squares += np.square(mean_b, out=mean_b)
    variances = a * a
    variances += b * b
    variances = _window_mean(variances)
    variances -= squares
    variances += c2
    contrast = _window_mean(a * b)  # becomes (2 * covariance + c2) / (variances + c2)
    contrast -= product
    contrast *= 2
    contrast += c2
    contrast /= variances
    similarity = product  # becomes (2 * product + c1) / (squares + c1) * contrast
    similarity *= 2
    similarity += c1
    squares += c1
    similarity /= squares
    similarity *= contrast
    return similarity, contrast


def _window_mean(a: np.ndarray) -> np.ndarray:
    return cv2.sepFilter2D(a, -1, GAUSSIAN, GAUSSIAN)


def _planes(a: np.ndarray) -> Planes:
    """Return the colours of (H,W,3), or (H,W) itself, as float64 planes (H,W)."""
    if min(a.shape[:2]) < WINDOW:
        raise UserError(f"SSIM needs pictures of at least 11 x 11 pixels, got {a.shape[:2]}")
    return [np.ascontiguousarray(plane, np.float64) for plane in np.atleast_3d(a).transpose(2, 0, 1)]


def _mean(planes: Planes) -> float:
    return float(np.mean([plane.mean() for plane in planes]))


def _full_windows(values: np.ndarray) -> np.ndarray:
    rim = WINDOW // 2
    return values[rim:-rim, rim:-rim]


def _halved(a: np.ndarray) -> np.ndarray:
    """Return the means of 2 x 2 pixels. An odd last row or column is left out."""
    height, width = (side // 2 * 2 for side in a.shape)
    return cv2.resize(a[:height, :width], (width // 2, height // 2), interpolation=cv2.INTER_AREA)


def scc(a: np.ndarray, b: np.ndarray) -> float:
    """Return the spatial correlation coefficient (Zhou, Civco, Silander, 1998): how alike the edges are.

    A high-pass filter (8 times a pixel minus its 8 neighbours) is applied to both pictures. Then the
    correlation in every window of 8 x 8 is averaged over windows and colours. (H,W,3) -> -1 to 1. A window in
    which one of the two is flat counts as 0. So identical pictures give the share of windows that are not
    flat, which is 1 for photographs without flat areas. torchmetrics and sewar compute the same.
    """
    pairs = zip(_high_passed(a), _high_passed(b), strict=True)
    return float(np.mean([_correlation(*pair) for pair in pairs]))


def _high_passed(a: np.ndarray) -> Planes:
    laplace = np.array([[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]], np.float64)
    planes = (np.ascontiguousarray(plane, np.float64) for plane in a.transpose(2, 0, 1))
    return [cv2.filter2D(plane, -1, laplace, borderType=cv2.BORDER_REFLECT) for plane in planes]


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Return the mean correlation of two planes over all 8 x 8 windows."""

    def mean(x):  # over pixels -4 .. 3 both ways, zeros outside; exact, because all are integers / 64
        return cv2.boxFilter(x, -1, (8, 8), anchor=(4, 4), borderType=cv2.BORDER_CONSTANT)

    mean_a, mean_b = mean(a), mean(b)
    covariance = mean(a * b)
    covariance -= mean_a * mean_b
    spread = mean(np.square(a, out=a))
    spread -= np.square(mean_a, out=mean_a)
    other = mean(np.square(b, out=b))
    other -= np.square(mean_b, out=mean_b)
    spread *= other
    flat = spread <= 0
    spread[flat] = 1
    covariance[flat] = 0
    covariance /= np.sqrt(spread, out=spread)
    return float(covariance.mean())


def _check(a: np.ndarray, b: np.ndarray) -> None:
    for x in (a, b):
        if x.dtype != np.uint8 or x.ndim != 3 or x.shape[2] != 3:
            raise UserError(f"expected a picture (H,W,3) uint8, got {x.shape} {x.dtype}")
    if a.shape != b.shape:
        raise UserError(f"pictures of different sizes cannot be compared: {a.shape} and {b.shape}")


def residual(a: np.ndarray, b: np.ndarray, gain: float = AMPLIFY) -> np.ndarray:
    """Return the difference for viewing: |a - b| x gain, clipped; uint8 pictures of one shape -> uint8."""
    return np.clip(np.abs(a.astype(int) - b.astype(int)) * gain, 0, 255).astype(np.uint8)
