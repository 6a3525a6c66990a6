"""hide.py --survive and --dry-attack, and reveal.py of what was compressed on the way."""

import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from skimage.data import astronaut, chelsea, coffee

import hide as hide_py
import reveal as reveal_py
from engine.checkpoint import save_weights
from engine.command import MISTAKES, one_line
from tests.common import shaken


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run hide.py or reveal.py in a folder with cover.png, cat.png and a passphrase file."""
    monkeypatch.chdir(tmp_path)
    Image.fromarray(coffee()[60:252, 150:342]).save("cover.png")
    Image.fromarray(chelsea()[50:130, 100:170]).save("cat.png")
    (tmp_path / "secret").write_text("the right one\n")

    def inside(script, *words):
        code = 0
        try:
            script.main(script.PARSER.parse_args([str(word) for word in words]))
        except MISTAKES as error:
            print(one_line(error), file=sys.stderr)
            code = 2
        shown = capsys.readouterr()
        return SimpleNamespace(code=code, out=shown.out, err=shown.err)

    return inside


def hide(run, *more, out="s.png", cover="cover.png"):
    return run(hide_py, "--cover", cover, "--secrets", "cat.png", "--out", out, *more)


def reveal(run, stego, *more):
    return run(reveal_py, "--stego", stego, "--out", f"of_{stego}", *more)


@pytest.mark.parametrize("out", ["s.png", "s.jpg"])
def test_through_a_messenger(run, out):
    done = hide(run, "--survive", "jpeg:80", "--passphrase-file", "secret", out=out)
    assert done.code == 0, done.err
    assert "secrets:   " in done.out and "tried:     jpeg 80 by pillow 4:2:0, pillow 4:4:4" in done.out
    assert Image.open(out).format == ("JPEG" if out == "s.jpg" else "PNG")
    Image.open(out).save("sent.jpg", quality=80)
    Image.open(out).save("sent.webp", quality=95)
    Image.open(out).save("sent.avif", quality=90)
    Image.open(out).convert("L").save("grey.jpg", quality=90)
    revealed = []
    for stego in (out, "sent.jpg", "sent.webp", "sent.avif", "grey.jpg"):
        done = reveal(run, stego, "--passphrase-file", "secret")  # without being told the method
        assert done.code == 0, done.err
        revealed.append(np.asarray(Image.open(f"of_{stego}/cat.png")))
    assert all(np.array_equal(one, revealed[0]) for one in revealed)
    done = reveal(run, "sent.jpg")
    assert (
        done.code == 2
        and "sent.jpg: hidden under a key: reveal it with the sender's --passphrase" in done.err
    )


def test_a_picture_that_never_held_anything(run):
    Image.fromarray(astronaut()).save("plain.jpg")
    done = reveal(run, "plain.jpg")
    assert (
        done.code == 2
        and "plain.jpg: nothing is hidden here, or the hidden data was lost (resized" in done.err
    )


@pytest.mark.parametrize(
    "words, message",
    [
        (("--survive", "jpeg:5"), "'jpeg:5': below quality 30"),
        (("--survive", "heic:80"), "no attack is called 'heic'"),
        (("--survive", "jpeg:75", "--weights", "codec_lsb"), "only codec_dct can promise"),
        (("--weights", "codec_lsb", "--least-psnr", "40"), "--least-psnr: only codec_dct"),
        (("--survive", "jpeg:75", "--unmarked"), "cannot leave out the mark"),
        (
            ("--survive", "jpeg:75", "--modulus", "8"),
            "modulus: 'codec_dct' has no such setting",
        ),
        (("--survive", "jpeg:75", "--shaping", "64"), "codec_dct has none"),
        (("--survive", "jpeg:75", "--least-psnr", "55"), "too little survives jpeg 75 with a stego of 55 dB"),
        (("--survive", "jpeg:75", "--longest-side", "90"), "bytes fit"),
        (("--longest-side", "0", "--survive", "jpeg:75"), "--longest-side"),
    ],
)
def test_refused_before_anything_is_written(run, tmp_path, words, message):
    done = hide(run, *words)
    assert done.code == 2 and message in done.err and done.err.count("\n") == 1
    assert not (tmp_path / "s.png").exists()


def test_jpeg_only_where_it_survives(run, tmp_path):
    done = hide(run, "--weights", "codec_lsb", out="s.jpg")
    assert done.code == 2 and "must be lossless" in done.err and "--survive" in done.err
    done = hide(run, "--survive", "jpeg:90", out="s.webp")
    assert done.code == 2 and "must be one of .png" in done.err and ".jpg" in done.err


def test_a_large_cover_is_made_smaller_first(run):
    Image.fromarray(astronaut()).save("large.png")
    done = hide(run, "--survive", "jpeg:90", "--longest-side", "200", cover="large.png")
    assert done.code == 0, done.err
    assert Image.open("s.png").size == (200, 200)


def test_dry_attack(run, tmp_path):
    words = ["--cover", "cover.png", "--secrets", "cat.png"]
    done = run(hide_py, *words, "--survive", "jpeg:90", "--dry-attack", "jpeg:90")
    assert done.code == 0 and "not written" in done.out, done.err
    assert "secret  1: cat.png, PSNR " in done.out
    done = run(hide_py, *words, "--weights", "codec_lsb", "--dry-attack", "jpeg:90")
    assert done.code == 0 and "revealed:  nothing: nothing is hidden here" in done.out
    done = run(hide_py, *words, "--weights", "codec_lsb", "--dry-attack", "jpg:90")
    assert done.code == 2 and "did you mean 'jpeg'" in done.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cat.png", "cover.png", "secret"]
    assert "--out: say where" in run(hide_py, *words, "--weights", "codec_lsb").err


@pytest.fixture
def weights(tmp_path):
    """Write srisnet's weights as a run under this channel leaves them: weights(channel, phases) -> a file."""

    def write(channel=(), phases=()) -> str:
        options = {"train": {"channel": list(channel), "phases": list(phases)}}
        net = shaken("srisnet", width=4, fold=2, critic="none")
        save_weights(tmp_path / "w.safetensors", net, options=json.dumps(options))
        return "w.safetensors"

    return write


JPEG = {"type": "jpeg", "quality": [75, 95], "weight": 2.0}


def test_a_compressed_stego_of_a_network_that_was_trained_for_it(run, weights):
    file = weights([{"type": "none"}, {"type": "mean", "size": 3, "weight": None}, JPEG])
    done = hide(run, "--weights", file)
    assert done.code == 0, done.err
    assert "trained to survive: mean size=3, jpeg quality=75 to 95 (" in done.out
    Image.open("s.png").save("sent.jpg", quality=90)
    done = reveal(run, "sent.jpg", "--weights", file, "--all")
    assert done.code == 0, done.err
    assert Image.open("of_sent.jpg/secret_01.png").size == (192, 192)
    done = reveal(run, "sent.jpg")
    assert done.code == 2 and "say which with --weights" in done.err


@pytest.mark.parametrize(
    "channel, phases",
    [
        ([], []),
        ([{"type": "mean", "size": 3}], []),
        ([JPEG], [{"name": "a", "channel": None}, {"name": "b", "channel": []}]),
    ],
)
def test_a_compressed_stego_of_a_network_that_was_not_trained_for_it(run, weights, channel, phases):
    file = weights(channel, phases)
    done = hide(run, "--weights", file)
    assert done.code == 0 and "jpeg" not in done.out, done.err
    Image.open("s.png").save("sent.jpg", quality=90)
    done = reveal(run, "sent.jpg", "--weights", file)
    assert done.code == 2 and "a JPEG file in mode RGB is not what hide.py wrote" in done.err
    assert done.err.count("\n") == 1


def test_the_last_phase_says_what_was_trained_for(run, weights):
    file = weights([], [{"name": "a", "channel": []}, {"name": "b", "channel": [[{"type": "mean"}, JPEG]]}])
    done = hide(run, "--weights", file)
    assert "trained to survive: mean + jpeg quality=75 to 95 (" in done.out
