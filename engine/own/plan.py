"""What to expect of each way to hide, before anything is hidden: quality, room, detection, time."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from container.codecs import QUICK
from container.digits import bytes_that_fit, digits_needed
from container.header import header_samples
from container.keys import TAG
from container.payload import File, check_sizes, unpack
from container.rate import TooLittleRoom, fitted_payload
from container.trellis import embed_digits
from data.images import picture_size, read_picture, to_array, to_tensor
from data.transforms import fit_secret
from engine.checkpoint import load_model, shipped
from engine.own.covers import cover_warnings
from engine.own.hiding import most_secrets
from engine.own.secrets import Secrets, read_files
from errors import UserError
from metrics.image import psnr
from models import HidingModel, KeyedMethod, build_model
from models.codec_dct import CodecDCT

STRENGTHS = (4, 8, 12, 16, 32)  # moduli of codec_lsb
PROMISES = (("jpeg:75",), ("jpeg:90",))  # of codec_dct
SAMPLED = 1_000_000  # pixels of all secrets that are coded for a plan; more are sampled
TILE = 192  # px, side of the squares that are taken of a larger secret
CROP, CROPS = 256, 2  # px and how many: what networks are tried on
GOOD, FAIR = 35.0, 36.0  # dB: secrets that look right, a stego that does
SLOWER = 6.0  # how much longer AVIF takes at SPEED than at QUICK

# The measured AUC of SPAM features on stegos of this mean squared error (docs/steganalysis.md).
DETECTED = ((0.25, 0.75), (0.5, 0.97), (12.0, 0.99))

HEAD = (
    f"{'stego dB':>9} {'secrets dB':>11} {'bytes used of':>14} {'those that fit':>15} {'AUC':>5} {'time':>7}"
)


@dataclass(frozen=True)
class Row:
    """One way to hide: the options that choose it, and what is to be expected of it.

    stego, secrets: PSNR [dB, RGB], the secrets' as the mean over pictures, None where all are byte for byte.
    used, room: bytes, None for networks, which have no payload. auc: of a detector that learns. seconds: the
    time that hiding takes.
    """

    options: str
    stego: float
    secrets: float | None
    used: int | None
    room: int | None
    auc: float
    seconds: float


@dataclass(frozen=True)
class Plan:
    """What fits, what does not and why, warnings about the cover, and a recommendation."""

    rows: list[Row]
    refused: list[str]
    warnings: list[str]

    @property
    def best(self) -> Row | None:
        """Of the ways that show the secrets well the one that is kindest to the cover; else the one that
        shows them best at a fair stego; else the one that shows them best."""
        good = [row for row in self.rows if _shown(row) >= GOOD]
        if good:
            return max(good, key=lambda row: row.stego)
        fair = [row for row in self.rows if row.stego >= FAIR]
        return max(fair or self.rows, key=_shown, default=None)

    def lines(self) -> Iterator[str]:
        """The plan as a person reads it."""
        for warning in self.warnings:
            yield f"warning: {warning}"
        if self.rows:
            longest = max(len(row.options) for row in self.rows)
            yield f"{'':{longest}} {HEAD}"
            for row in self.rows:
                used = ["-", "-"] if row.room is None else [str(row.used), str(row.room)]
                yield (
                    f"{row.options:{longest}} {row.stego:9.1f} {_decibels(row.secrets):>11} {used[0]:>14} "
                    f"{used[1]:>15} {row.auc:5.2f} {_duration(row.seconds):>7}"
                )
        for reason in self.refused:
            yield f"does not fit: {reason}"
        if self.best is not None:
            yield f"recommended: python hide.py {self.best.options} ({_why(self.best)})"


def _shown(row: Row) -> float:
    return float("inf") if row.secrets is None else row.secrets


def _why(row: Row) -> str:
    if _shown(row) >= GOOD:
        return f"of those that reveal at {GOOD:g} dB or more, the kindest to the cover"
    return f"nothing reveals at {GOOD:g} dB; this comes nearest; a larger cover or fewer secrets help"


def _decibels(value: float | None) -> str:
    return "exact" if value is None or value == float("inf") else f"{value:.1f}"


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def plan(
    cover: str | Path,
    wanted: Secrets,
    experiments: Path,
    weights: Sequence[str] | None = None,
    promises: Sequence[Sequence[str]] = PROMISES,
) -> Plan:
    """Try each method and strength small, and say what to expect of it on this machine.

    weights: what to try: networks' names or files, "codec_lsb", "codec_dct"; None: both codecs and the
    smallest shipped network of each method that takes so many secrets. promises: of codec_dct. Raises
    UserError for a cover or a secret that cannot be read or is too large.
    """
    picture = read_picture(cover)
    sizes = [picture_size(file) for file in wanted.pictures]
    check_sizes(sizes)
    files = read_files(wanted.files, picture.size)
    sample, share = _sample([read_picture(file) for file in wanted.pictures])
    found, refused = [], []
    if weights is None:
        weights = ["codec_lsb", "codec_dct", *_networks(wanted, experiments)]
    for name in weights:
        for model, options in _strengths(name, promises, experiments):
            try:
                if len(wanted.all) > most_secrets(model):
                    raise UserError(f"{len(wanted.all)} secrets, and it takes {most_secrets(model)}")
                if isinstance(model, CodecDCT):
                    found.append(_in_dct(model, options, picture, sizes, sample, share, files))
                elif isinstance(model, KeyedMethod) and model.own_sizes:
                    found.append(_in_samples(model, options, picture, sample, share, files))
                else:
                    found.append(_by_network(model, options, picture, wanted))
            except UserError as error:
                refused.append(f"{options}: {error}")
    return Plan(found, refused, list(cover_warnings(cover, picture)))


def _networks(wanted: Secrets, experiments: Path) -> list[str]:
    """Of each method's shipped networks the smallest that takes so many secrets."""
    fitting: dict[str, tuple[int, str]] = {}
    if wanted.files:
        return []
    for name, path in shipped(experiments).items():
        model, _ = load_model(path, torch.device("cpu"), experiments)
        if model.num_secrets >= len(wanted.all):
            one = model.num_secrets, name
            fitting[model.method] = min(fitting.get(model.method, one), one)
    return [name for _, name in fitting.values()]


def _strengths(
    name: str, promises: Sequence[Sequence[str]], experiments: Path
) -> Iterator[tuple[HidingModel, str]]:
    """The method or network at each of its strengths, and the options that choose it."""
    if name == "codec_lsb":
        for modulus in STRENGTHS:
            yield build_model(name, modulus=modulus), f"--modulus {modulus}"
    elif name == "codec_dct":
        for promise in promises:
            yield build_model(name, survive=promise), f"--survive {' '.join(promise)}"
    else:
        yield load_model(name, torch.device("cpu"), experiments)[0], f"--weights {name}"


# --- the codecs -----------------------------------------------------------------------------------


def _sample(pictures: list[np.ndarray]) -> tuple[list[np.ndarray], float]:
    """(what is coded for a plan, its share of all pixels).

    Of pictures that are large together, squares from all over each, put together to one: at their own
    resolution, since a picture that is made smaller takes more bits a pixel.
    """
    total = sum(picture.shape[0] * picture.shape[1] for picture in pictures)
    if total <= SAMPLED:
        return pictures, 1.0
    sampled = [_squares(picture, SAMPLED / total) for picture in pictures]
    return sampled, sum(one.shape[0] * one.shape[1] for one in sampled) / total


def _squares(picture: np.ndarray, share: float) -> np.ndarray:
    """About this share of a picture (h,w,3) uint8, in squares that stand evenly over it."""
    height, width = picture.shape[:2]
    rows = max(1, round(height * share**0.5 / TILE))
    columns = max(1, round(width * share**0.5 / TILE))
    if rows * TILE > height or columns * TILE > width:
        return picture
    tops = np.linspace(0, height - TILE, rows).astype(int) if rows > 1 else [(height - TILE) // 2]
    lefts = np.linspace(0, width - TILE, columns).astype(int) if columns > 1 else [(width - TILE) // 2]
    return np.vstack([np.hstack([picture[y : y + TILE, x : x + TILE] for x in lefts]) for y in tops])


@dataclass(frozen=True)
class _Coded:
    secrets: float | None
    used: int
    seconds: float


def _coded(
    model: KeyedMethod, sample: list[np.ndarray], share: float, files: Sequence[File], room: int
) -> _Coded:
    """The secrets, coded into so many bytes: their mean PSNR, the bytes used, and the time of coding all."""
    size = sum(len(file.content) for file in files)
    if not sample:
        used = len(fitted_payload([], b"", room, model.codecs, QUICK, files=files))
        return _Coded(None, used, 0.0)
    if size >= room:
        raise TooLittleRoom(f"the files alone need {size} bytes, {room} fit", size)
    start = time.perf_counter()
    payload = fitted_payload(sample, b"", int((room - size) * share), model.codecs, QUICK)
    seconds = (time.perf_counter() - start) / share * (SLOWER if model.speed < QUICK else 1)
    scores = [psnr(one, back) for one, back in zip(sample, unpack(payload).pictures, strict=True)]
    return _Coded(float(np.mean(scores)), int(len(payload) / share) + size, seconds)


def _in_samples(
    model: KeyedMethod,
    options: str,
    cover: np.ndarray,
    sample: list[np.ndarray],
    share: float,
    files: Sequence[File],
) -> Row:
    """codec_lsb: the stego's error is measured on squares of the cover that carry random digits."""
    room = bytes_that_fit(cover.size - header_samples(5), model.modulus) - TAG
    coded = _coded(model, sample, share, files, max(room, 0))
    part = _squares(cover, min(1.0, 0.25e6 / (cover.size / 3))).reshape(-1)
    random = np.random.default_rng(0)
    digits = random.integers(0, model.modulus, len(part))
    start = time.perf_counter()
    moved = embed_digits(
        part.copy(), digits, model.modulus, model.shaping, random.integers(0, 256, len(part), np.uint8)
    )
    carried = digits_needed(coded.used + TAG, model.modulus) / cover.size
    seconds = (time.perf_counter() - start) * carried * cover.size / len(part)
    error = float(np.square(moved.astype(float) - part).mean()) * carried
    return Row(options, _psnr(error), coded.secrets, coded.used, room, _auc(error), coded.seconds + seconds)


def _in_dct(
    model: CodecDCT,
    options: str,
    cover: np.ndarray,
    sizes: list[tuple[int, int]],
    sample: list[np.ndarray],
    share: float,
    files: Sequence[File],
) -> Row:
    """codec_dct: the survey that hiding begins with says what fits and what it costs."""
    start = time.perf_counter()
    rung = model.surveyed(cover, sizes, files)
    surveying = time.perf_counter() - start
    coded = _coded(model, sample, share, files, rung.room - TAG)
    trials = 2 * surveying * max(1.0, cover.size / 3e5)
    error = 255**2 / 10 ** (rung.psnr / 10)
    return Row(options, rung.psnr, coded.secrets, coded.used, rung.room, _auc(error), coded.seconds + trials)


# --- networks -------------------------------------------------------------------------------------


def _by_network(model: HidingModel, options: str, cover: np.ndarray, wanted: Secrets) -> Row:
    """A network: it really hides, in squares of the cover, the secrets' same squares."""
    height, width = cover.shape[:2]
    if height < model.smallest[0] or width < model.smallest[1]:
        raise UserError(f"a cover of {width}x{height} pixels is too small for it")
    secrets = [fit_secret(read_picture(file), height, width) for file in wanted.pictures]
    side_h, side_w = (
        max(min(CROP, side), least) for side, least in zip((height, width), model.smallest, strict=True)
    )
    places = [(height - side_h) // 2], [(width - side_w) // 2]
    if height * width > CROPS * side_h * side_w:
        places = [0, height - side_h], [0, width - side_w]
    start, stego_errors, secret_errors = time.perf_counter(), [], [[] for _ in secrets]
    for top, left in zip(*places, strict=True):
        cut = (slice(top, top + side_h), slice(left, left + side_w))
        parts = torch.stack([to_tensor(np.ascontiguousarray(secret[cut])) for secret in secrets])
        part = to_tensor(np.ascontiguousarray(cover[cut]))
        stego = model.hide(part[None], parts[None])
        back = model.reveal(stego)[0]
        stego_errors.append(_error(to_array(stego[0]), cover[cut]))
        for errors, one, secret in zip(secret_errors, back, secrets, strict=False):
            errors.append(_error(to_array(one), secret[cut]))
    tried = len(places[0]) * side_h * side_w
    seconds = (time.perf_counter() - start) / 2 * height * width / tried
    error = float(np.mean(stego_errors))
    revealed = float(np.mean([_psnr(float(np.mean(errors))) for errors in secret_errors]))
    return Row(options, _psnr(error), revealed, None, None, _auc(error), seconds)


def _error(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.square(a.astype(float) - b).mean())


def _psnr(error: float) -> float:
    return float(10 * np.log10(255**2 / error)) if error else float("inf")


def _auc(error: float) -> float:
    """What a detector that learns reaches, about, on stegos of this mean squared error."""
    errors, aucs = zip(*((0.02, 0.5), *DETECTED), strict=True)
    return float(np.interp(np.log(max(error, 1e-9)), np.log(errors), aucs))
