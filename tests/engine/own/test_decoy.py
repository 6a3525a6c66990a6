"""Two payloads under two keys: each opens alone, and nothing tells which is the real one."""

import os

import numpy as np
import pytest
from PIL import Image
from skimage.data import chelsea, coffee

import hide as hide_py
import reveal as reveal_py
from container.header import Damaged, WrongKey
from container.keys import Key
from engine.own.decoy import Decoy, halves
from engine.own.hiding import hide_files
from engine.own.revealing import hider_of, reveal_files, revealed
from engine.own.secrets import chosen
from models import build_model

REAL, DECOY = Key("the real one"), Key("the other one")


@pytest.fixture
def here(tmp_path, monkeypatch, quick_keys):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(coffee()[60:181, 150:300]).save("cover.png")  # an odd number of rows
    Image.fromarray(chelsea()[50:90, 100:160]).save("cat.png")
    (tmp_path / "shopping.txt").write_text("bread, salt")
    return tmp_path


def hidden(out="s.png", marked=True, **settings):
    decoy = Decoy(chosen(["shopping.txt"]), DECOY)
    return hide_files(
        build_model("codec_lsb"),
        "cover.png",
        ["cat.png"],
        out,
        key=REAL,
        marked=marked,
        decoy=decoy,
        **settings,
    )


@pytest.mark.parametrize("marked", [True, False])
def test_each_passphrase_reveals_its_own(here, marked):
    hidden(marked=marked)
    net = build_model("codec_lsb")
    assert list(revealed(net, "s.png", REAL).secrets) == ["cat.png"]
    assert revealed(net, "s.png", DECOY).secrets == {"shopping.txt": b"bread, salt"}
    for key in (REAL, DECOY):
        assert hider_of("s.png", key)[0] == "codec_lsb"
    with pytest.raises(ValueError, match="another key" if marked else "nothing is hidden here"):
        revealed(net, "s.png", Key("a third one"))


def test_chance_chooses_the_half(here, monkeypatch):
    asked = []
    for coin, (there, elsewhere) in ((1, (REAL, DECOY)), (0, (DECOY, REAL))):
        monkeypatch.setattr("secrets.randbelow", lambda below, coin=coin: asked.append(below) or coin)
        hidden(force=True)
        upper, _ = halves(np.asarray(Image.open("s.png")))
        Image.fromarray(upper).save("upper.png")
        revealed(build_model("codec_lsb"), "upper.png", there)
        with pytest.raises(WrongKey):
            revealed(build_model("codec_lsb"), "upper.png", elsewhere)
    assert asked == [2, 2]


def test_each_half_notices_its_own_damage_only(here):
    hidden()
    net = build_model("codec_lsb")
    for row in (10, -10):
        changed = np.array(Image.open("s.png"))
        changed[row, 50] ^= 1
        Image.fromarray(changed).save("changed.png")
        opened = []
        for key in (REAL, DECOY):
            try:
                opened.append(revealed(net, "changed.png", key))
            except Damaged as error:
                assert "changed after hiding" in str(error)
        assert len(opened) == 1


def test_a_stego_that_was_cut_is_still_told_as_cut(here):
    hide_files(build_model("codec_lsb"), "cover.png", ["cat.png"], "whole.png", key=REAL)
    Image.fromarray(np.asarray(Image.open("whole.png"))[:100]).save("cut.png")
    with pytest.raises(Damaged, match="cut or resized after hiding, from 150x121 to 150x100"):
        revealed(build_model("codec_lsb"), "cut.png", REAL)


@pytest.mark.parametrize(
    "method, key, other, message",
    [
        ("codec_lsb", REAL, Key("the real one"), "it has the secrets' passphrase"),
        ("codec_lsb", Key("caf\u00e9"), Key("cafe\u0301"), "it has the secrets' passphrase"),
        ("codec_lsb", REAL, Key(), "each need a passphrase"),
        ("codec_lsb", Key(), DECOY, "each need a passphrase"),
        ("codec_dct", REAL, DECOY, "only codec_lsb hides two payloads"),
        ("lsb", Key(), DECOY, "only codec_lsb hides two payloads"),
    ],
)
def test_what_is_refused(here, method, key, other, message):
    decoy = Decoy(chosen(["shopping.txt"]), other)
    with pytest.raises(ValueError, match=message):
        hide_files(build_model(method), "cover.png", ["cat.png"], "s.png", key=key, decoy=decoy)
    assert not (here / "s.png").exists()


def test_the_commands(here, capsys):
    (here / "real").write_text("the real one\n")
    os.environ["DECOY_WORDS"] = "the other one"
    words = ["--cover", "cover.png", "--secrets", "cat.png", "--out", "s.png", "--passphrase-file", "real"]
    words += ["--decoy", "shopping.txt", "--decoy-passphrase-env", "DECOY_WORDS"]
    try:
        hide_py.main(hide_py.PARSER.parse_args(words))
        assert "decoy:     in one half of the picture" in capsys.readouterr().out
        words = ["--stego", "s.png", "--out", "out", "--passphrase-env", "DECOY_WORDS"]
        reveal_py.main(reveal_py.PARSER.parse_args(words))
    finally:
        del os.environ["DECOY_WORDS"]
    assert os.listdir("out") == ["shopping.txt"]
    reveal_files(build_model("codec_lsb"), "s.png", "real_out", key=REAL)
    assert os.listdir("real_out") == ["cat.png"]
