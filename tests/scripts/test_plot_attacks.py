"""scripts/plot_attacks.py: a row and a picture for each attack; which attacks a network was trained for."""

import json

import numpy as np
import pytest

from channel.notation import parse_attack
from data.images import read_picture
from engine.checkpoint import save_weights
from errors import UserError
from scripts.plot_attacks import COLUMNS, PARSER, covered, main, panels
from tests.common import shaken

CHANNEL = [[{"type": "mean", "size": 3}], [{"type": "jpeg", "quality": [75, 95]}]]
CHANNEL += [
    [{"type": "noise", "sigma": [1.0, 3.0]}],
    [{"type": "mean"}, {"type": "webp", "quality": [70, 90]}],
]


def run(*words) -> None:
    main(PARSER.parse_args([str(word) for word in words]))


def test_a_row_for_each_attack(tmp_path, pictures, capsys):
    net = shaken("srisnet", width=4, fold=2, depth=1, critic="none")
    options = {"train": {"channel": [{"type": "jpeg", "quality": [75, 95], "weight": None}]}}
    save_weights(tmp_path / "w.safetensors", net, options=json.dumps(options))
    words = ["--weights", tmp_path / "w.safetensors", "--out", tmp_path / "plot.png", "--size", "64"]
    run(*words, "--pictures", pictures, "--groups", "2", "--attacks", "none", "noise:2", "jpeg:80")
    shown = capsys.readouterr().out
    assert "2 groups, stego " in shown
    rows = [line.split(" | ") for line in shown.splitlines() if line.startswith("| ")][1:]
    assert [row[0] for row in rows] == ["| none", "| noise sigma=2", "| jpeg quality=80"]
    assert [row[3] for row in rows] == ["- |", "no |", "yes |"]
    assert rows[2][2] == "-" and float(rows[0][1]) == pytest.approx(float(rows[0][2]), abs=0.5)
    assert read_picture(tmp_path / "plot.png").std() > 10
    words[3] = tmp_path / "plot.jpg"
    run(*words, "--pictures", pictures, "--attacks", "none")
    assert read_picture(tmp_path / "plot.jpg").std() > 10


def test_pictures_stand_in_rows():
    shown = [("a title", np.full((32, 32, 3), 200, np.uint8))] * (COLUMNS + 1)
    one_row, two_rows = panels(shown[:COLUMNS]), panels(shown)
    assert two_rows.shape[0] == pytest.approx(2 * one_row.shape[0], abs=2)
    assert two_rows.shape[1:] == one_row.shape[1:] and two_rows.min() < 200


@pytest.mark.parametrize(
    "attack, trained",
    [
        ("mean:3", True),
        ("mean:5", False),
        ("jpeg:75", True),
        ("jpeg:95", True),
        ("jpeg:70", False),
        ("noise:2", True),
        ("noise:5", False),
        ("webp:80", False),
        ("mean:3+webp:80", False),
        ("none", False),
    ],
)
def test_which_attacks_were_trained_for(attack, trained):
    """A chain counts where it was trained as it is; its strengths have no range of their own."""
    assert covered(parse_attack(attack), CHANNEL) == trained


@pytest.mark.parametrize(
    "words, message",
    [
        (["--weights", "codec_lsb"], "'codec_lsb' has a key"),
        (["--weights", "lsb", "--attacks", "jpgg:80"], "no attack is called 'jpgg', did you mean 'jpeg'"),
        (["--weights", "lsb", "--size", "4000"], "smaller than the crop"),
        (["--weights", "lsb", "--shown", "1"], "--shown 1: expected a group from 0 to 0"),
    ],
)
def test_refused(words, message, tmp_path):
    with pytest.raises(UserError, match=message):
        run(*words, "--out", tmp_path / "plot.png")
    assert not (tmp_path / "plot.png").exists()
