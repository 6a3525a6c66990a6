"""Folders of any program: what belongs together by name or in order, and what does not."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from engine.testing.folders import match_folders, read_folders


@pytest.fixture
def folder(tmp_path):
    """Write pictures of noise: folder("covers", ["0001", "sub/2"], ".png", size=(8, 6)) -> its path."""

    def write(name: str, names: list[str], suffix=".png", size=(8, 6)) -> Path:
        rng = np.random.default_rng(len(names))
        for one in names:
            file = tmp_path / name / f"{one}{suffix}"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3)).astype(np.uint8)).save(file)
        return tmp_path / name

    return write


def stems(groups) -> list[tuple]:
    return [
        (g.cover.stem, g.stego.stem, [s.stem for s in g.secrets], [r.stem for r in g.revealed])
        for g in groups
    ]


def test_pairs_by_name_whatever_the_suffix(folder):
    covers, stegos = folder("covers", ["b", "sub/a"], ".jpg"), folder("stegos", ["sub/a", "b"])
    groups = match_folders(covers, stegos)
    assert stems(groups) == [("b", "b", [], []), ("a", "a", [], [])]
    one = list(read_folders(groups))[0]
    assert one.cover.shape == one.stego.shape == (6, 8, 3) and one.secrets == one.revealed == []


def test_secrets_by_name(folder):
    covers, stegos = folder("covers", ["x", "y"]), folder("stegos", ["x", "y"])
    names = ["x_02", "x_01", "y_1", "y_2"]
    groups = match_folders(covers, stegos, folder("secrets", names), folder("revealed", names))
    assert [g[2] for g in stems(groups)] == [["x_01", "x_02"], ["y_1", "y_2"]]
    assert [g[3] for g in stems(groups)] == [["x_01", "x_02"], ["y_1", "y_2"]]
    one = match_folders(covers, stegos, folder("s1", ["x", "y"]), folder("r1", ["x", "y"]))
    assert [g[2] for g in stems(one)] == [["x"], ["y"]]


def test_secrets_in_order(folder):
    covers, stegos = folder("covers", ["0", "1"]), folder("stegos", ["0", "1"])
    names = ["0", "1", "2", "3", "4", "5"]  # called like covers or not: in order all the same
    groups = match_folders(covers, stegos, folder("secrets", names), folder("revealed", names))
    assert [g[2] for g in stems(groups)] == [["0", "1", "2"], ["3", "4", "5"]]


@pytest.mark.parametrize(
    "secrets, message",
    [
        (["x_1", "x_2", "y_1"], "cover x has 2 secrets\n  cover y has 1 secrets"),
        (["x_1", "y_1", "z_1"], "secret without a cover: z_1"),
    ],
)
def test_secrets_that_belong_to_nobody(folder, secrets, message):
    covers, stegos = folder("covers", ["x", "y"]), folder("stegos", ["x", "y"])
    with pytest.raises(ValueError, match="3 secrets for 2 covers") as error:
        match_folders(covers, stegos, folder("s", secrets), folder("r", secrets))
    assert message in str(error.value)


def test_folders_that_do_not_match(folder):
    covers, stegos = folder("covers", ["a", "b"]), folder("stegos", ["a", "odd"])
    with pytest.raises(ValueError, match=r"without a partner \(b\).*\(odd\)"):
        match_folders(covers, stegos)


def test_half_of_the_secrets_side(folder):
    covers, stegos = folder("covers", ["a"]), folder("stegos", ["a"])
    with pytest.raises(ValueError, match="go together"):
        match_folders(covers, stegos, folder("secrets", ["a"]))


def test_lossy_stegos_are_warned_of(folder, caplog):
    covers = folder("covers", ["a"])
    with caplog.at_level("WARNING", "hiding"):
        match_folders(covers, folder("stegos", ["a"], ".jpg"))
    assert "1 of 1 stegos are JPEG" in caplog.text
