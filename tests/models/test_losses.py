"""Losses in closed form."""

import pytest
import torch

from models import Hidden
from models.layers.mosaic import small_pictures
from models.losses import PairObjective, UnifiedObjective, charbonnier, losses_of, low_band, squared


def test_distances():
    x, y = torch.zeros(2, 3, 4, 4), torch.full((2, 3, 4, 4), 0.3)
    assert squared(x, y).item() == pytest.approx(0.09)
    assert charbonnier(x, y).item() == pytest.approx((0.09 + 1e-6) ** 0.5 - 1e-3)
    assert squared(x, x) == charbonnier(x, x) == 0


def test_low_band_sees_means_and_not_details():
    cover = torch.rand(1, 3, 8, 8)
    checkers = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).tile(4, 4) * 0.1
    assert low_band(cover + checkers, cover).item() == pytest.approx(0, abs=1e-12)
    assert low_band(cover + 0.1, cover).item() == pytest.approx(0.01, rel=1e-4)


def test_small_pictures_lie_in_their_tiles():
    levels = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    secrets = levels.view(1, 6, 1, 1, 1).expand(1, 6, 3, 12, 18)
    mosaic = small_pictures(secrets, 2, 3)
    assert mosaic.shape == (1, 3, 12, 18)
    assert mosaic[0, 0, ::6, ::6].flatten().tolist() == pytest.approx(levels.tolist())


class Channel(torch.nn.Module):
    """A stand-in network with known errors: stego off by 0.1, revealed by 0.2, mosaic by 0.3, and so on."""

    def forward(self, cover, secrets, channel):
        mosaic = small_pictures(secrets, 2, 2) + 0.3
        parts = {
            "mosaic": mosaic,
            "mosaic_revealed": mosaic + 0.4,
            "z_mosaic": torch.full((4,), 0.5),
            "z_embed": torch.full((7,), 0.6),
        }
        return Hidden(cover + 0.1, secrets + 0.2, parts)


def test_unified_objective_in_closed_form():
    objective = UnifiedObjective(
        2,
        2,
        imperceptibility=2.0,
        low_frequency=3.0,
        reveal=5.0,
        distance="l1",
        readable_mosaic=7.0,
        readable_until=0.5,
        mosaic_recovery=11.0,
        latent=13.0,
    )
    losses = losses_of(Channel(), objective, torch.rand(1, 3, 8, 8), torch.rand(1, 4, 3, 8, 8), 0.25)
    expected = {
        "imperceptibility": 2 * 0.01,
        "low_frequency": 3 * 0.01,
        "reveal": 5 * 0.2,
        "readable_mosaic": 7 * 0.5 * 0.09,  # halfway to the end of its stretch
        "mosaic_recovery": 11 * 0.16,
        "latent": 13 * (0.25 + 0.36),
    }
    assert {k: v.item() for k, v in losses.terms.items()} == pytest.approx(expected, rel=1e-4)
    assert losses.total.item() == pytest.approx(sum(expected.values()), rel=1e-4)


def test_readable_mosaic_ends():
    objective = UnifiedObjective(2, 2, readable_until=0.5)
    batch = torch.rand(1, 3, 8, 8), torch.rand(1, 4, 3, 8, 8)
    assert "readable_mosaic" not in losses_of(Channel(), objective, *batch, 0.5).terms


def test_unknown_distance():
    with pytest.raises(ValueError, match="'l3' is not one of l1, l2, charbonnier"):
        UnifiedObjective(2, 2, distance="l3")


def test_pair_objective_in_closed_form():
    losses = losses_of(
        Channel(),
        PairObjective(imperceptibility=0.5, reveal=3.0),
        torch.rand(2, 3, 8, 8),
        torch.rand(2, 4, 3, 8, 8),
        0.0,
    )
    expected = {"imperceptibility": 0.5 * 0.01, "reveal": 3.0 * 0.04}
    assert {k: v.item() for k, v in losses.terms.items()} == pytest.approx(expected, rel=1e-4)
    assert losses.total.item() == pytest.approx(0.125, rel=1e-4)
