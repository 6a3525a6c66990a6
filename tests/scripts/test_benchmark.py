"""scripts/benchmark.py: both tables come out with one number a row, and mistakes are told."""

import re

import pytest
import torch
import yaml

from engine.build import has_fast_bf16


@pytest.mark.slow
def test_scoring(command):
    done = command("scripts/benchmark.py", "scoring", "--groups", "1")
    assert done.returncode == 0, done.stderr
    for row in ("write", "read", "score", "read and write"):
        assert re.search(rf"^\| {row} \| [\d.]+ \| [\d.]+ \| [\d.]+ \|$", done.stdout, re.M), done.stdout
    assert "| payload of a secret at 28 dB |" in done.stdout


def test_network(command, train_file):
    words = ["-opt", train_file(), "--size", "24", "--repeat", "1", "--threads", "1", "--device", "cpu"]
    done = command("scripts/benchmark.py", "network", *words)
    assert done.returncode == 0, done.stderr
    measured = r"[\d.]+ s \| [\d.]+ \| -"
    if not has_fast_bf16(torch.device("cpu")):
        measured = rf"({measured}|not measured: this device has no bfloat16 arithmetic \| \|)"
    for row in ("fp32", "fp32 channels_last", "bf16", "bf16 channels_last"):
        assert re.search(rf"^\| {row} \| {measured} \|$", done.stdout, re.M), done.stdout
    assert re.search(r"^\| fp32 \| [\d.]+ s ", done.stdout, re.M)
    assert "| hide 2 |" in done.stdout and "| reveal 2 |" in done.stdout


def test_a_keyed_network(command, train_file):
    """What it reveals from is a stego: any other picture would be refused."""
    file = train_file()
    options = yaml.safe_load(file.read_text())
    options["network"] = {"type": "smilenet_l", "rows": 1, "cols": 2, "icdm_blocks": 0, "growth": 4}
    options["loss"] = {}
    file.write_text(yaml.safe_dump(options))
    words = ["-opt", file, "--size", "64", "--repeat", "1", "--threads", "1", "--device", "cpu", "--no-train"]
    done = command("scripts/benchmark.py", "network", *words)
    assert done.returncode == 0 and "| reveal 2 |" in done.stdout, done.stderr


@pytest.mark.parametrize(
    "words, message",
    [
        (["network"], "say which network"),
        (["scoring", "--groups", "0"], "--groups 0: expected 1 or more"),
        (["network", "-opt", "none.yml"], "no such file"),
    ],
)
def test_mistakes(command, words, message):
    done = command("scripts/benchmark.py", *words)
    assert done.returncode == 2 and message in done.stderr
