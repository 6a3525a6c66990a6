"""SMILENet-L's laws: what the residues carry, what they cost, and what they give away."""

import numpy as np
import pytest
import torch
from skimage.data import astronaut, coffee

from container.header import (
    header_samples,
)
from container.keys import Key, repeatable_nonces
from container.trellis import ROW
from models import build_model
from models.layers.lattice import (
    Companding,
    embed,
    embed_halved,
    extract,
    extract_halved,
    key_dither,
    longest_note,
    margin,
)
from models.losses import losses_of
from tests.common import noise, photo, shaken

TINY = dict(
    icdm_blocks=1,
    growth=6,
    sis_width=8,
    sis_blocks=1,
    sde_width=8,
    sde_blocks=1,
)
MODULI = [4, 6.5, 8, 12, 20, 24]


def tiny(rows=2, cols=2, **changes):
    return shaken("smilenet_l", 0.02, rows=rows, cols=cols, **{**TINY, **changes}).eval()


def pictures(count, height=80, width=96, seed=0):
    return list(noise((count, 3, height, width), seed))


# --- the arithmetic ---------------------------------------------------------------------------------


@pytest.mark.parametrize("modulus", MODULI)
def test_every_value_comes_back_whatever_the_cover_and_dither(modulus):
    """All 256 grey levels as cover, values to both ends of the range, 97 dithers: within 1/(2M)."""
    low = margin(modulus)
    values = torch.linspace(low, 1 - low, 201, dtype=torch.float64)
    cover = torch.arange(256.0).double()[:, None, None]
    dither = torch.linspace(0, modulus, 98, dtype=torch.float64)[:-1][None, None]
    stego = embed(cover, values[None, :, None], dither, modulus)
    assert stego.min() >= 0 and stego.max() <= 255 and torch.equal(stego, stego.round())
    error = extract(stego, dither, modulus) - values[None, :, None]
    assert error.abs().max() <= 0.5 / modulus + 1e-9
    assert (stego - cover).abs().max() <= modulus + 0.5  # at the ends of the scale; else half of it


@pytest.mark.parametrize("modulus", [2, 3, 8, 9, 12, 64])
def test_beside_the_headers_bits_values_come_back_half_as_finely(modulus):
    values = torch.linspace(0, 1, 101, dtype=torch.float64)[:, None]
    cover = torch.arange(256.0).double()[:, None, None]
    dither = torch.linspace(0, modulus, 98, dtype=torch.float64)[:-1]
    stego = embed_halved(cover, values, dither, modulus)
    assert stego.min() >= 0 and stego.max() <= 254 and not (stego % 2).any()
    assert (stego + 0.5 - cover).abs().max() <= modulus + 1.5  # at the ends of the scale; else half of it
    assert (stego + 0.5 - cover)[modulus:-modulus].abs().max() <= modulus / 2 + 1
    for bit in (0, 1):
        error = extract_halved(stego + bit, dither, modulus) - values.clamp(1 / modulus, 1 - 1 / modulus)
        assert error.abs().max() <= 1 / modulus + 2e-3


@pytest.mark.parametrize("modulus", [8, 12, 16, 20])
def test_the_stegos_error_is_that_of_the_lattice(modulus):
    cover = photo(coffee, 400, 600).float().clamp(modulus, 255 - modulus).round()
    generator = torch.Generator().manual_seed(1)
    values = torch.rand(cover.shape, generator=generator) * (1 - 2 * margin(modulus)) + margin(modulus)
    dither = torch.rand(cover.shape, generator=generator, dtype=torch.float64) * modulus
    error = (embed(cover, values, dither, modulus) - cover).square().mean().item()
    assert error == pytest.approx((modulus**2 + 2) / 12, rel=0.01)


def test_the_error_of_the_mosaic_is_uniform_and_white():
    cover, dither = photo(coffee, 400, 600), torch.rand(3, 400, 600, dtype=torch.float64) * 12
    values = photo(astronaut, 400, 500).float().mean() / 255 + torch.zeros(3, 400, 600)
    error = (extract(embed(cover, values, dither, 12), dither, 12) - values) * 12
    assert error.square().mean().item() == pytest.approx(1 / 12, rel=0.02)
    assert abs(np.corrcoef(error.flatten()[:-1], error.flatten()[1:])[0, 1]) < 0.01
    assert abs(np.corrcoef(error.flatten(), cover.flatten())[0, 1]) < 0.01


def test_companding_inverts_and_stays_within_its_range():
    companding = Companding().double()
    x = torch.rand(2, 3, 20, 20, dtype=torch.float64) - 0.5
    v = companding(x, 12)
    assert v.min() >= margin(12) and v.max() <= 1 - margin(12)
    assert (companding.inverse(v, 12) - x).abs().max() < 1e-9 and companding.overshoot(x) == 0
    wild = companding(x * 1e6, 12)
    assert wild.min() >= margin(12) and wild.max() <= 1 - margin(12) and companding.overshoot(3 * x) > 0
    assert companding.inverse(torch.rand_like(x), 12).isfinite().all()


def test_the_keys_dither_is_uniform():
    d = key_dither(bytes(range(32)), 120_000, 12.0)
    counts = np.histogram(d, bins=24, range=(0, 12))[0]
    assert ((counts - 5000) ** 2 / 5000).sum() < 50  # chi-square, 23 degrees of freedom: 0.1 % at 49.7
    assert d.min() >= 0 and d.max() < 12
    assert len(d.unique()) > 119_900  # steps fine enough that residues prefer no value
    assert torch.equal(d, key_dither(bytes(range(32)), 120_000, 12.0))


# --- the network ------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(70, 72), (81, 97), (120, 75)])
@pytest.mark.parametrize("rows, cols", [(2, 2), (3, 3), (2, 3), (5, 5)])
def test_what_the_network_gives_to_the_lattice_comes_back(rows, cols, size):
    """Receiver's mosaic against the sender's: within 1/(2M) before companding, 1/M under the header."""
    net = tiny(rows, cols)
    secrets, cover = pictures(rows * cols, *size), pictures(1, *size, seed=9)[0]
    key = Key("open sesame")
    stego = net.seal(cover, secrets, key, b"n" * 9)
    with torch.no_grad():
        h, w = net.mosaic.size(stego)
        sent = net.lattice.companding(net.mosaic(torch.stack(secrets)[None] / 255)[0], 12)[0]
        got, note = net.lattice.unseal(stego, (h, w), key, (net.method, net.fingerprint), False)
        got = net.lattice.companding(got[None], 12)[0]
    inside = (sent - 0.5).abs() < 0.4  # where the companding's clamp plays no part
    assert b"n" * 9 in note
    errors, taken = (got - sent).abs(), header_samples(1 + len(note))
    header = (torch.arange(size[0] * size[1] * 3).reshape(*size, 3) < taken)[:h, :w].permute(2, 0, 1)
    assert errors[inside & ~header].max() <= 0.5 / 12 + 1e-5
    assert 0.5 / 12 < errors[inside & header].max() <= 1 / 12 + 1e-5


def test_as_many_secrets_come_back_as_were_given():
    net = tiny()
    revealed, note = net.unseal(net.seal(pictures(1)[0], pictures(3), Key(), b"abc"))
    assert len(revealed) == 3 and note == b"abc" and revealed[0].shape == (3, 80, 96)


@pytest.mark.parametrize("modulus", [6, 20])
def test_the_sender_chooses_the_modulus_and_the_stego_says_it(modulus):
    net, cover, secrets = tiny(shaping=0), photo(coffee, 96, 128), [photo(astronaut, 96, 128)] * 4
    usual = torch.stack(net.unseal(net.seal(cover, secrets))[0]).double()
    net.modulus = modulus
    stego = net.seal(cover, secrets)
    error = (stego.double() - cover).square().mean().item()
    assert error == pytest.approx((modulus**2 + 2) / 12, rel=0.1)
    net.modulus = 12  # what the receiver has
    revealed = torch.stack(net.unseal(stego)[0]).double()
    original = torch.stack(secrets)
    errors = [(pictures - original).square().mean() for pictures in (revealed, usual)]
    assert errors[0] < errors[1] if modulus > 12 else errors[0] > errors[1]


@pytest.mark.parametrize("shaping, error", [(8, 9.37), (64, 9.02), (256, 8.87)])
def test_shaping_moves_the_cover_less_and_the_mosaic_no_more(shaping, error):
    net, cover, secrets = tiny(shaping=shaping), photo(coffee, 256, 256), [photo(astronaut, 256, 256)] * 4
    stego = net.seal(cover.clamp(20, 235), secrets, Key("k"))
    moved = samples_of(stego, "below it") - samples_of(cover.clamp(20, 235), "below it")
    assert moved.square().mean().item() == pytest.approx(error, rel=0.03)
    net.shaping, net.modulus = 0, 8  # what the receiver has
    with torch.no_grad():
        sent = net.lattice.companding(net.mosaic(torch.stack(secrets)[None] / 255)[0], 12)[0]
    inside = (samples_of(sent, "below it") - 0.5).abs() < 0.4
    errors = (read_values(net, stego) - samples_of(sent, "below it"))[inside]
    assert errors.abs().max() <= 0.5 / 12 + 1e-5
    assert (12 * errors).square().mean().item() == pytest.approx(1 / 12, rel=0.03)


def test_a_modulus_that_was_saved_as_a_float():
    assert type(build_model("smilenet_l", rows=2, cols=2, modulus=12.0).modulus) is int
    assert type(build_model("codec_lsb", modulus=12.0).modulus) is int
    with pytest.raises(ValueError, match="whole number of grey levels from 2 to 64, got 0"):
        build_model("smilenet_l", modulus=0)


def test_training_sees_the_same_channel_as_the_deployed_path():
    net = tiny(shaping=0)
    cover, secrets = photo(coffee, 96, 128), [photo(astronaut, 96, 128)] * 4
    with torch.no_grad():
        hidden = net(cover[None] / 255, torch.stack(secrets)[None] / 255)
    stego = net.seal(cover, secrets)
    costs = [
        (hidden.stego[0] * 255 - cover).square().mean().item(),
        (stego.double() - cover).square().mean().item(),
    ]
    assert costs[0] == pytest.approx(146 / 12, rel=0.03) and costs[1] == pytest.approx(146 / 12, rel=0.05)
    deployed = torch.stack(net.unseal(stego)[0]).double() / 255
    original = torch.stack(secrets).double() / 255
    errors = [
        (hidden.revealed[0].clamp(0, 1) - original).square().mean(),
        (deployed - original).square().mean(),
    ]
    assert errors[0] == pytest.approx(errors[1].item(), rel=0.1)


def test_the_loss_reaches_every_part():
    net = tiny().train()
    cover, secrets = torch.rand(1, 3, 32, 32), torch.rand(1, 4, 3, 32, 32)
    losses_of(net, net.Objective(), cover, secrets, 0.0).total.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())
    assert net.lattice.companding.colours.grad.abs().sum() > 0


# --- what an observer sees --------------------------------------------------------------------------


HEADER = header_samples(1 + 3 + longest_note(4))
PARTS = {"under the header": slice(0, HEADER), "below it": slice(HEADER, None)}


def samples_of(picture, part):
    return picture.permute(1, 2, 0).reshape(-1)[PARTS[part]].double()


@pytest.mark.slow
@pytest.mark.parametrize("shaping", [0, 64])
@pytest.mark.parametrize("part", PARTS)
def test_residues_are_uniform_and_know_nothing_of_the_secrets_under_a_key(part, shaping):
    """Shaped changes are not uniform modulo M, but modulo M/2, and the same whatever the secrets are."""
    net = tiny(shaping=shaping)
    period = 6 if shaping and part == "below it" else 12
    flat = [torch.full((3, 256, 256), level, dtype=torch.uint8) for level in (0, 80, 200, 255)]
    cover = torch.full((3, 256, 256), 77, dtype=torch.uint8)  # not a photograph, whose levels are not uniform
    histograms = []
    for secrets in (flat, [photo(astronaut, 256, 256)] * 4):
        times = 1 if part == "below it" else 20
        stegos = [net.seal(cover, secrets, Key("open sesame")) for _ in range(times)]
        levels = torch.cat([samples_of(stego, part) for stego in stegos]).numpy()
        seen = levels % period
        histograms.append(np.bincount(levels.astype(int) % 12, minlength=12))
        counts = np.bincount(seen.astype(int), minlength=period)
        expected = counts.sum() / period
        assert ((counts - expected) ** 2 / expected).sum() < 50  # 11 degrees of freedom: once in a million
        with torch.no_grad():
            sent, _ = net.mosaic(torch.stack(secrets)[None] / 255)
        mosaic = np.tile(samples_of(sent[0], part).numpy(), len(stegos))
        if mosaic.std() > 1e-6:
            assert abs(np.corrcoef(seen, mosaic)[0, 1]) < 4 / np.sqrt(len(seen))
            assert abs(np.corrcoef(levels, mosaic)[0, 1]) < 4 / np.sqrt(len(seen))
    mean = np.mean(histograms, axis=0)
    assert ((histograms[0] - mean) ** 2 / mean).sum() * 2 < 50


def test_the_same_secrets_twice_share_no_dither():
    net = tiny()
    cover, secrets = photo(coffee, 128, 128), [photo(astronaut, 128, 128)] * 4
    first, second = (net.seal(cover, secrets, Key("open sesame")) for _ in range(2))
    # Under one dither the residues would be equal; independent ones differ in 11 of 12 samples.
    for part, tolerance in (("under the header", 0.05), ("below it", 0.02)):
        differ = (samples_of(first, part) - samples_of(second, part)) % 12 != 0
        assert differ.double().mean().item() == pytest.approx(11 / 12, abs=tolerance)


def test_the_headers_length_does_not_tell_how_many_secrets_there_are():
    net, seen = tiny(), set()
    for count in (1, 4):
        note = b"s" * longest_note(count)  # hide.py's
        stego = net.seal(pictures(1)[0], pictures(count), Key("k"), note)
        about = net.method, net.fingerprint
        packed = net.lattice.unseal(stego, net.mosaic.size(stego), Key("k"), about, False)[1]
        seen.add(len(packed))
        assert net.unseal(stego, Key("k"))[1] == note
    assert len(seen) == 1


# --- what damage costs ------------------------------------------------------------------------------


def read_values(net, stego):
    """The mosaic as the receiver reads it, below the header: (count,) values."""
    with torch.no_grad():
        about = net.method, net.fingerprint
        mosaic, _ = net.lattice.unseal(stego, net.mosaic.size(stego), Key("k"), about, True)
        return samples_of(net.lattice.companding(mosaic[None], 12)[0], "below it")


def sealed(shaping):
    """A network, a stego whose mosaic has every value, and the stego's samples."""
    net = tiny(shaping=shaping)
    cover = photo(coffee, 256, 256).clamp(20, 235)
    mosaic = torch.rand(3, 256, 256, generator=torch.Generator().manual_seed(2)) - 0.5
    note, about = bytes(3 + longest_note(4)), (net.method, net.fingerprint)
    with torch.no_grad(), repeatable_nonces(seed=0):  # another nonce moves other samples
        stego = net.lattice.seal(cover, mosaic, Key("k"), note, about, True, shaping)
    return net, stego, stego.permute(1, 2, 0).reshape(-1)


@pytest.mark.parametrize("shaping", [0, 8, 64, 256])
def test_one_changed_sample_costs_itself_or_with_a_trellis_at_most_the_rest_of_its_row(shaping):
    """One sample of each row is changed by one grey level, at four random places in turn.

    docs/lattice.md: with a trellis it derails one row in 70, for half of what is left of it.
    """
    net, stego, samples = sealed(shaping)
    whole, rows = read_values(net, stego), (len(samples) - HEADER) // ROW
    derailed, lost = [], []
    for seed in range(4):
        places = np.random.default_rng(seed).integers(0, ROW, rows)
        changed = samples.clone()
        changed[HEADER + np.arange(rows) * ROW + places] += 1 if seed % 2 else -1
        wrong = (read_values(net, changed.reshape(256, 256, 3).permute(2, 0, 1)) - whole).abs() > 1e-4
        wrong = wrong[: rows * ROW].reshape(rows, ROW).numpy()
        assert wrong[np.arange(rows), places].mean() > 0.95
        assert not wrong[np.arange(ROW) < places[:, None]].any()
        counts = wrong.sum(1)
        derailed += list(counts > 1)
        lost += list((counts / (ROW - places))[counts > 1])
    if shaping == 0:
        assert not any(derailed)
    else:
        assert 0.005 < np.mean(derailed) < 0.03 and 0.3 < np.mean(lost) < 0.8


def test_noise_leaves_nothing_with_a_trellis_and_half_of_it_without():
    """Rounded Gaussian noise of deviation 1/2 below the header: RMS errors in grey levels, of M = 12."""
    errors = {}
    for shaping in (0, 64):
        net, stego, samples = sealed(shaping)
        noise = torch.from_numpy(np.random.default_rng(0).normal(0, 0.5, len(samples)).round())
        noise[:HEADER] = 0
        noisy = (samples + noise).to(torch.uint8).reshape(256, 256, 3).permute(2, 0, 1)
        error = read_values(net, noisy) - read_values(net, stego)
        errors[shaping] = 12 * error.square().mean().sqrt().item()
    assert errors[0] < 1.6 and errors[64] > 3
