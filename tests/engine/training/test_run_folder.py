"""What is written beside results, so that those of other settings are not taken for them."""

import json

import pytest

from engine.training.run_folder import keep_settings


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
