"""DeepMIH: its cascade, its maps, its objective in closed form, its size."""

import pytest
import torch

from models import Hidden, build_model
from models.deepmih import DeepMIHObjective, ImportanceMap
from models.losses import losses_of

SMALL = dict(num_blocks=2, growth=4, map_width=4, clamp=1.0)


def shaken(num_secrets, by=0.05):
    torch.manual_seed(0)
    net = build_model("deepmih", num_secrets=num_secrets, **SMALL)
    with torch.no_grad():
        for p in net.parameters():
            p.add_(torch.randn_like(p) * by)
    return net.double()


def pictures(net, height=16, width=20):
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(2, net.num_secrets + 1, 3, height, width, generator=generator, dtype=torch.float64)
    return x[:, 0], x[:, 1:]


@pytest.mark.parametrize("num_secrets, millions", [(2, 12.42), (3, 19.44), (4, 26.46)])
def test_size(num_secrets, millions):
    """26.46 M at 4 secrets is InvMIHNet's count of DeepMIH's released networks."""
    net = build_model("deepmih", num_secrets=num_secrets)
    assert sum(p.numel() for p in net.parameters()) == pytest.approx(millions * 1e6, abs=5000)
    assert len(net.stages) == num_secrets and len(net.maps) == num_secrets - 1
    assert all(len(stage.blocks) == 16 for stage in net.stages)


@pytest.mark.parametrize("num_secrets", [0, 1, 5])
def test_how_many_secrets(num_secrets):
    with pytest.raises(ValueError, match=f"num_secrets: DeepMIH hides 2, 3, 4 secrets, not {num_secrets}"):
        build_model("deepmih", num_secrets=num_secrets)


@pytest.mark.parametrize("name", ["num_blocks", "growth", "map_width"])
def test_constructor_refuses(name):
    with pytest.raises(ValueError, match=f"{name}: must be at least 1, got 0"):
        build_model("deepmih", **{name: 0})


def test_a_stage_gives_its_map_back():
    net = shaken(2)
    cover, secrets = pictures(net)
    guide = torch.rand_like(cover)
    with torch.no_grad():
        back = net.stages[1].inverse(*net.stages[1](cover, secrets[:, 0], guide))
    for given, revealed in zip((cover, secrets[:, 0], guide), back, strict=True):
        assert torch.allclose(given, revealed, atol=1e-10)


def test_secrets_are_hidden_one_after_the_other():
    """stego k depends on secrets 1 to k alone."""
    net = shaken(3)
    cover, secrets = pictures(net)
    with torch.no_grad():
        before = net(cover, secrets).parts["stegos"]
        for k in range(3):
            changed = secrets.clone()
            changed[:, k] = 1 - changed[:, k]
            after = net(cover, changed).parts["stegos"]
            assert torch.equal(after[:, :k], before[:, :k])
            assert not torch.allclose(after[:, k], before[:, k])
    assert torch.equal((before[:, -1] * 255).round() / 255, before[:, -1])
    assert not torch.equal((before[:, 0] * 255).round() / 255, before[:, 0])


def test_the_map_guides_the_next_stage():
    net = shaken(2)
    cover, secrets = pictures(net)
    with torch.no_grad():
        guided = net.embed(cover, secrets)[0]
        net.maps[0].mix.last.bias.add_(0.5)
        assert not torch.allclose(net.embed(cover, secrets)[0], guided)


def test_fresh_maps_are_zero_and_a_fresh_network_leaves_the_cover_as_it_is():
    net = build_model("deepmih", num_secrets=3, **SMALL)
    cover = torch.randint(0, 256, (1, 3, 17, 18), dtype=torch.uint8)
    assert torch.equal(net.hide(cover, cover.flip(-1)[:, None].expand(-1, 3, -1, -1, -1)), cover)
    assert not ImportanceMap(4, 4)(*torch.rand(3, 1, 3, 8, 8)).any()


def test_objective_in_closed_form():
    """Two stages, stego off by 0.1 and 0.3, revealed by 0.2."""

    class Cascade(torch.nn.Module):
        def forward(self, cover, secrets, channel):
            stegos = torch.stack((cover + 0.1, cover + 0.3), dim=1)
            return Hidden(stegos[:, -1], secrets + 0.2, {"stegos": stegos})

    cover, secrets = torch.rand(2, 3, 8, 8), torch.rand(2, 2, 3, 8, 8)
    losses = losses_of(Cascade(), DeepMIHObjective(), cover, secrets, 0.0)
    expected = {"imperceptibility": 0.05, "reveal": 2 * 0.04, "low_frequency": 0.05}
    assert {k: v.item() for k, v in losses.terms.items()} == pytest.approx(expected, rel=1e-4)
    assert losses.total.item() == pytest.approx(0.18, rel=1e-4)
    terms = losses_of(Cascade(), DeepMIHObjective(low_frequency=0.0), cover, secrets, 0.0).terms
    assert list(terms) == ["imperceptibility", "reveal"]
