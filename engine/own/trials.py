"""Try one way to hide on a small scale: what it does to a cover and its secrets."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from container.codecs import QUICK
from container.digits import digits_needed
from container.keys import TAG
from container.payload import File
from container.rate import LARGE, TooLittleRoom, expected_errors, fitted_payload
from data.images import to_array, to_tensor
from data.transforms import fit_secret
from engine.detection import likely_auc
from engine.own.decoy import halves
from errors import UserError
from models import HidingModel
from models.codec_dct import CodecDCT
from models.codec_lsb import CodecLSB

SAMPLED = 1_000_000  # pixels; if the secrets have more in all, a plan codes only a sample of them
TILE = 128  # px, side of the squares that are cut from a larger secret
CROP, CROPS = 256, 2  # side [px] and number of the squares that networks are tried on
GAUGED = 4  # secrets that gauge what slow coding gains: 0.1 dB for some pictures, 2 dB for others
SLOWER = 6.0  # how many times longer AVIF takes at SPEED than at QUICK


@dataclass(frozen=True)
class Row:
    """One way to hide: the options that choose it, and what to expect of it.

    stego: PSNR [dB, RGB].
    secrets: mean PSNR of the pictures that are not exact [dB, RGB]; inf if all pictures are exact, None if
        all secrets are hidden byte for byte.
    used, room: the bytes that the secrets take and that fit; None for networks, which have no payload.
    auc: of a detector that learns.
    seconds: how long hiding takes.
    """

    options: str
    stego: float
    secrets: float | None
    used: int | None
    room: int | None
    auc: float
    seconds: float


# --- the codecs -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Load:
    """What to hide.

    parts: the part of each picture that is coded for a plan, (h,w,3) uint8. pixels: of each whole picture.
    files: hidden byte for byte.
    """

    parts: list[np.ndarray]
    pixels: list[int]
    files: Sequence[File]

    @property
    def times(self) -> list[float]:
        """How many times larger each picture is than its part."""
        return [pixels / coded for pixels, coded in zip(self.pixels, self.coded, strict=True)]

    @property
    def coded(self) -> list[int]:
        """The number of pixels of each part."""
        return [part.shape[0] * part.shape[1] for part in self.parts]


def load_of(pictures: list[np.ndarray], files: Sequence[File]) -> Load:
    """Make a load of pictures (h,w,3) uint8 and files.

    If the pictures are large in all, the load holds squares from all over each picture, joined into one part.
    The squares keep their resolution, since a smaller version of a picture takes more bits per pixel.
    """
    pixels = [picture.shape[0] * picture.shape[1] for picture in pictures]
    share = min(1.0, SAMPLED / max(sum(pixels), 1))
    parts = [_squares(picture, share) for picture in pictures] if share < 1 else pictures
    return Load(parts, pixels, files)


def _squares(picture: np.ndarray, share: float) -> np.ndarray:
    """Cut about this share of a picture (h,w,3) uint8, as evenly spaced squares; keep small ones whole."""
    height, width = picture.shape[:2]
    rows = max(2, round(height * share**0.5 / TILE))
    columns = max(2, round(width * share**0.5 / TILE))
    if rows * TILE >= height or columns * TILE >= width:
        return picture
    tops, lefts = _evenly(height - TILE, rows), _evenly(width - TILE, columns)
    return np.vstack([np.hstack([picture[y : y + TILE, x : x + TILE] for x in lefts]) for y in tops])


def _evenly(last: int, count: int) -> list[int]:
    """Return `count` evenly spaced places from 0 to `last`; a single one lies in the middle."""
    return np.linspace(0, last, count).astype(int).tolist() if count > 1 else [last // 2]


@dataclass(frozen=True)
class _Coded:
    secrets: float | None
    used: int
    seconds: float


def _coded(model: CodecLSB | CodecDCT, load: Load, room: int) -> _Coded:
    """Code a load into `room` bytes: the pictures' mean PSNR, the bytes used, and the seconds it takes."""
    if not load.parts:
        return _Coded(None, len(fitted_payload([], b"", room, model.codecs, QUICK, files=load.files)), 0.0)
    size = sum(len(file.content) for file in load.files)
    if size >= room:
        raise TooLittleRoom(f"the files alone need {size} bytes, but only {room} fit", size)
    start = time.perf_counter()
    errors, used = expected_errors(load.parts, load.times, room - size, model.codecs, QUICK)
    pace = (time.perf_counter() - start) / sum(load.coded)
    slow = [model.speed < QUICK and pixels <= LARGE for pixels in load.pixels]
    if isinstance(model, CodecDCT) and not all(slow):  # codec_dct codes all pictures at the same speed
        slow = [False] * len(slow)
    seconds = pace * sum(n * (SLOWER if one else 1) for n, one in zip(load.pixels, slow, strict=True))
    gain = _gain_of_slow(model, load, slow, room - size) if any(slow) else 0.0
    scores = [_psnr(error) + gain * one for error, one in zip(errors, slow, strict=True)]
    shown = [score for score in scores if score != float("inf")]
    return _Coded(float(np.mean(shown)) if shown else float("inf"), used + size, seconds)


def _gain_of_slow(model: CodecLSB | CodecDCT, load: Load, slow: list[bool], room: int) -> float:
    """Return how much slow coding gains in `room` bytes [dB], tried on some of the secrets it is for."""
    own = [k for k, one in enumerate(slow) if one]
    own = [own[place] for place in sorted(set(_evenly(len(own) - 1, min(GAUGED, len(own)))))]
    tiles = [_squares(load.parts[k], min(1.0, 4 * TILE**2 / load.coded[k])) for k in own]
    times = sum(load.pixels) / sum(tile.shape[0] * tile.shape[1] for tile in tiles)
    means = []
    for speed in (QUICK, model.speed):
        errors, _ = expected_errors(tiles, [times] * len(tiles), room, model.codecs, speed)
        means.append(float(np.mean([_psnr(error) for error in errors if error] or [0.0])))
    return means[1] - means[0] if all(means) else 0.0


def in_samples(
    model: CodecLSB, options: str, cover: np.ndarray, load: Load, decoy: Load | None = None
) -> Row:
    """Try codec_lsb: measure the stego's error on squares of the cover that carry random digits.

    cover: (H,W,3) uint8. decoy: hidden in one half of the cover, while the load is hidden in the other half.
    Raises UserError if the load does not fit.
    """
    if decoy is None:
        error, room, coded = _in_part(model, cover, load)
        noise = _psnr(error)
        return Row(options, noise, coded.secrets, coded.used, room, likely_auc(noise), coded.seconds)
    # Chance chooses the half for the load. Assume the lower one, which may be smaller.
    upper, lower = halves(cover)
    other_error, _, other = _in_part(model, upper, decoy)
    error, room, coded = _in_part(model, lower, load)
    error = (error * lower.size + other_error * upper.size) / cover.size
    seconds = coded.seconds + other.seconds
    return Row(options, _psnr(error), coded.secrets, coded.used, room, likely_auc(_psnr(error)), seconds)


def _in_part(model: CodecLSB, cover: np.ndarray, load: Load) -> tuple[float, int, _Coded]:
    """Return the stego's mean squared error, the bytes that fit, and the coded load with the total time."""
    room = max(model.most_bytes(cover.size // 3), 0)
    coded = _coded(model, load, room)
    part = _squares(cover, min(1.0, 0.25e6 / (cover.size / 3))).reshape(-1)
    random = np.random.default_rng(0)
    digits = random.integers(0, model.modulus, len(part))
    start = time.perf_counter()
    moved = model.moved(part.copy(), digits, random.integers(0, 256, len(part), np.uint8))
    carried = digits_needed(coded.used + TAG, model.modulus) / cover.size
    seconds = (time.perf_counter() - start) * carried * cover.size / len(part)
    error = float(np.square(moved.astype(float) - part).mean()) * carried
    return error, room, replace(coded, seconds=coded.seconds + seconds)


def in_dct(model: CodecDCT, options: str, cover: np.ndarray, sizes: list[tuple[int, int]], load: Load) -> Row:
    """Try codec_dct: the survey at the start of hiding says what fits and what it costs.

    cover: (H,W,3) uint8. sizes: (H,W) of each secret. Raises UserError if the load does not fit.
    """
    start = time.perf_counter()
    rung = model.surveyed(cover, sizes, load.files)
    surveying = time.perf_counter() - start
    coded = _coded(model, load, rung.room - TAG)
    trials = 2 * surveying * max(1.0, cover.size / 3e5)
    error = 255**2 / 10 ** (rung.psnr / 10)
    return Row(
        options,
        rung.psnr,
        coded.secrets,
        coded.used,
        rung.room,
        likely_auc(_psnr(error)),
        coded.seconds + trials,
    )


# --- networks -------------------------------------------------------------------------------------


def by_network(
    model: HidingModel, options: str, cover: np.ndarray, pictures: list[np.ndarray], fit: str
) -> Row:
    """Try a network: really hide squares of the pictures (h,w,3) uint8 in the same squares of the cover.

    cover: (H,W,3) uint8. fit: see `fit_secret`. Raises UserError if the cover is too small.
    """
    height, width = cover.shape[:2]
    if height < model.smallest[0] or width < model.smallest[1]:
        raise UserError(f"a cover of {width}x{height} pixels is too small for this network")
    secrets = [fit_secret(picture, height, width, fit) for picture in pictures]
    side_h, side_w = (
        max(min(CROP, s), least) for s, least in zip((height, width), model.smallest, strict=True)
    )
    count = CROPS if height * width > CROPS * side_h * side_w else 1
    places = list(zip(_evenly(height - side_h, count), _evenly(width - side_w, count), strict=True))
    start = time.perf_counter()
    stego_errors: list[float] = []
    secret_errors: list[list[float]] = [[] for _ in secrets]
    for top, left in places:
        cut = (slice(top, top + side_h), slice(left, left + side_w))
        parts = torch.stack([to_tensor(np.ascontiguousarray(secret[cut])) for secret in secrets])
        part = to_tensor(np.ascontiguousarray(cover[cut]))
        stego = model.hide(part[None], parts[None])
        back = model.reveal(stego)[0]
        stego_errors.append(_error(to_array(stego[0]), cover[cut]))
        for errors, one, secret in zip(secret_errors, back, secrets, strict=False):
            errors.append(_error(to_array(one), secret[cut]))
    tried = len(places) * side_h * side_w
    seconds = (time.perf_counter() - start) / 2 * height * width / tried
    error = float(np.mean(stego_errors))
    revealed = float(np.mean([_psnr(float(np.mean(errors))) for errors in secret_errors]))
    return Row(options, _psnr(error), revealed, None, None, likely_auc(_psnr(error)), seconds)


def _error(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.square(a.astype(float) - b).mean())


def _psnr(error: float) -> float:
    return float(10 * np.log10(255**2 / error)) if error else float("inf")
