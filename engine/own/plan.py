"""What to expect of each way to hide, found out before hiding: quality, room, detection, time."""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from container.payload import check_sizes
from data.images import picture_size, read_picture
from engine.checkpoint import load_model, shipped
from engine.own.covers import cover_warnings
from engine.own.hiding import check_not_cover, most_secrets, no_larger, set_sender
from engine.own.secrets import Secrets, read_files
from engine.own.trials import Row, by_network, in_dct, in_samples, load_of
from engine.own.wish import Wish
from errors import UserError
from models import HidingModel, build_model
from models.codec_dct import CodecDCT
from models.codec_lsb import CodecLSB

STRENGTHS = (4, 8, 12, 16, 32)  # moduli of codec_lsb
PROMISES = (("jpeg:75",), ("jpeg:90",))  # of codec_dct
CPU, NO_WISH = torch.device("cpu"), Wish()
GOOD, FAIR = 35.0, 36.0  # dB: the lowest PSNR of secrets and of a stego that look right
HEAD = f"{'stego dB':>9} {'secrets dB':>11} {'bytes used':>14} {'bytes that fit':>15} {'AUC':>5} {'time':>7}"


@dataclass(frozen=True)
class Plan:
    """What fits, what does not fit and why, warnings about the cover, and a recommendation."""

    rows: list[Row]
    refused: list[str]
    warnings: list[str]

    @property
    def best(self) -> Row | None:
        """The recommended way to hide; None if nothing fits.

        This is the one kindest to the cover among those with good secrets. If no secrets are good, it is the
        one with the best secrets among those with a fair stego, or else among all.
        """
        good = [row for row in self.rows if _shown(row) >= GOOD]
        if good:
            return max(good, key=lambda row: row.stego)
        fair = [row for row in self.rows if row.stego >= FAIR]
        return max(fair or self.rows, key=_shown, default=None)

    def lines(self) -> Iterator[str]:
        """Yield the lines of the plan as text for a person."""
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
            yield f"recommended: hide.py with {self.best.options} ({_why(self.best)})"


def _shown(row: Row) -> float:
    return float("inf") if row.secrets is None else row.secrets


def _why(row: Row) -> str:
    if _shown(row) >= GOOD:
        return f"the kindest to the cover of those that reveal at {GOOD:g} dB or more"
    return f"nothing reveals at {GOOD:g} dB; a larger cover or fewer secrets help"


def _decibels(value: float | None) -> str:
    return "exact" if value is None or value == float("inf") else f"{value:.1f}"


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


def plan(
    cover: str | Path,
    wanted: Secrets,
    experiments: Path,
    weights: Sequence[str] | None = None,
    wish: Wish = NO_WISH,
    device: torch.device = CPU,
) -> Plan:
    """Try each method and strength on a small scale, and say what to expect of it on this machine.

    weights: what to try: names or files of networks, "codec_lsb", "codec_dct". None takes what the wish
        names, or else both codecs and, of each method, the smallest shipped network that takes all secrets.
    wish: hide.py's options; they hold for everything that is tried.
    Raises UserError for what hide.py would refuse, and for a cover or a secret that cannot be read or is too
    large.
    """
    check_not_cover(cover, wanted)
    picture = no_larger(read_picture(cover), wish.longest_side)
    sizes = [picture_size(file) for file in wanted.pictures]
    check_sizes(sizes)
    pictures = [read_picture(file) for file in wanted.pictures]
    load = load_of(pictures, read_files(wanted.files, picture.size))
    decoy = None
    if wish.decoy is not None:
        check_not_cover(cover, wish.decoy)
        others = [read_picture(file) for file in wish.decoy.pictures]
        decoy = load_of(others, read_files(wish.decoy.files, picture.size))
    found, refused = [], []
    if weights is None:
        named = [wish.named] if wish.named else None
        weights = named or ["codec_lsb", "codec_dct", *_networks(wanted, experiments)]
    for name in weights:
        for model, options in _strengths(name, wish, experiments, device):
            try:
                wish.set_on(model)
                wish.check_takes(model, wanted)
            except UserError as error:
                if name == wish.chosen:
                    raise
                refused.append(f"{options}: {error}")
                continue
            try:
                if len(wanted.all) > most_secrets(model):
                    raise UserError(f"{len(wanted.all)} secrets, but it takes at most {most_secrets(model)}")
                if isinstance(model, CodecDCT):
                    found.append(in_dct(model, options, picture, sizes, load))
                elif isinstance(model, CodecLSB):
                    found.append(in_samples(model, options, picture, load, decoy))
                else:
                    found.append(by_network(model, options, picture, pictures, wish.fit))
            except UserError as error:
                refused.append(f"{options}: {error}")
    return Plan(found, refused, list(cover_warnings(cover, picture)))


def _networks(wanted: Secrets, experiments: Path) -> list[str]:
    """Return, for each method, the smallest shipped network that takes so many secrets."""
    fitting: dict[str, tuple[int, str]] = {}
    if wanted.files:
        return []
    for name, path in shipped(experiments).items():
        model, _ = load_model(path, CPU, experiments)
        if model.num_secrets >= len(wanted.all):
            one = model.num_secrets, name
            fitting[model.method] = min(fitting.get(model.method, one), one)
    return [name for _, name in fitting.values()]


def _strengths(
    name: str, wish: Wish, experiments: Path, device: torch.device
) -> Iterator[tuple[HidingModel, str]]:
    """Yield the method or network at each strength, or at the wished one, with the options that choose it."""
    if name == "codec_lsb":
        for modulus in STRENGTHS if wish.modulus is None else [wish.modulus]:
            model = build_model(name)
            set_sender(model, modulus)
            yield model, f"--modulus {modulus}"
    elif name == "codec_dct":
        for promise in [wish.survive] if wish.survive else PROMISES:
            yield build_model(name, survive=promise), f"--survive {shlex.join(promise)}"
    else:
        yield load_model(name, device, experiments)[0], f"--weights {shlex.quote(name)}"
