"""How certain a mean is: 95 % intervals by the bootstrap over groups."""

import numpy as np
from numpy.typing import ArrayLike

from errors import UserError

DRAWS = 2000
SEED = 0
FEWEST = 5  # groups; with fewer, the draws repeat each other, and their spread says little
SHARE = 0.95


def mean_interval(values: ArrayLike, groups: ArrayLike) -> list[float] | None:
    """Return the 95 % interval of a mean, [low, high]; None for values of fewer than 5 groups.

    values (n,): the interval has their unit. groups (n,): the group that each value belongs to.
    This is the percentile bootstrap (B. Efron, R. Tibshirani, "An Introduction to the Bootstrap", 1993,
    chapter 13). A generator of seed 0 makes 2,000 draws. Each draw takes as many groups as there are, with
    replacement and with all their values. low and high are the 2.5 % and 97.5 % quantiles of the 2,000 means.
    Equal values give an interval of zero width. A group is drawn whole, because a cover and its secrets are
    hidden together. Infinite values are left out, as they are left out of the mean.

    With few groups the interval is too narrow. For normal values it covers the true mean in 92 of 100 cases
    with 25 groups, in 90 with 10 and in 84 with 5.
    """
    values, groups = np.asarray(values, np.float64), np.asarray(groups)
    assert values.shape == groups.shape and values.ndim == 1
    finite = np.isfinite(values)
    names, places = np.unique(groups[finite], return_inverse=True)
    if len(names) < FEWEST:
        return None
    sums, counts = np.bincount(places, values[finite]), np.bincount(places)
    drawn = np.random.default_rng(SEED).integers(0, len(names), (DRAWS, len(names)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.quantile(means, [(1 - SHARE) / 2, (1 + SHARE) / 2])
    return [float(low), float(high)]


def paired_difference(
    first: ArrayLike, second: ArrayLike, groups: ArrayLike
) -> tuple[float, list[float] | None]:
    """Return (the mean of first - second, its 95 % interval) for two methods on the same pictures.

    first, second (n,): value k of both belongs to the same picture. Pairs with an infinite value are left
    out. The mean is nan if no pair is left. Values differ far more between pictures than between methods on
    one picture. So the interval of the difference is much narrower than those of the two means. Raises
    UserError if the two have different numbers of values.
    """
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if first.shape != second.shape:
        raise UserError(
            f"a paired difference needs the same pictures, got {first.size} and {second.size} values"
        )
    both = np.isfinite(first) & np.isfinite(second)
    difference = first[both] - second[both]
    mean = float(difference.mean()) if len(difference) else float("nan")
    return mean, mean_interval(difference, np.asarray(groups)[both])
