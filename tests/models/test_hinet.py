"""HiNet: its objective in closed form, its size, its settings."""

import pytest
import torch

from models import Hidden, build_model
from models.hinet import HiNetObjective
from models.losses import losses_of


class Channel(torch.nn.Module):
    """A stand-in network with known errors: stego off by 0.1, revealed by 0.2."""

    def forward(self, cover, secrets, channel):
        return Hidden(cover + 0.1, secrets + 0.2)


def test_objective_in_closed_form():
    losses = losses_of(Channel(), HiNetObjective(), torch.rand(2, 3, 8, 8), torch.rand(2, 1, 3, 8, 8), 0.0)
    expected = {"imperceptibility": 10 * 0.01, "reveal": 0.04, "low_frequency": 10 * 0.01}
    assert {k: v.item() for k, v in losses.terms.items()} == pytest.approx(expected, rel=1e-4)
    assert losses.total.item() == pytest.approx(0.24, rel=1e-4)


def test_low_frequency_loss_weighs_as_the_papers_sum():
    """Eq. 5 and eq. 3 as sums have the ratio that our two means have."""
    cover, stego = torch.rand(2, 1, 3, 8, 8).double()
    difference = stego - cover
    blocks = difference[..., 0::2, 0::2] + difference[..., 0::2, 1::2]
    blocks = blocks + difference[..., 1::2, 0::2] + difference[..., 1::2, 1::2]
    ratio = (blocks / 2).square().sum() / difference.square().sum()

    class Fixed(torch.nn.Module):
        def forward(self, cover, secrets, channel):
            return Hidden(stego, secrets)

    terms = losses_of(Fixed(), HiNetObjective(1.0, 1.0, 1.0), cover, cover[:, None], 0.0).terms
    assert (terms["low_frequency"] / terms["imperceptibility"]).item() == pytest.approx(ratio.item())


def test_first_stage_has_no_low_frequency_loss():
    objective = HiNetObjective(low_frequency=0.0)
    terms = losses_of(Channel(), objective, torch.rand(1, 3, 8, 8), torch.rand(1, 1, 3, 8, 8), 0.0).terms
    assert list(terms) == ["imperceptibility", "reveal"]


def test_default_size():
    net = build_model("hinet")
    assert len(net.network.blocks) == 16
    # 16 blocks of three dense blocks, 12 -> 12 channels, growth 32
    dense = sum(9 * (12 + 32 * k) * 32 + 32 for k in range(4)) + 9 * (12 + 128) * 12 + 12
    assert sum(p.numel() for p in net.parameters()) == 16 * 3 * dense


def test_a_fresh_network_leaves_the_cover_as_it_is():
    net = build_model("hinet", num_blocks=2, growth=4)
    cover = torch.randint(0, 256, (1, 3, 17, 18), dtype=torch.uint8)
    assert torch.equal(net.hide(cover, cover.flip(-1)[:, None]), cover)


def test_odd_row_and_column_of_the_secret_are_copies():
    torch.manual_seed(0)
    net = build_model("hinet", num_blocks=2, growth=4)
    with torch.no_grad():
        for p in net.parameters():
            p.add_(torch.randn_like(p) * 0.05)
    cover, secrets = torch.randint(0, 256, (2, 1, 3, 17, 19), dtype=torch.uint8)
    stego = net.hide(cover, secrets[:, None])
    revealed = net.reveal(stego)
    assert torch.equal(stego[..., 16:, :], cover[..., 16:, :])
    assert torch.equal(stego[..., 18:], cover[..., 18:])
    assert torch.equal(revealed[..., 16, :], revealed[..., 15, :])
    assert torch.equal(revealed[..., 18], revealed[..., 17])


@pytest.mark.parametrize("name", ["num_blocks", "growth"])
def test_constructor_refuses(name):
    with pytest.raises(ValueError, match=f"{name}: must be at least 1, got 0"):
        build_model("hinet", **{name: 0})
