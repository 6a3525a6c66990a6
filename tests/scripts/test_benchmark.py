"""scripts/benchmark.py: both tables come out with one number a row, and mistakes are told."""

import re

import pytest


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
    for row in ("fp32", "fp32 channels_last", "bf16", "bf16 channels_last"):
        assert re.search(rf"^\| {row} \| [\d.]+ s \| [\d.]+ \| - \|$", done.stdout, re.M), done.stdout
    assert "| hide 2 |" in done.stdout and "| reveal 2 |" in done.stdout


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
