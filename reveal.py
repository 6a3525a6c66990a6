#!/usr/bin/env python
"""Reveal the pictures that hide.py hid in a stego picture (see --help)."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from engine.command import Parser, run_command
from engine.log import EXPERIMENTS
from engine.own.passphrase import add_passphrase, asked_key, has_key
from errors import UserError

if TYPE_CHECKING:
    from container.keys import Key
    from models import HidingModel

PARSER = Parser(
    prog="reveal.py",
    description="Reveal what hide.py hid. You need the stego file, and the weights, passphrase and "
    "key file if they were used. Pictures are written as secret_01.png and so on. Methods with a key restore "
    "each picture's own size (networks resize them); other methods write pictures at the stego's size. "
    "codec_lsb and codec_dct also keep names and other files.",
    epilog="""examples:
  python reveal.py --stego stego.png --out revealed
  python reveal.py --weights quickstart --stego stego.png --out revealed
  python reveal.py --stego stego.png --out revealed --passphrase
  python reveal.py --stego stego.png --list""",
)
PARSER.add_argument(
    "--weights",
    metavar="NAME_OR_FILE",
    help="the weights that hid the pictures: a name, a .safetensors file, or a method without weights "
    "(codec_lsb, codec_dct, lsb). Default: the weights that the stego names, if the method has a key",
)
PARSER.add_argument(
    "--stego",
    required=True,
    type=Path,
    metavar="FILE",
    help="the file that hide.py wrote, or the folder that holds an album's stegos",
)
PARSER.add_argument("--out", type=Path, metavar="DIR", help="the folder for the revealed files")
PARSER.add_argument("--list", action="store_true", help="list what is hidden, and write nothing")
PARSER.add_argument(
    "--all",
    action="store_true",
    help="also write the mid-grey pictures of places without a secret (methods without a key)",
)
add_passphrase(PARSER)
PARSER.add_argument(
    "--damaged",
    action="store_true",
    help="reveal as much as possible of a stego that was changed after hiding (smilenet_l; codec_lsb and "
    "codec_dct only if what they hide is whole)",
)
PARSER.add_argument("--force", action="store_true", help="replace files that exist")
PARSER.add_argument(
    "--precision",
    choices=("fp32", "bf16", "fp16"),
    default="fp32",
    help="a network's arithmetic. bf16 and fp16 are faster and a little less exact, and the device must "
    "support them (default: %(default)s)",
)
PARSER.add_argument("--device", default="auto", help="auto (default), cpu, cuda, cuda:1, mps")
PARSER.add_argument(
    "--experiments", type=Path, default=EXPERIMENTS, metavar="DIR", help="the folder that holds the runs"
)


def main(arguments: argparse.Namespace) -> None:
    """Reveal or list what a stego, or the stegos of an album, hold."""
    from engine.own.revealing import contents, reveal_files, revealed
    from engine.precision import set_precision

    if arguments.out is None and not arguments.list:
        raise UserError("--out: name a folder to reveal into, or use --list to see what is hidden")
    if arguments.list and arguments.stego.is_dir():
        raise UserError(f"{arguments.stego}: a folder; --list needs a single stego")
    model, key = asked_model(arguments)
    set_precision(model, arguments.precision)
    model.progress = sys.stderr.isatty()
    if arguments.list:
        found = revealed(model, arguments.stego, key, arguments.damaged)
        for line in contents(found):
            print(line)
        told(found.empty, found.damaged, "only --all writes them")
        return
    if arguments.stego.is_dir():
        album(arguments, model, key)
        return
    done = reveal_files(
        model,
        arguments.stego,
        arguments.out,
        arguments.force,
        keep_empty=arguments.all,
        key=key,
        damaged_ok=arguments.damaged,
    )
    for path in done.written:
        print(path)
    kept = "written because of --all" if arguments.all else "not written (--all writes them)"
    told(done.empty, done.damaged, kept)
    if done.album is not None:
        print(f"one of the {len(done.album.names)} stegos of an album; --stego FOLDER reveals them together")
    print(f"{len(done.written)} file{'s' * (len(done.written) != 1)} in {arguments.out}")


def asked_model(arguments: argparse.Namespace) -> "tuple[HidingModel, Key]":
    """Return the model that hid the secrets, and the key.

    With --weights, asks for the key only after checking that the method has one. Without --weights, the key
    comes first, because it may be needed to read which weights the stego names.
    """
    from engine.build import choose_device
    from engine.checkpoint import load_model, weights_that_hid
    from engine.own.album import first_that_opens
    from engine.own.hiding import check_keyed
    from engine.own.revealing import hider_of

    device = choose_device(arguments.device)
    if arguments.weights:
        model, _ = load_model(arguments.weights, device, arguments.experiments)
        check_keyed(model, passphrase=has_key(arguments), damaged_ok=arguments.damaged)
        return model, asked_key(arguments, twice=False)
    key = asked_key(arguments, twice=False)
    hider = (
        first_that_opens(arguments.stego, key) if arguments.stego.is_dir() else hider_of(arguments.stego, key)
    )
    return load_model(weights_that_hid(*hider, arguments.experiments), device, arguments.experiments)[0], key


def album(arguments: argparse.Namespace, model: "HidingModel", key: "Key") -> None:
    """Reveal the stegos of a folder. Raises UserError if some are missing, after writing the others."""
    from engine.own.album import reveal_album

    done = reveal_album(model, arguments.stego, arguments.out, arguments.force, key, arguments.damaged)
    for path in done.written:
        print(path)
    for line in done.others:
        print(f"skipped: {line}")
    told([], done.damaged, "")
    print(f"{len(done.written)} file{'s' * (len(done.written) != 1)} in {arguments.out}")
    if done.missing:
        raise UserError("; ".join(done.missing))


def told(empty: list[int], damaged: bool, kept: str) -> None:
    """Print a line if some places look empty, and one if the stego is damaged.

    kept: what happens to the empty places.
    """
    if empty:
        print(f"empty places (mid-grey): {', '.join(map(str, empty))}; {kept}")
    if damaged:
        print("the stego was changed after hiding: what was revealed may be wrong")


if __name__ == "__main__":
    sys.exit(run_command(PARSER, main))
