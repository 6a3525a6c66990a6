"""SMILENet's laws, sizes, contract, and that all of it learns."""

import pytest
import torch

from models import build_model
from models.losses import losses_of
from tests.common import group, shaken

TINY = dict(
    icdm_blocks=2, imse_blocks=2, growth=6, sis_width=8, sis_blocks=1, sde_width=8, sde_blocks=1, condition=4
)


def tiny(rows=2, cols=2, shake=0.05, **changes):
    return shaken("smilenet", shake, rows=rows, cols=cols, **{**TINY, **changes})


TILINGS = [(2, 2), (2, 3), (4, 2), (3, 3), (4, 4), (5, 5), (1, 2)]


@pytest.mark.parametrize("rows, cols", TILINGS)
@pytest.mark.parametrize("size", [(60, 120), (47, 53), (41, 64), (40, 61)])
def test_extract_inverts_embed(rows, cols, size):
    net = tiny(rows, cols).double()
    cover, secrets = (x.double() / 255 for x in group(net, *size, batch=2))
    with torch.no_grad():
        stego, z = net.embed(cover, secrets)
        back = net.extract(stego, z)
    assert stego.shape == cover.shape and (stego - cover).abs().mean() > 1e-3
    assert (back[0] - cover).abs().max() < 1e-9
    assert (back[1] - secrets).abs().max() < 1e-9


def test_the_cover_condition_matters():
    net = tiny().double()
    bands = torch.rand(4, 12, 10, 10).double()
    right, wrong = torch.rand(4, 4, 10, 10).double(), torch.rand(4, 4, 10, 10).double()
    icdm = net.mosaic.icdm
    small, z = icdm(bands, right)
    assert (icdm.inverse(small, z, right) - bands).abs().max() < 1e-9
    assert (icdm.inverse(small, z, wrong) - bands).abs().mean() > 1e-3


def test_imse_inverts():
    net = tiny().double()
    cover, mosaic = torch.rand(2, 1, 3, 20, 30).double()
    back = net.imse.inverse(*net.imse(cover, mosaic))
    assert (back[0] - cover).abs().max() < 1e-9 and (back[1] - mosaic).abs().max() < 1e-9


def test_extract_refuses_a_z_of_another_size():
    net = tiny()
    with pytest.raises(ValueError, match="z: expected"):
        net.extract(torch.rand(1, 3, 40, 60), torch.rand(1, 7))


@pytest.mark.parametrize("rows, cols", TILINGS)
@pytest.mark.parametrize("size", [(60, 120), (47, 53), (21, 33)])
def test_hide_and_reveal_give_uint8_of_the_covers_size(rows, cols, size):
    net = tiny(rows, cols)
    cover, secrets = group(net, *size)
    stego = net.hide(cover, secrets)
    revealed = net.reveal(stego)
    assert stego.dtype == revealed.dtype == torch.uint8
    assert stego.shape == cover.shape and revealed.shape == secrets.shape
    assert torch.equal(net.reveal(stego.clone()), revealed)


def test_training_pass_and_deployed_path_agree():
    net = tiny()
    cover, secrets = group(net)
    with torch.no_grad():
        hidden = net(cover / 255, secrets / 255)
    stego = net.hide(cover, secrets)
    # Float and 8 bit may round a value on the boundary differently, nothing more.
    assert ((hidden.stego * 255).round() - stego.float()).abs().max() <= 1
    difference = (hidden.revealed.clamp(0, 1) * 255 - net.reveal(stego).float()).abs()
    assert difference.median() < 1


def test_fewer_secrets_are_filled_with_grey():
    net = tiny()
    cover, secrets = group(net)
    grey = torch.full_like(secrets[:, :2], 128)
    assert torch.equal(net.hide(cover, secrets[:, :2]), net.hide(cover, torch.cat((secrets[:, :2], grey), 1)))


def test_a_network_without_its_optional_parts():
    net = tiny(sis_blocks=0, sde_blocks=0, condition=0, icdm_blocks=0)
    cover, secrets = group(net)
    assert net.reveal(net.hide(cover, secrets)).shape == secrets.shape
    stego, z = net.double().embed(cover.double() / 255, secrets.double() / 255)
    assert (net.extract(stego, z)[1] - secrets.double() / 255).abs().max() < 1e-9


def test_sampled_z_is_fixed_at_reveal():
    net = tiny(z_std=0.5).eval()
    cover, secrets = group(net)
    stego = net.hide(cover, secrets)
    assert torch.equal(net.reveal(stego), net.reveal(stego))
    assert not torch.equal(net.reveal(stego), tiny().eval().reveal(stego))


@pytest.mark.parametrize(
    "cover, secrets, message",
    [
        (torch.zeros(1, 3, 40, 60), None, "expected .B,3,H,W. uint8"),
        (
            torch.zeros(1, 3, 7, 60, dtype=torch.uint8),
            None,
            "60x7 pixels .* too small; expected at least 8x8",
        ),
        (None, torch.zeros(1, 5, 3, 40, 60, dtype=torch.uint8), "1 to 4 secrets, got 5"),
        (None, torch.zeros(1, 4, 3, 40, 50, dtype=torch.uint8), "must have the cover's size"),
        (None, torch.zeros(4, 3, 40, 60, dtype=torch.uint8), "expected .B,N,3,H,W. uint8"),
    ],
)
def test_hide_refuses(cover, secrets, message):
    net = tiny()
    right = group(net)
    with pytest.raises(ValueError, match=message):
        net.hide(right[0] if cover is None else cover, right[1] if secrets is None else secrets)


@pytest.mark.parametrize(
    "arguments, message",
    [(dict(rows=0), "rows x cols"), (dict(growth=0), "growth"), (dict(condition=-1), "condition")],
)
def test_constructor_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        build_model("smilenet", **arguments)


def test_unknown_method():
    with pytest.raises(ValueError, match="unknown method 'smilnet'; the methods are: .*smilenet"):
        build_model("smilnet")


def test_every_parameter_moves_within_three_steps():
    net = tiny(shake=0.0)
    before = {name: p.clone() for name, p in net.named_parameters()}
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    objective = net.Objective(*net.geometry)
    for seed in range(3):
        cover, secrets = group(net, seed=seed)
        optimizer.zero_grad()
        losses_of(net, objective, cover / 255, secrets / 255, 0.0).total.backward()
        optimizer.step()
    still = [name for name, p in net.named_parameters() if torch.equal(p, before[name])]
    assert not still


def test_slices_change_nothing():
    net = tiny(3, 3)
    cover, secrets = group(net, 47, 53, batch=2)
    whole = net.hide(cover, secrets)
    revealed = net.reveal(whole)
    net.room = 1  # no memory: one secret at a time
    assert (net.hide(cover, secrets).float() - whole.float()).abs().max() <= 1
    assert (net.reveal(whole).float() - revealed.float()).abs().max() <= 1


def test_headroom_keeps_room_on_black_and_white():
    with_room, without = tiny(shake=0.0, headroom=8.0), tiny(shake=0.0, headroom=0.0)
    cover, secrets = group(without)
    black = torch.zeros_like(cover)
    assert with_room.hide(black, secrets).unique().tolist() == [8]
    assert without.hide(black, secrets).unique().tolist() == [0]
    assert with_room.hide(255 - black, secrets).unique().tolist() == [247]


def test_default_size():
    net = build_model("smilenet")
    assert net.num_secrets == 25 and len(net.mosaic.icdm.blocks) == 8 and len(net.imse.blocks) == 16


@pytest.mark.gpu
def test_on_cuda_the_secrets_are_those_of_the_cpu():
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    net = tiny()
    cover, secrets = group(net)
    stego = net.hide(cover, secrets)
    here = net.reveal(stego)
    there = net.cuda().reveal(stego)
    assert (here.float() - there.float()).abs().max() <= 1
