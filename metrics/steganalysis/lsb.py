"""What StegExpose computes: four detectors of replaced least significant bits, and their mean.

Each takes a picture (H,W,3) or (H,W,1) uint8 and gives 0 (nothing found) to 1 (every sample carries
a bit). Sample pairs, RS and primary sets estimate the share of samples that carry a bit; on clean
photographs they err by a few hundredths. All four look for one thing, that 2k and 2k+1 change
places; a method that changes samples in another way can pass them and yet be easy to detect
(`rich`, `cnn`).
"""

import numpy as np
from scipy.stats import chi2

from metrics.steganalysis.library import sealwatch

THRESHOLD = 0.2  # of the fused score, StegExpose's own
PREFIX = 1024  # samples by which the chi-square attack's prefix grows, as in StegExpose
LARGEST = 30  # pairs further apart than this, in steps of two grey levels, say little (2003, section III)


def lsb_scores(picture: np.ndarray) -> dict[str, float]:
    """All scores of a picture (H,W,3) uint8, each 0 to 1: `stegexpose`, the four it is the mean of, and `ws`.

    As in B. Boehm, "StegExpose: a tool for detecting LSB steganography", 2014: the estimates of
    the colour channels are averaged, the absolute value is capped at 1, and the four are averaged.
    Three differences from that program: primary sets looks at all channels instead of red, RS at
    overlapping groups only, and a detector without an estimate (a flat picture) counts as 0 instead
    of being left out. `ws` is not part of StegExpose.
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
    """(H,W,3) -> (H,W,1) where the three channels are the same (a grey picture), else as it is.

    Counting the samples of a grey picture three times would triple a test's confidence.
    """
    grey = picture[..., :1]
    return grey if (picture == grey).all() else picture


def _mean(estimate, picture: np.ndarray) -> float:
    each = [estimate(picture[..., c]) for c in range(picture.shape[2])]
    return min(1.0, abs(float(np.mean(each))))


def chi_square(picture: np.ndarray) -> float:
    """Mean p-value over growing prefixes of the picture, in scan order: (H,W,C) uint8 -> 0 to 1.

    A. Westfeld, A. Pfitzmann, "Attacks on steganographic systems", Information Hiding 1999. A random
    bit in every sample makes 2k and 2k+1 equally frequent. With n_k samples of value 2k and e_k the
    mean of the frequencies of 2k and 2k+1, S = sum (n_k - e_k)^2 / e_k over the K pairs with
    e_k > 4, p = P(chi^2 with K-1 degrees of freedom > S). S is about K/2 where all bits are replaced
    (n_k is binomial, of variance e_k/2), so that p is then near 1 and not uniform, as the authors
    intend: p is read as a probability of embedding. As the prefix grows over the end of a message
    that was written in scan order, p falls to 0; the mean over prefixes measures its length. It finds
    nothing where few, scattered samples are changed.
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
    """Share of samples that carry a bit, not clipped: (H,W) uint8 -> about 0 to 1.

    S. Dumitrescu, X. Wu, Z. Wang, "Detection of LSB steganography via sample pair analysis", IEEE
    Trans. Signal Processing 51(7), 2003. All pairs of horizontal and vertical neighbours, the larger
    and the smaller sample of which differ by m after the last bit is cut off, make a set C_m that
    replacing bits cannot leave. Within it the difference is 2m-1 (X), 2m (D) or 2m+1 (Y). In a
    photograph a difference of 2m+1 is as frequent with an even larger sample (X, in C_{m+1}) as
    with an odd one (Y, in C_m). If a bit is flipped with probability q = p/2, then undoing this gives
        Y_{2m+1} (1-2q)^2 = q^2 C_m - q (D_{2m} + 2 Y_{2m+1}) + Y_{2m+1}          (m > 0)
        X_{2m+1} (1-2q)^2 = q^2 C_{m+1} - q (D_{2m+2} + 2 X_{2m+1}) + X_{2m+1}
        Y_1 (1-2q)^2 = 2 q^2 C_0 - 2 q C_0 + Y_1
    and equating the two, summed over m = 0..30, a quadratic equation in q.
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
    """Share of samples that carry a bit, not clipped: (H,W) uint8 -> about 0 to 1.

    J. Fridrich, M. Goljan, R. Du, "Reliable detection of LSB steganography in color and grayscale
    images", ACM Multimedia and Security 2001. Groups are all 2 x 2 squares; a group's roughness is
    the sum of absolute differences around it. Two opposite corners are flipped, by 2k <-> 2k+1 (mask
    M) or by 2k-1 <-> 2k (mask -M); d is the number of groups that get rougher (R) less that of those
    that get smoother (S). In photographs d_M = d_-M; replaced bits pull them apart. With d0, d_0 of
    M, -M for this picture, and d1, d_1 for the one with every last bit flipped, the root z of
        2 (d1 + d0) z^2 + (d_0 - d_1 - d1 - 3 d0) z + d0 - d_0 = 0
    that is smaller in magnitude gives p = z / (z - 1/2).
    """
    a = channel.astype(np.int64)
    d0, d_0 = _regular_less_singular(a)
    d1, d_1 = _regular_less_singular(a ^ 1)
    z = _smaller_root(2 * (d1 + d0), d_0 - d_1 - d1 - 3 * d0, d0 - d_0)
    return float((z / (z - 0.5)).real) if z != 0.5 else 1.0


def _regular_less_singular(a: np.ndarray) -> tuple[int, int]:
    """(R_M - S_M, R_-M - S_-M) over all 2 x 2 squares, either pair of opposite corners flipped."""
    before = _roughness(a, a)
    flipped, shifted = a ^ 1, ((a + 1) ^ 1) - 1
    d, d_ = (
        sum(int(np.sign(_roughness(*corners) - before).sum()) for corners in ((a, changed), (changed, a)))
        for changed in (flipped, shifted)
    )
    return d, d_


def _roughness(diagonal: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Of each 2 x 2 square, its corners top left and bottom right from one array, the rest from another."""
    top_left, bottom_right = diagonal[:-1, :-1], diagonal[1:, 1:]
    top_right, bottom_left = other[:-1, 1:], other[1:, :-1]
    return (
        abs(top_left - top_right)
        + abs(top_right - bottom_right)
        + abs(bottom_right - bottom_left)
        + abs(bottom_left - top_left)
    )


def _smaller_root(a: float, b: float, c: float) -> complex:
    """The root of a x^2 + b x + c that is smaller in magnitude; 0 where there is no equation.

    Noise can make the roots complex where all bits are replaced; the real part of p is then taken.
    """
    roots = np.roots([float(a), float(b), float(c)])
    return complex(min(roots, key=abs)) if len(roots) else 0j


def primary_sets(channel: np.ndarray) -> float:
    """Share of samples that carry a bit, 0 where it is below 0.01: (H,W) uint8 -> 0 to about 1.

    S. Dumitrescu, X. Wu, N. Memon, "On steganalysis of random LSB embedding in continuous-tone
    images", ICIP 2002; horizontal pairs, as sealwatch computes it.
    """
    return float(sealwatch().spa.attack(channel))


def weighted_stego(channel: np.ndarray) -> float:
    """Share of samples that carry a bit, 0 or more: (H,W) uint8 -> 0 to about 1.

    J. Fridrich, M. Goljan, "On estimation of secret message length in LSB steganography in spatial
    domain", SPIE 2004, with the weights and the predictor of A. Ker, R. Boehme (2008), as sealwatch
    computes it (a rate of changes, half of the share of samples that carry a bit).
    """
    return 2 * float(sealwatch().ws.attack(channel))
