#!/usr/bin/env python
"""Hide your own pictures in a cover picture; reveal.py brings them back (see --help)."""

import argparse
import shlex
import sys
from pathlib import Path

from engine.command import Parser, run_command
from engine.log import EXPERIMENTS
from engine.own.passphrase import add_passphrase, asked_key
from errors import UserError

DEFAULT = "codec_lsb"
PARSER = Parser(
    prog="hide.py",
    description="Hide pictures in a cover picture. The result, the stego, looks like the cover. Whoever has "
    "it can reveal the pictures with reveal.py, with the weights and passphrase where they were used.",
    epilog="""examples:
  python hide.py --cover beach.jpg --secrets a.png b.jpg c.webp --out stego.png --passphrase
  python hide.py --weights quickstart --cover beach.jpg --secrets a.png b.jpg --out stego.png
  python hide.py --weights smilenet_l_25 --cover beach.jpg --secrets holiday/ --out stego.png --fit pad
  python hide.py --survive jpeg:75 --cover beach.jpg --secrets a.png --out stego.jpg --passphrase
  python reveal.py --stego stego.png --out revealed --passphrase

Without --survive, send the stego file unchanged: messengers and photo sites recompress pictures and
destroy what is hidden. With it, what it names is tried on the stego before the file is written.
Without a passphrase, whoever has this program can reveal the pictures. Never publish the cover, and
never use it twice: whoever has both cover and stego sees that something was hidden.""",
)
PARSER.add_argument(
    "--weights",
    metavar="NAME_OR_FILE",
    help="a run of experiments/, a network of experiments/pretrained/, a .safetensors file, or a method "
    f"without weights: codec_lsb, codec_dct, lsb. Default: {DEFAULT}, which reveals best, keeps names and "
    "sizes and takes up to 255 pictures",
)
PARSER.add_argument("--cover", required=True, metavar="FILE", help="the picture to hide in")
PARSER.add_argument(
    "--secrets", required=True, nargs="+", metavar="FILE", help="pictures to hide, or one folder of them"
)
PARSER.add_argument("--out", type=Path, metavar="FILE.png", help="the stego to write (codec_dct: or .jpg)")
PARSER.add_argument(
    "--fit",
    choices=("stretch", "pad"),
    default="stretch",
    help="how secrets are brought to the cover's size: stretched (default), or kept in shape between "
    "grey bars; codec_lsb takes them as they are",
)
add_passphrase(PARSER)
PARSER.add_argument(
    "--unmarked",
    action="store_true",
    help="leave out the public mark. The mark tells whoever knows this program that something is hidden, "
    "though not what. Without the mark, reveal.py cannot tell a wrong passphrase from a picture with "
    "nothing in it (methods with a key)",
)
PARSER.add_argument(
    "--modulus",
    type=int,
    metavar="M",
    help="how coarsely samples are moved, in grey levels: a small M is kinder to the cover, a large one to "
    "the secrets (PSNR of the stego: 42 dB at 8, 38 at 12, 36 at 16). 2 to 64, with codec_lsb 2 to 32; "
    "default: 12, or the weights' own (methods with a key)",
)
PARSER.add_argument(
    "--shaping",
    type=int,
    metavar="STATES",
    help="states of the trellis that shapes the changes, 8, 64 or 256: the stego gains 1.1 to 1.4 dB over "
    "0, plain, with the same secrets. Networks lose tolerance by it: one changed sample can spoil up to 768, "
    "and noise everywhere leaves nothing. use --shaping 0 if damaged stegos must still be revealed. An odd "
    "modulus takes 0 only. Default: 64, or 0 with an odd modulus (methods with a key)",
)
PARSER.add_argument(
    "--payload",
    type=float,
    metavar="BITS",
    help="bits a pixel of the cover to hide at most: fewer change fewer samples and reveal coarser pictures. "
    "Default: as many as fit, 10.7 at modulus 12 (codec_lsb)",
)
PARSER.add_argument(
    "--survive",
    nargs="+",
    metavar="ATTACK",
    help="hide with codec_dct so that the pictures outlive this compression and every better one: jpeg:75, "
    "webp:80, avif:60, one after another jpeg:85+jpeg:75. Resizing and cropping destroy them all the same",
)
PARSER.add_argument(
    "--least-psnr",
    type=float,
    metavar="DB",
    help="with --survive: the stego's PSNR is never below this. Default: 36.5, and where nothing survives at "
    "that, down to 33",
)
PARSER.add_argument(
    "--longest-side",
    type=int,
    metavar="PX",
    help="make a larger cover so small first, as a messenger would do after hiding",
)
PARSER.add_argument(
    "--dry-attack",
    metavar="ATTACK",
    help="write nothing: hide in memory, attack the stego (jpeg:90, noise:2, ..), and say what is left",
)
PARSER.add_argument(
    "--precision",
    choices=("fp32", "bf16", "fp16"),
    default="fp32",
    help="arithmetic of a network; below fp32 it is faster and a little less exact, and the device must have "
    "it (default: %(default)s)",
)
PARSER.add_argument("--force", action="store_true", help="replace the output if it exists")
PARSER.add_argument("--device", default="auto", help="auto (default), cpu, cuda, cuda:1, mps")
PARSER.add_argument(
    "--experiments", type=Path, default=EXPERIMENTS, metavar="DIR", help="where runs are kept"
)


def main(arguments: argparse.Namespace) -> None:
    from channel.notation import parse_attack
    from engine.build import choose_device
    from engine.checkpoint import keep_used, load_model
    from engine.own.hiding import check_keyed, check_output, hide_files, listed, set_sender
    from engine.own.surviving import dry_attack, set_promise, survived, trained_for
    from engine.precision import set_precision
    from models import KeyedMethod

    robust = arguments.survive is not None or arguments.weights == "codec_dct"
    if arguments.dry_attack is None:
        if arguments.out is None:
            raise UserError("--out: say where the stego shall be written")
        check_output(arguments.out, arguments.force, jpeg=robust)  # before any work
    device = choose_device(arguments.device)
    chosen = "codec_dct" if arguments.survive else arguments.weights
    model, about = load_model(chosen or DEFAULT, device, arguments.experiments)
    set_precision(model, arguments.precision)
    set_promise(model, arguments.weights, arguments.survive, arguments.least_psnr)
    secret = arguments.passphrase or arguments.passphrase_file is not None
    set_sender(model, arguments.modulus, arguments.shaping, arguments.payload)
    marked = not arguments.unmarked
    check_keyed(model, passphrase=secret, marked=marked)  # before asking
    changed = None
    model.progress = sys.stderr.isatty()
    if isinstance(model, KeyedMethod) and hasattr(model, "modulus"):
        # Before any work: UserError for what does not go together.
        changed = changes(model.modulus, model.shaping)
    key = asked_key(arguments, twice=True)
    if arguments.dry_attack is not None:
        attack = parse_attack(arguments.dry_attack)
        files, side = listed(arguments.secrets), arguments.longest_side
        for line in dry_attack(model, arguments.cover, files, attack, arguments.fit, key, marked, side):
            print(line)
        return
    done = hide_files(
        model,
        arguments.cover,
        arguments.secrets,
        arguments.out,
        arguments.fit,
        arguments.force,
        key,
        marked,
        arguments.longest_side,
    )
    keep_used(about["path"], model)
    for k, file in enumerate(done.secrets, 1):
        fitted = {"stretch": "stretched", "pad": "padded"}[arguments.fit]
        note = f" ({fitted} to the cover's size)" if file in done.resized else ""
        print(f"secret {k:2d}: {file}{note}")
    if done.empty:
        print(f"{done.empty} of {model.num_secrets} places are empty (mid-grey)")
    if changed is not None:
        print(f"changes:   {changed}")
    print(f"stego:     {done.stego}, PSNR to the cover {done.psnr:.2f} dB (RGB)")
    for line in survived(model, done):
        print(line)
    if attacks := trained_for(model):
        print(f"trained to survive: {attacks} (this stego was not tried: --dry-attack tries)")
    words = [
        "reveal.py",
        *(["--weights", arguments.weights] if arguments.weights else []),
        "--stego",
        str(done.stego),
        "--out",
        "revealed",
    ]
    if arguments.passphrase_file is not None:
        words += ["--passphrase-file", str(arguments.passphrase_file)]
    elif arguments.passphrase:
        words += ["--passphrase"]
    print(f"reveal:    python {shlex.join(words)}")
    if isinstance(model, KeyedMethod) and not secret:
        who = "has this program" if not model.trainable else "has the weights"
        print(f"no passphrase: whoever {who} can reveal the pictures (--passphrase keeps them to yourself)")


def changes(modulus: int, shaping: int) -> str:
    """What was done to the samples, in words."""
    if shaping:
        return f"modulo {modulus}, shaped by a trellis of {shaping} states"
    return f"modulo {modulus}, not shaped" + (" (a trellis needs an even modulus)" if modulus % 2 else "")


if __name__ == "__main__":
    sys.exit(run_command(PARSER, main))
