"""Make stegos to try detectors on, with a method or with a known change (docs/steganalysis.md).

Run from the checkout: `python scripts/make_stegos.py --help`. Exit code 0: done; 2: a mistake in the call
or bad pictures, which one line on stderr explains; 1: any other error.
"""

import argparse
import sys
from pathlib import Path

# Scripts run from the checkout without installation, so its root must be on the path.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data.images import list_pictures
from engine.build import choose_device
from engine.checkpoint import load_model
from engine.command import Parser, run_command
from engine.log import EXPERIMENTS
from engine.own.hiding import check_keyed, set_sender
from engine.own.passphrase import add_passphrase, asked_key, has_key
from engine.testing.steganalysis.stegos import (
    CONTROLS,
    control_sender,
    make_stegos,
    method_about,
    method_sender,
)
from errors import UserError

PARSER = Parser(
    "make_stegos.py",
    description="""\
Hide in each picture the pictures that follow it in the list, and write OUT/cover, OUT/stego,
OUT/secret_1, ... and OUT/stegos.json, the input of scripts/steganalysis.py. To continue an interrupted
command, call it again.""",
    epilog="""examples:
  python scripts/make_stegos.py --pictures DIR --weights smilenet_l_4 --out tried/smilenet_l_4
  python scripts/make_stegos.py --pictures DIR --count 260 --weights codec_lsb --payload 2 --out tried/two
  python scripts/make_stegos.py --pictures DIR --control lsb_matching --rate 0.5 --out tried/matching""",
)
PARSER.add_argument("--pictures", nargs="+", required=True, metavar="DIR", help="covers and secrets")
PARSER.add_argument("--count", type=int, metavar="N", help="use the first N pictures (default: all)")
PARSER.add_argument(
    "--size", type=int, metavar="PX", help="use a centre square of this side (default: whole pictures)"
)
PARSER.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder to write")
HOW = PARSER.add_mutually_exclusive_group(required=True)
HOW.add_argument("--weights", metavar="NAME", help="hide with these weights, as in hide.py")
HOW.add_argument("--control", choices=CONTROLS, help="make a change that detectors are known to find")
PARSER.add_argument(
    "--secrets", type=int, metavar="N", help="secrets per cover (default: as many as the weights take)"
)
PARSER.add_argument("--modulus", type=int, metavar="M", help="for methods with a key, as in hide.py")
PARSER.add_argument("--shaping", type=int, metavar="STATES", help="for methods with a key, as in hide.py")
PARSER.add_argument("--payload", type=float, metavar="BITS", help="for codec_lsb, as in hide.py")
PARSER.add_argument(
    "--rate", type=float, metavar="X", help="for --control: share of samples that carry a bit (default: 1)"
)
PARSER.add_argument("--seed", type=int, metavar="N", help="for --control (default: 0)")
add_passphrase(PARSER)
PARSER.add_argument("--device", default="auto", metavar="NAME", help="auto, cpu, cuda, cuda:N or mps")
PARSER.add_argument("--experiments", type=Path, default=EXPERIMENTS, metavar="DIR", help="folder of the runs")


def main(arguments: argparse.Namespace) -> None:
    refuse_foreign(arguments)
    files = list_pictures(arguments.pictures)
    if arguments.count is not None:
        if not 1 <= arguments.count <= len(files):
            raise UserError(f"--count {arguments.count}: there are {len(files)} pictures")
        files = files[: arguments.count]
    if arguments.control:
        rate, seed = 1.0 if arguments.rate is None else arguments.rate, arguments.seed or 0
        if not 0 < rate <= 1 or seed < 0:
            raise UserError(
                f"--rate {rate:g} --seed {seed}: expected a rate above 0 and at most 1, and a seed of 0 "
                "or more"
            )
        about = {"method": arguments.control, "rate": rate, "seed": seed}
        made = make_stegos(
            files, 0, arguments.out, control_sender(arguments.control, rate, seed), about, arguments.size
        )
    else:
        made = hidden(arguments, files)
    quality = "identical to their covers" if made["psnr"] is None else f"PSNR {made['psnr']:.2f} dB"
    print(f"{len(files)} stegos: {arguments.out / 'stego'}, {quality}")


def hidden(arguments: argparse.Namespace, files: list[Path]) -> dict:
    model, _ = load_model(arguments.weights, choose_device(arguments.device), arguments.experiments)
    set_sender(model, arguments.modulus, arguments.shaping, arguments.payload)
    check_keyed(model, passphrase=has_key(arguments))
    count = model.num_secrets if arguments.secrets is None else arguments.secrets
    most = getattr(model, "most_secrets", None) or model.num_secrets
    if not 1 <= count <= most:
        raise UserError(f"--secrets {count}: {arguments.weights} takes 1 to {most}")
    about = method_about(model, arguments.weights, has_key(arguments))
    sender = method_sender(model, asked_key(arguments, twice=True))
    return make_stegos(files, count, arguments.out, sender, about, arguments.size)


def refuse_foreign(arguments: argparse.Namespace) -> None:
    for key in ("rate", "seed"):
        if arguments.weights and getattr(arguments, key) is not None:
            raise UserError(f"--{key} goes with --control, not --weights")
    for key in ("secrets", "modulus", "shaping", "payload"):
        if arguments.control and getattr(arguments, key) is not None:
            raise UserError(f"--{key} goes with --weights, not --control")
    if arguments.control and has_key(arguments):
        raise UserError("a passphrase goes with --weights, not --control")


if __name__ == "__main__":
    sys.exit(run_command(PARSER, main))
