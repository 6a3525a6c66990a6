"""What every method promises, whatever its name: a loop over MODELS."""

import subprocess
import sys

import pytest
import torch
from skimage.data import astronaut, chelsea, coffee

from container.header import WrongKey
from container.keys import Key
from engine.training.step import CRITIC, NORM, TOTAL, Step
from errors import UserError
from models import MODELS, KeyedMethod, build_model
from models.layers.subnets import DenseBlock
from options import Critic, Train
from tests.common import ROOT, group, psnr, shaken

RESCALING = dict(sis_width=8, sis_blocks=1, sde_width=8, sde_blocks=1)
SMALL = {
    "smilenet": dict(rows=2, cols=2, icdm_blocks=1, imse_blocks=2, growth=6, **RESCALING, condition=4),
    "smilenet_l": dict(rows=2, cols=2, icdm_blocks=1, growth=6, **RESCALING),
    "invmihnet": dict(num_secrets=4, iir_blocks=1, iih_blocks=2, growth=6),
    "hinet": dict(num_blocks=2, growth=6),
    "deepmih": dict(num_secrets=3, num_blocks=2, growth=6, map_width=6, clamp=1.0),
    "isn": dict(num_secrets=3, num_blocks=3, growth=6),
    "baluja": dict(width=4),
    "hidden_image": dict(width=8, encoder_blocks=2, decoder_blocks=2),
    "weng": dict(depth=3, hide_width=6, reveal_width=6),
    "srisnet": dict(num_secrets=2, width=8, fold=2, depth=1, critic_width=4),
    "lsb": dict(num_secrets=2, bits=3),
    "codec_lsb": dict(num_secrets=4),
    "thumbnails": dict(num_secrets=6),
    "codec_dct": dict(num_secrets=3, survive=["jpeg:90"], codec="webp"),
    "toy": dict(),  # tests/toy.py: with a critic
    "guided_toy": dict(),
}
METHODS = sorted(SMALL)
TRAINABLE = [name for name in METHODS if MODELS[name].trainable]
KEYED = ["codec_dct", "codec_lsb", "smilenet_l"]
INVERTIBLE = [name for name in METHODS if hasattr(MODELS[name], "embed")]
ODD = [(16, 24), (33, 24), (16, 47), (41, 53)]  # height, width


def small(method, shake=0.05, **changes):
    return shaken(method, shake, **SMALL[method], **changes)


def test_every_method_is_tested_here():
    assert sorted(SMALL) == sorted(MODELS) and len(INVERTIBLE) >= 3
    assert [name for name in METHODS if isinstance(small(name), KeyedMethod)] == KEYED


def test_methods_without_training():
    """They are exempt from the tests of learning below, and have nothing that could learn."""
    assert [name for name in METHODS if name not in TRAINABLE] == [
        "codec_dct",
        "codec_lsb",
        "lsb",
        "thumbnails",
    ]
    for method in ("codec_dct", "codec_lsb", "lsb", "thumbnails"):
        assert not list(small(method).parameters()) and small(method).device == torch.device("cpu")


@pytest.mark.parametrize("size", ODD)
@pytest.mark.parametrize("method", INVERTIBLE)
def test_extract_inverts_embed(method, size):
    net = small(method).double()
    cover, secrets = (x.double() / 255 for x in group(net, *size, batch=2))
    with torch.no_grad():
        stego, z = net.embed(cover, secrets)
        back = net.extract(stego, z)
    assert stego.shape == cover.shape and (stego - cover).abs().mean() > 1e-3
    assert (back[0] - cover).abs().max() < 1e-9 and (back[1] - secrets).abs().max() < 1e-9


@pytest.mark.parametrize("method", INVERTIBLE)
def test_extract_refuses_a_z_of_another_size(method):
    with pytest.raises(ValueError, match="z: expected"):
        small(method).extract(torch.rand(1, 3, 32, 48), torch.rand(1, 7))


@pytest.mark.parametrize("size", ODD)
@pytest.mark.parametrize("method", METHODS)
def test_hide_and_reveal_give_uint8_of_the_covers_size(method, size):
    net = small(method)
    cover, secrets = group(net, *size, batch=2)
    stego = net.hide(cover, secrets)
    revealed = net.reveal(stego)
    assert stego.dtype == revealed.dtype == torch.uint8
    assert stego.shape == cover.shape and revealed.shape == secrets.shape
    assert torch.equal(net.reveal(stego.clone()), revealed)


@pytest.mark.parametrize("method", TRAINABLE)
def test_broken_weights_are_noticed(method):
    net = small(method)
    cover, secrets = group(net)
    stego = net.hide(cover, secrets)
    with torch.no_grad():
        for p in net.parameters():
            p.fill_(torch.nan)
    with pytest.raises(UserError, match="NaN or infinite"):
        net.hide(cover, secrets)
    with pytest.raises(UserError, match="NaN or infinite"):
        net.reveal(stego)


@pytest.mark.parametrize("method", METHODS)
def test_the_smallest_cover(method):
    net = small(method)
    height, width = net.smallest
    cover, secrets = group(net, height, width)
    assert net.reveal(net.hide(cover, secrets)).shape == secrets.shape
    with pytest.raises(ValueError, match="too small"):
        net.hide(cover[..., : height - 1, :], secrets[..., : height - 1, :])


@pytest.mark.parametrize("method", [name for name in METHODS if name not in KEYED])
def test_hide_and_reveal_do_not_depend_on_the_batch_or_the_mode(method):
    net = small(method).double()  # float32: rounding depends on the batch, and random blocks amplify it
    assert net.training
    cover, secrets = group(net, batch=2)
    stego = net.hide(cover, secrets)
    revealed = net.reveal(stego)
    assert net.training
    net.eval()
    assert torch.equal(net.hide(cover, secrets), stego) and torch.equal(net.reveal(stego), revealed)
    assert torch.equal(net.hide(cover[1:], secrets[1:]), stego[1:])
    assert torch.equal(net.reveal(stego[1:]), revealed[1:])
    assert not net.training


@pytest.mark.parametrize("method", METHODS)
def test_more_secrets_than_there_is_room_for(method):
    net = small(method)
    cover, secrets = group(net)
    takes = f"hides 1 to {net.num_secrets} secrets" if net.num_secrets > 1 else "hides 1 secret"
    with pytest.raises(ValueError, match=f"{takes}, got {net.num_secrets + 1}"):
        net.hide(cover, torch.cat((secrets, secrets[:, :1]), dim=1))


def of_last(*stacks):
    return [f"{stack}.{part}" for stack in stacks for part in ("rho", "eta")]


# Sub-networks that hiding leaves out, and those that revealing does: only what is dropped needs them.
NOT_RUN = [
    ("hinet", {}, of_last("network.blocks.1"), ["network.blocks.0.phi"]),
    ("isn", {}, of_last("blocks.2"), ["blocks.0.phi"]),
    ("invmihnet", {}, of_last("iir.steps.0.blocks.0", "iih.blocks.1"), ["iih.blocks.0.phi"]),
    ("invmihnet", {"num_secrets": 16}, of_last("iir.steps.1.blocks.0", "iih.blocks.1"), ["iih.blocks.0.phi"]),
    ("smilenet", {}, of_last("mosaic.icdm.blocks.0", "imse.blocks.1"), []),
    ("smilenet", {"condition": 0}, of_last("mosaic.icdm.blocks.0", "imse.blocks.1"), ["imse.blocks.0.phi"]),
    ("smilenet_l", {}, of_last("mosaic.icdm.blocks.0"), []),
    (
        "deepmih",
        {},
        of_last(*(f"stages.{k}.blocks.1" for k in range(3))),
        ["stages.0.blocks.0.phi", "stages.0.blocks.0.psi"],
    ),
]


@pytest.mark.parametrize("method, changes, in_hiding, in_revealing", NOT_RUN)
def test_what_is_dropped_is_not_computed(method, changes, in_hiding, in_revealing):
    net = shaken(method, **{**SMALL[method], **changes})
    subnets = {name: part for name, part in net.named_modules() if isinstance(part, DenseBlock)}
    subnets = {name: part for name, part in subnets.items() if not name.startswith("maps.")}
    run = set()
    for name, part in subnets.items():
        part.register_forward_hook(lambda *_, name=name: run.add(name))
    cover, secrets = group(net)
    stego = net.hide(cover, secrets)
    assert subnets.keys() - run == set(in_hiding)
    run.clear()
    net.reveal(stego)
    assert subnets.keys() - run == set(in_revealing)


@pytest.mark.parametrize("method", [name for name in METHODS if name not in KEYED])
def test_training_pass_and_deployed_path_agree(method):
    net = small(method).eval()  # in training, batch normalisation goes by the batch
    cover, secrets = group(net, 41, 53)
    with torch.no_grad():
        hidden = net(cover / 255, secrets / 255)
    stego = net.hide(cover, secrets)
    # Float and 8 bit may round a value on the boundary differently, nothing more.
    assert ((hidden.stego * 255).round() - stego.float()).abs().max() <= 1
    assert hidden.revealed.shape == secrets.shape
    assert (hidden.revealed.clamp(0, 1) * 255 - net.reveal(stego).float()).abs().median() < 1


@pytest.mark.parametrize("method", [name for name in INVERTIBLE if name != "smilenet"])
def test_sampled_z_is_fixed_at_reveal_and_drawn_anew_in_training(method):
    net = small(method, z_std=0.5).double()
    cover, secrets = group(net, batch=2)
    stego = net.hide(cover, secrets)
    revealed = net.reveal(stego)
    assert torch.equal(net.reveal(stego), revealed)
    assert torch.equal(net.reveal(stego[1:]), revealed[1:])  # a picture's place in a batch does not matter
    assert not torch.equal(small(method).reveal(stego), revealed)
    passes = [net(cover.double() / 255, secrets.double() / 255).revealed for _ in range(2)]
    assert not torch.equal(*passes)


# In a fresh DeepMIH the stages are the identity, so they pass no gradient on to the maps; whose last layer
# is zero, so it passes none on to the others.
STEPS_TO_MOVE = {"deepmih": 4}


@pytest.mark.parametrize("method", TRAINABLE)
def test_every_parameter_moves_within_three_steps(method):
    net = small(method, shake=0.0)
    before = {name: p.clone() for name, p in net.named_parameters()}
    step = Step(net, net, Train(steps=1, lr=1e-3, grad_clip=0.0))
    objective = net.Objective(*net.geometry)
    for seed in range(STEPS_TO_MOVE.get(method, 3)):
        terms, _ = step(*group(net, seed=seed), objective, progress=0.0, rate=1e-3)
        mine = [x for name, x in terms.items() if name not in (TOTAL, NORM) and not name.startswith(CRITIC)]
        assert torch.isclose(terms[TOTAL], sum(mine))
    still = [name for name, p in net.named_parameters() if torch.equal(p, before[name])]
    assert not still


@pytest.mark.parametrize("method", KEYED)
def test_seal_and_unseal(method):
    net = small(method)
    cover, secrets = (x[0] for x in group(net, 41, 53))
    key = Key("a passphrase")
    stegos = [net.seal(cover, list(secrets[:3]), key, b"a note") for _ in range(2)]
    assert not torch.equal(*stegos)
    for stego in stegos:
        revealed, note = net.unseal(stego, key)
        assert note == b"a note" and [r.shape for r in revealed] == [cover.shape] * 3
        with pytest.raises(WrongKey):
            net.unseal(stego)
    public = net.hide(cover[None], secrets[None])
    assert torch.equal(torch.stack(net.unseal(public[0])[0]), net.reveal(public)[0])


@pytest.mark.parametrize("method", KEYED)
def test_seal_refuses(method):
    net = small(method)
    cover, secrets = (x[0] for x in group(net, 41, 53))
    most = net.most_secrets or net.num_secrets
    for wrong, message in (
        ([], f"hides 1 to {most} secrets, got 0"),
        ([secrets[0]] * (most + 1), f"hides 1 to {most} secrets, got {most + 1}"),
        ([secrets[0].float()], "secret: expected .3,h,w. uint8"),
        ([secrets[0][:1]], "secret: expected .3,h,w. uint8"),
        ([secrets[0][:, :0]], "secret: expected .3,h,w. uint8"),
    ):
        with pytest.raises(ValueError, match=message):
            net.seal(cover, wrong)
    if not net.own_sizes:
        with pytest.raises(ValueError, match="secrets must have the cover's size"):
            net.seal(cover, [secrets[0][:, :20]])


# Sizes and losses with which 300 steps are enough: weights of the loss as in the nano option files.
OVERFIT = {
    "smilenet": (
        dict(rows=2, cols=2, icdm_blocks=1, imse_blocks=3, growth=8, **RESCALING, condition=4),
        dict(latent=0.01, mosaic_recovery=0.5, readable_mosaic=0.5),
    ),
    "smilenet_l": (dict(rows=2, cols=2, icdm_blocks=1, growth=8, **RESCALING), dict()),
    "invmihnet": (
        dict(num_secrets=4, iir_blocks=1, iih_blocks=3, growth=8),
        dict(distance="l2", latent=0.01, small_pictures=0.5, mosaic_recovery=0.5),
    ),
    "hinet": (dict(num_blocks=3, growth=8), dict(imperceptibility=2.0, low_frequency=0.5)),
    "deepmih": (dict(num_secrets=2, num_blocks=3, growth=8, map_width=8), dict(low_frequency=0.2)),
    "isn": (dict(num_secrets=2, num_blocks=4, growth=8), dict()),
    "baluja": (dict(width=8), dict()),
    "hidden_image": (dict(width=16), dict()),
    "weng": (dict(depth=4, hide_width=16, reveal_width=16), dict()),
    "srisnet": (dict(width=16, fold=2, depth=1, critic_width=4), dict()),
    "toy": (dict(width=16), dict()),
    "guided_toy": (dict(width=16), dict()),
}


SLOW = ("deepmih", "baluja")


@pytest.mark.parametrize(
    "method",
    [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in TRAINABLE],
)
def test_one_group_is_learned_within_300_steps(method):
    """Cover and secrets of 64 pixels: revealed at 25 dB and more through 8 bits, the stego at 25 dB too."""
    arguments, weights = OVERFIT[method]
    torch.manual_seed(0)
    net = build_model(method, **arguments)
    photos = [photo[60:124, x : x + 64] for x in (150, 250) for photo in (astronaut(), chelsea(), coffee())]
    pictures = torch.stack([torch.from_numpy(photo).permute(2, 0, 1) for photo in photos])
    cover, secrets = pictures[:1], pictures[None, 1 : 1 + net.num_secrets]
    objective = net.Objective(*net.geometry, **weights)
    step = Step(net, net, Train(steps=300, lr=2e-3, grad_clip=0.1), Critic(lr=2e-3))
    for number in range(300):
        step(cover, secrets, objective, number / 300, 2e-3, number)
        if number % 25 == 24:
            stego = net.hide(cover, secrets)
            if min(psnr(stego, cover), psnr(net.reveal(stego), secrets)) >= 25:
                return
    pytest.fail(f"{psnr(stego, cover):.1f} dB stego, {psnr(net.reveal(stego), secrets):.1f} dB revealed")


HOSTS = {
    "newer switches": lambda b: setattr(b.cudnn.conv, "fp32_precision", "tf32"),
    "newer switch for all": lambda b: setattr(b, "fp32_precision", "tf32"),
    "older switches": lambda b: setattr(b.cuda.matmul, "allow_tf32", True),
    "matmul precision": lambda b: torch.set_float32_matmul_precision("high"),
}


@pytest.mark.parametrize("host", HOSTS)
def test_hide_and_reveal_work_whatever_precision_the_program_around_has_chosen(host):
    """In a process of its own: the switches are global, and torch refuses to go back from some of them."""
    code = f"""
import torch
from tests.common import group, shaken
from tests.models.test_methods import HOSTS, SMALL
net = shaken("hinet", **SMALL["hinet"])
cover, secrets = group(net)
expected = net.hide(cover, secrets)
HOSTS[{host!r}](torch.backends)
before = torch.backends.cudnn.conv.fp32_precision, torch.backends.cuda.matmul.fp32_precision
assert torch.equal(net.hide(cover, secrets), expected)
net.reveal(expected)
seen = []
net.encode = lambda c, s: seen.append((
    torch.backends.cudnn.conv.fp32_precision, torch.backends.cuda.matmul.fp32_precision)) or c
net.hide(cover, secrets)
assert seen == [("ieee", "ieee")], seen
after = torch.backends.cudnn.conv.fp32_precision, torch.backends.cuda.matmul.fp32_precision
assert after == before, (before, after)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
