"""Two folders become pairs by name; what does not match is told."""

import numpy as np
import pytest
from PIL import Image

from data.pairs import lossy_pictures, paired_pictures


def save(folder, *names, size=(12, 10)):
    """Grey-brown pictures of size (width, height)."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((size[1], size[0], 3), (120, 110, 100), np.uint8)).save(path)
    return folder


def test_pairs_by_name_whatever_the_format(tmp_path):
    covers = save(tmp_path / "c", "b.jpg", "a.png", "sub/a.bmp", "d.ppm")
    stegos = save(tmp_path / "s", "a.png", "b.png", "sub/a.tiff", "d.png")
    pairs = paired_pictures(covers, stegos)
    assert [(c.name, s.name) for c, s in pairs] == [
        ("a.png", "a.png"),
        ("b.jpg", "b.png"),
        ("d.ppm", "d.png"),
        ("a.bmp", "a.tiff"),
    ]
    assert all(c.is_relative_to(covers) and s.is_relative_to(stegos) for c, s in pairs)


def test_unmatched_are_listed_but_not_all(tmp_path):
    covers = save(tmp_path / "c", "a.png", *(f"x{k}.png" for k in range(9)))
    stegos = save(tmp_path / "s", "a.png", "y.png")
    with pytest.raises(ValueError) as error:
        paired_pictures(covers, stegos)
    text = str(error.value)
    assert "9 of 10 pictures" in text and "x0, x1, x2, x3, x4 and 4 more" in text and "x5" not in text
    assert "1 of 2 pictures" in text and "(y)" in text


def test_one_name_twice(tmp_path):
    covers = save(tmp_path / "c", "a.png", "a.bmp")
    with pytest.raises(ValueError, match="a.bmp and a.png have the same name"):
        paired_pictures(covers, save(tmp_path / "s", "a.png"))


def test_different_sizes(tmp_path):
    covers = save(tmp_path / "c", "a.png", "b.png")
    save(tmp_path / "s", "a.png")
    stegos = save(tmp_path / "s", "b.png", size=(10, 12))
    with pytest.raises(ValueError, match=r"1 of 2 pairs .*b.png 12x10, b.png 10x12"):
        paired_pictures(covers, stegos)


@pytest.mark.parametrize("name, problem", [("missing", "no such folder"), ("file", "not a folder")])
def test_no_folder(tmp_path, name, problem):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=problem):
        paired_pictures(save(tmp_path / "c", "a.png"), tmp_path / name)


def test_lossy_by_content_not_by_suffix(tmp_path):
    folder = save(tmp_path / "c", "a.jpg", "b.png")
    (folder / "a.jpg").rename(folder / "a.png")
    assert lossy_pictures([folder / "a.png", folder / "b.png"]) == [folder / "a.png"]
