"""Results as data: what is kept, without paths, and what is refused."""

import csv
import json

import numpy as np
import pytest
import yaml
from skimage.data import astronaut

from engine.testing.collected import Run, collect, read_set, result_folders, without_paths, write_runs
from engine.testing.protocol import PROTOCOL
from engine.testing.results import write_results
from engine.testing.scoring import HiddenGroup
from metrics.intervals import mean_interval


@pytest.fixture
def results(tmp_path):
    """A results folder of six groups of two secrets: results("isn_2") -> its path."""

    def write(name, noise=4):
        rng = np.random.default_rng(0)
        groups = []
        for k in range(6):
            pictures = [astronaut()[32 * k : 32 * k + 32, x : x + 32] for x in (100, 160, 220)]
            worse = [np.clip(p + rng.normal(0, noise, p.shape), 0, 255).astype(np.uint8) for p in pictures]
            revealed = [worse[1], pictures[2] if k == 0 else worse[2]]  # one is without any error
            groups.append(HiddenGroup(k, pictures[0], worse[0], pictures[1:], revealed))
        folder = tmp_path / "runs" / name / "results" / "crops"
        folder.mkdir(parents=True)
        about = {
            "method": "isn",
            "dataset": "crops",
            "through": "PNG",
            "arguments": {},
            "packages": {"a": "1"},
        }
        about |= {"command": ["test.py", "--set", "data.test.0.folder=/home/me/crops"], "git_commit": "abc"}
        about |= {
            "training": {"seed": 3, "minutes": 5.0, "threads": 1},
            "weights": f"{tmp_path}/w.safetensors",
        }
        write_results(folder, groups, about, save_images=0, capacity=False)
        return folder

    return write


def test_means_and_intervals_can_be_recomputed_from_what_is_kept(results):
    folder = results("isn_2")
    run = collect(folder)
    assert (run.set, run.name, run["protocol"]) == ("crops", "isn_2", PROTOCOL)
    assert "packages" not in run.content and run["git_commit"] == "abc" and run.training["seed"] == 3
    metrics = json.loads((folder / "metrics.json").read_text())
    for kind in ("cover_stego", "secret_revealed"):
        for field in ("psnr_rgb", "psnr_y"):
            values = run.pairs(kind, field)
            groups = [k for k, group in enumerate(values) for _ in group]
            flat = np.concatenate(values)
            assert flat[np.isfinite(flat)].mean() == pytest.approx(metrics[kind][field], abs=1e-4)
            assert mean_interval(flat, groups) == pytest.approx(metrics[kind][f"{field}_interval"], abs=1e-3)
    assert run.pairs("secret_revealed", "psnr_rgb")[0][1] == np.inf
    with open(folder / "per_image.csv") as file:
        assert len(list(csv.DictReader(file))) == 18


def test_written_and_read_back(results, tmp_path):
    run = collect(results("isn_2"), "other", "called")
    (file,) = write_runs([run], tmp_path / "kept")
    assert file == tmp_path / "kept" / "other" / "called.json" and file.stat().st_size < 20_000
    assert read_set("other", tmp_path / "kept") == [run]
    assert read_set("nothing", tmp_path / "kept") == []


def test_the_training_is_kept_with_it(results):
    folder = results("isn_2").parents[1]
    (folder / "env.json").write_text(json.dumps({"command": ["train.py"], "machine": "two cores", "x": 1}))
    (folder / "options.yml").write_text(yaml.safe_dump({"train": {"optimizer": "muon"}}))
    lines = [{"step": s, "seconds": t, "cover_stego": 30.12345} for s, t in ((5, 1.0), (10, 2.0), (5, 3.0))]
    (folder / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    run = collect(folder / "results" / "crops")
    assert run.training["command"] == ["train.py"] and run.training["machine"] == "two cores"
    assert run.training["seed"] == 3 and run.training["optimizer"] == "muon"
    # A step that was taken twice: the later counts.
    assert [(one["step"], one["seconds"]) for one in run["history"]] == [(5, 3.0), (10, 2.0)]
    # A network that has not changed the cover yet, as earlier versions wrote it.
    (folder / "history.jsonl").write_text('{"step": 5, "seconds": 1.0, "cover_stego": Infinity}\n')
    run = collect(folder / "results" / "crops", "other", "early")
    assert run["history"][0]["cover_stego"] == "inf"
    (file,) = write_runs([run], folder / "kept")
    assert "Infinity" not in file.read_text()
    (folder / "history.jsonl").write_text('{"step": 5}\n{"st')
    with pytest.raises(ValueError, match="history.jsonl, line 2: not a validation"):
        collect(folder / "results" / "crops")


def test_no_path_of_a_machine_is_kept(results, tmp_path):
    text = json.dumps(collect(results("isn_2")).content)
    assert str(tmp_path) not in text and "/home" not in text and "data.test.0.folder=DIR/crops" in text
    told = ["[/a/b,/c/d e]", "x=/a/b/", "../near/by", "experiments/a", "8/16", "~/a/b", "--set", "/"]
    kept = ["[DIR/b,DIR/d e]", "x=DIR/b", "../near/by", "experiments/a", "8/16", "DIR/b", "--set", "DIR/"]
    assert without_paths({"k": told, "n": 1.5}) == {"k": kept, "n": 1.5}


def test_a_folder_of_runs(results, tmp_path):
    folders = [results("a"), results("b")]
    assert result_folders(tmp_path / "runs") == folders == sorted(folders)
    assert result_folders(folders[0]) == [folders[0]] == result_folders(tmp_path / "runs" / "a")
    with pytest.raises(ValueError, match="no results here, and none below"):
        result_folders(tmp_path)


def test_two_runs_of_one_name(results, tmp_path):
    run, kept = collect(results("a")), tmp_path / "kept"
    with pytest.raises(ValueError, match="two runs are called a in the set crops"):
        write_runs([run, run], kept)
    assert not kept.exists()
    write_runs([run], kept)
    write_runs([run], kept)  # the very same is no mistake
    other = collect(results("b", noise=6), name="a")
    with pytest.raises(ValueError, match=r"a\.json: already holds other results; --replace"):
        write_runs([other], kept)
    assert read_set("crops", kept) == [run]
    write_runs([other], kept, replace=True)
    assert read_set("crops", kept) == [other]


def test_other_pictures_in_one_set(results, tmp_path):
    run = collect(results("a"))
    write_runs([run], tmp_path / "kept")
    other = Run("crops", "b", run.content | {"pictures_sha256": "0" * 64})
    with pytest.raises(ValueError, match="tested on other pictures than"):
        write_runs([other], tmp_path / "kept")
    more = Run("crops", "b", other.content | {"num_secrets": 3})
    write_runs([more], tmp_path / "kept")


def test_another_protocol(results, tmp_path):
    folder = results("a")
    run = collect(folder)
    (file,) = write_runs([run], tmp_path / "kept")
    file.write_text(json.dumps(run.content | {"protocol": PROTOCOL + 1}))
    with pytest.raises(ValueError, match=f"a.json: results of protocol {PROTOCOL + 1}"):
        read_set("crops", tmp_path / "kept")
    metrics = json.loads((folder / "metrics.json").read_text())
    del metrics["protocol"]
    (folder / "metrics.json").write_text(json.dumps(metrics))
    with pytest.raises(ValueError, match="results of protocol 1"):
        collect(folder)
