"""Results are replaced whole: nothing is lost by failures, crashes, second writers or foreign files."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from engine.testing.results_folder import replaced_folder
from errors import UserError
from tests.common import ROOT

FOREIGN = ("security.json", "roc.png", "features/spam/1.npy", "pictures/cover/mine.png", "rich/metrics.json")


def replace(out: Path, text: str, *more: str) -> None:
    with replaced_folder(out) as new:
        fill(new, text, "metrics.json", *more)


def fill(folder: Path, text: str, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def content(out: Path) -> dict[str, str]:
    return {p.relative_to(out).as_posix(): p.read_text() for p in out.rglob("*") if p.is_file()}


@pytest.fixture
def out(tmp_path):
    """A folder with the results "old"."""
    replace(tmp_path / "results" / "small", "old")
    return tmp_path / "results" / "small"


@pytest.fixture
def stop_rename(monkeypatch):
    """stop_rename(k, error): the k-th rename from now on, counted from 1, and all later ones raise."""
    rename = os.rename

    def stop(number, error):
        calls = []

        def stopped(*paths):
            calls.append(paths)
            if len(calls) >= number:
                raise error
            rename(*paths)

        monkeypatch.setattr("os.rename", stopped)

    return stop


def test_foreign_files_stay_and_stale_results_go(out):
    replace(out, "old", "attacks.csv", "figures/group_0001.png", "pictures/revealed/0001_02.png")
    fill(out, "mine", *FOREIGN)
    (out / "link").symlink_to("features")
    replace(out, "new")
    assert content(out) == {"metrics.json": "new"} | dict.fromkeys(FOREIGN, "mine")
    assert (out / "link/spam/1.npy").read_text() == "mine"
    assert list(out.parent.iterdir()) == [out]


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failed_rename_loses_nothing(out, stop_rename, monkeypatch, number, error):
    fill(out, "mine", "security.json")
    stop_rename(number, error)
    with pytest.raises(type(error)) as caught:
        replace(out, "new")
    monkeypatch.undo()
    if number > 1 and isinstance(error, OSError):
        said = str(caught.value)
        assert "No space left on device" in said and str(out) in said and "\n" not in said
        assert str(out.with_name(".small.new")) in said and "the next start" in said
    everywhere = [content(folder).get("metrics.json") for folder in out.parent.iterdir() if folder.is_dir()]
    assert sorted(everywhere) == ["new", "old"]
    with pytest.raises(ValueError, match="broken"), replaced_folder(out):  # the next start
        raise ValueError("broken")
    whole = "old" if number == 1 else "new"  # by the first rename the results become whole
    assert content(out) == {"metrics.json": whole, "security.json": "mine"}


@pytest.mark.parametrize("step", [1, 2, 3, 4])
def test_a_crash_at_any_step_is_mended_by_the_next_start(out, step):
    """The process ends at once instead of taking a step: no handler runs."""
    fill(out, "mine", "security.json")
    program = f"""
import os, sys
sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
from engine.testing.results_folder import replaced_folder
rename, calls = os.rename, []
def counted(*paths):
    calls.append(paths)
    if len(calls) == {step}:
        os._exit(9)
    rename(*paths)
os.rename = counted
with replaced_folder(Path({str(out)!r})) as new:
    (new / "metrics.json").write_text("new")
"""
    assert subprocess.run([sys.executable, "-c", program], timeout=60).returncode == 9
    with pytest.raises(ValueError, match="broken"), replaced_folder(out):
        raise ValueError("broken")
    assert content(out) == {"metrics.json": "old" if step == 1 else "new", "security.json": "mine"}
    replace(out, "newer")
    assert content(out) == {"metrics.json": "newer", "security.json": "mine"}
    assert list(out.parent.iterdir()) == [out]


def test_files_written_after_a_crash_are_newer(out):
    fill(out.with_name(".small.old"), "older", "security.json", "roc.csv", "metrics.json")
    fill(out, "later", "security.json")
    replace(out, "new")
    assert content(out) == {"metrics.json": "new", "security.json": "later", "roc.csv": "older"}


def test_a_second_writer_is_refused_and_the_first_goes_on(out):
    program = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
from engine.testing.results_folder import replaced_folder
with replaced_folder(Path({str(out)!r})) as new:
    print("never")
"""
    with replaced_folder(out) as new:
        fill(new, "new", "metrics.json")
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
        last = done.stderr.splitlines()[-1]
        assert re.fullmatch(rf"errors.UserError: {out}: another test is writing results there; .*", last)
    assert not done.stdout and content(out) == {"metrics.json": "new"}


def test_a_file_is_in_the_way(tmp_path):
    (tmp_path / "small").write_text("")
    with pytest.raises(UserError, match="small: is a file; expected a folder"):
        replace(tmp_path / "small", "new")
