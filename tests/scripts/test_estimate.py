"""The lines on memory and time in the heads of option files."""

import pytest
import torch

from models.baluja import Baluja
from options import load_train
from scripts.estimate import GPU, MARK, Needs, is_small, needs, with_line
from tests.common import ROOT

FILES = sorted((ROOT / "options/train").glob("*.yml"))


@pytest.mark.parametrize("file", FILES, ids=lambda p: p.name)
def test_every_file_says_it(file):
    head = file.read_text().partition("\nname:")[0].splitlines()
    (line,) = [line for line in head if line.startswith(MARK)]
    assert line == head[-1] and " of memory besides PyTorch's own; " in line


def test_a_line_is_current():
    file = ROOT / "options/train/hinet_1_nano.yml"
    assert needs(load_train(file)).line(is_small(file)) in file.read_text(), "run scripts/estimate.py"


def test_operations_are_those_of_the_convolutions(train_file):
    """Baluja's network is all convolutions: 2 operations a weight and pixel, and twice as many backward."""
    network = {"type": "baluja", "width": 4}
    options = load_train(train_file(network=network, batch_size=3, steps=7))
    weights = sum(p.numel() for p in Baluja(width=4).parameters() if p.dim() == 4)
    found = needs(options).operations
    first = 2 * 3 * 16 * 16 * 7  # of which the first layers need no gradient of their input
    assert found == pytest.approx(3 * first * weights, rel=0.05)


def test_memory_grows_with_the_batch(train_file):
    network = {"type": "baluja", "width": 4}
    one, two, four = (
        needs(load_train(train_file(network=network, batch_size=batch))).memory for batch in (1, 2, 4)
    )
    assert four - two == pytest.approx(2 * (two - one), rel=0.01) and two > one
    assert torch.empty(1).device.type == "cpu"  # nothing fake is left behind


def test_words():
    assert Needs(3.2 * 2**30, 30 * 3600 * GPU).line(small=False) == (
        f"{MARK}3.2 GiB of memory besides PyTorch's own; 30 hours on a GPU (10 TFLOP/s)."
    )
    assert "25 MiB of memory besides PyTorch's own; 1.7 minutes on one core" in Needs(25 * 2**20, 4e12).line(
        small=True
    )


def test_a_line_takes_the_place_of_the_earlier_one():
    once = with_line("# schema\n# head\nname: a\n# later\n", MARK + "one.")
    assert once == f"# schema\n# head\n{MARK}one.\nname: a\n# later\n"
    assert with_line(once, MARK + "two.") == once.replace("one.", "two.")
