"""A person's own pictures: names that make trouble, pictures that are many, sizes that are told early."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage.data import astronaut, chelsea

from engine.own.hiding import hide_files
from engine.own.revealing import reveal_files, usable_names
from models import build_model
from tests.common import ROOT

LONG = {
    "emoji": "\N{GRINNING FACE}" * 62 + ".png",
    "Chinese": "\u4e16" * 82 + ".png",
    "letters": "a" * 251 + ".png",
}


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(astronaut()[:160, :200]).save("cover.png")
    return tmp_path


@pytest.mark.parametrize("name", LONG.values(), ids=LONG.keys())
def test_a_secret_with_a_long_name_comes_back(here, name):
    Image.fromarray(chelsea()[:50, :60]).save(name)
    net = build_model("codec_lsb")
    hide_files(net, "cover.png", [name], "s.png")
    done = reveal_files(net, "s.png", "out")
    (file,) = (here / "out").iterdir()
    assert done.written == [Path("out") / file.name]
    stem = name.removesuffix(".png")
    assert stem.startswith(file.stem) and 190 < len(file.name.encode()) <= 204
    assert np.asarray(Image.open(file)).shape == (50, 60, 3)


def test_a_name_that_the_file_system_refuses_becomes_a_number(here, monkeypatch):
    lstat = Path.lstat

    def picky(path):
        if "é" in path.name:
            raise OSError(errno.EILSEQ, "Invalid or incomplete multibyte or wide character")
        return lstat(path)

    monkeypatch.setattr(Path, "lstat", picky)
    assert usable_names(here, ["a.png", "é.png", "b.png"]) == ["a.png", "secret_02.png", "b.png"]
    assert usable_names(here / "not" / "there", ["secret_02.png", "é.png"]) == [
        "secret_02.png",
        "_secret_02.png",
    ]


def test_nothing_is_half_written(here, monkeypatch):
    for k in range(3):
        Image.fromarray(chelsea()[k * 20 : k * 20 + 40, :60]).save(f"{k}.png")
    net = build_model("codec_lsb")
    hide_files(net, "cover.png", ["0.png", "1.png", "2.png"], "s.png")
    synced = []

    def full(descriptor):
        synced.append(descriptor)
        if len(synced) == 1:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="could not be written"):
        reveal_files(net, "s.png", "out")
    assert synced and list((here / "out").iterdir()) == []


def test_too_many_pixels_are_told_before_a_picture_is_decoded(here, monkeypatch):
    Image.fromarray(chelsea()[:40, :60]).save("a.png")
    monkeypatch.setattr("container.payload.MOST_PIXELS", 3000)
    read = []
    monkeypatch.setattr("engine.own.hiding.read_picture", lambda path: read.append(path) or astronaut())
    with pytest.raises(ValueError, match="the secrets have 4800 pixels in all; expected at most 3000"):
        hide_files(build_model("codec_lsb"), "cover.png", ["a.png", "a.png"], "s.png")
    assert "a.png" not in map(str, read)


MEASURE = """
import re, sys
from pathlib import Path
import numpy as np, torch
from models import build_model
torch.set_num_threads(1)
method, rows, side = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
net = build_model(method, rows=rows, cols=rows, icdm_blocks=1, growth=4, sis_width=8, sde_width=8).eval()
# Not getrusage: its peak is inherited from the process that started this one.
peak = lambda: 1024 * int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
cover = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
net.hide(cover, cover[:, None])
before = peak()
cover = torch.randint(0, 256, (1, 3, side, side), dtype=torch.uint8)
secrets = torch.randint(0, 256, (1, rows * rows, 3, side, side), dtype=torch.uint8)
net.hide(cover, secrets)
print((peak() - before) / secrets.numel())
"""


@pytest.mark.slow
@pytest.mark.parametrize("method, most", [("smilenet_l", 4.0), ("smilenet", 4.0)])
def test_hiding_many_large_pictures_takes_little_memory(method, most):
    """The peak in times the secrets' bytes: the secrets themselves, and what is worked on at the moment."""
    words = [sys.executable, "-c", MEASURE, method, "5", "1500"]
    # The C library gives back at once what is freed, as it does by itself for larger pictures.
    env = os.environ | {"MALLOC_MMAP_THRESHOLD_": "1000000"}
    done = subprocess.run(words, cwd=ROOT, env=env, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert 0.9 < float(done.stdout) < most
