"""An album over several covers: in order, as evenly as sizes allow, and what is lost without one of them."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from skimage.data import astronaut, chelsea, coffee

import hide as hide_py
import reveal as reveal_py
from container.keys import Key
from engine.checkpoint import load_model
from engine.own.album import divided, first_that_opens, hide_album, reveal_album
from engine.own.hiding import hide_files
from engine.own.secrets import chosen
from models import build_model

KEY = Key("an album of ours")


@pytest.fixture
def here(tmp_path, monkeypatch, quick_keys):
    """covers/ with three pictures, mine/ with five and a text."""
    monkeypatch.chdir(tmp_path)
    for folder in ("covers", "mine"):
        (tmp_path / folder).mkdir()
    for name, photo, side in (("1", astronaut(), 96), ("2", chelsea(), 128), ("3", coffee(), 96)):
        Image.fromarray(photo[:side, :side]).save(f"covers/{name}.png")
    for k, name in enumerate("abcde"):
        Image.fromarray(coffee()[40 * k : 40 * k + 36, 200:248]).save(f"mine/{name}.png")
    (tmp_path / "mine" / "notes.txt").write_text("by us")
    return tmp_path


def hidden(exact_text: bool = True):
    words = ["mine", "mine/notes.txt"] if exact_text else ["mine"]
    return hide_album(build_model("codec_lsb"), Path("covers"), chosen(words), Path("stegos"), key=KEY)


def test_an_album_comes_back_in_order(here):
    done = hidden()
    assert [one.stego.name for one in done] == ["1.png", "2.png", "3.png"]
    assert [file.name for one in done for file in one.secrets.all] == [
        *(f"{k}.png" for k in "abcde"),
        "notes.txt",
    ]
    assert sorted(os.listdir("stegos")) == ["1.png", "2.png", "3.png"]
    for k, name in enumerate(("9", "8", "7"), 1):  # their order is in them, not in their names
        os.rename(f"stegos/{k}.png", f"stegos/{name}.png")
    back = reveal_album(build_model("codec_lsb"), Path("stegos"), Path("out"), key=KEY)
    assert back.missing == [] and back.others == []
    assert [path.name for path in back.written] == [*(f"{k}.png" for k in "abcde"), "notes.txt"]
    assert (here / "out" / "notes.txt").read_text() == "by us"
    error = np.asarray(Image.open("out/c.png")).astype(float) - np.asarray(Image.open("mine/c.png"))
    assert np.square(error).mean() < 20


def test_a_missing_one_says_which_secrets_are_lost(here):
    done = hidden()
    lost = [file.name for file in done[1].secrets.all]
    os.remove("stegos/2.png")
    shutil.copy("stegos/1.png", "stegos/copy.png")
    shutil.copy("covers/2.png", "stegos/plain.png")
    hide_files(build_model("codec_lsb"), "covers/2.png", ["mine/a.png"], "stegos/alone.png", key=KEY)
    back = reveal_album(build_model("codec_lsb"), Path("stegos"), Path("out"), key=KEY)
    assert back.missing == [f"stego 2 of 3 is missing; lost: {', '.join(lost)}"]
    assert len(back.written) == 6 - len(lost) and not set(lost) & set(os.listdir("out"))
    assert len(back.others) == 3
    for text in ("copy.png: a copy of 1.png", "plain.png: nothing is hidden", "alone.png: was hidden alone"):
        assert any(text in line for line in back.others), text


def test_two_albums_in_one_folder(here):
    hidden()
    os.rename("stegos/1.png", "first.png")
    shutil.rmtree("stegos")
    hidden()
    os.rename("first.png", "stegos/0.png")
    with pytest.raises(ValueError, match="belongs to another album"):
        reveal_album(build_model("codec_lsb"), Path("stegos"), Path("out"), key=KEY)


def test_a_wrong_key_is_told_as_such(here):
    hidden()
    for function in (
        lambda: reveal_album(build_model("codec_lsb"), Path("stegos"), Path("out"), key=Key("another one")),
        lambda: first_that_opens(Path("stegos"), Key("another one")),
    ):
        with pytest.raises(ValueError, match="another key"):
            function()
    with pytest.raises(ValueError, match="nothing is hidden here"):
        first_that_opens(Path("covers"), KEY)


def test_refused_before_anything_is_written(here):
    (here / "stegos").mkdir()
    (here / "stegos" / "2.png").write_bytes(b"mine")
    with pytest.raises(ValueError, match="stegos/2.png: exists already"):
        hidden()
    with pytest.raises(ValueError, match="covers/1.png: exists already"):
        hide_album(build_model("codec_lsb"), Path("covers"), chosen(["mine"]), Path("covers"), key=KEY)
    with pytest.raises(ValueError, match="covers/1.png: this secret is also one of the covers"):
        hide_album(build_model("codec_lsb"), Path("covers"), chosen(["covers"]), Path("new"), key=KEY)
    with pytest.raises(ValueError, match="needs a method with a key"):
        hide_album(build_model("lsb"), Path("covers"), chosen(["mine"]), Path("new"))
    assert os.listdir("stegos") == ["2.png"] and not (here / "new").exists()


def test_one_that_fails_leaves_none(here):
    Image.fromarray(coffee()[:4, :9]).save("covers/4.png")
    (here / "mine" / "large.bin").write_bytes(os.urandom(45_000))
    with pytest.raises(ValueError, match="bytes fit"):
        hide_album(
            build_model("codec_lsb"), Path("covers"), chosen(["mine"], exact=True), Path("new"), key=KEY
        )
    assert os.listdir("new") == []


def test_the_commands(here, capsys):
    words = ["--cover", "covers", "--secrets", "mine", "--out", "stegos"]
    hide_py.main(hide_py.PARSER.parse_args(words))
    out = capsys.readouterr().out
    assert "album:     5 secrets in 3 stegos" in out and "reveal.py --stego stegos --out revealed" in out
    reveal_py.main(reveal_py.PARSER.parse_args(["--stego", "stegos", "--out", "revealed"]))
    assert capsys.readouterr().out.endswith("5 files in revealed\n")
    reveal_py.main(reveal_py.PARSER.parse_args(["--stego", "stegos/2.png", "--list"]))
    assert "in stego 1 of the album: a.png" in capsys.readouterr().out
    os.remove("stegos/1.png")
    with pytest.raises(ValueError, match=r"stego 1 of 3 is missing; lost: a.png"):
        reveal_py.main(reveal_py.PARSER.parse_args(["--stego", "stegos", "--out", "again"]))
    assert len(os.listdir("again")) < 5
    with pytest.raises(ValueError, match="covers: a folder; --look"):
        hide_py.main(hide_py.PARSER.parse_args([*words, "--look", "look.png"]))


@given(
    loads=st.lists(st.floats(0.1, 100), min_size=1, max_size=12),
    rooms=st.lists(st.floats(1, 100), min_size=1, max_size=5),
    most=st.integers(3, 12),
)
def test_loads_are_divided_in_order_and_evenly(loads, rooms, most):
    if len(loads) > most * len(rooms):
        with pytest.raises(ValueError, match="secrets, but"):
            divided(loads, rooms, most)
        return
    counts = divided(loads, rooms, most)
    assert sum(counts) == len(loads) and max(counts) <= most

    def fullest(counts):
        ends = np.cumsum(counts)
        return max(sum(loads[e - c : e]) / room for c, e, room in zip(counts, ends, rooms, strict=True))

    best = min(fullest(cut) for cut in cuts(len(loads), len(rooms), most))
    assert fullest(counts) <= best * (1 + 1e-6) + 1e-6


def cuts(loads: int, rooms: int, most: int):
    """All ways to cut so many loads into runs, one a room."""
    if rooms == 1:
        if loads <= most:
            yield [loads]
        return
    for count in range(min(loads, most) + 1):
        yield from ([count, *rest] for rest in cuts(loads - count, rooms - 1, most))


def test_networks_take_albums_too(here):
    net = load_model("smilenet_l_4", torch.device("cpu"))[0]
    done = hide_album(net, Path("covers"), chosen(["mine"], takes_files=False), Path("stegos"), key=KEY)
    assert [len(one.secrets.all) for one in done] == [2, 2, 1]
    back = reveal_album(net, Path("stegos"), Path("out"), key=KEY)
    assert [path.name for path in back.written] == [f"{k}.png" for k in "abcde"]
