"""Attacks: each against its definition, the same again from the same seed, never another size."""

import io

import numpy as np
import pytest
from PIL import Image, ImageEnhance
from scipy.ndimage import gaussian_filter, uniform_filter
from skimage.data import astronaut

from channel.attacks import (
    ATTACKS,
    Avif,
    Brightness,
    Chain,
    Crop,
    Flip,
    Gaussian,
    Jpeg,
    Mean,
    Noise,
    Nothing,
    Resize,
    Sharpen,
    Webp,
    features,
    label,
    link_seed,
    send,
)
from errors import UserError
from metrics.image import psnr

PICTURE = astronaut()[:61, 100:178].copy()


@pytest.mark.parametrize("attack", [kind() for kind in ATTACKS.values()], ids=label)
def test_shape_type_and_repeatability(attack):
    before = PICTURE.copy()
    attacked = attack(PICTURE, 7)
    assert attacked.shape == PICTURE.shape and attacked.dtype == np.uint8
    assert attacked.flags.c_contiguous and attacked is not PICTURE
    assert np.array_equal(attacked, PICTURE) == isinstance(attack, Nothing)
    assert np.array_equal(attack(PICTURE, 7), attacked) and np.array_equal(PICTURE, before)
    assert attack.type in ATTACKS and label(attack).startswith(attack.type)


def test_filters_against_scipy():
    values = PICTURE.astype(float)
    expected = uniform_filter(values, (5, 5, 0), mode="mirror")
    assert np.abs(Mean(5)(PICTURE) - expected).max() <= 0.51
    blurred = gaussian_filter(values, (1.5, 1.5, 0), mode="mirror")
    assert np.abs(Gaussian(1.5)(PICTURE) - blurred).max() <= 0.51
    sharpened = np.clip(values + 0.7 * (values - blurred), 0, 255)
    assert np.abs(Sharpen(0.7, 1.5)(PICTURE) - sharpened).max() <= 0.6


@pytest.mark.parametrize("kind", [Gaussian, lambda **own: Sharpen(amount=0.6, **own)])
def test_the_size_of_a_filter(kind):
    """What lies outside the window has no weight; the rest sums to 1. Without a size, 4 deviations fit in."""
    point = np.zeros((31, 31, 3), np.uint8)
    point[15, 15] = 255
    if kind is not Gaussian:
        point = 200 - point // 4  # room for what sharpening adds on both sides
    for size, reach in ((3, 1), (7, 3), (None, 8)):
        changed = (kind(sigma=2.0, size=size)(point) != point).any(axis=(1, 2))
        rows = np.flatnonzero(changed)
        assert rows.min() >= 15 - reach and rows.max() <= 15 + reach
        assert size is None or (rows.min(), rows.max()) == (15 - reach, 15 + reach)
    flat = np.full((9, 9, 3), 100, np.uint8)
    assert np.array_equal(kind(sigma=2.0, size=3)(flat), flat)
    assert np.array_equal(kind(sigma=2.0, size=17)(PICTURE), kind(sigma=2.0)(PICTURE))


def test_the_size_against_scipy():
    expected = gaussian_filter(PICTURE.astype(float), (0.8, 0.8, 0), mode="mirror", radius=(1, 1, 0))
    assert np.abs(Gaussian(0.8, 3)(PICTURE) - expected).max() <= 0.51


def test_gaussian_on_the_hardest_picture():
    """Black and white at random: where 8-bit arithmetic would be two grey levels off."""
    hard = np.random.default_rng(0).integers(0, 2, (61, 78, 3)).astype(np.uint8) * 255
    expected = gaussian_filter(hard.astype(float), (3, 3, 0), mode="mirror")
    assert np.abs(Gaussian(3.0)(hard) - expected).max() <= 0.55


@pytest.mark.parametrize("factor", [0.4, 1.3])
def test_brightness_against_pillow(factor):
    pillow = np.asarray(ImageEnhance.Brightness(Image.fromarray(PICTURE)).enhance(factor)).astype(int)
    assert np.abs(Brightness(factor)(PICTURE) - pillow).max() <= 1  # Pillow cuts off, this rounds
    assert np.array_equal(Brightness(1)(PICTURE), PICTURE)


def test_chains():
    chain = Chain((Jpeg(80), Webp(70)))
    assert np.array_equal(chain(PICTURE), Webp(70)(Jpeg(80)(PICTURE)))
    assert label(chain) == "jpeg quality=80 + webp quality=70"
    assert chain == Chain((Jpeg(80), Webp(70))) != Chain((Webp(70), Jpeg(80)))
    with pytest.raises(UserError, match="a chain without attacks"):
        Chain(())


def test_two_noises_in_a_chain_are_not_the_same():
    grey = np.full((200, 200, 3), 128, np.uint8)
    twice = Chain((Noise(6.0), Noise(6.0)))(grey, 3) - 128.0
    assert twice.std() == pytest.approx(np.hypot(6, 6), rel=0.02)
    assert np.array_equal(twice + 128, Noise(6.0)(Noise(6.0)(grey, 3), link_seed(3, 1)))


class Halved:
    """Not in the registry: it gives half the picture."""

    type = "halved"
    __dataclass_fields__: dict = {}

    def __call__(self, picture, seed=0):
        return picture[: len(picture) // 2]


def test_another_size_is_refused():
    message = "'halved' changes the picture's size \\(78 x 61 -> 78 x 30 px\\)"
    with pytest.raises(UserError, match=message):
        send(PICTURE, Halved())
    with pytest.raises(UserError, match=message):
        Chain((Jpeg(), Halved(), Webp()))(PICTURE)
    assert np.array_equal(send(PICTURE, Noise(), 4), Noise()(PICTURE, 4))


def test_a_pillow_without_avif(monkeypatch):
    monkeypatch.setattr(features, "check", lambda name: name != "avif")
    with pytest.raises(UserError, match="this Pillow cannot write AVIF; run pip install"):
        Avif()


def test_noise_has_its_deviation_and_follows_the_seed():
    grey = np.full((200, 200, 3), 128, np.uint8)
    noise = Noise(6.0)(grey, 1) - 128.0
    assert noise.std() == pytest.approx(np.hypot(6, np.sqrt(1 / 12)), rel=0.02)  # and the rounding
    assert noise.mean() == pytest.approx(0, abs=0.1)
    assert not np.array_equal(Noise(6.0)(grey, 2), Noise(6.0)(grey, 1))


def test_codecs_are_real_ones():
    file = io.BytesIO()
    Image.fromarray(PICTURE).save(file, "JPEG", quality=75, subsampling=2)
    assert np.array_equal(Jpeg(75)(PICTURE), np.asarray(Image.open(file)))
    file = io.BytesIO()
    Image.fromarray(PICTURE).save(file, "AVIF", quality=75, subsampling="4:2:0", speed=6)
    assert np.array_equal(Avif(75)(PICTURE), np.asarray(Image.open(file)))
    for kind in (Jpeg, Webp, Avif):
        assert psnr(PICTURE, kind(95)(PICTURE)) > psnr(PICTURE, kind(50)(PICTURE)) > 20


def test_geometry():
    assert np.array_equal(Flip()(PICTURE), PICTURE[:, ::-1])
    assert np.array_equal(Flip("vertical")(PICTURE), PICTURE[::-1])
    assert min(Flip("vertical")(PICTURE[:1]).strides) > 0  # torch takes no others
    flat = np.full((40, 30, 3), 77, np.uint8)
    assert np.array_equal(Resize(0.5)(flat), flat)
    cropped = Crop(0.5)(PICTURE)
    inner = np.zeros(PICTURE.shape[:2], bool)
    inner[15:45, 19:58] = True
    assert np.array_equal(cropped[inner], PICTURE[inner]) and (cropped[~inner] == 128).all()


@pytest.mark.parametrize(
    "kind, arguments, message",
    [
        (Mean, {"size": 4}, "size: expected an odd number from 3 to 401, got 4"),
        (Mean, {"size": 10**9 + 1}, "size: expected an odd number from 3 to 401"),
        (Gaussian, {"sigma": 0}, "sigma: expected a number above 0, at most 50"),
        (Gaussian, {"sigma": True}, "sigma: expected a number"),
        (Gaussian, {"size": 1}, "size: expected an odd number"),
        (Gaussian, {"size": 3.0}, "size: expected an odd number"),
        (Sharpen, {"size": 2}, "size"),
        (Sharpen, {"sigma": float("nan")}, "sigma"),
        (Brightness, {"factor": 0}, "factor: expected a number above 0, at most 10, got 0"),
        (Brightness, {"factor": float("inf")}, "factor"),
        (Avif, {"quality": 101}, "quality: expected a whole number, 0 to 100, got 101"),
        (Jpeg, {"quality": "high"}, "quality: expected a whole number, 1 to 95, got high"),
        (Sharpen, {"amount": -1}, "amount"),
        (Noise, {"sigma": -2}, "sigma"),
        (Flip, {"axis": "diagonal"}, "axis: expected horizontal or vertical, got diagonal"),
        (Jpeg, {"quality": 0}, "quality: expected a whole number, 1 to 95"),
        (Webp, {"quality": 101}, "quality"),
        (Resize, {"scale": 1}, "scale"),
        (Crop, {"keep": 1.0}, "keep"),
    ],
)
def test_refusals(kind, arguments, message):
    with pytest.raises(UserError, match=message):
        kind(**arguments)
