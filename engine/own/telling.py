"""What hide.py prints when it is done."""

import argparse
import shlex
from collections.abc import Iterator
from pathlib import Path

from engine.detection import expected
from engine.log import EXPERIMENTS
from engine.own.hiding import HiddenFile
from engine.own.surviving import survived, trained_for
from models import HidingModel, KeyedMethod


def hidden(model: HidingModel, done: HiddenFile, fit: str) -> Iterator[str]:
    """Yield lines on one stego: its secrets, the changes, and how far it is from the cover."""
    fitted = {"stretch": "stretched", "pad": "padded"}[fit]
    for k, file in enumerate(done.secrets.all, 1):
        note = f" ({fitted} to the cover's size)" if file in done.resized else ""
        note = " (byte for byte)" if file in done.secrets.files else note
        yield f"secret {k:2d}: {file}{note}"
    yield from left_out(done.secrets.left_out)
    if done.empty:
        yield f"{done.empty} of {model.num_secrets} places are empty (mid-grey)"
    if (changed := changes(model)) is not None:
        yield f"changes:   {changed}"
    yield f"stego:     {done.stego}, PSNR to the cover {done.psnr:.2f} dB (RGB)"
    found = expected(model, done.psnr)
    yield f"detection: {found or 'not measured for stegos like this one, so do not count on going unnoticed'}"
    yield from survived(model, done)
    if attacks := trained_for(model):
        yield f"trained to survive: {attacks} (not tried on this stego; --dry-attack tries one)"


def left_out(files: list[Path]) -> Iterator[str]:
    """Yield a line for each file of a folder that was not hidden."""
    for file in files:
        yield f"left out:  {file}, not a picture (--exact hides it)"


def changes(model: HidingModel) -> str | None:
    """Say in words what happens to the samples; None if the method has no modulus.

    Raises UserError if modulus and shaping do not fit together.
    """
    if not (isinstance(model, KeyedMethod) and hasattr(model, "modulus")):
        return None
    modulus, shaping = model.modulus, model.shaping
    if shaping:
        return f"modulo {modulus}, shaped by a trellis of {shaping} states"
    return f"modulo {modulus}, not shaped" + (" (a trellis needs an even modulus)" if modulus % 2 else "")


def how_to_reveal(arguments: argparse.Namespace) -> str:
    """Return a line with the command that reveals what these options hid."""
    words = ["reveal.py"]
    if arguments.weights:
        words += ["--weights", arguments.weights]
    if arguments.experiments != EXPERIMENTS:
        words += ["--experiments", str(arguments.experiments)]
    words += ["--stego", str(arguments.out), "--out", "revealed"]
    if arguments.passphrase_file is not None:
        words += ["--passphrase-file", str(arguments.passphrase_file)]
    elif arguments.passphrase_env is not None:
        words += ["--passphrase-env", arguments.passphrase_env]
    elif arguments.passphrase:
        words += ["--passphrase"]
    if arguments.keyfile is not None:
        words += ["--keyfile", str(arguments.keyfile)]
    return f"reveal:    python {shlex.join(words)}"
