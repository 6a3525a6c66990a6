"""How much was hidden, compared with what it cost: the Capacity-Distortion Trade-off (docs/capacity.md).

No paper's formula for a CDT was available, so these fields are this project's own. D_c is the mean squared
error between cover and stego, and D_s between secret and revealed picture, over all RGB values [grey levels
squared].
"""

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.optimize import brentq

from errors import UserError
from metrics.image import psnr

LARGEST_CHANGE = 255  # grey levels
# dB at quality 0, 10, .. 100 on 256-pixel photographs. This is a guess that only saves time.
TYPICAL_PSNR = (23.7, 26.9, 29.1, 31.0, 32.8, 34.7, 36.7, 38.1, 39.7, 43.1, 49.4)


class Codec(Protocol):
    """The codec that measures a payload. engine/testing passes the one of container/codecs.py."""

    name: str

    def lossy(self, picture: np.ndarray, quality: int) -> tuple[bytes, np.ndarray]:
        """Code (h,w,3) uint8 at a quality of 0 to 100; return the file and what it decodes to."""
        ...

    def lossless(self, picture: np.ndarray) -> bytes:
        """Code (h,w,3) uint8 as a file that decodes to the same values."""
        ...


def capacity_bound(distortion: float) -> float:
    """Return C(D), the most bits per cover pixel that a stego at this distortion can carry, for any method.

    Given the cover, the message is in the change of the 3 integers of each pixel. So it has at most the
    entropy of the change. Of all integer-valued changes with second moment D, the largest entropy is that of
    the discrete Gaussian p(k) ~ exp(-a k^2), k in Z, E[k^2] = D:

        C(D) = 3 (log2 Z + a D / ln 2),  Z = sum over k of exp(-a k^2)

    distortion: D, the mean squared error over all RGB values, 0 to 255^2 [grey levels squared].
    Returns bits per pixel; 0 for D = 0. The bound is concave in D. So at the mean distortion of many pictures
    (or of uneven colours), it bounds their mean rate.
    Raises UserError if D is out of range.
    """
    if not 0 <= distortion <= LARGEST_CHANGE**2:
        raise UserError(f"distortion {distortion:g}: expected a mean squared error, 0 to {LARGEST_CHANGE**2}")
    if distortion < 1e-9:  # one change by 1 in a picture of 18000 x 18000
        return 0.0
    # If a is small, the Gaussian is wide. 12 deviations of the widest leave out 1e-31 of it.
    k = np.arange(-12 * LARGEST_CHANGE, 12 * LARGEST_CHANGE + 1, dtype=np.float64)

    def weights(log_a: float) -> np.ndarray:
        return np.exp(-math.exp(log_a) * k**2)

    def excess(log_a: float) -> float:
        w = weights(log_a)
        return float((w * k**2).sum() / w.sum()) - distortion

    log_a = brentq(excess, -math.log(2.5 * LARGEST_CHANGE**2), math.log(50.0), xtol=1e-12)
    return 3 * (math.log2(weights(log_a).sum()) + math.exp(log_a) * distortion / math.log(2))


@dataclass(frozen=True)
class Payload:
    """What a codec needs for one picture. bits: the size. how: "avif", "lossless" or "flat"."""

    bits: int
    how: str


def payload(picture: np.ndarray, target: float, codec: Codec) -> Payload:
    """Return the bits that a real codec needs to deliver a picture at a PSNR of `target` dB (RGB).

    They are those of the file at the lowest quality that reaches the target, or of the lossless file if that
    is smaller. The lossless file is used for a picture that was revealed exactly (`inf`), above some 50 dB,
    which no quality reaches, and for drawings. If a flat picture of the mean colour reaches the target,
    nothing was delivered: 0 bits. picture: (H,W,3) uint8.
    """
    mean = np.broadcast_to(np.round(picture.mean((0, 1))).astype(np.uint8), picture.shape)
    if psnr(picture, mean) >= target:
        return Payload(0, "flat")
    lossless = 8 * len(codec.lossless(picture))
    lossy = _smallest_avif(picture, target, codec) if math.isfinite(target) else None
    if lossy is None or lossless < lossy:
        return Payload(lossless, "lossless")
    return Payload(lossy, "avif")


def _smallest_avif(picture: np.ndarray, target: float, codec: Codec) -> int | None:
    """Return the bits of the AVIF file at the lowest quality that reaches `target` dB; None if none does."""
    # This is a bisection. It guesses from the typical curve, shifted to fit the last encoding. So it takes 4
    # encodings on average instead of 7, with the same result.
    low, high, bits, offset = -1, 101, None, 0.0  # too low a quality, and one that is enough
    while high - low > 1:
        guess = math.ceil(np.interp(target - offset, TYPICAL_PSNR, range(0, 101, 10)))
        quality = min(max(guess, low + 1), high - 1)
        data, decoded = codec.lossy(picture, quality)
        reached = psnr(picture, decoded)
        offset = reached - float(np.interp(quality, range(0, 101, 10), TYPICAL_PSNR))
        if reached >= target:
            high, bits = quality, 8 * len(data)
        else:
            low = quality
    return bits


def cdt_db(num_secrets: float, cover_error: float, secret_error: float) -> float:
    """Return 10 log10(N 255^2 / ((D_c + D_s) / 2)) in dB; inf if there is no error.

    Twice as many secrets are worth 3 dB of distortion. cover_error, secret_error: D_c and D_s, mean squared
    errors over RGB [grey levels squared].
    """
    error = (cover_error + secret_error) / 2
    return 10 * math.log10(num_secrets * 255**2 / error) if error else math.inf


def cdt_efficiency(payload_bpp: float, cover_error: float) -> float | None:
    """Return payload_bpp / C(D_c), the used share of what is possible. A share above 1 needs an explanation.

    If the cover did not change: inf if something was hidden, otherwise None.
    """
    bound = capacity_bound(cover_error)
    if bound == 0:
        return math.inf if payload_bpp else None
    return payload_bpp / bound
