"""codec_lsb: what comes back, what it costs, and what is noticed."""

import math
import struct

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.data import astronaut, cat, chelsea, coffee, rocket

from container.digits import bytes_that_fit, digits_needed
from container.header import ContainerError, Damaged, NoPayload, WrongKey, header_samples, read_header
from container.keys import Key
from errors import UserError
from models import build_model
from models.codec_lsb import _NOTE, _spread
from tests.common import forged, psnr

PHOTOS = [photo() for photo in (astronaut, chelsea, coffee, rocket, cat)]
HEADER = header_samples(5)


def tensor(picture):
    return torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous()


def photos(count, side=64):
    """Crops of photographs, from the darkest corner to the middle."""
    at = [(60 + 40 * (k // 5), 100 + 30 * (k // 5)) for k in range(count)]
    return [tensor(PHOTOS[k % 5][y : y + side, x : x + side]) for k, (y, x) in enumerate(at)]


# --- secrets in and out -------------------------------------------------------------------------------


@pytest.mark.parametrize("codec", ["auto", "avif", "webp"])
@pytest.mark.parametrize("passphrase", [None, "open sesame"])
def test_secrets_of_their_own_sizes(codec, passphrase):
    net = build_model("codec_lsb", codec=codec)
    cover = tensor(PHOTOS[0][:150, :201])
    secrets = [tensor(PHOTOS[k][: 40 + 13 * k, : 71 - 9 * k]) for k in range(5)] + [tensor(PHOTOS[0][:1, :1])]
    stego = net.seal(cover, secrets, Key(passphrase), b"a note")
    assert stego.shape == cover.shape and stego.dtype == torch.uint8
    revealed, note = net.unseal(stego, Key(passphrase))
    assert note == b"a note" and [r.shape for r in revealed] == [s.shape for s in secrets]
    assert min(psnr(r, s) for r, s in zip(revealed, secrets, strict=True)) > 30
    again, _ = net.unseal(stego, Key(passphrase))
    assert all(torch.equal(a, b) for a, b in zip(again, revealed, strict=True))


def test_the_stego_says_its_modulus():
    cover, secrets = photos(1, 96)[0], photos(2, 48)
    stego = build_model("codec_lsb", modulus=7).seal(cover, secrets)
    revealed, _ = build_model("codec_lsb", modulus=12, codec="webp").unseal(stego)
    assert min(psnr(r, s) for r, s in zip(revealed, secrets, strict=True)) > 30


def moves(stego, cover):
    """By how much each sample behind the header was moved."""
    return (stego.int() - cover.int()).permute(1, 2, 0).reshape(-1)[HEADER:].double()


@pytest.mark.parametrize("modulus", [2, 8, 11, 12, 31])
def test_stego_error(modulus):
    """(M^2 - 1)/12 for odd M, (M^2 + 2)/12 for even M, on the samples that carry digits, without a bias."""
    cover = tensor(np.random.default_rng(0).integers(40, 216, (200, 200, 3)).astype(np.uint8))
    secrets = [tensor(PHOTOS[k][:256, :256]) for k in range(2)]
    moved = moves(build_model("codec_lsb", modulus=modulus, shaping=0).seal(cover, secrets), cover)
    carriers = (moved != 0).double().mean().item() / (
        1 - 1 / modulus
    )  # of uniform digits 1/M is there already
    assert 0.9 < carriers < 1.005
    expected = carriers * (modulus**2 + (2 if modulus % 2 == 0 else -1)) / 12
    assert moved.square().mean().item() == pytest.approx(expected, rel=0.02)
    assert abs(moved.mean().item()) < 5 * math.sqrt(expected / len(moved))
    assert moved.abs().max() == modulus // 2


def test_shaping_costs_less_and_reveals_the_same():
    """The errors of container/trellis.py's table; the receiver need not know the shaping."""
    cover = tensor(np.random.default_rng(0).integers(40, 216, (200, 200, 3)).astype(np.uint8))
    secrets = [tensor(PHOTOS[k][:256, :256]) for k in range(2)]
    found, receiver = [], build_model("codec_lsb", shaping=0)
    for shaping, error in ((0, 12.17), (8, 9.37), (64, 9.02), (256, 8.87)):
        stego = build_model("codec_lsb", shaping=shaping).seal(cover, secrets, Key("k"))
        moved = moves(stego, cover)
        assert moved.square().mean().item() == pytest.approx(error, rel=0.025)
        assert abs(moved.mean().item()) < 5 * math.sqrt(error / len(moved))
        found.append(torch.stack(receiver.unseal(stego, Key("k"))[0]))
    assert all(torch.equal(one, found[0]) for one in found)


def test_the_default_is_shaped_and_an_odd_modulus_is_not():
    net = build_model("codec_lsb")
    assert net.shaping == 64
    net.modulus = 7
    assert net.shaping == 0
    with pytest.raises(UserError, match="shaping: needs an even modulus from 2 to 128, got 7"):
        net.shaping = 8
    net.modulus, net.shaping = 8, 256
    net.modulus = 7
    with pytest.raises(UserError, match="got 7; a shaping of 0 also takes odd ones"):
        net.seal(photos(1)[0], photos(1))


@pytest.mark.parametrize("shaping, period", [(0, 12), (64, 6)])
def test_residues_are_uniform(shaping, period):
    """On a flat cover: what is sent says nothing of the digits, nor of the block code's uneven highest one.

    Shaped changes are not uniform modulo M, but modulo M/2. The few samples without a digit keep their value.
    """
    net = build_model("codec_lsb", shaping=shaping)
    cover = torch.full((3, 250, 250), 77, dtype=torch.uint8)
    key = Key("secret")
    stego = net.seal(cover, photos(12, 128), key).permute(1, 2, 0).reshape(-1).numpy()
    header = read_header(stego, (250, 250), key, net.method, net.fingerprint)
    modulus, length = _NOTE.unpack(header.note)
    carriers = stego[HEADER:]
    used, _ = _spread(header.keys.dither, len(carriers), digits_needed(length, modulus))
    residues = carriers[used] % period
    assert len(residues) > 0.98 * len(carriers) and (carriers[~used] == 77).all()
    for part in (residues, residues[11::12], residues[0::12]):
        counts = np.bincount(part, minlength=period)
        statistic = ((counts - len(part) / period) ** 2 / (len(part) / period)).sum()
        assert statistic < 40  # chi-square of 11 degrees: once in 30000


def test_two_seals_differ():
    net, cover, secrets = build_model("codec_lsb"), photos(1)[0], photos(1)
    one, two = (net.seal(cover, secrets, Key("same")) for _ in range(2))
    different = (one != two).permute(1, 2, 0).reshape(-1)
    assert different[HEADER : HEADER + 3000].double().mean() > 0.85  # 11/12 of independent digits


def test_four_and_twenty_five_in_one():
    """Floors well below what was measured, far above what a lost codec setting would give."""
    cover = tensor(PHOTOS[3][100:228, 200:328])
    for count, least in ((4, 33), (25, 23)):
        net = build_model("codec_lsb", num_secrets=count)
        secrets = photos(count, 128)
        stego = net.seal(cover, secrets)
        scores = [psnr(a, b) for a, b in zip(net.unseal(stego)[0], secrets, strict=True)]
        assert np.mean(scores) > least and psnr(stego, cover) > 36.5


def test_room_is_used():
    net = build_model("codec_lsb", num_secrets=9)
    cover = photos(1, 128)[0]
    stego = net.seal(cover, photos(9, 128))
    changed = (stego != cover).permute(1, 2, 0).reshape(-1).nonzero().max()
    assert changed > 0.97 * cover.numel()


def test_little_to_hide_changes_little_everywhere_and_is_exact():
    """Room for a lossless picture: it comes back as it was. The key spreads what carries it."""
    net, cover = build_model("codec_lsb"), tensor(PHOTOS[0])
    secret = photos(1, 32)[0]
    stego = net.seal(cover, [secret])
    assert torch.equal(net.unseal(stego)[0][0], secret)
    changed = (stego != cover).double()
    assert changed.mean() < 0.02
    bands = changed[:, 4:].reshape(3, 4, -1).mean((0, 2))
    assert bands.min() > 0.8 * bands.max()
    one, other = changed[:, 4:], (net.seal(cover, [secret]) != cover).double()[:, 4:]
    both = (one * other).mean().item()  # another nonce, other samples
    assert both == pytest.approx(one.mean().item() * other.mean().item(), rel=0.8)


@pytest.mark.parametrize("payload", [2.0, 6.0])
def test_a_bound_on_the_payload(payload):
    """Hiding less changes less: the error falls in proportion to the samples that are used."""
    cover = tensor(np.random.default_rng(0).integers(40, 216, (128, 128, 3)).astype(np.uint8))
    secrets = photos(2, 128)
    net = build_model("codec_lsb", payload=payload, modulus=12)
    stego = net.seal(cover, secrets)
    moved = moves(stego, cover)
    share = payload / 3 / math.log2(12)
    assert moved.square().mean().item() == pytest.approx(9.02 * share, rel=0.1)
    full = build_model("codec_lsb", modulus=12)
    least, most = (
        np.mean([psnr(a, b) for a, b in zip(one.unseal(one.seal(cover, secrets))[0], secrets, strict=True)])
        for one in (net, full)
    )
    assert 25 < least < most


def test_a_bound_that_nothing_fits_into_says_what_would_fit():
    cover, secrets = photos(1, 128)[0], photos(9, 128)
    with pytest.raises(
        UserError, match="payload: nothing fits into 0.1 bits a pixel of this cover; "
    ) as found:
        build_model("codec_lsb", payload=0.1).seal(cover, secrets)
    enough = float(str(found.value).split("; ")[1].split()[0])
    assert 0.1 < enough < 5
    net = build_model("codec_lsb", payload=enough)
    assert len(net.unseal(net.seal(cover, secrets))[0]) == 9
    with pytest.raises(UserError, match="nothing fits into"):
        build_model("codec_lsb", payload=enough - 0.02).seal(cover, secrets)
    # A cover that is too small without a bound says so, not that the bound should be raised.
    with pytest.raises(UserError, match="the cover is too small"):
        build_model("codec_lsb", payload=0.1).seal(photos(1, 18)[0], secrets)


def test_fewer_secrets_than_places_and_more():
    net = build_model("codec_lsb", num_secrets=3)
    cover, secrets = photos(1)[0][None], torch.stack(photos(2))[None]
    revealed = net.reveal(net.hide(cover, secrets))
    assert revealed.shape == (1, 3, 3, 64, 64) and (revealed[:, 2] == 128).all()
    stego = net.seal(cover[0], photos(5))
    with pytest.raises(ValueError, match="here are 5 secrets, more than 3 or .*: use `unseal`"):
        net.reveal(stego[None])
    assert len(net.unseal(stego)[0]) == 5
    with pytest.raises(ValueError, match="this method hides 1 to 255 secrets, got 256"):
        net.seal(cover[0], photos(1) * 256)


# --- too little room ----------------------------------------------------------------------------------


def test_a_large_secret_in_a_small_cover_is_shrunk_and_enlarged():
    net = build_model("codec_lsb")
    secret = tensor(PHOTOS[0])  # 512 x 512 in 64 x 64: a 24th of a bit a pixel
    revealed, _ = net.unseal(net.seal(photos(1)[0], [secret]))
    assert revealed[0].shape == secret.shape and psnr(revealed[0], secret) > 20


@pytest.mark.parametrize("side", [1, 12, 18, 24])
def test_a_cover_that_is_too_small_says_what_fits_and_what_is_needed(side):
    net = build_model("codec_lsb")
    cover = photos(1, side)[0]
    room = bytes_that_fit(3 * side**2 - HEADER, 12) - 16
    with pytest.raises(
        ValueError, match=rf"secrets \(9\): {max(room, 0)} bytes fit, but ([0-9]+) bytes are needed"
    ) as found:
        net.seal(cover, photos(9))
    assert int(str(found.value).split(" bytes fit, but ")[1].split()[0]) > room


# --- damage and wrong keys ----------------------------------------------------------------------------

NET = build_model("codec_lsb")
STEGO = NET.seal(photos(1)[0], photos(2), Key("right"))
PUBLIC_STEGO = NET.seal(photos(1)[0], photos(2))


@settings(max_examples=60, deadline=None)
@given(position=st.integers(0, STEGO.numel() - 1), change=st.sampled_from([1, 2, 12, 24, 128, 244, 255]))
def test_any_change_is_noticed(position, change):
    samples = PUBLIC_STEGO.permute(1, 2, 0).reshape(-1).clone()
    samples[position] += change
    changed = samples.reshape(64, 64, 3).permute(2, 0, 1)
    with pytest.raises(Damaged, match="changed after hiding"):
        NET.unseal(changed)


@pytest.mark.parametrize("shaping, period", [(0, 12), (64, 24)])
def test_damage_that_spares_the_digits(shaping, period):
    """By M, shaped by 2M: the digits are whole, `damaged_ok` reveals. By one: they are not."""
    cover = photos(1)[0]
    stego = build_model("codec_lsb", shaping=shaping).seal(cover, photos(2), Key("right"))
    changed = stego.clone()
    carrier = (stego != cover) & (stego > 30) & (stego < 220)
    carrier[:, :5] = False  # the header
    (c, y, x), (d, v, u) = (carrier.nonzero()[at].tolist() for at in (-1, 0))
    changed[c, y, x] += period
    revealed, _ = NET.unseal(changed, Key("right"), damaged_ok=True)
    assert all(torch.equal(a, b) for a, b in zip(revealed, NET.unseal(stego, Key("right"))[0], strict=True))
    changed[d, v, u] ^= 1
    with pytest.raises(Damaged, match="payload is incomplete"):
        NET.unseal(changed, Key("right"), damaged_ok=True)


@pytest.mark.parametrize("modulus, shaping", [(12, 0), (7, 64), (0, 64), (40, 64)])
def test_a_foreign_note(modulus, shaping):
    """Anybody can write a header under the public key: a payload that is too long, a trellis with an odd
    modulus, a modulus that is out of range."""
    note = struct.pack(">BI", modulus, 100 if modulus != 12 else 10**6)
    with pytest.raises(ContainerError, match="note is not codec_lsb's"):
        NET.unseal(forged(NET, photos(1)[0], note, shaping))


def test_wrong_keys_and_nothing():
    with pytest.raises(WrongKey, match="another key"):
        NET.unseal(STEGO, Key("wrong"))
    with pytest.raises(WrongKey, match="hidden under a key"):
        NET.unseal(STEGO)
    with pytest.raises(NoPayload):
        NET.unseal(photos(1)[0], Key("right"))
    noise = torch.randint(-2, 3, STEGO.shape, generator=torch.Generator().manual_seed(0))
    with pytest.raises(NoPayload):  # as JPEG does it: a little everywhere
        NET.unseal((STEGO.int() + noise).clamp(0, 255).to(torch.uint8), Key("right"))


def test_wrong_arguments():
    for arguments, message in (
        (dict(modulus=1), "modulus: must be a whole number of grey levels from 2 to 32, got 1"),
        (dict(modulus=33), "modulus: must be a whole number of grey levels from 2 to 32, got 33"),
        (dict(modulus=7.5), "modulus: must be a whole number of grey levels from 2 to 32, got 7.5"),
        (dict(shaping=7), "shaping: must be one of 0, 8, 64, 256 states, got 7"),
        (dict(shaping=64, modulus=9), "shaping: needs an even modulus from 2 to 128, got 9"),
        (dict(payload=0), "payload: must be above 0 bits a pixel, got 0; leave it out"),
        (dict(payload=math.nan), "payload: must be above 0 bits a pixel"),
        (dict(num_secrets=256), "num_secrets: must be from 1 to 255"),
        (dict(speed=11), "speed: must be from 0 to 10"),
        (dict(codec="jpeg"), "codec: expected auto, avif or webp, got 'jpeg'"),
    ):
        with pytest.raises(ValueError, match=message):
            build_model("codec_lsb", **arguments)
