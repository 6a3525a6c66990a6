"""Attacks: each against its definition, the same again from the same seed, never another size."""

import io

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter, uniform_filter
from skimage.data import astronaut

from channel.attacks import ATTACKS, Crop, Flip, Gaussian, Jpeg, Mean, Noise, Resize, Sharpen, Webp, label
from metrics.image import psnr

PICTURE = astronaut()[:61, 100:178].copy()


@pytest.mark.parametrize("attack", [kind() for kind in ATTACKS.values()], ids=label)
def test_shape_type_and_repeatability(attack):
    before = PICTURE.copy()
    attacked = attack(PICTURE, 7)
    assert attacked.shape == PICTURE.shape and attacked.dtype == np.uint8
    assert attacked.flags.c_contiguous and not np.array_equal(attacked, PICTURE)
    assert np.array_equal(attack(PICTURE, 7), attacked) and np.array_equal(PICTURE, before)
    assert attack.type in ATTACKS and label(attack).startswith(attack.type)


def test_filters_against_scipy():
    values = PICTURE.astype(float)
    expected = uniform_filter(values, (5, 5, 0), mode="mirror")
    assert np.abs(Mean(5)(PICTURE) - expected).max() <= 0.51
    blurred = gaussian_filter(values, (1.5, 1.5, 0), mode="mirror")
    assert np.abs(Gaussian(1.5)(PICTURE) - blurred).max() <= 1
    sharpened = np.clip(values + 0.7 * (values - blurred), 0, 255)
    assert np.abs(Sharpen(0.7, 1.5)(PICTURE) - sharpened).max() <= 0.6


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
    for kind in (Jpeg, Webp):
        assert psnr(PICTURE, kind(95)(PICTURE)) > psnr(PICTURE, kind(50)(PICTURE)) > 20


def test_geometry():
    assert np.array_equal(Flip()(PICTURE), PICTURE[:, ::-1])
    assert np.array_equal(Flip("vertical")(PICTURE), PICTURE[::-1])
    flat = np.full((40, 30, 3), 77, np.uint8)
    assert np.array_equal(Resize(0.5)(flat), flat)
    cropped = Crop(0.5)(PICTURE)
    inner = np.zeros(PICTURE.shape[:2], bool)
    inner[15:45, 19:58] = True
    assert np.array_equal(cropped[inner], PICTURE[inner]) and (cropped[~inner] == 128).all()


@pytest.mark.parametrize(
    "kind, arguments, message",
    [
        (Mean, {"size": 4}, "size: expected an odd number from 3 up, got 4"),
        (Gaussian, {"sigma": 0}, "sigma: expected a number above 0"),
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
    with pytest.raises(ValueError, match=message):
        kind(**arguments)
