"""95 % intervals: what the bootstrap must give in closed form, and how often it is right."""

import math

import numpy as np
import pytest

from metrics.intervals import FEWEST, mean_interval, paired_difference


def test_near_the_closed_form():
    """The bootstrap's deviation of a mean is the values' deviation (of n, not n - 1) over sqrt(n)."""
    values = np.random.default_rng(1).normal(30, 4, 200)
    low, high = mean_interval(values, np.arange(200))
    half = 1.96 * values.std() / math.sqrt(200)
    assert low == pytest.approx(values.mean() - half, abs=0.1 * half)
    assert high == pytest.approx(values.mean() + half, abs=0.1 * half)


def test_as_defined():
    """The very draws: 2,000, seed 0, of whole groups of unequal sizes."""
    values, groups = [1.0, 2.0, 5.0, 3.0, 9.0, 4.0, 4.0], [3, 3, 7, 8, 9, 9, 11]
    members = [[1.0, 2.0], [5.0], [3.0], [9.0, 4.0], [4.0]]
    draws = np.random.default_rng(0).integers(0, 5, (2000, 5))
    means = [np.mean(np.concatenate([members[k] for k in draw])) for draw in draws]
    assert mean_interval(values, groups) == pytest.approx([*np.quantile(means, [0.025, 0.975])])


@pytest.mark.parametrize("count, least, most", [(25, 0.90, 0.96), (5, 0.77, 0.88)])
def test_covers_the_true_mean_as_often_as_the_docstring_says(count, least, most):
    rng = np.random.default_rng(2)
    hits = 0
    for _ in range(500):
        low, high = mean_interval(rng.normal(0, 1, count), np.arange(count))
        hits += low <= 0 <= high
    assert least < hits / 500 < most


def test_groups_are_drawn_whole():
    """Ten values of one group that are all alike say no more than one of them."""
    once = np.random.default_rng(3).normal(30, 3, 12)
    assert mean_interval(np.repeat(once, 10), np.repeat(np.arange(12), 10)) == pytest.approx(
        mean_interval(once, np.arange(12))
    )


def test_equal_values_and_too_few_groups():
    assert mean_interval([7.0] * FEWEST, range(FEWEST)) == [7.0, 7.0]
    assert mean_interval([7.0] * 40, [0, 1, 2, 3] * 10) is None
    assert mean_interval([7.0] * 4 + [math.inf], range(5)) is None
    assert mean_interval([7.0] * 5 + [math.inf], range(6)) == [7.0, 7.0]
    assert mean_interval([], []) is None


def test_a_paired_difference_is_surer_than_two_means():
    rng = np.random.default_rng(4)
    pictures = rng.normal(30, 5, 40)
    first, second = pictures + rng.normal(0.5, 0.1, 40), pictures
    mean, (low, high) = paired_difference(first, second, range(40))
    assert mean == pytest.approx(np.mean(first - second)) and 0.4 < low < 0.5 < high < 0.6
    alone = mean_interval(first, range(40))
    assert high - low < (alone[1] - alone[0]) / 20


def test_paired_differences_of_infinite_and_missing_values():
    mean, interval = paired_difference([3.0, math.inf, 5.0], [1.0, 2.0, math.inf], range(3))
    assert mean == 2.0 and interval is None
    assert math.isnan(paired_difference([math.inf], [1.0], [0])[0])
    with pytest.raises(ValueError, match="the same pictures, got 2 and 3 values"):
        paired_difference([1.0, 2.0], [1.0, 2.0, 3.0], range(2))
