"""test.py under torchrun: groups are shared out, and the results are those of one process."""

import csv
import json

import pytest
import yaml


@pytest.mark.slow
@pytest.mark.parametrize("processes", [2, 3])
def test_results_are_those_of_one_process(torchrun, command, trainer, pictures, tmp_path, processes):
    run = trainer(steps=2)
    run.fit()
    run.close()
    options = {
        "weights": str(run.best_weights()),
        "device": "cpu",
        "data": {"test": [{"folder": str(pictures), "crop": 64, "groups": 5, "name": "crops"}]},
        "save_images": 2,
        "attacks": [{"type": "noise", "sigma": 2}],
    }
    folders = []
    for name in ("alone", "shared"):
        file = tmp_path / f"{name}.yml"
        file.write_text(yaml.safe_dump({"name": name} | options))
        folders.append(tmp_path / "runs" / name / "results" / "crops")
    alone = command("test.py", "-opt", tmp_path / "alone.yml")
    assert alone.returncode == 0, alone.stderr
    shared = torchrun("test.py", "-opt", tmp_path / "shared.yml", processes=processes)
    assert shared.returncode == 0, shared.err
    for name in ("per_image.csv", "attacks.csv", "groups.csv"):
        first, second = (list(csv.reader((folder / name).read_text().splitlines())) for folder in folders)
        assert first == second and len(first) > 1
    metrics = [json.loads((folder / "metrics.json").read_text()) for folder in folders]
    assert metrics[0]["groups"] == 5
    same = set(metrics[0]) - {"command", "seconds_hide", "seconds_hide_interval"}
    same -= {"seconds_reveal", "seconds_reveal_interval"}
    assert {key: metrics[0][key] for key in same} == {key: metrics[1][key] for key in same}
    kept = [sorted(path.relative_to(folder) for path in folder.rglob("*.png")) for folder in folders]
    assert kept[0] == kept[1] and len(kept[0]) == 1 + 2 + 2 * (2 + 2 * 2)
    for name in kept[0]:
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes()


@pytest.mark.slow
def test_a_mistake_is_told_once(torchrun, tmp_path, pictures):
    file = tmp_path / "wrong.yml"
    data = {"test": [{"folder": str(pictures), "crop": 64}]}
    file.write_text(yaml.safe_dump({"name": "wrong", "weights": "nowhere", "data": data}))
    done = torchrun("test.py", "-opt", file)
    told = [line for line in done.err.splitlines() if line.startswith("test.py: ")]
    assert done.returncode != 0 and len(told) == 1 and "weights 'nowhere'" in told[0]
