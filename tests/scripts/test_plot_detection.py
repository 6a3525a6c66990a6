"""scripts/plot_detection.py: points are kept and gone on from, and those of other pictures are refused."""

import json

import numpy as np
import pytest
from PIL import Image
from skimage.data import astronaut, coffee

from data.images import read_picture
from metrics.steganalysis import rich
from scripts.plot_detection import PARSER, drawn, main

pytest.importorskip("sealwatch", reason="pip install -e '.[steganalysis]'")


@pytest.fixture
def call(tmp_path, monkeypatch):
    monkeypatch.setattr(rich, "LEARNERS", 30)
    folder = tmp_path / "pictures"
    folder.mkdir()
    for k in range(24):
        picture = (astronaut, coffee)[k % 2]()
        y, x = 60 * (k // 2 % 4), 60 * (k // 8)
        Image.fromarray(picture[y : y + 64, x : x + 64]).save(folder / f"{k:02d}.png")

    def run(*words):
        paths = ("--data", tmp_path / "d.json", "--out", tmp_path / "p.png", "--work", tmp_path / "w")
        words = ("--pictures", folder, "--size", 64, "--workers", 1, *paths, *words)
        main(PARSER.parse_args([str(word) for word in words]))
        return json.loads((tmp_path / "d.json").read_text())["points"]

    return run


def test_points_are_kept_and_gone_on_from(call, tmp_path, capsys):
    first = call("--payloads", 4, "--shapings", 0, "--detectors", "spam")
    assert len(first) == 1 and first[0]["stegos"]["payload"] == 4 and first[0]["stegos"]["shaping"] == 0
    assert 0 <= first[0]["auc"] <= 1 and (first[0]["train_pairs"], first[0]["test_pairs"]) == (12, 12)
    assert str(tmp_path) not in json.dumps(first)
    assert f"| 4 | plain | {first[0]['stegos']['psnr']:.2f} | spam | {first[0]['auc']:.3f} |" in (
        capsys.readouterr().out
    )
    assert (tmp_path / "w/4_0/spam/detector.npz").exists()
    both = call("--payloads", 4, "--shapings", 0, 64, "--detectors", "spam")
    assert len(both) == 2 and both[0] == first[0]
    assert both[1]["stegos"]["psnr"] > first[0]["stegos"]["psnr"] + 0.5  # what shaping is for
    plain = read_picture(tmp_path / "p.png")
    assert plain.std() > 10 and (drawn(both) == plain).all() and (drawn(first) != plain).any()
    with pytest.raises(ValueError, match="--seed of its points differ"):
        call("--payloads", 8, "--shapings", 0, "--detectors", "spam", "--seed", 1)
    with pytest.raises(ValueError, match="the pictures of its points differ"):
        call("--payloads", 8, "--shapings", 0, "--detectors", "spam", "--count", 22)
    assert call("--only-draw") == both


def test_nothing_to_draw(tmp_path):
    words = ["--only-draw", "--data", str(tmp_path / "d.json"), "--out", str(tmp_path / "p.png")]
    with pytest.raises(ValueError, match="no points yet"):
        main(PARSER.parse_args(words))
    (tmp_path / "d.json").write_text("[1]")
    with pytest.raises(ValueError, match="not written by plot_detection.py"):
        main(PARSER.parse_args(words))
    assert np.array_equal(sorted(p.name for p in tmp_path.iterdir()), ["d.json"])
