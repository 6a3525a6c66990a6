"""What the log says of a run's speed."""

import time

import pytest
import torch

from engine.training.pace import Figures, Pace


def test_waiting_is_the_time_until_a_batch_is_there():
    def slow():
        for k in range(3):
            time.sleep(0.05)
            yield k

    pace = Pace(torch.device("cpu"))
    seen = []
    for batch in pace.watched(slow()):
        time.sleep(0.15)
        pace.groups += 2
        seen.append(batch)
    figures = pace.read()
    assert seen == [0, 1, 2]
    assert figures.groups_per_second == pytest.approx(6 / 0.6, rel=0.3)
    assert figures.waiting == pytest.approx(0.25, abs=0.1)
    assert pace.read().waiting == 0.0  # a new stretch


def test_what_was_done_before_does_not_count():
    pace = Pace(torch.device("cpu"))
    pace.groups = 100
    pace.begin()
    assert pace.read().groups_per_second == 0.0


def test_figures_in_words():
    assert str(Figures(12.345, 0.034, 3 * 2**29)) == "12.3 groups/s, waiting 3%, peak memory 1.50 GiB"
    assert str(Figures(0.5, 0.0, None)) == "0.5 groups/s, waiting 0%"
