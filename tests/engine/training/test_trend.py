"""The trend of a loss: what is an explosion, and what is not."""

import math
import random

import pytest

from engine.training.trend import CALM, EXPLODED, FIRST, Trend


def highest_rise(losses):
    trend, highest = Trend(), 0.0
    for loss in losses:
        trend.add({"loss": loss}, {})
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


def highest_rise_of_terms(steps):
    trend, highest = Trend(), 0.0
    for terms, weights in steps:
        trend.add(terms, weights)
        highest = max(highest, trend.rise)
    return highest


def test_the_weights_of_terms_may_move_in_any_way():
    """Up, down, in waves, from nothing and to nothing: what the terms measure stays the same here."""
    ramps = [
        lambda k: 1.03**k,
        lambda k: 0.97**k,
        lambda k: 1.01 + math.sin(k / 50),
        lambda k: float(k > 200) * 1e3,
        lambda k: max(0.0, 1 - k / 200),
    ]
    for ramp in ramps:
        steps = [({"a": 1.0, "b": ramp(k)}, {"a": 1.0, "b": ramp(k)}) for k in range(400)]
        steps_without = [({n: x for n, x in terms.items() if x}, weights) for terms, weights in steps]
        assert highest_rise_of_terms(steps) < 0.1 and highest_rise_of_terms(steps_without) < 0.1


def test_what_a_term_measures_may_rise_once_its_weight_has_fallen():
    steps = [({"a": 1.0, "b": 0.5**k * min(2.0**k, 1e9)}, {"a": 1.0, "b": 0.5**k}) for k in range(400)]
    assert highest_rise_of_terms(steps) < 0.1


def test_an_explosion_shows_whatever_the_weights_do():
    for ramp in (lambda k: 1.03**k, lambda k: 0.99**k):
        steps = [({"a": ramp(k) * (1e3 if k > 200 else 1.0)}, {"a": ramp(k)}) for k in range(400)]
        assert highest_rise_of_terms(steps) > EXPLODED


def test_a_term_that_is_ever_negative_is_left_out():
    critic = [math.sin(k / 30) * 100 + 0.5 for k in range(500)]  # a score, not a distance
    assert highest_rise_of_terms([({"a": 1.0, "critic": x}, {}) for x in critic]) < CALM
    assert highest_rise_of_terms([({"critic": x}, {}) for x in critic]) < CALM
    exploding = [({"a": 1.0 if k < 200 else 1e3, "critic": x}, {}) for k, x in enumerate(critic)]
    assert highest_rise_of_terms(exploding) > EXPLODED


def test_terms_at_zero_are_no_explosion():
    assert highest_rise_of_terms([({"a": float(k % 2), "b": 1.0}, {}) for k in range(400)]) < CALM
    assert highest_rise_of_terms([({"a": 0.0}, {}) for _ in range(100)]) == 0


def test_the_state_goes_into_a_checkpoint():
    trend, again = Trend(2), Trend()
    for k in range(100):
        trend.add({"loss": 1 + k % 3}, {"loss": 2.0})
    again.restore(trend.state())
    assert vars(again) == vars(trend)
    trend.add({"loss": 1.0}, {"loss": 1.0})
    assert vars(again) != vars(trend)
