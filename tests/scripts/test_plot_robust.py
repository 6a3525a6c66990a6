"""scripts/plot_robust.py: measures what it says, and draws it."""

import numpy as np
import pytest

from data.images import read_picture
from scripts.plot_robust import Point, drawn


def test_plot_shows_its_points():
    none, some = (
        drawn([]),
        drawn([Point(75, 36.6, 29.0, 8), Point(75, 38.6, 28.0, 8), Point(90, 37.0, 31.0, 8)]),
    )
    assert none.shape == some.shape and none.dtype == np.uint8
    assert np.ptp(some, axis=2).max() > 100 > np.ptp(none, axis=2).max()


@pytest.mark.slow
def test_command(command, tmp_path):
    words = ["--count", "1", "--size", "176", "--qualities", "90", "--least", "36.5", "55"]
    words += ["--out", tmp_path / "plot.png", "--row", tmp_path / "row.png"]
    done = command("scripts/plot_robust.py", *words)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("| 90 | ") == 1  # at 55 dB nothing survives
    assert read_picture(tmp_path / "row.png").shape == (176, 4 * 176 + 24, 3)
    assert read_picture(tmp_path / "plot.png").std() > 10
    done = command("scripts/plot_robust.py", "--count", "5000", "--out", tmp_path / "plot.png")
    assert done.returncode == 2 and "twice as many pictures" in done.stderr
