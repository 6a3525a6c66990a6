"""scripts/plot_attacks.py: a picture of the secret for each attack, under its name."""

import pytest

from data.images import read_picture
from engine.checkpoint import save_weights
from tests.common import shaken


def test_command(command, tmp_path, pictures):
    save_weights(tmp_path / "w.safetensors", shaken("srisnet", width=4, fold=2, depth=1, critic="none"))
    words = ["--weights", tmp_path / "w.safetensors", "--out", tmp_path / "plot.png", "--size", "64"]
    words += ["--pictures", pictures, "--attacks"]
    done = command("scripts/plot_attacks.py", *words, "none", "jpeg:80")
    assert done.returncode == 0, done.stderr
    one_row = read_picture(tmp_path / "plot.png")
    done = command("scripts/plot_attacks.py", *words, "none", "jpeg:80", "noise:2+jpeg:90")
    assert done.returncode == 0, done.stderr
    two_rows = read_picture(tmp_path / "plot.png")
    assert two_rows.shape[0] == pytest.approx(2 * one_row.shape[0], abs=2) and one_row.std() > 10


@pytest.mark.parametrize(
    "words, message",
    [
        (["--weights", "codec_lsb"], "'codec_lsb' reveals all or nothing"),
        (["--weights", "lsb", "--attacks", "jpgg:80"], "no attack is called 'jpgg', did you mean 'jpeg'"),
        (["--weights", "lsb", "--size", "4000"], "smaller than the crop"),
    ],
)
def test_refused(command, words, message):
    done = command("scripts/plot_attacks.py", *words)
    assert done.returncode == 2 and message in done.stderr and done.stderr.count("\n") == 1
