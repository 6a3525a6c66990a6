"""The trend of a loss: what is an explosion, and what is not."""

import math
import random

import pytest

from engine.training.trend import CALM, EXPLODED, FIRST, Trend


def highest_rise(losses):
    trend, highest = Trend(), 0.0
    for loss in losses:
        trend.add(loss)
        highest = max(highest, trend.rise)
    return highest


def test_what_falls_or_jumps_about_is_calm():
    random.seed(0)
    noisy = [math.exp(random.gauss(0, 1) - k / 1000) for k in range(5000)]  # batches differ by factors of ten
    assert highest_rise(noisy) < CALM * 1.5 < EXPLODED
    outlier = [1.0] * 200 + [1e6] + [1.0] * 200
    assert highest_rise(outlier) < CALM
    assert highest_rise([100.0] * 10 + [1.0] * 500) == pytest.approx(0, abs=1e-9)


def test_what_stays_high_has_exploded():
    assert highest_rise([1.0] * 200 + [10.0] * 100) > EXPLODED
    assert highest_rise([1.0] * 200 + [1.05**k for k in range(200)]) > EXPLODED


def test_nothing_is_said_at_the_start_of_a_phase():
    assert highest_rise([1.0] * (FIRST // 2) + [1e3] * (FIRST // 2 - 1)) == 0


def test_the_state_goes_into_a_checkpoint():
    trend, again = Trend(2), Trend()
    for k in range(100):
        trend.add(1 + k % 3)
    again.restore(trend.state())
    assert vars(again) == vars(trend)
    trend.add(1.0)
    assert vars(again) != vars(trend)
