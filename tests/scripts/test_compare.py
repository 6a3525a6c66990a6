"""scripts/compare.py: settings kept, what is done is not done again, table and plot."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "compare.py"
spec = importlib.util.spec_from_file_location("compare", SCRIPT)
compare = importlib.util.module_from_spec(spec)
spec.loader.exec_module(compare)


def scores(psnr):
    return {"psnr_rgb": psnr, "psnr_y": psnr if psnr == "inf" else psnr + 2, "ssim_rgb": 0.9}


def result(method, num_secrets, stego, revealed, **more):
    return {
        "name": f"{method}_{num_secrets}",
        "method": method,
        "num_secrets": num_secrets,
        "params": 1234567,
        "weights_step": 50,
        "cover_stego": scores(stego),
        "secret_revealed": scores(revealed),
        **more,
    }


RESULTS = [
    result("isn", 4, 30.0, 25.0),
    result("hinet", 1, 40.0, 38.0),
    result("deepmih", 4, 31.0, 26.0),
    result("codec_lsb", 4, 40.5, 30.0, modulus=8),
    result("codec_lsb", 4, 34.5, "inf", modulus=16),
]


def test_table():
    rows = compare.table(RESULTS).splitlines()
    assert rows[2] == "| hinet_1 | 1 | 1.23 M | 50 | 40.00 | 42.00 | 0.9000 | 38.00 | 40.00 | 0.9000 |"
    order = ["hinet_1", "deepmih_4", "isn_4", "codec_lsb M = 8", "codec_lsb M = 16"]
    assert [row.split(" | ")[0][2:] for row in rows[2:]] == order
    assert rows[6].startswith("| codec_lsb M = 16 | 4 | - | - | 34.50 |") and "| inf | inf |" in rows[6]
    assert len({row.count("|") for row in rows}) == 1


def test_plot_has_something_in_it():
    picture = compare.plot(RESULTS[:4])
    assert picture.ndim == 3 and picture.dtype == "uint8"
    assert (picture != compare.plot(RESULTS[:2])).any()


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
    assert compare.run_name("isn_4_nano") == "isn_4_nano"
    changed = "isn_4_nano,network.growth=8,train.lr=1.0e-3"
    assert compare.run_name(changed) == "isn_4_nano_growth_8_lr_1.0e-3"
    with pytest.raises(ValueError, match="'growth' is not KEY=VALUE"):
        compare.run_name("isn_4_nano,growth")
    for key in ("name", "train.minutes", "train.steps", "data.train.crop"):
        with pytest.raises(ValueError, match=f"{key} is the same for all"):
            compare.run_name(f"isn_4_nano,{key}=3")


def test_two_methods_and_a_second_call(tmp_path, large_pictures):
    words = [
        "--train",
        large_pictures,
        "--test",
        large_pictures,
        "--minutes",
        0.02,
        "--out",
        tmp_path / "out",
    ]
    words += ["--threads", 1, "--device", "cpu", "hidden_image_1_nano,network.width=8", "weng_1_nano"]
    done = call(*words)
    assert done.returncode == 0, done.stderr
    table = (tmp_path / "out/table.md").read_text()
    assert "| hidden_image_1_width_8 | 1 |" in table and "| weng_1 | 1 |" in table
    metrics = tmp_path / "out/weng_1_nano/results/test/metrics.json"
    assert json.loads(metrics.read_text())["weights_step"] > 0
    before = metrics.stat().st_mtime_ns
    (tmp_path / "out/table.md").unlink()
    again = call(*words)
    assert again.returncode == 0 and metrics.stat().st_mtime_ns == before
    assert (tmp_path / "out/table.md").read_text() == table


def test_mistakes_are_told_before_anything_is_trained(tmp_path, large_pictures):
    words = ["--minutes", 1, "--out", tmp_path / "out", "--train", large_pictures, "--test", large_pictures]
    wrong = call(*words, "hinet_9_nano")
    assert wrong.returncode == 2 and "hinet_9_nano.yml" in wrong.stderr and "Traceback" not in wrong.stderr
    assert not (tmp_path / "out").exists()
    wrong = call(*words[:-2], "--test", tmp_path / "nothing", "weng_1_nano")
    assert wrong.returncode == 2 and "nothing" in wrong.stderr
    wrong = call("--minutes", 0, *words[2:], "weng_1_nano")
    assert wrong.returncode == 2 and "train.minutes: " in wrong.stderr
    assert not (tmp_path / "out").exists()
