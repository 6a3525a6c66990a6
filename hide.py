#!/usr/bin/env python
"""Hide your own pictures in a cover picture; reveal.py brings them back (see --help)."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from engine.command import Parser, run_command
from engine.log import EXPERIMENTS
from engine.own.passphrase import add_passphrase, asked_key, has_key, read_passphrase
from errors import UserError

if TYPE_CHECKING:
    from container.keys import Key
    from engine.own.decoy import Decoy
    from engine.own.secrets import Secrets
    from engine.own.wish import Wish
    from models import HidingModel

PARSER = Parser(
    prog="hide.py",
    description="Hide pictures and files in a cover picture. The result, the stego, looks like the cover. "
    "Whoever has it can reveal them with reveal.py, with the weights and passphrase where they were used.",
    epilog="""examples:
  python hide.py --cover beach.jpg --secrets a.png b.jpg c.webp --out stego.png --passphrase
  python hide.py --weights quickstart --cover beach.jpg --secrets a.png b.jpg --out stego.png
  python hide.py --weights smilenet_l_25 --cover beach.jpg --secrets holiday/ --out stego.png --fit pad
  python hide.py --survive jpeg:75 --cover beach.jpg --secrets a.png --out stego.jpg --passphrase
  python reveal.py --stego stego.png --out revealed --passphrase
  python hide.py --plan --cover beach.jpg --secrets holiday/
  python hide.py --cover covers/ --secrets holiday/ notes.pdf --out stegos/ --passphrase

Without --survive, send the stego file unchanged: messengers and photo sites recompress pictures and
destroy what is hidden. With it, what it names is tried on the stego before the file is written.
Without a passphrase, whoever has this program can reveal the pictures. Never publish the cover, and
never use it twice: whoever has both cover and stego sees that something was hidden.""",
)
PARSER.add_argument(
    "--weights",
    metavar="NAME_OR_FILE",
    help="a run of experiments/, a network of experiments/pretrained/, a .safetensors file, or a method "
    "without weights: codec_lsb, codec_dct, lsb. Default: codec_lsb, which reveals best, keeps names and "
    "sizes and takes up to 255 pictures",
)
PARSER.add_argument(
    "--cover",
    required=True,
    metavar="FILE",
    help="the picture to hide in, or a folder of them: then the secrets are spread over all, in order",
)
PARSER.add_argument(
    "--secrets",
    required=True,
    nargs="+",
    metavar="FILE",
    help="what to hide: pictures, folders of them, and with codec_lsb and codec_dct other files too",
)
PARSER.add_argument(
    "--exact",
    action="store_true",
    help="hide pictures byte for byte, instead of coding them to fit, and of folders all files",
)
PARSER.add_argument(
    "--out",
    type=Path,
    metavar="FILE.png",
    help="the stego to write (codec_dct: or .jpg); of an album a folder",
)
PARSER.add_argument(
    "--look",
    type=Path,
    metavar="FILE.png",
    help="write cover, stego and ten times their difference side by side",
)
PARSER.add_argument(
    "--fit",
    choices=("stretch", "pad"),
    default="stretch",
    help="how secrets are brought to the cover's size: stretched (default), or kept in shape between "
    "grey bars; codec_lsb takes them as they are",
)
add_passphrase(PARSER)
PARSER.add_argument(
    "--decoy",
    nargs="+",
    metavar="FILE",
    help="hide these too, files or a folder, under a passphrase of their own, to be given away if need be. "
    "Each of the two has half of the room. It hides which of them is the real one, not that there are two: "
    "whoever opens one sees that it fills half the picture only (codec_lsb)",
)
PARSER.add_argument(
    "--decoy-passphrase-file",
    type=Path,
    metavar="FILE",
    help="take the decoy's passphrase from a file, - is standard input; without it you are asked",
)
PARSER.add_argument("--decoy-passphrase-env", metavar="NAME", help="or from this environment variable")
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
PARSER.add_argument(
    "--plan",
    action="store_true",
    help="hide nothing: say for each method and strength what to expect of the stego and the secrets, how "
    "many bytes fit, how likely it is detected, how long it takes, and which to choose; and what is wrong "
    "with the cover",
)
PARSER.add_argument("--force", action="store_true", help="replace the output if it exists")
PARSER.add_argument("--device", default="auto", help="auto (default), cpu, cuda, cuda:1, mps")
PARSER.add_argument(
    "--experiments", type=Path, default=EXPERIMENTS, metavar="DIR", help="where runs are kept"
)


def main(arguments: argparse.Namespace) -> None:
    from engine.build import choose_device
    from engine.checkpoint import keep_used, load_model
    from engine.own.hiding import takes_files
    from engine.own.secrets import chosen
    from engine.own.telling import how_to_reveal
    from models import KeyedMethod

    if arguments.plan:
        planned(arguments)
        return
    check_outputs(arguments)  # before any work
    wish = wished(arguments)
    model, about = load_model(wish.chosen, choose_device(arguments.device), arguments.experiments)
    wish.set_on(model)  # before asking for a passphrase
    model.progress = sys.stderr.isatty()
    wanted = chosen(arguments.secrets, arguments.exact, takes_files(model))
    if wish.decoy is not None and not wish.passphrase:
        raise UserError("--decoy: the secrets need a passphrase too, such as --passphrase asks for")
    check_overwritten(arguments, [*wanted.all, *(wish.decoy.all if wish.decoy else ())])
    key = asked_key(arguments, twice=True)
    if arguments.dry_attack is not None:
        dry(arguments, model, wanted, key)
        return
    if Path(arguments.cover).is_dir():
        album(arguments, model, wanted, key)
    else:
        single(arguments, model, wanted, wish.decoy, key)
    keep_used(about["path"], model)
    print(how_to_reveal(arguments))
    if isinstance(model, KeyedMethod) and not has_key(arguments):
        who = "has this program" if not model.trainable else "has the weights"
        print(f"no passphrase: whoever {who} can reveal the pictures (--passphrase keeps them to yourself)")


def wished(arguments: argparse.Namespace) -> "Wish":
    """The options that the plan and hiding both follow."""
    from engine.own.hiding import JPEG_SUFFIXES
    from engine.own.secrets import chosen
    from engine.own.wish import Wish

    return Wish(
        weights=arguments.weights,
        survive=arguments.survive,
        least_psnr=arguments.least_psnr,
        modulus=arguments.modulus,
        shaping=arguments.shaping,
        payload=arguments.payload,
        precision=arguments.precision,
        fit=arguments.fit,
        longest_side=arguments.longest_side,
        passphrase=has_key(arguments),
        marked=not arguments.unmarked,
        jpeg=arguments.out is not None and arguments.out.suffix.lower() in JPEG_SUFFIXES,
        decoy=None if arguments.decoy is None else chosen(arguments.decoy, arguments.exact),
    )


def check_outputs(arguments: argparse.Namespace) -> None:
    """Raises UserError for options that do not go together, and for files that may not be written."""
    from engine.own.hiding import check_output

    several = Path(arguments.cover).is_dir()
    if several and (arguments.look or arguments.dry_attack or arguments.decoy):
        raise UserError(f"{arguments.cover}: a folder; --look, --dry-attack and --decoy are for one cover")
    if arguments.look is not None:
        if arguments.look.suffix.lower() != ".png":
            raise UserError(f"{arguments.look}: expected a name that ends in .png")
        check_output(arguments.look, arguments.force)
        if arguments.dry_attack is not None:
            raise UserError("--look, --dry-attack: one or the other; --dry-attack writes nothing")
    if arguments.decoy is not None and arguments.dry_attack is not None:
        raise UserError("--decoy, --dry-attack: one or the other; --dry-attack tries the secrets alone")
    if arguments.decoy is None and (arguments.decoy_passphrase_file or arguments.decoy_passphrase_env):
        raise UserError("--decoy-passphrase-..: names a decoy's passphrase, but there is no --decoy")
    if arguments.dry_attack is None:
        if arguments.out is None:
            raise UserError("--out: say where the stego shall be written")
        if not several:
            robust = arguments.survive is not None or arguments.weights == "codec_dct"
            check_output(arguments.out, arguments.force, jpeg=robust)


def check_overwritten(arguments: argparse.Namespace, secrets: list[Path]) -> None:
    """Raises UserError where --look or --out would replace what is read, or each other."""
    keys = filter(None, (arguments.keyfile, arguments.passphrase_file))
    read = {path.resolve(): "is read for the key" for path in keys}
    read |= {path.resolve(): "that is a secret" for path in secrets}
    read[Path(arguments.cover).resolve()] = "that is the cover"
    if arguments.out is not None:
        if why := read.get(arguments.out.resolve()):
            raise UserError(f"{arguments.out}: {why}; give the stego another name")
        read[arguments.out.resolve()] = "that is the stego"
    if arguments.look is not None and (why := read.get(arguments.look.resolve())):
        raise UserError(f"{arguments.look}: {why}; give --look another name")


def planned(arguments: argparse.Namespace) -> None:
    """Say what could be done."""
    from engine.build import choose_device
    from engine.own.plan import plan
    from engine.own.secrets import chosen
    from engine.own.telling import left_out

    if arguments.dry_attack is not None:
        raise UserError("--plan, --dry-attack: one or the other; --dry-attack hides in memory")
    if Path(arguments.cover).is_dir():
        raise UserError(f"{arguments.cover}: a folder; --plan is for one cover")
    wish, device = wished(arguments), choose_device(arguments.device)
    wanted = chosen(arguments.secrets, arguments.exact)
    for line in left_out(wanted.left_out):
        print(line)
    found = plan(arguments.cover, wanted, arguments.experiments, None, wish, device)
    for line in found.lines():
        print(line)


def dry(arguments: argparse.Namespace, model: "HidingModel", wanted: "Secrets", key: "Key") -> None:
    """Hide in memory, attack, and say what is left."""
    from channel.notation import parse_attack
    from engine.own.surviving import dry_attack

    attack, marked = parse_attack(arguments.dry_attack), not arguments.unmarked
    settings = arguments.fit, key, marked, arguments.longest_side
    for line in dry_attack(model, arguments.cover, wanted, attack, *settings):
        print(line)


def single(
    arguments: argparse.Namespace,
    model: "HidingModel",
    wanted: "Secrets",
    decoy: "Secrets | None",
    key: "Key",
) -> None:
    """Hide in one cover, and say what was done."""
    from data.images import write_picture
    from engine.own.hiding import write_hidden
    from engine.own.look import side_by_side
    from engine.own.telling import hidden

    done = write_hidden(
        model,
        arguments.cover,
        wanted,
        arguments.out,
        arguments.fit,
        arguments.force,
        key,
        not arguments.unmarked,
        arguments.longest_side,
        asked_decoy(arguments, model, decoy, key),
    )
    for line in hidden(model, done, arguments.fit):
        print(line)
    if arguments.decoy:
        print(
            "decoy:     in one half of the picture, the secrets in the other; each opens with its passphrase"
        )
    if arguments.look is not None:
        write_picture(arguments.look, side_by_side(*done.pictures))
        print(f"look:      {arguments.look}, cover, stego, and their difference times 10")


def asked_decoy(
    arguments: argparse.Namespace, model: "HidingModel", wanted: "Secrets | None", key: "Key"
) -> "Decoy | None":
    """What is hidden beside the secrets, and its passphrase; None without --decoy."""
    from container.keys import Key
    from engine.own.decoy import Decoy, check_decoy

    if wanted is None:
        return None
    file, variable = arguments.decoy_passphrase_file, arguments.decoy_passphrase_env
    passphrase = read_passphrase("passphrase of the decoy", file, variable, twice=True, strong=False)
    decoy = Decoy(wanted, Key(passphrase, key.keyfile))
    check_decoy(model, key, decoy)
    return decoy


def album(arguments: argparse.Namespace, model: "HidingModel", wanted: "Secrets", key: "Key") -> None:
    """Hide over the covers of a folder, and say what was done."""
    from engine.own.album import hide_album
    from engine.own.telling import hidden, left_out

    done = hide_album(
        model,
        Path(arguments.cover),
        wanted,
        arguments.out,
        arguments.fit,
        arguments.force,
        key,
        not arguments.unmarked,
        arguments.longest_side,
    )
    for one in done:
        for line in hidden(model, one, arguments.fit):
            print(line)
    for line in left_out(wanted.left_out):
        print(line)
    print(
        f"album:     {len(wanted.all)} secrets in {len(done)} stegos; whoever misses one loses what it holds"
    )


if __name__ == "__main__":
    sys.exit(run_command(PARSER, main))
