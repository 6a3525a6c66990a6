"""scripts/compare.py: settings kept, seeds, what is done is not done again, tables and plot."""

import importlib.util
import json
import subprocess
import sys

import pytest

from tests.common import ROOT

SCRIPT = ROOT / "scripts" / "compare.py"
spec = importlib.util.spec_from_file_location("compare", SCRIPT)
compare = importlib.util.module_from_spec(spec)
spec.loader.exec_module(compare)


def call(*arguments):
    words = [sys.executable, SCRIPT, *arguments]
    return subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=300)


@pytest.fixture
def large_pictures(tmp_path):
    from PIL import Image
    from skimage.data import astronaut, chelsea, coffee

    folder = tmp_path / "pictures"
    folder.mkdir()
    for k, photo in enumerate((astronaut(), chelsea(), coffee())):
        Image.fromarray(photo[:256, :256]).save(folder / f"{k}.png")
    return folder


def test_a_run_is_called_after_its_changes():
    assert compare.run_name("isn_4_nano") == "isn_4_nano" and compare.run_name("a", 2) == "a_seed_2"
    changed = "isn_4_nano,network.growth=8,train.lr=1.0e-3"
    assert compare.run_name(changed) == "isn_4_nano_growth_8_lr_1.0e-3"
    with pytest.raises(ValueError, match="'growth': expected KEY=VALUE"):
        compare.run_name("isn_4_nano,growth")
    for key in ("name", "train.minutes", "train.steps", "data.train.crop"):
        with pytest.raises(ValueError, match=f"{key} must be the same for all"):
            compare.run_name(f"isn_4_nano,{key}=3")


@pytest.mark.slow
def test_two_methods_and_a_second_call(tmp_path, large_pictures):
    out = tmp_path / "out"
    words = ["--train", large_pictures, "--test", large_pictures, "--minutes", 0.02, "--out", out]
    words += ["--threads", 1, "--device", "cpu", "hidden_image_1_nano,network.width=8", "weng_1_nano"]
    done = call(*words)
    assert done.returncode == 0, done.stderr
    table = (out / "table.md").read_text()
    assert "| hidden_image_1_nano_width_8 | 1 |" in table and "| weng_1_nano | 1 |" in table
    assert "| codec_lsb M = 12 | 1 |" in table and "| thumbnails M = 12 | 1 |" in table
    assert "| one seed |" in table and "too few groups" in table  # one group of these three pictures
    for pair in (
        "| weng_1_nano | thumbnails M = 12 | 1 |",
        "| hidden_image_1_nano_width_8 | codec_lsb M = 12 | 1 |",
    ):
        assert pair in table
    metrics = out / "weng_1_nano/results/test/metrics.json"
    assert json.loads(metrics.read_text())["weights_step"] > 0
    before = metrics.stat().st_mtime_ns
    (out / "table.md").unlink()
    again = call(*words)
    assert again.returncode == 0 and metrics.stat().st_mtime_ns == before
    assert (out / "table.md").read_text() == table


@pytest.mark.slow
def test_seeds_and_validations(tmp_path, large_pictures):
    out = tmp_path / "out"
    words = ["--train", large_pictures, "--test", f"{large_pictures},{large_pictures}", "--minutes", 0.02]
    words += ["--validate", large_pictures, "--out", out, "--threads", 1, "--device", "cpu", "--seeds", 2]
    done = call(*words, "hidden_image_1_nano")
    assert done.returncode == 0, done.stderr
    row = next(line for line in done.stdout.splitlines() if line.startswith("| hidden_image_1_nano |"))
    assert row.split(" | ")[-2] == "2" and "one seed" not in row
    seeds = []
    for name in ("hidden_image_1_nano", "hidden_image_1_nano_seed_1"):
        seeds.append(json.loads((out / name / "results/test/metrics.json").read_text())["training"]["seed"])
        history = [json.loads(line) for line in (out / name / "history.jsonl").read_text().splitlines()]
        assert {"step", "seconds", "cover_stego", "secret_revealed"} == history[-1].keys()
    assert seeds == [0, 1]


@pytest.mark.slow
def test_mistakes_are_told_before_anything_is_trained(tmp_path, large_pictures):
    words = ["--minutes", 1, "--out", tmp_path / "out", "--train", large_pictures, "--test", large_pictures]
    wrong = call(*words, "hinet_9_nano")
    assert wrong.returncode == 2 and "hinet_9_nano.yml" in wrong.stderr and "Traceback" not in wrong.stderr
    assert not (tmp_path / "out").exists()
    wrong = call(*words[:-2], "--test", tmp_path / "nothing", "weng_1_nano")
    assert wrong.returncode == 2 and "nothing" in wrong.stderr
    wrong = call(*words, "--seeds", 0, "weng_1_nano")
    assert wrong.returncode == 2 and "--seeds 0: expected 1 or more" in wrong.stderr
    wrong = call("--minutes", 0, *words[2:], "weng_1_nano")
    assert wrong.returncode == 2 and "train.minutes: " in wrong.stderr
    assert not (tmp_path / "out").exists()
