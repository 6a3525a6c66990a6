"""scripts/plot_robust.py: measures what it says, and draws it."""

import numpy as np
import pytest

from data.images import read_picture
from metrics.image import psnr
from models.lsb import LSB
from scripts.plot_robust import Point, by_network, drawn


def test_plot_shows_its_points():
    none, some = (
        drawn([]),
        drawn([Point(75, 36.6, 29.0, 8), Point(75, 38.6, 28.0, 8), Point(90, 37.0, 31.0, 8)]),
    )
    assert none.shape == some.shape and none.dtype == np.uint8
    assert np.ptp(some, axis=2).max() > 100 > np.ptp(none, axis=2).max()


def test_a_network_hides_as_many_as_it_is_made_for():
    """Secrets in turn: by hand for a method that keeps the upper half of the bits of one secret."""
    pairs = [
        (np.full((16, 16, 3), c, np.uint8), np.full((16, 16, 3), s, np.uint8)) for c, s in [(0, 96), (64, 32)]
    ]
    one, other = by_network("lsb", LSB(), pairs, [95, 90])
    assert (one.quality, other.quality, one.hidden, one.method) == (95, 90, 2, "lsb, 1 secret")
    assert one.stego == pytest.approx(np.mean([psnr(c, c + s // 16) for c, s in pairs]))


@pytest.mark.slow
def test_command(command, tmp_path):
    words = ["--count", "1", "--size", "176", "--qualities", "90", "--least", "36.5", "55"]
    words += ["--out", tmp_path / "plot.png", "--row", tmp_path / "row.png"]
    done = command("scripts/plot_robust.py", *words)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("| codec_dct | 90 | ") == 1  # at 55 dB nothing survives
    assert "| srisnet_1_nano, 1 secret | 90 | " in done.stdout
    assert "| smilenet_4_nano, 4 secrets | 90 | " in done.stdout
    assert read_picture(tmp_path / "row.png").shape == (176, 4 * 176 + 24, 3)
    assert read_picture(tmp_path / "plot.png").std() > 10
    done = command("scripts/plot_robust.py", "--count", "5000", "--out", tmp_path / "plot.png")
    assert done.returncode == 2 and "twice as many pictures" in done.stderr
    done = command("scripts/plot_robust.py", "--networks", "smilenet_l_4", "--out", tmp_path / "plot.png")
    assert done.returncode == 2 and "smilenet_l_4: a keyed method" in done.stderr
