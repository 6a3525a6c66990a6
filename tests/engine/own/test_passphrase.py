"""Passphrases from everywhere but the command line, key files, and what is said of weak ones."""

import io
import sys

import pytest
from PIL import Image
from skimage.data import chelsea, coffee

import hide as hide_py
import reveal as reveal_py
from container.keys import PUBLIC, Key, new_nonce
from engine.own.look import side_by_side
from engine.own.passphrase import weakness
from metrics.image import residual


@pytest.fixture
def here(tmp_path, monkeypatch, quick_keys):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(coffee()[60:160, 150:270]).save("cover.png")
    Image.fromarray(chelsea()[50:90, 100:160]).save("cat.png")
    (tmp_path / "key.bin").write_bytes(bytes(range(256)))
    (tmp_path / "other.bin").write_bytes(bytes(range(255)))
    (tmp_path / "empty.bin").write_bytes(b"")
    return tmp_path


def hide(*more):
    words = ["--cover", "cover.png", "--secrets", "cat.png", "--out", "s.png", "--force", *more]
    hide_py.main(hide_py.PARSER.parse_args(words))


def reveal(*more):
    reveal_py.main(reveal_py.PARSER.parse_args(["--stego", "s.png", "--list", *more]))


def test_from_standard_input(here, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.StringIO("umbrella lantern quiet river\nand more\n"))
    hide("--passphrase-file", "-")
    monkeypatch.setattr(sys, "stdin", io.StringIO("umbrella lantern quiet river"))
    reveal("--passphrase-file", "-")
    shown = capsys.readouterr()
    assert "cat.png  60x40 px" in shown.out and "--passphrase-file -" in shown.out and shown.err == ""
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    with pytest.raises(ValueError, match="standard input: the first line is empty"):
        reveal("--passphrase-file", "-")


def test_from_the_environment(here, monkeypatch, capsys):
    monkeypatch.setenv("MY_WORDS", "umbrella lantern quiet river")
    hide("--passphrase-env", "MY_WORDS")
    assert "--passphrase-env MY_WORDS" in capsys.readouterr().out
    reveal("--passphrase-env", "MY_WORDS")
    monkeypatch.setenv("MY_WORDS", "")
    with pytest.raises(ValueError, match="the environment variable MY_WORDS is empty or not set"):
        reveal("--passphrase-env", "MY_WORDS")


def test_a_key_file_alone_and_with_a_passphrase(here, monkeypatch, capsys):
    monkeypatch.setenv("MY_WORDS", "umbrella lantern quiet river")
    both = ("--keyfile", "key.bin", "--passphrase-env", "MY_WORDS")
    for right, wrong in (
        (both[:2], [(), ("--keyfile", "other.bin"), both]),
        (both, [(), both[:2], both[2:], ("--keyfile", "other.bin", *both[2:])]),
    ):
        hide(*right)
        assert "--keyfile key.bin" in capsys.readouterr().out
        reveal(*right)
        assert "cat.png" in capsys.readouterr().out
        for words in wrong:
            with pytest.raises(ValueError, match="passphrase"):
                reveal(*words)
    with pytest.raises(ValueError, match="the key file is empty"):
        hide("--keyfile", "empty.bin")
    with pytest.raises(OSError, match="none.bin"):
        hide("--keyfile", "none.bin")


def test_keys_are_all_different():
    nonce = new_nonce()
    keys = [PUBLIC, Key("a"), Key("a", b"file"), Key(None, b"file"), Key(None, b"File"), Key("file")]
    assert len({key.derive(nonce).payload for key in keys}) == len(keys)
    assert [key.is_public for key in keys] == [True] + [False] * 5
    assert "file" not in repr(keys) and "'a'" not in repr(keys)


@pytest.mark.parametrize("passphrase", ["password1", "anna1990", "qwertz", "beach", "aaaaaaaaaaaaaaaa"])
def test_weak(passphrase):
    assert "six random words are safe" in weakness(passphrase)


@pytest.mark.parametrize(
    "passphrase", ["umbrella lantern quiet river", "x9!fQ2#mLw8", "umbrella lantern " * 20]
)
def test_not_weak(passphrase):
    assert weakness(passphrase) is None


def test_the_sender_is_warned_and_not_kept(here, monkeypatch, capsys):
    monkeypatch.setenv("MY_WORDS", "password1")
    hide("--passphrase-env", "MY_WORDS")
    shown = capsys.readouterr()
    assert (
        shown.err.startswith("warning: passphrase: weak, found after about 10^")
        and shown.err.count("\n") == 1
    )
    assert "password1" not in shown.err + shown.out and (here / "s.png").exists()
    reveal("--passphrase-env", "MY_WORDS")
    assert capsys.readouterr().err == ""


def test_look(here):
    hide("--look", "look.png")
    import numpy as np

    cover, stego, look = (np.asarray(Image.open(name)) for name in ("cover.png", "s.png", "look.png"))
    assert look.shape == (100, 3 * 120 + 16, 3)
    assert (look[:, :120] == cover).all() and (look[:, 128:248] == stego).all()
    assert (look[:, 256:] == residual(cover, stego)).all() and (look[:, 120:128] == 255).all()
    assert side_by_side(cover, stego, 1)[:, 256:].max() <= 12
    with pytest.raises(ValueError, match="look.jpg: expected a name that ends in .png"):
        hide("--look", "look.jpg")
