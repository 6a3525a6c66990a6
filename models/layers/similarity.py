"""MS-SSIM as a training loss, with a gradient."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from errors import UserError

EXPONENTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # the full size first (Wang et al., 2003)
DEVIATION = 1.5  # px, of the window


def ms_ssim(x: Tensor, y: Tensor, scales: int = 3, window: int = 7) -> Tensor:
    """Compute MS-SSIM (Z. Wang, E. Simoncelli, A. Bovik, 2003) of a batch; 1 if equal.

        MS-SSIM = cs_1^b1 * .. * cs_(n-1)^b(n-1) * ssim_n^bn, each scale half the last by 2 x 2 means

    (B,3,H,W) twice, in [0,1] -> a scalar, the mean over the pictures. scales: n, 1 to 5, or fewer if only so
    many have a full window. The exponents are the first n of the paper's five, scaled to a sum of 1. window:
    side of the Gaussian window of deviation 1.5 [px]; only full windows count. A mean below 1e-4 counts as
    1e-4, which keeps the gradient finite. Raises UserError for pictures smaller than the window.
    """
    side = min(x.shape[-2:])
    if side < window:
        raise UserError(f"MS-SSIM with a window of {window} px: the pictures have a side of only {side} px")
    scales = min(scales, 1 + int(math.log2(side // window)))
    product = x.new_ones(len(x))
    for scale, exponent in enumerate(EXPONENTS[:scales]):
        ssim, contrast = _similarity(x, y, window)
        factor = (ssim if scale == scales - 1 else contrast).clamp(min=1e-4)
        product = product * factor ** (exponent / sum(EXPONENTS[:scales]))
        x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
    return product.mean()


def _similarity(x: Tensor, y: Tensor, window: int) -> tuple[Tensor, Tensor]:
    """Return SSIM and its contrast part, (B,) each: means over full windows and colours."""
    c1, c2 = 0.01**2, 0.03**2
    count = len(x)
    means = _windowed(torch.cat((x, y, x * x, y * y, x * y)), window)
    mean_x, mean_y, xx, yy, xy = means.split(count)
    variances = xx + yy - mean_x**2 - mean_y**2
    contrast = (2 * (xy - mean_x * mean_y) + c2) / (variances + c2)
    ssim = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1) * contrast
    return ssim.mean(dim=(1, 2, 3)), contrast.mean(dim=(1, 2, 3))


def _windowed(x: Tensor, window: int) -> Tensor:
    """Return the means under the Gaussian window, only for full windows."""
    places = torch.arange(window, dtype=x.dtype, device=x.device) - (window - 1) / 2
    weights = torch.exp(-(places**2) / (2 * DEVIATION**2))
    weights = weights / weights.sum()
    channels = x.shape[1]
    for shape in ((1, 1, 1, window), (1, 1, window, 1)):
        x = F.conv2d(x, weights.view(shape).expand(channels, *shape[1:]), groups=channels)
    return x
