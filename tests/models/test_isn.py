"""ISN: its two branches, its size, its settings."""

import pytest
import torch

from models import build_model


@pytest.mark.parametrize("num_secrets", [1, 2, 5])
def test_branches(num_secrets):
    net = build_model("isn", num_secrets=num_secrets, num_blocks=1, growth=4)
    block = net.blocks[0]
    assert block.phi.conv1.in_channels == block.rho.conv5.out_channels == 3 * num_secrets
    assert block.phi.conv5.out_channels == block.eta.conv1.in_channels == 3


@pytest.mark.parametrize("num_secrets, blocks, millions", [(4, 8, 1.75), (4, 16, 3.51), (1, 16, 3.00)])
def test_size(num_secrets, blocks, millions):
    """1.75 M at 4 secrets is InvMIHNet's count of ISN."""
    net = build_model("isn", num_secrets=num_secrets, num_blocks=blocks)
    assert len(net.blocks) == blocks
    assert sum(p.numel() for p in net.parameters()) == pytest.approx(millions * 1e6, abs=5000)


@pytest.mark.parametrize("num_secrets", [0, 6, -1])
def test_how_many_secrets(num_secrets):
    with pytest.raises(ValueError, match=f"num_secrets: ISN hides 1, 2, 3, 4, 5 secrets, not {num_secrets}"):
        build_model("isn", num_secrets=num_secrets)


@pytest.mark.parametrize("name", ["num_blocks", "growth"])
def test_constructor_refuses(name):
    with pytest.raises(ValueError, match=f"{name}: must be at least 1, got 0"):
        build_model("isn", **{name: 0})


def test_a_fresh_network_leaves_the_cover_as_it_is():
    net = build_model("isn", num_secrets=2, num_blocks=2, growth=4)
    cover = torch.randint(0, 256, (1, 3, 5, 7), dtype=torch.uint8)
    assert torch.equal(net.hide(cover, cover.flip(-1)[:, None].expand(-1, 2, -1, -1, -1)), cover)
