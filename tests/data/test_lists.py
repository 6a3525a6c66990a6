"""Lists of pictures: folders, list files, several of them, samples and presets."""

import os
from pathlib import Path

import numpy as np
import pytest

from data.images import (
    check_pictures,
    list_pictures,
    read_picture,
)
from data.presets import PRESETS
from data.samples import SPLITS, sample_pictures

# --- lists


@pytest.fixture
def folder(tmp_path) -> Path:
    for name in ("b.PNG", "a.jpeg", "sub/c.tif", "sub/.d.png", ".hidden/e.png", "notes.md"):
        (tmp_path / "pictures" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "pictures" / name).write_bytes(b"")
    return tmp_path / "pictures"


def names(paths: list[Path], folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in paths]


def test_list_of_a_folder(folder):
    assert names(list_pictures(folder), folder) == ["a.jpeg", "b.PNG", "sub/c.tif"]
    assert list_pictures(str(folder)) == list_pictures(folder)


def test_list_follows_links_and_survives_a_circle(folder, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "f.png").write_bytes(b"")
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    (folder / "sub" / "circle").symlink_to(folder)
    expected = ["a.jpeg", "b.PNG", "link/f.png", "sub/c.tif"]
    assert names(list_pictures(folder), folder) == expected


def test_list_file(folder):
    (folder / "list.txt").write_text("# two\nsub/c.tif\n\n  b.PNG \nsub/../b.PNG\n")
    assert names(list_pictures(folder / "list.txt"), folder) == ["sub/c.tif", "b.PNG"]
    (folder / "list.txt").write_text("b.PNG\nnone.png\n")
    with pytest.raises(ValueError, match=r"list\.txt, line 2: no such picture: .*none\.png"):
        list_pictures(folder / "list.txt")
    (folder / "list.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"list\.txt: not a text file"):
        list_pictures(folder / "list.txt")


def test_list_of_several_takes_each_picture_once(folder):
    several = list_pictures([folder / "sub", folder / "b.PNG", folder, "samples:test"])
    assert names(several[:3], folder) == ["sub/c.tif", "b.PNG", "a.jpeg"]
    assert several[3:] == sample_pictures("test")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("none", "none: no such folder"),
        ("none.png", "none.png: no such picture"),
        ("none.txt", "none.txt: no such list"),
        ("empty", "empty: no pictures in it (looked for .png, .jpg"),
        ("empty.txt", "empty.txt: no pictures in it"),
        ("notes.md", "notes.md: not a folder, a .txt list or a picture"),
    ],
)
def test_nothing_to_list(tmp_path, source, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty.txt").write_text("# nothing\n")
    (tmp_path / "notes.md").write_text("")
    with pytest.raises(ValueError) as caught:
        list_pictures(tmp_path / source)
    assert str(caught.value).startswith(f"{tmp_path}{os.sep}{message}")


# --- samples and presets


def test_samples_are_there_and_their_splits_disjoint():
    train, test = sample_pictures("train"), sample_pictures("test")
    assert (len(train), len(test)) == (10, 5)
    assert not {path.stem for path in train} & {path.stem for path in test}
    motorcycles = {"motorcycle_left.png", "motorcycle_right.png"}
    assert motorcycles <= set(SPLITS["train"])
    assert not check_pictures(train + test, smallest=256)
    for path in test:  # in colour
        assert np.ptp(read_picture(path).astype(int), axis=2).max() > 50


def test_sample_that_is_missing(monkeypatch):
    monkeypatch.setitem(SPLITS, "test", ("gone.png",))
    with pytest.raises(ValueError, match=r"gone\.png: this scikit-image does not include"):
        sample_pictures("test")
    with pytest.raises(ValueError, match="samples:validate: no such split"):
        list_pictures("samples:validate")


def test_presets():
    assert set(PRESETS) == {"div2k", "coco", "imagenet", "paris_streetview", "bossbase", "samples"}
    assert PRESETS["div2k"].crop == 1024 and PRESETS["div2k"].small == "skip"
    for preset in PRESETS.values():
        assert preset.small in ("error", "skip", "enlarge")
        assert preset.resize is None or preset.resize >= preset.crop
        assert preset.homepage.startswith("https://") and preset.note
    assert list_pictures(PRESETS["samples"].train_folder) == sample_pictures("train")
    assert list_pictures(PRESETS["samples"].test_folder) == sample_pictures("test")
