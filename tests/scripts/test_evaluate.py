"""scripts/evaluate.py: the scores of folders are test.py's, and mistakes are told in a few lines."""

import csv
import json
import os

import numpy as np
import pytest
from PIL import Image
from skimage.data import astronaut

from metrics.image import FIELDS, score_pair

SCRIPT = "scripts/evaluate.py"


@pytest.fixture
def folders(tmp_path):
    """Two covers with noise as stegos, and two secrets each, one of them revealed exactly."""
    rng = np.random.default_rng(0)
    for k in range(2):
        cover = astronaut()[40 * k : 40 * k + 48, 100:164]
        pictures = {f"cover/{k}": cover, f"stego/{k}": cover ^ 1}
        for j in (1, 2):
            secret = astronaut()[200 + 48 * j : 248 + 48 * j, 60 * k : 60 * k + 64]
            noise = rng.normal(0, 8 * (j - 1), secret.shape)
            pictures |= {
                f"secret/{k}_{j}": secret,
                f"revealed/{k}_{j}": np.clip(secret + noise, 0, 255).astype(np.uint8),
            }
        for name, picture in pictures.items():
            file = tmp_path / f"{name}.png"
            file.parent.mkdir(exist_ok=True)
            Image.fromarray(picture).save(file)
    return tmp_path


def test_scores_of_folders(folders, command):
    words = ["--cover", "cover", "--stego", "stego", "--secret", "secret", "--revealed", "revealed"]
    done = command(SCRIPT, *words, "--out", "new/scores", "--name", "xor")
    assert done.returncode == 0, done.stderr
    assert "2 groups of one cover and 2 secrets, matched by name" in done.stdout and "CDT" in done.stdout
    out = folders / "new" / "scores"
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["method"] == "xor" and metrics["dataset"] == "cover" and metrics["num_secrets"] == 2
    assert metrics["cover_stego"]["rmse"] == metrics["cover_stego"]["mae"] == 1  # every lowest bit turned
    assert metrics["secret_revealed"]["psnr_rgb_infinite"] == 2
    assert metrics["payload_bpp"] > 0 and metrics["capacity"]["lossless_secrets"] == 2
    rows = list(csv.DictReader((out / "per_image.csv").open()))
    secret, revealed = (np.asarray(Image.open(folders / kind / "1_2.png")) for kind in ("secret", "revealed"))
    by_hand = score_pair(secret, revealed)
    assert rows[-1]["group"] == "1" and rows[-1]["secret"] == "2"
    for field in FIELDS:
        assert rows[-1][field] == ("" if by_hand[field] is None else str(by_hand[field]))
    assert (out / "report.html").exists() and len(os.listdir(out / "pictures" / "secret")) == 4

    again = command(SCRIPT, *words[:4], "--out", "new/scores")
    assert again.returncode == 2 and "--force replaces" in again.stderr
    only = command(SCRIPT, *words[:4], "--out", "new/scores", "--force", "--save-images", "0")
    assert only.returncode == 0, only.stderr
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["secret_revealed"] is None and metrics["cdt_db"] is None and metrics["num_secrets"] == 0
    assert not (out / "pictures").exists() and os.listdir(out.parent) == ["scores"]


@pytest.mark.parametrize(
    "words, message",
    [
        (["--cover", "cover", "--stego", "secret"], "pictures without a partner"),
        (["--cover", "none", "--stego", "stego"], "none: no such folder"),
        (["--cover", "cover", "--stego", "stego", "--secret", "secret"], "go together"),
        (
            ["--cover", "cover", "--stego", "stego", "--out", "cover"],
            "exists, but holds no results to replace",
        ),
        (["--cover", "cover"], "--stego"),
    ],
)
def test_mistakes(folders, command, words, message):
    words = words if "--out" in words else [*words, "--out", "scores"]
    done = command(SCRIPT, *words)
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr
    assert not (folders / "scores").exists() and len(os.listdir(folders / "cover")) == 2
