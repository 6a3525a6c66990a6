"""Every network in experiments/pretrained/: whole, described, small, and without anybody's paths."""

import re
from pathlib import Path

import pytest
import safetensors.torch
import torch

from data.files import sha256
from engine.checkpoint import load_model, read_metadata
from engine.testing.check import sample_scores

SHIPPED = sorted((Path(__file__).parents[1] / "experiments" / "pretrained").glob("*/*.safetensors"))


def test_there_are_networks_for_a_newcomer():
    wanted = {f"smilenet_l_{n}" for n in (4, 9, 16, 25)}
    assert wanted <= {path.parent.name for path in SHIPPED}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.parent.name)
def test_a_shipped_network(path):
    assert path.stem == path.parent.name and path.stat().st_size < 8 * 2**20
    assert path.with_name("SHA256SUMS").read_text() == f"{sha256(path)}  {path.name}\n"
    assert {value.dtype for value in safetensors.torch.load_file(path).values()} == {torch.float16}
    metadata = read_metadata(path)
    card = path.with_name("README.md").read_text()
    assert sha256(path) in card and metadata["fingerprint"] in card
    assert "Limits" in card and "PSNR" in card and "| licence |" in card
    for text in (metadata["options"], path.with_name("options.yml").read_text(), card):
        assert not any(root in text for root in ("/home/", "/work", "/root", "/tmp"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.parent.name)
def test_a_shipped_network_does_what_its_card_says(path):
    """Weights, code and card belong together: one group of pictures that everybody has, to 0.05 dB."""
    model, metadata = load_model(path)
    assert model.num_secrets == int(metadata["num_secrets"])
    card = path.with_name("README.md").read_text()
    figures = re.search(r"One group of .*: stego ([0-9.]+) dB, revealed ([0-9.]+) dB", card)
    assert sample_scores(model) == pytest.approx([float(x) for x in figures.groups()], abs=0.05)
