"""Every network in experiments/pretrained/: whole, described, small, and without anybody's paths."""

from pathlib import Path

import pytest

from engine.checkpoint import load_model, read_metadata, sha256

SHIPPED = sorted((Path(__file__).parents[1] / "experiments" / "pretrained").glob("*/*.safetensors"))


def test_there_are_networks_for_a_newcomer():
    wanted = {f"smilenet_l_{n}" for n in (4, 9, 16, 25)}
    assert wanted <= {path.parent.name for path in SHIPPED}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.parent.name)
def test_a_shipped_network(path):
    assert path.stem == path.parent.name and path.stat().st_size < 16 * 2**20
    assert path.with_name("SHA256SUMS").read_text() == f"{sha256(path)}  {path.name}\n"
    card = path.with_name("README.md").read_text()
    assert sha256(path) in card and "Limits" in card and "PSNR" in card
    model, metadata = load_model(path)
    assert model.num_secrets == int(metadata["num_secrets"])
    for text in (read_metadata(path)["options"], path.with_name("options.yml").read_text(), card):
        assert not any(root in text for root in ("/home/", "/work", "/root", "/tmp"))
