"""scripts/collect.py: from a test to a file that the tables are made from."""

import json

from tests.common import ROOT


def test_from_a_test_to_a_table(command, pictures, tmp_path):
    test = ["-opt", ROOT / "options/test/thumbnails_4.yml", "--set", f"data.test.0.folder={pictures}"]
    test += ["--set", "data.test.0.crop=64", "--set", "data.test.0.stride=1", "--set", "capacity=false"]
    done = command("test.py", *test)
    assert done.returncode == 0, done.stderr
    words = ["--set", "crops", tmp_path / "runs", "--results", tmp_path / "kept"]
    done = command("scripts/collect.py", *words)
    assert done.returncode == 0, done.stderr
    kept = json.loads((tmp_path / "kept/crops/thumbnails_4.json").read_text())
    assert kept["groups"] == 5 and kept["cover_stego"]["psnr_rgb_interval"] and kept["training"] is None
    assert kept["command"][0] == "test.py" and str(tmp_path) not in json.dumps(kept)
    done = command("scripts/collect.py", *words)
    assert done.returncode == 0, done.stderr
    done = command("scripts/collect.py", tmp_path / "kept")
    assert done.returncode == 2 and "no results here" in done.stderr
