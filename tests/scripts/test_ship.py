"""scripts/ship.py: a run becomes a folder of experiments/pretrained/, and a card tells the truth about it."""

import importlib
import json
import subprocess
import sys

import pytest
import safetensors.torch
import torch

from data.files import sha256
from engine.checkpoint import load_model, read_metadata
from options import TrainOptions
from tests.common import ROOT

ABOUT = ("--trained-on", "six photographs", "--licence", "anything")


def call(*words):
    words = [sys.executable, ROOT / "scripts" / "ship.py", *words]
    return subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=120)


@pytest.fixture
def run(trainer):
    one = trainer(overrides=["train.optimizer=muon"])
    one.fit()
    return one.run


@pytest.mark.slow
def test_a_run_is_shipped_and_its_card_takes_scores_of_its_weights_only(run, pictures, tmp_path):
    words = [run, "tiny_2", *ABOUT, "--experiments", tmp_path / "e"]
    first = call(*words)
    assert first.returncode == 0, first.stderr
    folder = tmp_path / "e" / "pretrained" / "tiny_2"
    file = folder / "tiny_2.safetensors"
    digest = sha256(file)
    assert (folder / "SHA256SUMS").read_text() == f"{digest}  {file.name}\n"
    for text in ((folder / "options.yml").read_text(), load_model(file)[1]["options"]):
        assert str(pictures.parent) not in text and f"datasets/{pictures.name}" in text
    card = (folder / "README.md").read_text()
    assert "| licence | anything |" in card and "One group of scikit-image's pictures" in card
    run_weights = read_metadata(run / "checkpoints" / "best.safetensors")
    assert run_weights["fingerprint"] == read_metadata(file)["fingerprint"]  # in half precision, and the same
    assert all(value.dtype == torch.float16 for value in safetensors.torch.load_file(file).values())
    assert "six photographs" in card and digest in card and "not measured" in card and "muon_lr 0.01" in card

    scores = {"psnr_rgb": 30.123, "psnr_y": 33, "ssim_rgb": 0.91, "worst_psnr_rgb": 20}
    metrics = {"weights_sha256": digest, "dataset": "cats", "groups": 3}
    metrics |= {"cover_stego": scores, "secret_revealed": scores | {"psnr_rgb": "inf"}}
    results = tmp_path / "metrics.json"
    results.write_text(json.dumps(metrics))
    second = call(*words, "--results", results, "--limits", "Not for cats.")
    assert second.returncode == 0, second.stderr
    card = (folder / "README.md").read_text()
    assert "| cats, 3 groups | cover/stego | 30.12 | 33.00 | 0.9100 | 20.00 |" in card
    assert "| secret/revealed | inf |" in card and "not measured" not in card
    assert "Not measured yet: `tiny_2`." in card and "Not for cats." in card
    assert sha256(file) == digest  # the same weights keep their checksum, so that stegos stay readable

    results.write_text(json.dumps(metrics | {"weights_sha256": "0" * 64}))
    third = call(*words, "--results", results)
    assert third.returncode == 2 and "scores of other weights" in third.stderr
    assert (folder / "README.md").read_text() == card


@pytest.mark.slow
def test_weights_keep_their_checksum_when_the_program_has_learned_new_options(run, tmp_path):
    words = [run, "tiny_2", *ABOUT, "--experiments", tmp_path / "e"]
    assert call(*words).returncode == 0
    file = tmp_path / "e" / "pretrained" / "tiny_2" / "tiny_2.safetensors"
    metadata, tensors = dict(read_metadata(file)), safetensors.torch.load_file(file)
    options = json.loads(metadata["options"])
    del options["train"]["start_from"]  # as an older program would have written it
    content = safetensors.torch.save(tensors, metadata | {"options": json.dumps(options)})
    file.write_bytes(content)
    (file.parent / "SHA256SUMS").write_text(f"{sha256(file)}  {file.name}\n")
    assert call(*words).returncode == 0 and file.read_bytes() == content
    options["seed"] += 1
    file.write_bytes(safetensors.torch.save(tensors, metadata | {"options": json.dumps(options)}))
    (file.parent / "SHA256SUMS").write_text(f"{sha256(file)}  {file.name}\n")
    assert call(*words).returncode == 0
    assert json.loads(read_metadata(file)["options"])["seed"] == options["seed"] - 1


def test_no_path_of_this_machine_is_shipped():
    sys.path.insert(0, str(ROOT / "scripts"))
    ship = importlib.import_module("ship")
    folders = ["/home/me/a", "samples:train"]
    options = {
        "name": "x",
        "network": {"type": "hinet"},
        "data": {
            "train": {"folder": folders, "crop": 32},
            "validate": {"groups_file": "/home/me/groups.csv", "folder": "samples:test", "crop": 32},
        },
        "train": {"steps": 1, "start_from": "/home/me/w.safetensors"},
    }
    shown = ship.without_paths(TrainOptions.model_validate(options))
    assert shown["data"]["train"]["folder"] == ["datasets/a", "samples:train"]
    assert shown["data"]["validate"]["groups_file"] == "groups.csv"
    assert shown["data"]["validate"]["folder"] == "samples:test"
    assert "/home" not in json.dumps(shown)


def test_the_card_says_what_came_before(run, trainer, tmp_path):
    first = run / "checkpoints" / "last.safetensors"
    two = trainer(overrides=[f"train.start_from={first}", "name=second"])
    two.fit()
    words = [two.run, "tiny_2", *ABOUT, "--experiments", tmp_path / "e"]
    card = tmp_path / "e" / "pretrained" / "tiny_2" / "README.md"
    assert call(*words).returncode == 0 and "begun from last.safetensors" in card.read_text()
    assert call(*words, "--before", "a first run of 9 steps").returncode == 0
    assert "begun from a first run of 9 steps |" in card.read_text()
    assert str(run) not in card.with_name("options.yml").read_text()
    assert "from `options/train/" not in card.read_text()  # there is no second.yml


@pytest.mark.slow
def test_mistakes(run, tmp_path):
    def refused(message, *words):
        done = call(*words, *ABOUT, "--experiments", tmp_path / "e")
        assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
        assert message in done.stderr and not (tmp_path / "e").exists()

    refused("not a training run", tmp_path, "x")
    refused("NAME '../x': expected only letters, digits", run, "../x")
    broken = tmp_path / "broken.json"
    for text, message in (("{", "not JSON"), ("[]", "weights_sha256"), ("{}", "weights_sha256")):
        broken.write_text(text)
        refused(message, run, "x", "--results", broken)
    options = run / "env.json"
    options.write_text("{}")
    refused("env.json: 'device' is missing", run, "x")
