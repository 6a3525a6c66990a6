"""Folders of runs: one writer at a time, and results of other settings are not taken for these."""

import json
import os
import subprocess
import sys

import pytest

from engine.training.run_folder import keep_settings, open_run, record_validation
from tests.common import ROOT


def test_no_other_run_comes_between_archiving_and_renaming(tmp_path, monkeypatch):
    run, rename, seen = tmp_path / "tiny", os.rename, []
    lock, _ = open_run(run, {"options.yml": "first"}, resume=False)
    lock.close()
    program = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from pathlib import Path\n"
    program += f"from engine.training.run_folder import open_run\nopen_run(Path({str(run)!r}), {{}}, False)"

    def watched(*paths):
        for _ in range(2):
            words = [sys.executable, "-c", program]
            seen.append(subprocess.run(words, capture_output=True, text=True, timeout=60).stderr)
            rename(*paths) if len(seen) % 2 else None

    monkeypatch.setattr(os, "rename", watched)
    lock, archived = open_run(run, {"options.yml": "second"}, resume=False)
    lock.close()
    assert len(seen) == 4 and all("tiny: another run is writing there; stop it" in one for one in seen)
    assert (run / "options.yml").read_text() == "second"
    assert (tmp_path / archived / "options.yml").read_text() == "first"
    assert len(list(tmp_path.iterdir())) == 2


def test_settings_of_a_folder_are_kept(tmp_path):
    file = tmp_path / "out" / "compare.json"
    keep_settings(file, {"train": "a", "minutes": 5.0})
    keep_settings(file, {"train": "a", "minutes": 5.0})
    with pytest.raises(ValueError, match="made with minutes 5.0, not 6.0; choose another folder"):
        keep_settings(file, {"train": "a", "minutes": 6.0})
    assert json.loads(file.read_text())["minutes"] == 5.0


def test_the_history_of_validations(trainer):
    one = trainer(validate_every=2, steps=4)
    one.fit()
    history = [json.loads(line) for line in (one.run / "history.jsonl").read_text().splitlines()]
    assert [line["step"] for line in history] == [2, 4]
    assert 0 < history[0]["seconds"] <= history[1]["seconds"] <= one.seconds + 0.05
    assert one.best == max(line["cover_stego"] + line["secret_revealed"] for line in history)


def test_a_validation_of_an_unchanged_cover_is_valid_json(tmp_path):
    record_validation(tmp_path, 50, 9.74, {"cover_stego": float("inf"), "secret_revealed": 5.5})
    line = (tmp_path / "history.jsonl").read_text()
    assert line == '{"step": 50, "seconds": 9.7, "cover_stego": "inf", "secret_revealed": 5.5}\n'
