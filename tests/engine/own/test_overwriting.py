"""What hide.py reads is never replaced, and what is no file is told at once."""

import os

import pytest
from PIL import Image
from skimage.data import coffee

import hide as hide_py
from data.images import read_picture
from errors import UserError


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(coffee()[60:160, 150:250]).save("cover.png")
    Image.fromarray(coffee()[:60, :60]).save("cat.png")
    Image.fromarray(coffee()[:60, 90:150]).save("key.png")
    return tmp_path


def hide(*words):
    hide_py.main(
        hide_py.PARSER.parse_args(["--cover", "cover.png", "--secrets", "cat.png", "--force", *words])
    )


@pytest.mark.parametrize(
    "words",
    [
        ("--out", "s.png", "--look", "s.png"),
        ("--out", "s.png", "--look", "./cover.png"),
        ("--out", "s.png", "--look", "cat.png"),
        ("--out", "key.png", "--keyfile", "key.png"),
        (
            "--out",
            "key.png",
            "--passphrase-env",
            "X",
            "--decoy",
            "cat.png",
            "--decoy-passphrase-file",
            "key.png",
        ),
        ("--out", "cover.png"),
    ],
)
def test_nothing_that_is_read_is_replaced(here, words):
    before = {path.name: path.read_bytes() for path in here.iterdir()}
    with pytest.raises(UserError, match="is read for the key|this file is (a secret|the cover|the stego)"):
        hide(*words)
    assert {path.name: path.read_bytes() for path in here.iterdir()} == before


@pytest.mark.parametrize(
    "words, message",
    [
        (("--out", "s.png", "--decoy", "key.png", "--decoy-passphrase-env", "X"), "need a passphrase too"),
        (("--out", "s.png", "--decoy-passphrase-env", "X"), "need --decoy"),
        (("--dry-attack", "jpeg:90", "--look", "look.png"), "one or the other"),
        (("--plan", "--dry-attack", "jpeg:90"), "one or the other"),
    ],
)
def test_options_that_contradict_each_other(here, words, message):
    with pytest.raises(UserError, match=message):
        hide(*words)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
def test_a_pipe_is_not_waited_for(here):
    os.mkfifo("pipe.png")
    with pytest.raises(UserError, match=r"pipe.png: not a file"):
        read_picture("pipe.png")
    with pytest.raises(UserError, match=r"pipe.png: neither a file nor a folder"):
        hide("--out", "s.png", "--secrets", "pipe.png")
