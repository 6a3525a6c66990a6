"""SRIS-Net: the laws of its pyramid and parts, each ablation, the score map, grey pictures."""

import pytest
import torch
from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

from engine.checkpoint import load_model, save_weights
from errors import UserError
from models import build_model
from models.layers.critic import DualTaskCritic
from models.layers.embedding import GLEM
from models.layers.multiscale import MSIB, SFM, Concat, DMSubNet, PlainBlock
from models.layers.pyramid import compose, decompose, down, up
from models.layers.similarity import EXPONENTS, ms_ssim
from models.losses import losses_of
from tests.common import group, noise, shaken

SMALL = dict(num_secrets=2, width=8, fold=2, levels=3, depth=2, critic_width=4)
ABLATIONS = [
    dict(levels=1),
    dict(progression="none"),
    dict(progression="fine_to_coarse"),
    dict(glem="global"),
    dict(glem="local"),
    dict(fusion="add"),
    dict(fusion="concat"),
    dict(block="plain"),
    dict(critic="none"),
    dict(critic="logit"),
    dict(critic="map"),
]


def rand(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def small(**changes):
    return shaken("srisnet", **(SMALL | changes))


# --- the pyramid ---------------------------------------------------------------------------------


@pytest.mark.parametrize("levels", [1, 2, 3, 5])
@pytest.mark.parametrize("size", [(32, 48), (33, 47), (1, 1), (5, 2), (17, 64)])
def test_the_pyramid_is_exactly_invertible(size, levels):
    x = rand(2, 3, *size) - 0.5
    bands = decompose(x, levels)
    assert len(bands) == levels
    assert (compose(bands) - x).abs().max() < 1e-12
    for fine, coarse in zip(bands, bands[1:], strict=False):
        assert coarse.shape[-2:] == tuple((side + 1) // 2 for side in fine.shape[-2:])


def test_up_and_down_are_burt_and_adelsons():
    """Away from the border, as their equations 1 and 2 say, by the two-dimensional kernel."""
    row = torch.tensor([1.0, 4, 6, 4, 1], dtype=torch.float64) / 16
    kernel = torch.outer(row, row)[None, None]
    x = rand(1, 1, 21, 17)
    reduced = torch.nn.functional.conv2d(x, kernel, padding=2)[..., ::2, ::2]
    assert (down(x) - reduced)[..., 1:-1, 1:-1].abs().max() < 1e-12
    spread = torch.zeros(1, 1, 22, 18, dtype=torch.float64)
    spread[..., ::2, ::2] = y = rand(1, 1, 11, 9)
    expanded = torch.nn.functional.conv2d(spread, 4 * kernel, padding=2)
    assert (up(y, like=spread) - expanded)[..., 2:-3, 2:-3].abs().max() < 1e-12


def test_a_constant_stays_one_and_has_nothing_in_the_upper_bands():
    bands = decompose(torch.full((1, 2, 19, 30), 0.7, dtype=torch.float64), 4)
    assert all(band.abs().max() < 1e-12 for band in bands[:-1])
    assert (bands[-1] - 0.7).abs().max() < 1e-12


# --- GLEM, MSIB, SFM, DMSubNet -------------------------------------------------------------------


@pytest.mark.parametrize("branches", ["both", "global", "local"])
def test_glem_mixes_each_value_between_cover_and_secret(branches):
    glem = GLEM(6, branches, assisted=False).double()
    cover, secret = rand(2, 6, 5, 7), rand(2, 6, 5, 7, seed=1)
    mixed = glem(cover, secret, None, None)
    low, high = torch.minimum(cover, secret), torch.maximum(cover, secret)
    assert (mixed >= low - 1e-12).all() and (mixed <= high + 1e-12).all()
    assert torch.allclose(glem(cover, cover, None, None), cover)


def test_the_global_branch_sees_the_mean_and_the_local_one_the_pixel():
    cover, secret = rand(1, 6, 5, 7), rand(1, 6, 5, 7, seed=1)
    other = secret.clone()
    other[..., 0, 0] += 3
    for branches, elsewhere in (("local", False), ("global", True), ("both", True)):
        glem = GLEM(6, branches, assisted=False).double()
        moved = (glem(cover, secret, None, None) - glem(cover, other, None, None)).abs()
        assert (moved[..., 1:, 1:].max() > 1e-9) == elsewhere


def test_the_score_scales_the_gate():
    glem = GLEM(6, assisted=False, scored=True).double()
    cover, secret, score = rand(1, 6, 5, 7), rand(1, 6, 5, 7, seed=1), rand(1, 1, 5, 7, seed=2)
    without = glem(cover, secret, None, None)
    assert torch.equal(glem(cover, secret, None, score), without)  # it starts at 0
    with torch.no_grad():
        glem.gain.fill_(2.0)
    share = (without - secret) / (cover - secret)
    expected = torch.sigmoid(torch.logit(share) * (1 + 2 * score))
    found = (glem(cover, secret, None, score) - secret) / (cover - secret)
    assert torch.allclose(found, expected, atol=1e-9)


def test_the_band_before_assists():
    glem = GLEM(6).double()
    cover, secret = rand(1, 6, 5, 7), rand(1, 6, 5, 7, seed=1)
    one, other = (glem(cover, secret, rand(1, 6, 5, 7, seed=s), None) for s in (2, 3))
    assert (one - other).abs().max() > 1e-3


@pytest.mark.parametrize("block, reach", [(MSIB, 3), (PlainBlock, 2)])
def test_how_far_a_block_sees(block, reach):
    x = rand(1, 8, 15, 15).requires_grad_()
    block(8).double()(x)[..., 7, 7].sum().backward()
    seen = x.grad.abs().sum(dim=(0, 1)).nonzero() - 7
    assert seen.abs().max() == reach


def test_sfm_weighs_the_two_so_that_their_shares_sum_to_one():
    sfm = SFM(8).double()
    x, y = rand(2, 8, 5, 7), rand(2, 8, 5, 7, seed=1)
    assert torch.allclose(sfm(x, x), x)
    fused = sfm(x, y)
    share = (fused - y) / (x - y)  # one for each channel of each picture
    assert torch.allclose(share, share[..., :1, :1].expand_as(share), atol=1e-6)
    assert (share > 0).all() and (share < 1).all() and share.std() > 1e-3
    assert Concat(8).double()(x, y).shape == x.shape


@pytest.mark.parametrize("size", [(16, 24), (13, 9), (4, 4)])
@pytest.mark.parametrize("fusion", ["sfm", "add", "concat"])
@pytest.mark.parametrize("block", ["msib", "plain"])
def test_dmsubnet_keeps_any_size(size, fusion, block):
    net = DMSubNet(3, 5, width=4, depth=2, blocks=1, block=block, fusion=fusion)
    assert net(torch.rand(1, 3, *size)).shape == (1, 5, *size)


# --- MS-SSIM -------------------------------------------------------------------------------------


@pytest.mark.parametrize("scales, window, side", [(5, 11, 192), (3, 7, 64), (1, 11, 40)])
def test_ms_ssim(scales, window, side):
    """torchmetrics' but for the last scale's mean, which it takes over the border too: so to a hundredth."""
    x = torch.nn.functional.avg_pool2d(rand(2, 3, side, side), 5, 1, 2)
    y = (x + 0.05 * rand(2, 3, side, side, seed=1)).clamp(0, 1)
    betas = tuple(b / sum(EXPONENTS[:scales]) for b in EXPONENTS[:scales])
    theirs = multiscale_structural_similarity_index_measure(
        x, y, gaussian_kernel=False, kernel_size=window, data_range=1.0, betas=betas, normalize=None
    )
    assert ms_ssim(x, x, scales, window).item() == pytest.approx(1)
    assert ms_ssim(x, y, scales, window).item() == pytest.approx(theirs.item(), abs=0.03)
    y.requires_grad_()
    ms_ssim(x, y, scales, window).backward()
    assert torch.isfinite(y.grad).all() and y.grad.abs().max() > 0


def test_ms_ssim_of_a_picture_and_its_negative_has_a_finite_gradient():
    x = rand(1, 3, 32, 32)
    y = (1 - x).requires_grad_()
    ms_ssim(x, y).backward()
    assert torch.isfinite(y.grad).all()


def test_ms_ssim_refuses_a_picture_that_is_too_small():
    with pytest.raises(UserError, match="a window of 11 px: the pictures have a side of only 10 px"):
        ms_ssim(torch.rand(1, 3, 64, 10), torch.rand(1, 3, 64, 10), 1, 11)


def test_ms_ssim_takes_as_many_scales_as_have_a_full_window():
    x, y = rand(1, 3, 64, 80), rand(1, 3, 64, 80, seed=1)
    assert ms_ssim(x, y, 5, 11) == ms_ssim(x, y, 3, 11) != ms_ssim(x, y, 2, 11)
    x, y = x[..., :43, :], y[..., :43, :]
    assert ms_ssim(x, y, 5, 11) == ms_ssim(x, y, 2, 11)


# --- the critic ----------------------------------------------------------------------------------


def test_the_critic_gives_a_logit_a_picture_and_a_score_a_pixel():
    critic = DualTaskCritic(4)
    said = critic(torch.rand(2, 3, 13, 18))
    assert said.logits.shape == (2,) and said.scores.shape == (2, 1, 13, 18)


def test_the_critic_is_normalised():
    """The largest singular value of every kernel, as a matrix, is 1 once the power iteration has found it."""
    torch.manual_seed(0)
    critic = DualTaskCritic(4)
    for _ in range(200):
        critic(torch.rand(1, 3, 8, 8))
    for part in critic.eval().modules():
        if isinstance(part, torch.nn.Conv2d):
            assert torch.linalg.matrix_norm(part.weight.flatten(1), 2).item() == pytest.approx(1, abs=1e-3)


def test_the_fixed_front_sees_nothing_in_a_slope():
    critic = DualTaskCritic(4)
    slope = torch.linspace(0, 1, 20).expand(1, 3, 20, 20)
    high = torch.nn.functional.conv2d(slope, critic.high_pass, groups=3)
    assert high.abs().max() < 1e-6 and critic.high_pass.abs().sum() > 0


# --- the method ----------------------------------------------------------------------------------


@pytest.mark.parametrize("change", ABLATIONS, ids=str)
def test_each_ablation_trains_by_one_switch(change):
    net = shaken("srisnet", shake=0.0, **(SMALL | change))
    objective = net.Objective()
    cover, secrets = (x / 255 for x in group(net, 40, 48))
    losses = losses_of(net, objective, cover, secrets, 0.0)
    losses.total.backward()
    mine = [n for n, p in net.named_parameters() if not n.startswith("critic.")]
    without = [n for n, p in net.named_parameters() if n in mine and p.grad is None]
    assert not without
    adversarial = {"none": set(), "logit": {"unseen"}}.get(change.get("critic"), {"unseen", "unseen_pixels"})
    assert {t for t in losses.terms if t.startswith("unseen")} == adversarial
    assert (losses.critic is not None) == bool(adversarial)


def test_the_critics_loss_leaves_the_method_alone():
    net = shaken("srisnet", shake=0.0, **SMALL)
    cover, secrets = (x / 255 for x in group(net, 40, 48))
    losses_of(net, net.Objective(), cover, secrets, 0.0).critic.total.backward()
    touched = [n for n, p in net.named_parameters() if p.grad is not None and p.grad.abs().max() > 0]
    assert touched and all(name.startswith("critic.") for name in touched)


def test_the_map_changes_the_stego_and_the_receiver_needs_none():
    net = small().eval()
    cover, secrets = group(net, 40, 48)
    stego = net.hide(cover, secrets)
    revealed = net.reveal(stego)
    with torch.no_grad():
        for gate in net.embedding:
            gate.gain.fill_(3.0)
    guided = net.hide(cover, secrets)
    assert not torch.equal(guided, stego)
    with torch.no_grad():
        net.critic.score.bias.add_(5.0)
    assert not torch.equal(net.hide(cover, secrets), guided)
    assert torch.equal(net.reveal(stego), revealed)


@pytest.mark.parametrize("critic, there", [("none", False), ("map", False), ("gate", True)])
def test_weights_have_the_critic_where_the_sender_needs_it(tmp_path, critic, there):
    net = small(critic=critic)
    file = tmp_path / "x.safetensors"
    save_weights(file, net)
    loaded, _ = load_model(file)
    cover, secrets = group(net, 40, 48)
    assert torch.equal(loaded.hide(cover, secrets), net.hide(cover, secrets))
    assert net.critic_hides == there


def test_weights_without_the_critic_that_the_sender_needs_are_refused(tmp_path):
    file = tmp_path / "x.safetensors"
    net = small(critic="map")
    net.arguments["critic"] = "gate"
    save_weights(file, net)
    with pytest.raises(UserError, match="lacks the critic, whose score map this sender needs"):
        load_model(file)


@pytest.mark.parametrize(
    "wrong, message",
    [
        (dict(num_secrets=5), "num_secrets: SRIS-Net hides 1 to 4, got 5"),
        (dict(progression="up"), "progression: 'up' is not one of coarse_to_fine"),
        (dict(critic="both"), "critic: 'both' is not one of none, logit, map, gate"),
        (dict(glem="all"), "glem: 'all' is not one of both, global, local"),
        (dict(block="dense"), "block: 'dense' is not one of msib, plain"),
        (dict(fusion="mean"), "fusion: 'mean' is not one of sfm, add, concat"),
        (dict(levels=0), "levels: must be at least 1"),
        (dict(depth=-1), "depth: must be at least 0"),
    ],
)
def test_constructor_refuses(wrong, message):
    with pytest.raises(UserError, match=message):
        build_model("srisnet", **(SMALL | wrong))


@pytest.mark.parametrize("wrong", [dict(scales=6), dict(window=4)])
def test_objective_refuses(wrong):
    with pytest.raises(UserError, match=f"{next(iter(wrong))}: expected"):
        build_model("srisnet", **SMALL).Objective(**wrong)


def test_a_cover_smaller_than_the_pyramid_allows():
    net = small()
    assert net.smallest == (8, 8)
    with pytest.raises(UserError, match="40x7 pixels .* is too small; expected at least 8x8"):
        net.hide(noise((1, 3, 7, 40)), noise((1, 2, 3, 7, 40)))


# --- grey ----------------------------------------------------------------------------------------


def test_grey_pictures_give_a_grey_stego_and_grey_secrets():
    net = small(grey=True)
    cover = noise((1, 1, 33, 40)).expand(1, 3, 33, 40)
    secrets = noise((1, 2, 1, 33, 40), seed=1).expand(1, 2, 3, 33, 40)
    stego = net.hide(cover, secrets)
    revealed = net.reveal(stego)
    for picture in (stego, revealed):
        assert torch.equal(picture, picture[..., :1, :, :].expand_as(picture))
    assert not torch.equal(stego, cover)
    assert net.cover_stem[0].in_channels == 4


def test_a_colour_picture_where_grey_is_asked_for():
    net = small(grey=True)
    grey, colour = noise((1, 1, 32, 40)).expand(1, 3, 32, 40), noise((1, 3, 32, 40))
    with pytest.raises(UserError, match="cover: in colour, but this network hides grey"):
        net.hide(colour, grey[:, None])
    with pytest.raises(UserError, match="secrets: in colour"):
        net.hide(grey, colour[:, None])


def test_a_grey_picture_where_colour_is_usual():
    net = small()
    grey = noise((1, 1, 32, 40)).expand(1, 3, 32, 40)
    assert net.hide(grey, grey[:, None]).shape == grey.shape


# --- training ------------------------------------------------------------------------------------


def test_a_resumed_run_with_critic_and_channel_ends_with_the_same_weights(trainer):
    about = dict(
        network=dict(type="srisnet", width=4, fold=2, levels=2, depth=1, critic_width=4),
        channel=[{"type": "none"}, {"type": "jpeg", "quality": [70, 95]}, {"type": "noise"}],
        optimizer="muon",
    )
    whole = trainer(name="whole", **about)
    whole.fit()
    first = trainer(name="parts", **about)
    first.finished = lambda: first.step >= 2
    first.fit()
    first.close()
    rest = trainer(name="parts", resume=True, **about)
    assert rest.step == 2
    rest.fit()
    ended, expected = rest.model.state_dict(), whole.model.state_dict()
    assert any(name.startswith("critic.") for name in ended)
    assert all(torch.equal(value, expected[name]) for name, value in ended.items())
    assert rest.skipped == 0 and rest.model.embedding[0].gain != 0
