"""scripts/make_stegos.py: folders that the detectors take, resumed, and mistakes in a line."""

import json

from data.images import read_picture
from data.pairs import paired_pictures


def test_stegos_of_a_method_and_going_on(command, pictures, tmp_path):
    words = ["--pictures", pictures, "--weights", "codec_lsb", "--secrets", "2", "--payload", "4"]
    done = command("scripts/make_stegos.py", *words, "--out", tmp_path / "o")
    assert done.returncode == 0, done.stderr
    about = json.loads((tmp_path / "o/stegos.json").read_text())
    assert (about["method"], about["payload"], about["passphrase"]) == ("codec_lsb", 4, False)
    assert about["secrets"] == 2 and about["pictures"] == 9 and 38 < about["psnr"] < 46
    assert f"PSNR {about['psnr']:.2f} dB" in done.stdout
    pairs = paired_pictures(tmp_path / "o/cover", tmp_path / "o/stego")
    assert len(pairs) == 9
    first, second = (read_picture(tmp_path / f"o/{folder}/a0.png") for folder in ("secret_1", "secret_2"))
    assert (first == read_picture(pictures / "a1.png")).all()
    assert (second == read_picture(pictures / "a2.png")).all()

    lost, kept = tmp_path / "o/stego/b1.png", tmp_path / "o/stego/b2.png"
    lost.unlink()
    before = kept.read_bytes()
    done = command("scripts/make_stegos.py", *words, "--out", tmp_path / "o")
    assert done.returncode == 0 and lost.exists() and kept.read_bytes() == before
    done = command("scripts/make_stegos.py", *words[:-1], "2", "--out", tmp_path / "o")
    assert done.returncode == 2 and "made otherwise (payload differ)" in done.stderr


def test_mistakes(command, pictures, tmp_path):
    def refused(*words):
        done = command("scripts/make_stegos.py", "--pictures", pictures, "--out", tmp_path / "o", *words)
        assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1, done.stderr
        assert not (tmp_path / "o").exists()
        return done.stderr

    assert "--rate goes with --control" in refused("--weights", "codec_lsb", "--rate", "0.5")
    assert "--payload goes with --weights" in refused("--control", "lsb_matching", "--payload", "1")
    assert "have no key" in refused("--weights", "lsb", "--passphrase-file", pictures / "a0.png")
    assert "there are 9 pictures" in refused("--weights", "lsb", "--count", "10")
    assert "takes 1 to 1" in refused("--weights", "lsb", "--secrets", "2")
