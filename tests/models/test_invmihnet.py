"""InvMIHNet: all five configurations, the objective and its stages."""

import pytest
import torch

from models import Hidden, build_model
from models.invmihnet import TILINGS, InvMIHNetObjective
from models.layers.mosaic import small_pictures
from models.layers.rescaling import BlockMatrix, MeanHaar, mean_first, vertical_split
from models.losses import losses_of
from tests.common import shaken

COUNTS = sorted(TILINGS)


def tiny(num_secrets, shake=0.05):
    return shaken("invmihnet", shake, num_secrets=num_secrets, iir_blocks=1, iih_blocks=2, growth=4)


def batch(net, height=48, width=36, count=1):
    generator = torch.Generator().manual_seed(0)
    pictures = torch.rand(count, net.num_secrets + 1, 3, height, width, generator=generator)
    return pictures[:, 0], pictures[:, 1:]


def test_decompositions_of_one_block():
    x = torch.tensor([[1.0, 2.0], [5.0, 11.0]])[None, None]  # a b / c d
    assert MeanHaar()(x).flatten().tolist() == [4.75, -1.75, -3.25, 1.25]
    x = torch.tensor([1.0, 5.0]).view(1, 1, 2, 1)
    assert vertical_split(1)(x).flatten().tolist() == [3.0, 2.0]


@pytest.mark.parametrize("make", [MeanHaar, lambda: mean_first(3, 2), lambda: mean_first(3, 3)])
def test_first_band_starts_as_the_mean(make):
    decomposition = make()
    x = torch.rand(2, 3, 12, 12)
    means = torch.nn.functional.avg_pool2d(x, (decomposition.rows, decomposition.cols))
    assert torch.allclose(decomposition(x)[:, :3], means, atol=1e-6)


@pytest.mark.parametrize(
    "make", [lambda: mean_first(3, 2), lambda: mean_first(3, 3), lambda: vertical_split(6)]
)
def test_a_learned_matrix_is_inverted(make):
    decomposition: BlockMatrix = make().double()
    torch.manual_seed(0)
    with torch.no_grad():
        decomposition.matrix.add_(torch.randn_like(decomposition.matrix) * 0.1)
    x = torch.rand(2, 6, 12, 12).double()
    assert torch.allclose(decomposition.inverse(decomposition(x)), x, atol=1e-12)
    with pytest.raises(ValueError, match="13x12 cannot be cut"):
        decomposition(torch.rand(1, 6, 13, 12).double())


@pytest.mark.parametrize("size", [(48, 36), (47, 53), (41, 64)])
@pytest.mark.parametrize("count", COUNTS)
def test_extract_inverts_embed(count, size):
    net = tiny(count).double()
    cover, secrets = (x.double() for x in batch(net, *size, count=2))
    with torch.no_grad():
        stego, z = net.embed(cover, secrets)
        back = net.extract(stego, z)
    assert (stego - cover).abs().mean() > 1e-3
    assert (back[0] - cover).abs().max() < 1e-9 and (back[1] - secrets).abs().max() < 1e-9


@pytest.mark.parametrize("count", COUNTS)
def test_a_fresh_network_makes_the_readable_mosaic(count):
    """Before training: the block mean of secret k in tile (k // cols, k % cols); the stego is the cover."""
    net = build_model("invmihnet", num_secrets=count, iir_blocks=1, iih_blocks=1, growth=4)
    levels = torch.linspace(0.1, 0.9, count)
    secrets = levels.view(1, count, 1, 1, 1).expand(1, count, 3, 48, 48)
    hidden = net(torch.full((1, 3, 48, 48), 0.2), secrets)
    rows, cols = TILINGS[count]
    seen = hidden.parts["mosaic"][0, 0, :: 48 // rows, :: 48 // cols].flatten()
    assert seen.tolist() == pytest.approx(levels.tolist(), abs=1e-5)
    assert torch.equal(hidden.stego, torch.full((1, 3, 48, 48), 0.2))


@pytest.mark.parametrize("count, blocks", [(4, [8]), (6, [12]), (8, [8, 8]), (9, [12]), (16, [8, 8])])
def test_default_blocks(count, blocks):
    net = build_model("invmihnet", num_secrets=count)
    assert [len(step.blocks) for step in net.iir.steps] == blocks and len(net.iih.blocks) == 16


def test_size_of_the_paper():
    net = build_model("invmihnet", num_secrets=4)
    assert sum(p.numel() for p in net.parameters()) == pytest.approx(5.71e6, rel=0.02)


@pytest.mark.parametrize("count", [1, 5, 25])
def test_other_counts_are_refused(count):
    with pytest.raises(ValueError, match=f"hides 4, 6, 8, 9, 16 secrets, not {count}"):
        build_model("invmihnet", num_secrets=count)


class Channel(torch.nn.Module):
    """A stand-in network with known errors: stego off by 0.1, revealed by 0.2, mosaic by 0.3, and so on."""

    def forward(self, cover, secrets, channel, stage):
        mosaic = small_pictures(secrets, 2, 2) + 0.3
        parts = {"mosaic": mosaic, "mosaic_revealed": mosaic + 0.4, "z_iir": torch.full((4,), 0.5)}
        return Hidden(cover + 0.1, secrets + 0.2, parts)


EXPECTED = {
    "reveal": 0.2,
    "small_pictures": 4 * 0.09,
    "latent": 0.25,
    "mosaic_recovery": 5 * 0.16,
    "imperceptibility": 0.01,
    "low_frequency": 0.01,
}


@pytest.mark.parametrize(
    "stage, names",
    [
        ("rescaling", ["reveal", "small_pictures", "latent"]),
        ("hiding", ["mosaic_recovery", "imperceptibility", "low_frequency"]),
        ("joint", list(EXPECTED)),
    ],
)
def test_objective_in_closed_form(stage, names):
    objective = InvMIHNetObjective(2, 2, stage=stage)
    losses = losses_of(Channel(), objective, torch.rand(1, 3, 8, 8), torch.rand(1, 4, 3, 8, 8), 0.0)
    expected = {name: EXPECTED[name] for name in names}
    assert {k: v.item() for k, v in losses.terms.items()} == pytest.approx(expected, rel=1e-4)
    assert losses.total.item() == pytest.approx(sum(expected.values()), rel=1e-4)


@pytest.mark.parametrize(
    "arguments, message", [(dict(stage="both"), "stage: 'both'"), (dict(distance="l3"), "'l3'")]
)
def test_objective_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        InvMIHNetObjective(2, 2, **arguments)


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize(
    "stage, trained", [("rescaling", ["iir"]), ("hiding", ["iih"]), ("joint", ["iir", "iih"])]
)
def test_a_stage_trains_its_parts(stage, trained, count):
    net = tiny(count)
    for name, part in net.named_children():
        part.requires_grad_(name in trained)
    losses_of(net, net.Objective(*net.geometry, stage=stage), *batch(net), 0.0).total.backward()
    moved = {n for n, p in net.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}
    assert moved == {n for n, _ in net.named_parameters() if n.split(".")[0] in trained}


def test_rescaling_reveals_from_the_exact_mosaic():
    """Without IIH in between, what is lost is z and the mosaic's rounding alone."""
    net = build_model(
        "invmihnet", num_secrets=4, iir_blocks=1, iih_blocks=1, growth=4
    )  # IIR is the plain Haar
    levels = torch.tensor([0.1, 0.4, 0.6, 0.9]).view(1, 4, 1, 1, 1).expand(1, 4, 3, 16, 16)
    hidden = net(torch.rand(1, 3, 16, 16), levels, stage="rescaling")
    assert (hidden.revealed - levels).abs().max() <= 0.5 / 255 + 1e-6
