#!/usr/bin/env python
"""Reveal the pictures that hide.py hid in a stego picture (see --help)."""

import argparse
import sys
from pathlib import Path

from engine.command import Parser, run_command
from engine.log import EXPERIMENTS
from engine.own.passphrase import add_passphrase, asked_key

PARSER = Parser(
    prog="reveal.py",
    description="Reveal the pictures that hide.py hid, from the stego file and, where a network hid them, "
    "its weights. They are written as secret_01.png and so on, at the stego's size. Methods with a key give "
    "them back at their own size, networks by enlarging; codec_lsb keeps names too.",
    epilog="""examples:
  python reveal.py --stego stego.png --out revealed
  python reveal.py --weights quickstart --stego stego.png --out revealed
  python reveal.py --stego stego.png --out revealed --passphrase""",
)
PARSER.add_argument(
    "--weights",
    metavar="NAME_OR_FILE",
    help="the weights that the pictures were hidden with: a name, a .safetensors file, or a method without "
    "weights (codec_lsb, codec_dct, lsb). Default: those that the stego names, if it was hidden with a key",
)
PARSER.add_argument("--stego", required=True, metavar="FILE", help="the file that hide.py wrote")
PARSER.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder for the pictures")
PARSER.add_argument(
    "--all", action="store_true", help="write the empty (mid-grey) places too (methods without a key)"
)
add_passphrase(PARSER)
PARSER.add_argument(
    "--damaged",
    action="store_true",
    help="reveal what can be revealed of a stego that was changed after hiding (methods with a key)",
)
PARSER.add_argument("--force", action="store_true", help="replace pictures that exist")
PARSER.add_argument(
    "--precision",
    choices=("fp32", "bf16", "fp16"),
    default="fp32",
    help="arithmetic of a network; below fp32 it is faster and a little less exact, and the device must have "
    "it (default: %(default)s)",
)
PARSER.add_argument("--device", default="auto", help="auto (default), cpu, cuda, cuda:1, mps")
PARSER.add_argument(
    "--experiments", type=Path, default=EXPERIMENTS, metavar="DIR", help="where runs are kept"
)


def main(arguments: argparse.Namespace) -> None:
    from engine.build import choose_device
    from engine.checkpoint import load_model, weights_that_hid
    from engine.own.hiding import check_keyed, hider_of, reveal_files
    from engine.precision import set_precision

    device = choose_device(arguments.device)
    if arguments.weights:
        model, _ = load_model(arguments.weights, device, arguments.experiments)
        secret = arguments.passphrase or arguments.passphrase_file is not None
        check_keyed(model, passphrase=secret, damaged_ok=arguments.damaged)  # before asking
        key = asked_key(arguments, twice=False)
    else:
        key = asked_key(arguments, twice=False)
        weights = weights_that_hid(*hider_of(arguments.stego, key), arguments.experiments)
        model, _ = load_model(weights, device, arguments.experiments)
    set_precision(model, arguments.precision)
    model.progress = sys.stderr.isatty()
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
    if done.empty:
        places = ", ".join(str(k) for k in done.empty)
        kept = "written all the same" if arguments.all else "not written (--all writes them)"
        print(f"empty places (mid-grey): {places}; {kept}")
    if done.damaged:
        print("the stego was changed after hiding: nothing vouches for what was revealed")
    print(f"{len(done.written)} picture{'s' * (len(done.written) != 1)} in {arguments.out}")


if __name__ == "__main__":
    sys.exit(run_command(PARSER, main))
