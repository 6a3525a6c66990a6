"""train.py --list: all that is there, and nothing that is not."""

from engine.listing import listing
from engine.log import EXPERIMENTS
from models import MODELS
from tests.common import ROOT


def test_all_methods_files_and_weights(trainer, tmp_path, capsys):
    one = trainer(steps=2)
    one.fit()
    (tmp_path / "runs" / "broken" / "checkpoints").mkdir(parents=True)
    lines = list(listing(tmp_path / "runs"))
    for name in MODELS:
        assert any(line.startswith(f"  {name} ") for line in lines), name
    for file in (ROOT / "options").glob("*/*.yml"):
        (line,) = [line for line in lines if f" {file.relative_to(ROOT)} " in line]
        assert "$schema" not in line and len(line) > 50
    assert any(line.split()[:2] == ["tiny", "smilenet"] for line in lines)
    assert any(line.split()[0] == "broken" and "no weights" in line for line in lines)


def test_shipped_weights_are_listed():
    lines = list(listing(EXPERIMENTS))
    assert any(line.split()[:2] == ["smilenet_l_4", "smilenet_l"] for line in lines)


def test_where_there_is_nothing_yet(tmp_path):
    assert "  none yet" in list(listing(tmp_path / "nowhere"))
