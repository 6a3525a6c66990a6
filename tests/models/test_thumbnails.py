"""Thumbnails: a baseline whose figures follow from its resampler and its lattice."""

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.data import astronaut, chelsea, coffee, rocket

from metrics.image import mse, psnr
from models import build_model


def pictures(*size):
    photos = [photo[: size[0], : size[1]] for photo in (coffee(), astronaut(), chelsea(), rocket())]
    return torch.stack([torch.from_numpy(np.ascontiguousarray(p)).permute(2, 0, 1) for p in photos])


def arrays(tensors):
    return [tensor.permute(1, 2, 0).numpy() for tensor in tensors]


@pytest.mark.parametrize("count, grid", [(1, (1, 1)), (4, (2, 2)), (6, (2, 3)), (7, (1, 7)), (25, (5, 5))])
def test_the_mosaic_is_as_square_as_it_can_be(count, grid):
    net = build_model("thumbnails", num_secrets=count)
    assert (net.rows, net.cols) == grid and net.smallest == grid


@pytest.mark.parametrize("modulus", [8, 12, 16])
def test_the_stego_costs_what_the_lattice_says(modulus):
    shown = pictures(120, 180)
    net = build_model("thumbnails", num_secrets=3, modulus=modulus)
    (stego,) = arrays(net.hide(shown[:1], shown[None, 1:]))
    assert mse(stego, arrays(shown)[0]) == pytest.approx((modulus**2 + 2) / 12, rel=0.05)


def test_revealed_as_from_another_resampler_and_the_noise_of_the_lattice():
    """At M = 64 next to nothing is lost on the way: what is revealed is what resampling leaves."""
    shown = pictures(200, 300)
    net = build_model("thumbnails", num_secrets=3, modulus=64)  # 1 x 3 tiles
    revealed = arrays(net.reveal(net.hide(shown[:1], shown[None, 1:]))[0])
    for secret, found in zip(arrays(shown[1:]), revealed, strict=True):
        small = Image.fromarray(secret).resize((100, 200), Image.Resampling.BICUBIC)
        bicubic = np.asarray(small.resize((300, 200), Image.Resampling.BICUBIC))
        assert psnr(secret, found) == pytest.approx(psnr(secret, bicubic), abs=0.5)


def test_a_single_thumbnail_is_the_picture_with_the_noise_of_the_lattice():
    """Noise is uniform within +-1/24 of the range, and the margin makes it 1/(1 - 2 margin) times as wide."""
    shown = pictures(160, 200)
    net = build_model("thumbnails", num_secrets=1)
    revealed = net.reveal(net.hide(shown[:1], shown[None, 1:2]))[0]
    noise = 255 / 12 / (1 - 2 * (0.5 / 12 + 1e-3)) / np.sqrt(12)
    expected = 20 * np.log10(255 / noise)
    assert psnr(*arrays((shown[1], revealed[0]))) == pytest.approx(expected, abs=0.4)


@pytest.mark.parametrize("arguments", [{"modulus": 1}, {"modulus": 65}, {"modulus": 7.5}, {"num_secrets": 0}])
def test_arguments_out_of_range(arguments):
    with pytest.raises(ValueError, match=f"{next(iter(arguments))}: must be"):
        build_model("thumbnails", **arguments)
