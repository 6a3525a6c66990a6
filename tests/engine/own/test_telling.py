"""What hide.py prints about detection: measured figures, or that there are none."""

from pathlib import Path

import numpy as np

from engine.own.hiding import HiddenFile
from engine.own.secrets import Secrets
from engine.own.telling import hidden
from models import build_model


def detection(psnr: float) -> str:
    grey = np.full((8, 8, 3), 128, np.uint8)
    done = HiddenFile(Path("stego.png"), psnr, Secrets([], [], []), 0, [], (grey, grey))
    return next(line for line in hidden(build_model("codec_lsb"), done, "stretch") if "detection:" in line)


def test_the_figures_of_measured_stegos_stand_in_the_last_lines():
    assert "with an AUC of " in detection(39.0) and "(0.5 is chance;" in detection(39.0)


def test_where_nothing_was_measured_it_says_so():
    assert "not measured for stegos like this one" in detection(70.0)
