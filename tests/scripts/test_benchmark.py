"""scripts/benchmark.py: both tables come out with one number a row, and mistakes are told."""

import json
import re

import pytest
import yaml

from engine.benchmark import kept_table


@pytest.mark.slow
def test_scoring(command):
    done = command("scripts/benchmark.py", "scoring", "--groups", "1")
    assert done.returncode == 0, done.stderr
    for row in ("write", "read", "score", "read and write"):
        assert re.search(rf"^\| {row} \| [\d.]+ \| [\d.]+ \| [\d.]+ \|$", done.stdout, re.M), done.stdout
    assert "| payload of a secret at 28 dB |" in done.stdout


def words(file, *more) -> list:
    return ["network", "-opt", file, "--repeat", "1", "--threads", "1", "--device", "cpu", *more]


def rows(text: str) -> dict[tuple[str, str], list[str]]:
    """The table's cells by operation and contender."""
    lines = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line[:1] == "|"
    ]
    return {(cells[0], cells[1]): cells[2:] for cells in lines[2:]}


def test_network(command, train_file, tmp_path):
    file = tmp_path / "speed.json"
    done = command("scripts/benchmark.py", *words(train_file(), "--size", "24", "--json", file))
    assert done.returncode == 0, done.stderr
    table = rows(done.stdout)
    for operation in ("hide", "reveal", "hide + reveal", "training step"):
        median, gflop, share, ratio, memory = table[operation, "fp32"]
        assert re.fullmatch(r"[0-9.]+ s", median) and float(gflop) >= 0 and re.fullmatch("[0-9]+%", share)
        assert (ratio, memory) == ("", "-")
    assert re.fullmatch(r"[0-9.]+ .[0-9.]+ to [0-9.]+.", table["training step", "fp32 channels_last"][3])
    assert ("hide", "bf16") in table or "bf16: not measured" in done.stdout
    assert "\n".join(kept_table(file)) in done.stdout  # what a page shows of it
    measured = json.loads(file.read_text())
    assert not any(word.startswith("/") for word in measured["command"])
    hide = next(one for one in measured["timings"] if one["operation"] == "hide")
    assert len(hide["seconds"]) == 1 and hide["flops"] > 10**5 and min(measured["rates"].values()) > 10**8


# A stand-in for the authors' checkout, with its files' and classes' names: networks of one convolution.
CHECKOUT = {
    "hinet.py": """
import torch
print("no answer")
class Hinet(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Conv2d(24, 24, 1)
    def forward(self, x, rev=False):
        return self.layer(x.cuda())
""",
    "invblock.py": "",
    "modules/__init__.py": "",
    "modules/Unet_common.py": """
import torch
class DWT(torch.nn.PixelUnshuffle):
    def __init__(self):
        super().__init__(2)
class IWT(torch.nn.PixelShuffle):
    def __init__(self):
        super().__init__(2)
""",
}


@pytest.fixture
def checkout(tmp_path):
    for name, text in CHECKOUT.items():
        file = tmp_path / "peer" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return tmp_path / "peer"


@pytest.fixture
def hinet_file(train_file):
    file = train_file()
    options = yaml.safe_load(file.read_text())
    options["network"], options["loss"] = {"type": "hinet", "num_blocks": 1, "growth": 4}, {}
    file.write_text(yaml.safe_dump(options))
    return file


def test_side_by_side_with_another_checkout(command, hinet_file, checkout):
    more = ["--size", "24", "--peer", checkout, "--adapter", "hinet"]
    done = command("scripts/benchmark.py", *words(hinet_file, *more))
    assert done.returncode == 0, done.stderr
    table = rows(done.stdout)
    for operation in ("hide", "reveal", "hide + reveal", "training step"):
        assert table[operation, "the authors' code"][3] == ""
        assert re.fullmatch(r"[0-9.]+ .[0-9.]+ to [0-9.]+.", table[operation, "fp32"][3])


@pytest.mark.parametrize(
    "changed, adapter, message",
    [
        ({}, "invmihnet", "codes/models/modules/Inv_arch.py in it; this is a checkout for --adapter hinet"),
        ({"hinet.py": "class Other: pass"}, "hinet", "its network failed: .*no attribute 'Hinet'"),
        ({"hinet.py": "raise RuntimeError('broken')"}, "hinet", "its network failed: RuntimeError: broken"),
    ],
)
def test_a_checkout_that_does_not_fit(command, hinet_file, checkout, changed, adapter, message):
    for name, text in changed.items():
        (checkout / name).write_text(text)
    done = command("scripts/benchmark.py", *words(hinet_file, "--peer", checkout, "--adapter", adapter))
    assert done.returncode == 2 and re.search(message, done.stderr), done.stderr


def test_a_keyed_network(command, train_file):
    """What it reveals from is a stego: any other picture would be refused."""
    file = train_file()
    options = yaml.safe_load(file.read_text())
    options["network"] = {"type": "smilenet_l", "rows": 1, "cols": 2, "icdm_blocks": 0, "growth": 4}
    options["loss"] = {}
    file.write_text(yaml.safe_dump(options))
    done = command("scripts/benchmark.py", *words(file, "--size", "64", "--no-train"))
    assert done.returncode == 0 and ("reveal", "fp32") in rows(done.stdout), done.stderr


@pytest.mark.parametrize(
    "given, message",
    [
        (["network"], "network needs -opt FILE"),
        (["scoring", "--groups", "0"], "--groups 0: expected 1 or more"),
        (["network", "-opt", "none.yml"], "no such file"),
        (["network", "-opt", "none.yml", "--peer", "."], "--peer and --adapter go together"),
    ],
)
def test_mistakes(command, given, message):
    done = command("scripts/benchmark.py", *given)
    assert done.returncode == 2 and message in done.stderr
