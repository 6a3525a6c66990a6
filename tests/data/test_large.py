"""Large data: kept lists, the packed cache, pictures that break in the middle."""

import os

import numpy as np
import pytest
import torch

from data import images, kept_lists
from data.images import check_pictures, list_pictures, picture_sizes, write_picture
from data.loader import BROKEN_IN_ROW, TrainingGroups, training_loader


@pytest.fixture
def folder(tmp_path):
    """Eight noise pictures of 40x48 pixels in two folders."""
    rng = np.random.default_rng(0)
    for k in range(8):
        (tmp_path / f"data/{k % 2}").mkdir(parents=True, exist_ok=True)
        write_picture(tmp_path / f"data/{k % 2}/{k}.png", rng.integers(0, 256, (40, 48, 3)).astype(np.uint8))
    return tmp_path / "data"


def groups(folder, **changes) -> TrainingGroups:
    settings = {"num_secrets": 3, "crop": 16, "seed": 5, "length": 12} | changes
    return TrainingGroups(list_pictures(folder), **settings)


def same(a: dict, b: dict) -> bool:
    return all(torch.equal(a[key], b[key]) for key in a)


def test_a_large_folder_is_walked_once(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(kept_lists, "FEWEST", 1)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    walked = []
    real = os.walk
    monkeypatch.setattr("data.images.os.walk", lambda *a, **k: walked.append(1) or real(*a, **k))
    first = list_pictures(folder)
    assert list_pictures(folder) == first and len(first) == 8 and len(walked) == 1
    write_picture(folder / "1/new.png", np.zeros((40, 48, 3), np.uint8))  # a folder below has changed
    assert len(list_pictures(folder)) == 9 and len(walked) == 2
    next((tmp_path / "cache/image-hiding").iterdir()).write_text("{")  # damaged: walked again
    assert len(list_pictures(folder)) == 9 and len(walked) == 3


def test_sizes_of_a_large_folder_are_read_once(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(kept_lists, "FEWEST", 1)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    read = []
    real = images.picture_size
    monkeypatch.setattr(images, "picture_size", lambda path: read.append(path) or real(path))
    pictures = list_pictures(folder)
    assert picture_sizes(pictures) == [(40, 48)] * 8 == picture_sizes(pictures) and len(read) == 8
    write_picture(pictures[3], np.zeros((20, 30, 3), np.uint8))  # one has changed
    os.utime(pictures[3], ns=(1, 10**9))
    assert picture_sizes(pictures)[2:5] == [(40, 48), (20, 30), (40, 48)] and len(read) == 9
    (kept,) = (tmp_path / "cache/image-hiding").glob("sizes_*.npy")
    kept.write_bytes(b"damaged")
    assert picture_sizes(pictures)[3] == (20, 30) and len(read) == 17
    pictures[5].unlink()
    with pytest.raises(ValueError, match=f"^{pictures[5]}: No such file"):
        picture_sizes(pictures)


def test_packed_changes_nothing_and_is_made_once(folder, monkeypatch):
    plain, cached = [groups(folder)[k] for k in range(6)], groups(folder, cache="packed")
    assert all(same(plain[k], cached[k]) for k in range(6))
    assert len(list(folder.glob(".packed_*[0-9a-f]"))) == 1
    monkeypatch.setattr("data.loader.read_picture", None)  # nothing is decoded any more
    again = groups(folder, cache="packed")
    assert all(same(plain[k], again[k]) for k in range(6))
    with_workers = list(training_loader(again, batch_size=2, workers=2))
    assert torch.equal(with_workers[0]["cover"][0], plain[0]["cover"])


def test_a_stale_or_cut_packed_cache_is_refused(folder):
    groups(folder, cache="packed")
    (file,) = folder.glob(".packed_*[0-9a-f]")
    later = file.stat().st_mtime_ns + 10**9
    os.utime(folder / "1/1.png", ns=(later, later))
    with pytest.raises(ValueError, match=r"\.packed_.*: older than .*1\.png; delete this cache"):
        groups(folder, cache="packed")
    file.write_bytes(file.read_bytes()[:-5])
    os.utime(file, ns=(2 * later, 2 * later))
    with pytest.raises(ValueError, match="not a whole packed cache"):
        groups(folder, cache="packed")


@pytest.mark.parametrize("workers", [0, 2])
def test_a_picture_that_breaks_in_the_middle_is_named_skipped_and_counted(folder, workers):
    pictures = groups(folder, length=40)
    whole = [pictures[k] for k in range(40)]
    (folder / "1/3.png").write_bytes(b"no longer a picture")
    batches = list(training_loader(pictures, batch_size=1, workers=workers))
    count, text = pictures.broken.read()
    assert len(batches) == 40 and 5 < count < 40
    assert text.startswith(f"{folder / '1/3.png'}: ")
    changed = sum(not torch.equal(b["cover"][0], w["cover"]) for b, w in zip(batches, whole, strict=True))
    assert 0 < changed <= count  # the others are what they would have been


@pytest.mark.parametrize("workers", [0, 2])
def test_pictures_that_are_all_broken_end_it(folder, workers):
    pictures = groups(folder)
    for file in folder.rglob("*.png"):
        file.write_bytes(b"no longer a picture")
    with pytest.raises(ValueError, match="no readable picture was found in place of broken ones"):
        next(iter(training_loader(pictures, batch_size=1, workers=workers)))
    assert pictures.broken.read()[0] <= BROKEN_IN_ROW * (workers or 1) * 4


def test_check_with_workers_finds_the_same(folder):
    (folder / "0/2.png").write_bytes(b"broken")
    one, two = (check_pictures(list_pictures(folder), 41, workers=workers) for workers in (1, 2))
    assert one == two and len(one) == 8 and "not a picture" in dict(one)[folder / "0/2.png"]
