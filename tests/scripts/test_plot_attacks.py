"""scripts/plot_attacks.py: a row and a picture for each attack; which attacks a network was trained for."""

import json

import pytest

from channel.notation import parse_attack
from data.images import read_picture
from engine.checkpoint import save_weights
from scripts.plot_attacks import covered
from tests.common import shaken

CHANNEL = [[{"type": "mean", "size": 3, "weight": None}], [{"type": "jpeg", "quality": [75, 95]}]]
CHANNEL += [
    [{"type": "noise", "sigma": [1.0, 3.0]}],
    [{"type": "mean"}, {"type": "webp", "quality": [70, 90]}],
]


def test_command(command, tmp_path, pictures):
    net = shaken("srisnet", width=4, fold=2, depth=1, critic="none")
    options = {"train": {"channel": [{"type": "jpeg", "quality": [75, 95]}]}}
    save_weights(tmp_path / "w.safetensors", net, options=json.dumps(options))
    words = ["--weights", tmp_path / "w.safetensors", "--out", tmp_path / "plot.png", "--size", "64"]
    words += ["--pictures", pictures, "--groups", "2", "--attacks"]
    done = command("scripts/plot_attacks.py", *words, "none", "noise:2", "jpeg:80")
    assert done.returncode == 0, done.stderr
    rows = [line.split(" | ") for line in done.stdout.splitlines() if line.startswith("| ")][1:]
    assert [row[0] for row in rows] == ["| none", "| noise sigma=2", "| jpeg quality=80"]
    assert [row[3] for row in rows] == ["no |", "no |", "yes |"]
    assert rows[2][2] == "-" and float(rows[0][1]) == pytest.approx(float(rows[0][2]), abs=0.5)
    assert "2 groups, stego " in done.stdout
    one_row = read_picture(tmp_path / "plot.png")
    done = command("scripts/plot_attacks.py", *words, "none", "jpeg:80", "noise:2+jpeg:90", "mean:3")
    assert done.returncode == 0, done.stderr
    two_rows = read_picture(tmp_path / "plot.png")
    assert two_rows.shape[0] == pytest.approx(2 * one_row.shape[0], abs=2) and one_row.std() > 10


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
        (["--weights", "lsb", "--shown", "1"], "--shown 1: there are groups 0 to 0"),
    ],
)
def test_refused(command, words, message):
    done = command("scripts/plot_attacks.py", *words)
    assert done.returncode == 2 and message in done.stderr and done.stderr.count("\n") == 1
