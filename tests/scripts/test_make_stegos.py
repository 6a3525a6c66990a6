"""scripts/make_stegos.py: folders that the detectors take, resumed, and mistakes in a line."""

import json

import pytest

from data.images import read_picture
from data.pairs import paired_pictures
from engine.testing.steganalysis.stegos import made_of, method_about
from models import build_model
from scripts.make_stegos import PARSER, main


def test_stegos_of_a_method_and_going_on(pictures, tmp_path, capsys):
    def call(payload):
        words = ["--pictures", pictures, "--weights", "codec_lsb", "--secrets", "2", "--payload", payload]
        main(PARSER.parse_args([str(word) for word in (*words, "--out", tmp_path / "o")]))

    call(4)
    about = json.loads((tmp_path / "o/stegos.json").read_text())
    assert (about["method"], about["payload"], about["passphrase"]) == ("codec_lsb", 4, False)
    assert about["secrets"] == 2 and about["pictures"] == 9 and 38 < about["psnr"] < 46
    assert f"PSNR {about['psnr']:.2f} dB" in capsys.readouterr().out
    pairs = paired_pictures(tmp_path / "o/cover", tmp_path / "o/stego")
    assert len(pairs) == 9 and made_of(pairs) == about
    first, second = (read_picture(tmp_path / f"o/{folder}/a0.png") for folder in ("secret_1", "secret_2"))
    assert (first == read_picture(pictures / "a1.png")).all()
    assert (second == read_picture(pictures / "a2.png")).all()

    lost, kept = tmp_path / "o/stego/b1.png", tmp_path / "o/stego/b2.png"
    lost.unlink()
    before = kept.read_bytes()
    call(4)
    assert lost.exists() and kept.read_bytes() == before
    with pytest.raises(ValueError, match=r"made differently \(payload differ\)"):
        call(2)


def test_what_a_stego_survives_is_told_as_text():
    about = method_about(build_model("codec_dct", survive=["jpeg:80", "webp:70"]), "codec_dct", False)
    assert json.loads(json.dumps(about)) == about and len(about["survive"]) == 2
    assert "80" in about["survive"][0] and about["method"] == "codec_dct"


@pytest.mark.parametrize(
    "words, problem",
    [
        (("--weights", "codec_lsb", "--rate", "0.5"), "--rate goes with --control"),
        (("--control", "lsb_matching", "--payload", "1"), "--payload goes with --weights"),
        (("--weights", "lsb", "--passphrase"), "has no key"),
        (("--weights", "lsb", "--count", "10"), "there are 9 pictures"),
        (("--weights", "lsb", "--secrets", "2"), "takes 1 to 1"),
        (("--control", "lsb_matching", "--rate", "2"), "expected a rate above 0 and at most 1"),
    ],
)
def test_mistakes_are_told_before_anything_is_written(pictures, tmp_path, words, problem):
    call = ["--pictures", str(pictures), "--out", str(tmp_path / "o"), *words]
    with pytest.raises(ValueError, match=problem) as error:
        main(PARSER.parse_args(call))
    assert "\n" not in str(error.value) and not (tmp_path / "o").exists()
