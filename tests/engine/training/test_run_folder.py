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
