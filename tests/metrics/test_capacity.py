"""The bound at known figures, and that nobody passes it; the payload against a codec by hand."""

import io
import math

import numpy as np
import pytest
from PIL import Image
from skimage.data import astronaut, chelsea, coffee, rocket

from container.codecs import PayloadCodec
from metrics.capacity import capacity_bound, cdt_db, cdt_efficiency, payload
from metrics.image import mse, psnr

CODEC = PayloadCodec()

PICTURES = [p[40:168, 100:228].copy() for p in (astronaut(), chelsea(), coffee())]


def distortion(decibels: float) -> float:
    return 255**2 / 10 ** (decibels / 10)


@pytest.mark.parametrize(
    "decibels, bits",
    [(33.87, 13.2), (36.86, 11.8), (37.9, 11.2), (44.6, 7.9), (46.52, 6.9), (48.99, 5.7), (40.93, 9.73)],
)
def test_known_figures_of_the_bound(decibels, bits):
    assert capacity_bound(distortion(decibels)) == pytest.approx(bits, abs=0.05)


@pytest.mark.parametrize("error", [1e-4, 0.05, 0.7, 5.25, 300.0, 2e4])
def test_bound_against_a_maximisation_by_iteration(error):
    """The entropy of p(k) ~ exp(-a k^2), with `a` found by halving its interval, without any library."""
    low, high = 1e-7, 50.0
    squares = [k * k for k in range(-3000, 3001)]
    for _ in range(100):
        a = math.sqrt(low * high)
        weights = [math.exp(-a * s) for s in squares]
        moment = sum(w * s for w, s in zip(weights, squares, strict=True)) / sum(weights)
        low, high = (a, high) if moment > error else (low, a)
    shares = [w / sum(weights) for w in weights]
    entropy = -sum(p * math.log2(p) for p in shares if p > 0)
    assert capacity_bound(error) == pytest.approx(3 * entropy, abs=1e-6)


def test_bound_rises_is_concave_and_starts_at_nothing():
    assert capacity_bound(0) == 0 and capacity_bound(1e-8) == pytest.approx(0, abs=1e-5)
    errors = np.linspace(0.01, 40, 60)
    bits = np.array([capacity_bound(e) for e in errors])
    assert (np.diff(bits) > 0).all() and (np.diff(bits, 2) < 0).all()
    # A wide discrete Gaussian has the entropy of the continuous one.
    assert capacity_bound(500) == pytest.approx(1.5 * math.log2(2 * math.pi * math.e * 500), abs=1e-6)


@pytest.mark.parametrize("error", [-1, 70000, math.nan])
def test_bound_refuses_what_no_picture_has(error):
    with pytest.raises(ValueError, match="expected a mean squared error"):
        capacity_bound(error)


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_lsb_never_passes_the_bound(k):
    rng = np.random.default_rng(k)
    for cover in PICTURES:
        stego = cover >> k << k | rng.integers(0, 2**k, cover.shape).astype(np.uint8)
        assert 0.6 < 3 * k / capacity_bound(mse(cover, stego)) < 1


def test_optimal_adjustment_is_nearer_to_the_bound():
    """Base-8 digits, each sample moved to the nearest value of that residue: 9 bits a pixel."""
    rng = np.random.default_rng(0)
    cover = PICTURES[0].astype(int).clip(8, 247)  # no digit is out of reach there
    digits = rng.integers(0, 8, cover.shape)
    change = (digits - cover + 4) % 8 - 4
    error = mse(cover, cover + change)
    assert error == pytest.approx((64 + 2) / 12, rel=0.02)  # -4 .. 3: for even M more than (M^2-1)/12
    assert 0.8 < 9 / capacity_bound(error) < 0.97


def test_a_drawing_is_worth_its_lossless_file():
    drawing = np.zeros((96, 96, 3), np.uint8)
    drawing[::8] = drawing[:, ::6] = (0, 120, 250)
    found = payload(drawing, 45.0, CODEC)
    assert found.how == "lossless" and found == payload(drawing, math.inf, CODEC)


@pytest.mark.parametrize("target", [20.0, 31.4, 38.0, 43.7])
def test_payload_is_the_smallest_quality_that_reaches(target):
    picture = PICTURES[0][:64, :64].copy()
    for quality in range(101):
        file = io.BytesIO()
        Image.fromarray(picture).save(
            file,
            "AVIF",
            quality=quality,
            subsampling="4:4:4",
            speed=4,
            max_threads=1,
            advanced={"tune": "psnr"},
        )
        if psnr(picture, np.asarray(Image.open(file).convert("RGB"))) >= target:
            break
    assert payload(picture, target, CODEC).bits == 8 * len(file.getvalue())
    assert payload(picture, target, CODEC).how == "avif"


def test_payload_at_the_ends():
    picture = PICTURES[0]
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "WEBP", lossless=True)
    lossless = 8 * len(file.getvalue())
    for target in (math.inf, 70.0):
        found = payload(picture, target, CODEC)
        assert (found.bits, found.how) == (lossless, "lossless")
    flat = np.full_like(picture, 1) * np.round(picture.mean((0, 1))).astype(np.uint8)
    assert payload(picture, psnr(picture, flat), CODEC).bits == 0
    assert payload(picture, psnr(picture, flat) + 1, CODEC).bits > 0
    assert payload(np.full_like(picture, 9), math.inf, CODEC).how == "flat"
    assert (
        payload(picture, 30, CODEC).bits
        < payload(picture, 35, CODEC).bits
        < payload(picture, 48, CODEC).bits
        <= lossless
    )
    assert "libavif" in CODEC.name and "Pillow" in CODEC.name


def test_a_claim_that_no_file_can_carry_comes_out_above_one():
    """Stego 49 dB, one secret at 50 dB: measured on colour photographs."""
    pictures = [p[40:296, 100:356].copy() for p in (astronaut(), chelsea(), coffee(), rocket())]
    bits = [payload(p, 50.0, CODEC).bits / p[..., 0].size for p in pictures]
    assert cdt_efficiency(float(np.mean(bits)), distortion(49.0)) > 1


def test_cdt():
    assert cdt_db(1, 65025.0, 65025.0) == pytest.approx(0)
    assert cdt_db(25, 10.0, 30.0) == pytest.approx(10 * math.log10(25 * 65025 / 20))
    assert cdt_db(2, 5.0, 5.0) - cdt_db(1, 5.0, 5.0) == pytest.approx(10 * math.log10(2))
    assert cdt_db(1, 0.0, 0.0) == math.inf
    assert cdt_efficiency(9.0, 5.25) == pytest.approx(0.925, abs=0.001)
    assert cdt_efficiency(0.0, 0.0) is None and cdt_efficiency(1.0, 0.0) == math.inf
