"""scripts/plot_capacity.py: each published method once, as printed, and a plot that shows them."""

import numpy as np

from data.images import read_picture
from scripts.plot_capacity import drawn, published


def test_published_methods():
    found = published()
    assert len(found) == len(set(found)) and ("HiNet, div2k", 1, 48.99, 52.86) in found
    assert ("InvMIHNet, imagenet", 4, 36.86, 32.90) in found
    assert ("SRIS-Net, own", 4, 41.46, 30.85) in found
    assert not any("bicubic" in name for name, *_ in found)


def test_plot_shows_its_points():
    ours = {"cover_stego": {"psnr_rgb": 42.0}, "payload_bpp": 2.0, "method": "m", "num_secrets": 4}
    none, some = drawn([], []), drawn([("x", 2, 40.0, 33.0, 8.0)], [ours])
    assert none.shape == some.shape and none.dtype == np.uint8

    def green(picture):  # the stars of our own results
        return (picture[..., 1].astype(int) - picture[..., 0] > 60).sum()

    assert green(some) > green(none) + 30


def test_command(command, tmp_path):
    words = ["--count", "1", "--size", "48", "--out", tmp_path / "plot.png", "--experiments", tmp_path]
    done = command("scripts/plot_capacity.py", *words)
    assert done.returncode == 0, done.stderr
    assert "| HiNet, div2k | 1 | 48.99 | 52.86 |" in done.stdout
    assert read_picture(tmp_path / "plot.png").std() > 10
    done = command("scripts/plot_capacity.py", "--size", "5000", "--out", tmp_path / "plot.png")
    assert done.returncode == 2 and "smaller than the crop of 5000" in done.stderr
