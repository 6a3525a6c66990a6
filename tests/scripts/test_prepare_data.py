"""scripts/prepare_data.py as a person calls it: exit codes, files, and one line for a mistake."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from data.groups import make_groups, read_groups
from data.images import list_pictures, read_picture, write_picture
from data.samples import sample_pictures

SCRIPT = Path(__file__).parents[2] / "scripts" / "prepare_data.py"


def run(*arguments, code: int = 0) -> str:
    """What the script prints: stdout, or stderr where a mistake is expected."""
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout if not done.stderr else done.stderr


def mistake(*arguments) -> str:
    line = run(*arguments, code=2)
    assert line.startswith("prepare_data.py: ") and line.count("\n") == 1
    return line


@pytest.fixture
def folder(tmp_path) -> Path:
    """a.png of 70x90 and sub/b.png of 64x64 (height x width) pixels."""
    rng = np.random.default_rng(0)
    for name, size in (("a.png", (70, 90)), ("sub/b.png", (64, 64))):
        path = tmp_path / "pictures" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_picture(path, rng.integers(0, 256, (*size, 3)).astype(np.uint8))
    return tmp_path / "pictures"


def test_help_shows_examples():
    assert "--cut datasets/DIV2K/DIV2K_train_HR" in run("--help")


def test_check(folder):
    assert run("--check", folder) == "2 pictures checked, 0 bad\n"
    assert run("--check", "samples:test") == "5 pictures checked, 0 bad\n"
    whole = (folder / "a.png").read_bytes()
    (folder / "a.png").write_bytes(whole[: len(whole) // 2])
    text = run("--check", folder, "--smallest", 65, code=2)
    assert f"{folder / 'a.png'}: damaged or cut short (" in text
    assert f"{folder / 'sub/b.png'}: 64x64 pixels, the short side is below 65" in text
    assert text.endswith("2 pictures checked, 2 bad\n")


@pytest.mark.parametrize("workers", [1, 2])
def test_cut_covers_everything(folder, tmp_path, workers):
    out = tmp_path / "cut"
    square = ("--size", 32, "--step", 20, "--workers", workers)
    text = run("--cut", folder, "--out", out, *square)
    assert "2 pictures -> 21 sub-images (21 written, 0 there already)" in text
    assert f"folder: {out.as_posix()}/list.txt" in text

    cuts = list_pictures(out / "list.txt")
    assert sorted(cuts) == sorted(list_pictures(out)) and len(cuts) == 21
    picture = read_picture(folder / "a.png")
    seen = np.zeros(picture.shape[:2], bool)
    for path in cuts:
        if path.parent.name == "sub":
            continue
        _, y, x, _ = path.stem.split("_")
        top, left = int(y[1:]), int(x[1:])
        assert np.array_equal(read_picture(path), picture[top : top + 32, left : left + 32])
        seen[top : top + 32, left : left + 32] = True
    assert seen.all()


def test_cut_goes_on_where_it_stopped(folder, tmp_path):
    out = tmp_path / "cut"
    call = ("--cut", folder, "--out", out, "--size", 32, "--step", 32)
    run(*call)
    gone, kept = sorted(out.glob("*.png"))[:2]
    gone.unlink()
    kept.write_bytes(b"not touched again")
    assert "(1 written, 12 there already)" in run(*call)
    assert gone.exists() and kept.read_bytes() == b"not touched again"
    assert "(13 written, 0 there already)" in run(*call, "--force")
    assert kept.read_bytes() != b"not touched again"


def test_cut_and_small_pictures(folder, tmp_path):
    out = tmp_path / "cut"
    call = ("--cut", folder, "--out", out, "--size", 66, "--step", 66)
    line = mistake(*call)
    assert "1 of 2 pictures are smaller than 66 pixels" in line and "b.png (64x64)" in line
    assert not out.exists()
    run(*call, "--keep-small")
    whole = read_picture(out / "sub" / "b_whole.png")
    assert np.array_equal(whole, read_picture(folder / "sub" / "b.png"))


def test_cut_names_that_collide(folder, tmp_path):
    write_picture(folder / "a.bmp", np.zeros((64, 64, 3), np.uint8))
    line = mistake("--cut", folder, "--out", tmp_path / "cut", "--size", 32, "--step", 32)
    assert "a.png: would be cut into" in line and "a.bmp" in line


def test_bad_picture_stops_the_cutting(folder, tmp_path):
    whole = (folder / "sub/b.png").read_bytes()
    (folder / "sub/b.png").write_bytes(whole[:-500])
    out = tmp_path / "cut"
    line = mistake("--cut", folder, "--out", out, "--size", 32, "--step", 32, "--workers", 2)
    assert f"{folder / 'sub/b.png'}: damaged or cut short" in line
    assert not (out / "list.txt").exists()


def test_groups(tmp_path):
    out = tmp_path / "groups.csv"
    text = run("--groups", "samples:train", "--num-secrets", 4, "--out", out, "--count", 3)
    assert "3 groups of 1 cover + 4 secrets, from 10 pictures" in text
    assert f"groups_file: {out.as_posix()}" in text
    made = make_groups(sample_pictures("train"), 4, count=3)
    assert [group.cover.name for group in read_groups(out, 4)] == [g.cover.name for g in made]
    assert "exists; --force replaces it" in mistake(
        "--groups", "samples:train", "--num-secrets", 4, "--out", out
    )
    by_name = ("--grouping", "sorted", "--stride", 1, "--force")
    run("--groups", "samples:train", "--num-secrets", 4, "--out", out, *by_name)
    assert len(read_groups(out)) == 6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "one of the arguments --check --cut --groups is required"),
        ("--check no/such", "no/such: no such folder"),
        ("--check samples:test --size 9", "--size does not go with --check"),
        ("--cut samples:test --size 64", "--cut needs --out, --step"),
        ("--cut samples:test --out x --size 64 --step 65", "--step 65: above --size 64"),
        ("--cut samples:test --out x --size 0 --step 1", "'0': expected a whole number of at least 1"),
        ("--cut {here} --out {here}/x --size 8 --step 8", "is inside"),
        ("--groups samples:test --out g.csv", "--groups needs --num-secrets"),
        ("--groups samples:test --num-secrets 4 --out g.txt", "expected a groups file that ends in .csv"),
        ("--groups samples:test --num-secrets 9 --out g.csv", "9 secrets = 10 pictures"),
        ("--groups samples:test --num-secrets 4 --out no/g.csv", "the folder no does not exist"),
        ("--groups samples:test --num-secrets 4 --out g.csv --stride 1", "belongs to grouping"),
    ],
)
def test_mistakes_take_one_line(folder, arguments, message):
    assert message in mistake(*arguments.format(here=folder).split())
