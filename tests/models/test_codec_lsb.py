"""codec_lsb: what comes back, what it costs, and what is noticed."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.data import astronaut, cat, chelsea, coffee, rocket

from container.digits import (
    bytes_that_fit,
)
from container.header import Damaged, NoPayload, WrongKey, header_samples
from container.keys import Key
from models import build_model
from tests.common import psnr

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


@pytest.mark.parametrize("modulus", [2, 8, 11, 12, 31])
def test_stego_error(modulus):
    """(M^2 - 1)/12 for odd M, (M^2 + 2)/12 for even M, on the samples that carry digits, without a bias."""
    cover = tensor(np.random.default_rng(0).integers(40, 216, (200, 200, 3)).astype(np.uint8))
    secrets = [tensor(PHOTOS[k][:256, :256]) for k in range(2)]
    stego = build_model("codec_lsb", modulus=modulus).seal(cover, secrets)
    moved = (stego.int() - cover.int()).permute(1, 2, 0).reshape(-1)[HEADER:].double()
    used = int(moved.nonzero().max()) + 1
    assert used > 0.9 * len(moved)
    expected = (modulus**2 + (2 if modulus % 2 == 0 else -1)) / 12
    assert moved[:used].square().mean().item() == pytest.approx(expected, rel=0.02)
    assert abs(moved[:used].mean().item()) < 5 * math.sqrt(expected / used)
    assert moved.abs().max() == modulus // 2


def test_residues_are_uniform():
    """Under any key they say nothing, and the block code's uneven highest digit does not show."""
    modulus, net = 12, build_model("codec_lsb", modulus=12)
    cover = tensor(PHOTOS[1][:250, :250])
    stego = net.seal(cover, photos(4, 128), Key("secret"))
    residues = stego.permute(1, 2, 0).reshape(-1)[HEADER : HEADER + 150000].numpy() % modulus
    for part in (residues, residues[11::12], residues[0::12]):
        counts = np.bincount(part, minlength=modulus)
        statistic = ((counts - len(part) / modulus) ** 2 / (len(part) / modulus)).sum()
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


def test_little_to_hide_changes_little_and_is_exact():
    """Room for a lossless picture: it comes back as it was, and the rest of the cover stays."""
    net, cover = build_model("codec_lsb"), tensor(PHOTOS[0])
    secret = photos(1, 32)[0]
    stego = net.seal(cover, [secret])
    assert torch.equal(net.unseal(stego)[0][0], secret)
    assert torch.equal(stego[:, 20:], cover[:, 20:])


def test_fewer_secrets_than_places_and_more():
    net = build_model("codec_lsb", num_secrets=3)
    cover, secrets = photos(1)[0][None], torch.stack(photos(2))[None]
    revealed = net.reveal(net.hide(cover, secrets))
    assert revealed.shape == (1, 3, 3, 64, 64) and (revealed[:, 2] == 128).all()
    stego = net.seal(cover[0], photos(5))
    with pytest.raises(ValueError, match="here are 5 secrets, .* more than 3: use `unseal`"):
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
        ValueError, match=rf"secrets \(9\): {max(room, 0)} bytes fit, ([0-9]+) bytes are needed"
    ) as found:
        net.seal(cover, photos(9))
    assert int(str(found.value).split(" bytes fit, ")[1].split()[0]) > room


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


def test_damage_that_spares_the_digits():
    """By M: the digits are whole, `damaged_ok` reveals. By one: they are not."""
    changed = STEGO.clone()
    y, x = (int(i) for i in ((STEGO[0] > 20) & (STEGO[0] < 230)).nonzero()[-1])
    changed[0, y, x] += 12
    revealed, _ = NET.unseal(changed, Key("right"), damaged_ok=True)
    assert all(torch.equal(a, b) for a, b in zip(revealed, NET.unseal(STEGO, Key("right"))[0], strict=True))
    changed[0, 20, 20] ^= 1
    with pytest.raises(Damaged, match="payload is not whole"):
        NET.unseal(changed, Key("right"), damaged_ok=True)


def test_wrong_keys_and_nothing():
    with pytest.raises(WrongKey, match="another passphrase"):
        NET.unseal(STEGO, Key("wrong"))
    with pytest.raises(WrongKey, match="hidden under a passphrase"):
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
        (dict(num_secrets=256), "num_secrets: must be from 1 to 255"),
        (dict(speed=11), "speed: must be from 0 to 10"),
        (dict(codec="jpeg"), "codec: expected auto, avif or webp, got 'jpeg'"),
    ):
        with pytest.raises(ValueError, match=message):
            build_model("codec_lsb", **arguments)
