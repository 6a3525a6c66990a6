"""What StegExpose computes: four detectors of replaced least significant bits, and their mean.

Each scores a picture from 0 (nothing found) to 1 (every sample carries a bit). Sample pairs, RS and primary
sets estimate the share of samples that carry a bit. On clean photographs they err by a few hundredths. All
four look for the same effect: 2k and 2k+1 change places. A method that changes samples in another way can
pass them and still be easy to detect (`rich`, `cnn`).
"""

import numpy as np
from scipy.stats import chi2

from metrics.steganalysis.library import sealwatch

THRESHOLD = 0.2  # of the fused score, as in StegExpose
PREFIX = 1024  # samples by which the chi-square attack's prefix grows, as in StegExpose
LARGEST = 30  # in steps of two grey levels; pairs further apart say little (2003, section III)


def lsb_scores(picture: np.ndarray) -> dict[str, float]:
    """Return all scores of a picture (H,W,3) uint8, each 0 to 1.

    They are four detectors, their mean `stegexpose`, and `ws`. The mean follows B. Boehm, "StegExpose: a tool
    for detecting LSB steganography", 2014: the estimates of the colour channels are averaged, the absolute
    value is capped at 1, and the four are averaged. Three things differ from that program. Primary sets looks
    at all channels instead of red. RS looks at overlapping groups only. A detector without an estimate (a
    flat picture) counts as 0 instead of being left out. `ws` is not part of StegExpose.
    """
    picture = channels(picture)
    scores = {
        "chi_square": chi_square(picture),
        "sample_pairs": _mean(sample_pairs, picture),
        "rs": _mean(rs_analysis, picture),
        "primary_sets": _mean(primary_sets, picture),
    }
    fused = float(np.mean(list(scores.values())))
    return {"stegexpose": fused} | scores | {"ws": _mean(weighted_stego, picture)}


def channels(picture: np.ndarray) -> np.ndarray:
    """Return a picture (H,W,3) as it is, or as (H,W,1) if its three channels are the same (a grey picture).

    Counting the samples of a grey picture three times would triple a test's confidence.
    """
    grey = picture[..., :1]
    return grey if (picture == grey).all() else picture


def _mean(estimate, picture: np.ndarray) -> float:
    each = [estimate(picture[..., c]) for c in range(picture.shape[2])]
    return min(1.0, abs(float(np.mean(each))))


def chi_square(picture: np.ndarray) -> float:
    """Return the mean p-value over growing prefixes of the picture, in scan order: (H,W,C) uint8 -> 0 to 1.

    A. Westfeld, A. Pfitzmann, "Attacks on steganographic systems", Information Hiding 1999. A random bit in
    every sample makes 2k and 2k+1 equally frequent. Let n_k samples have the value 2k, and let e_k be the
    mean of the frequencies of 2k and 2k+1. Then S = sum (n_k - e_k)^2 / e_k over the K pairs with e_k > 4,
    and p = P(chi^2 with K-1 degrees of freedom > S). If all bits are replaced, S is about K/2 (n_k is
    binomial, of variance e_k/2). So p is then near 1 and not uniform. The authors intend this: p is read as a
    probability of embedding. If a message was written in scan order, p falls to 0 when the prefix grows
    beyond its end. The mean over prefixes measures its length. The attack finds nothing if few, scattered
    samples are changed.
    """
    samples = picture.ravel()
    blocks = max(1, samples.size // PREFIX)
    samples = samples[: blocks * PREFIX]
    where = np.arange(samples.size) // PREFIX * 256 + samples
    frequency = np.bincount(where, minlength=blocks * 256).reshape(blocks, 256).cumsum(axis=0)
    expected = (frequency[:, ::2] + frequency[:, 1::2]) / 2  # (blocks, 128)
    tested = expected > 4
    distance = np.sum((frequency[:, ::2] - expected) ** 2 / np.where(tested, expected, np.inf), axis=1)
    pairs = tested.sum(axis=1)
    p = np.where(pairs > 1, chi2.sf(distance, np.maximum(pairs - 1, 1)), 0)
    return float(p.mean())


def sample_pairs(channel: np.ndarray) -> float:
    """Estimate the share of samples that carry a bit, not clipped: (H,W) uint8 -> about 0 to 1.

    S. Dumitrescu, X. Wu, Z. Wang, "Detection of LSB steganography via sample pair analysis", IEEE Trans.
    Signal Processing 51(7), 2003. Pairs are horizontal and vertical neighbours. The set C_m has all pairs
    whose samples differ by m after the last bit of both is cut off. Replaced bits cannot move a pair to
    another set. Within C_m, the difference is 2m-1 (X), 2m (D) or 2m+1 (Y). In a photograph, a difference of
    2m+1 is as frequent if the larger sample is even (X, in C_{m+1}) as if it is odd (Y, in C_m). Let each bit
    be flipped with probability q = p/2. Undoing the flips gives
        Y_{2m+1} (1-2q)^2 = q^2 C_m - q (D_{2m} + 2 Y_{2m+1}) + Y_{2m+1}          (m > 0)
        X_{2m+1} (1-2q)^2 = q^2 C_{m+1} - q (D_{2m+2} + 2 X_{2m+1}) + X_{2m+1}
        Y_1 (1-2q)^2 = 2 q^2 C_0 - 2 q C_0 + Y_1
    Setting X and Y equal, summed over m = 0..30, gives a quadratic equation in q.
    """
    a = channel.astype(np.int64)
    u = np.concatenate((a[:, :-1].ravel(), a[:-1].ravel()))
    v = np.concatenate((a[:, 1:].ravel(), a[1:].ravel()))
    high, low = np.maximum(u, v), np.minimum(u, v)
    m = high // 2 - low // 2
    kind = high - low - 2 * m + 1  # 0: X, 1: D, 2: Y
    x, d, y = np.bincount(m * 3 + kind, minlength=128 * 3).reshape(128, 3).T
    j = LARGEST
    both = 2 * (d[0] + y[0])  # 2 C_0; the C_m in between cancel out
    quadratic = both - (x + d + y)[j + 1]
    linear = both - d[j + 1] + 2 * y[1 : j + 1].sum() - 2 * x[1 : j + 2].sum()
    constant = y[: j + 1].sum() - x[1 : j + 2].sum()
    return 2 * float(_smaller_root(quadratic, -linear, constant).real)


def rs_analysis(channel: np.ndarray) -> float:
    """Estimate the share of samples that carry a bit, not clipped: (H,W) uint8 -> about 0 to 1.

    J. Fridrich, M. Goljan, R. Du, "Reliable detection of LSB steganography in color and grayscale images",
    ACM Multimedia and Security 2001. Groups are all 2 x 2 squares. A group's roughness is the sum of absolute
    differences around it. Two opposite corners are flipped, by 2k <-> 2k+1 (mask M) or by 2k-1 <-> 2k (mask
    -M). d is the number of groups that get rougher (R) minus the number of groups that get smoother (S). In
    photographs d_M = d_-M; replaced bits make them differ. Let d0 and d_0 be those of M and -M for this
    picture, and d1 and d_1 those for the picture with every last bit flipped. Then the root z of
        2 (d1 + d0) z^2 + (d_0 - d_1 - d1 - 3 d0) z + d0 - d_0 = 0
    that is smaller in magnitude gives p = z / (z - 1/2).
    """
    a = channel.astype(np.int64)
    d0, d_0 = _regular_less_singular(a)
    d1, d_1 = _regular_less_singular(a ^ 1)
    z = _smaller_root(2 * (d1 + d0), d_0 - d_1 - d1 - 3 * d0, d0 - d_0)
    return float((z / (z - 0.5)).real) if z != 0.5 else 1.0


def _regular_less_singular(a: np.ndarray) -> tuple[int, int]:
    """Return (R_M - S_M, R_-M - S_-M) over all 2 x 2 squares, for both pairs of opposite corners."""
    before = _roughness(a, a)
    flipped, shifted = a ^ 1, ((a + 1) ^ 1) - 1
    d, d_ = (
        sum(int(np.sign(_roughness(*corners) - before).sum()) for corners in ((a, changed), (changed, a)))
        for changed in (flipped, shifted)
    )
    return d, d_


def _roughness(diagonal: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the roughness of each 2 x 2 square.

    diagonal: has the corners top left and bottom right. other: has the other two.
    """
    top_left, bottom_right = diagonal[:-1, :-1], diagonal[1:, 1:]
    top_right, bottom_left = other[:-1, 1:], other[1:, :-1]
    return (
        abs(top_left - top_right)
        + abs(top_right - bottom_right)
        + abs(bottom_right - bottom_left)
        + abs(bottom_left - top_left)
    )


def _smaller_root(a: float, b: float, c: float) -> complex:
    """Return the root of a x^2 + b x + c that is smaller in magnitude; 0 if there is none.

    If all bits are replaced, noise can make the roots complex. Then the real part of p is taken.
    """
    roots = np.roots([float(a), float(b), float(c)])
    return complex(min(roots, key=abs)) if len(roots) else 0j


def primary_sets(channel: np.ndarray) -> float:
    """Estimate the share of samples that carry a bit; 0 if it is below 0.01: (H,W) uint8 -> 0 to about 1.

    S. Dumitrescu, X. Wu, N. Memon, "On steganalysis of random LSB embedding in continuous-tone images", ICIP
    2002. sealwatch computes it from horizontal pairs.
    """
    return float(sealwatch().spa.attack(channel))


def weighted_stego(channel: np.ndarray) -> float:
    """Estimate the share of samples that carry a bit, 0 or more: (H,W) uint8 -> 0 to about 1.

    J. Fridrich, M. Goljan, "On estimation of secret message length in LSB steganography in spatial domain",
    SPIE 2004, with the weights and the predictor of A. Ker, R. Boehme (2008). sealwatch computes the rate of
    changes, which is half of this share.
    """
    return 2 * float(sealwatch().ws.attack(channel))
