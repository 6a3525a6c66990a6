"""Stegos that must survive compression: set the promise, report the trials, and try an attack."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch

from channel.attacks import Attack, label, send
from channel.promise import described
from container.header import ContainerError
from container.keys import Key
from data.images import to_array, to_tensor
from engine.own.hiding import HiddenFile, hide_in_memory
from engine.own.secrets import Secrets
from errors import UserError
from metrics.image import psnr
from models import HidingModel, KeyedMethod
from models.codec_dct import CodecDCT


def set_promise(
    model: HidingModel, weights: str | None, survive: Sequence[str] | None, least_psnr: float | None
) -> None:
    """Set what the stego must survive, if the user asked for it.

    survive: attacks such as "jpeg:75". least_psnr: the lowest PSNR of the stego [dB]. Raises UserError if the
    method is not codec_dct or refuses a value.
    """
    if survive is None and least_psnr is None:
        return
    if not isinstance(model, CodecDCT) or weights not in (None, "codec_dct"):
        if survive is None:
            raise UserError("--least-psnr: only codec_dct takes it; add, for example, --survive jpeg:75")
        raise UserError("--survive: only codec_dct can promise to survive compression; leave out --weights")
    if survive is not None:
        model.survive = survive
    if least_psnr is not None:
        model.least_psnr = least_psnr


def survived(model: HidingModel, done: HiddenFile) -> Iterator[str]:
    """Yield lines on the attacks that codec_dct tried; none for other methods."""
    if not isinstance(model, CodecDCT) or model.report is None:
        return
    report = model.report
    if done.psnr < report.good:
        yield (
            f"warning:   the stego is below {report.good:g} dB; at a higher PSNR too little survives on "
            "this cover (a larger cover, fewer secrets or a milder --survive would help)"
        )
    scores = [f"{score:.2f} dB (RGB)" for score in done.revealed] + ["byte for byte"] * len(
        done.secrets.files
    )
    yield f"secrets:   {', '.join(scores)} as they come back from this file"
    worst = max(report.trials, key=lambda trial: trial.worst / trial.correctable)
    promised = ", ".join(map(described, model.survive))
    yield (
        f"survives:  {promised}. Tried {len(report.trials)} attacks; the worst, {worst.attack}, made "
        f"{worst.worst} errors in one of {report.code_words} code words, and {worst.correctable} can be "
        f"corrected ({report.used:.0%} used)"
    )
    programs: dict[str, list[str]] = {}
    for trial in report.trials:
        attack, _, program = trial.attack.rpartition(" by ")
        programs.setdefault(attack or program, []).append(program if attack else "")
    for attack, by in programs.items():
        yield f"tried:     {attack}{' by ' if any(by) else ''}{', '.join(filter(None, by))}"
    yield "           resizing, cropping and filters still destroy what is hidden"


def trained_for(model: HidingModel) -> str:
    """Say what a network was trained to survive: "mean size=3, jpeg quality=75 to 95"; "" for nothing."""
    return ", ".join(" + ".join(map(_in_words, chain)) for chain in model.trained_channel)


def _in_words(written: Mapping) -> str:
    """Put an attack from an option file into words, including its ranges."""
    strengths = {name: value for name, value in written.items() if name != "type"}
    words = (
        f"{name}={' to '.join(map(str, value)) if isinstance(value, list) else value}"
        for name, value in strengths.items()
    )
    return " ".join([written["type"], *words])


def dry_attack(
    model: HidingModel,
    cover: str | Path,
    wanted: Secrets,
    attack: Attack,
    fit: str,
    key: Key,
    marked: bool,
    longest_side: int | None,
) -> Iterator[str]:
    """Hide in memory, attack the stego and reveal. Yields lines on what is left; writes nothing."""
    hidden = hide_in_memory(model, cover, wanted, fit, key, marked, longest_side)
    yield f"stego:     PSNR to the cover {psnr(hidden.cover, hidden.stego):.2f} dB (RGB), not written"
    attacked = send(hidden.stego, attack)
    yield f"attacked:  {label(attack)}, PSNR to the stego {psnr(hidden.stego, attacked):.2f} dB (RGB)"
    try:
        revealed = _revealed(model, attacked, key)
    except ContainerError as error:
        yield f"revealed:  nothing: {error}"
        return
    for k, (path, secret, back) in enumerate(zip(wanted.pictures, hidden.secrets, revealed, strict=False), 1):
        yield f"secret {k:2d}: {path}, PSNR {psnr(to_array(secret), to_array(back)):.2f} dB (RGB)"


def _revealed(model: HidingModel, stego, key: Key) -> list[torch.Tensor]:
    if isinstance(model, KeyedMethod):
        try:
            return model.unseal(to_tensor(stego), key)[0]
        except ContainerError:
            return model.unseal(to_tensor(stego), key, damaged_ok=True)[0]
    return list(model.reveal(to_tensor(stego)[None])[0])
