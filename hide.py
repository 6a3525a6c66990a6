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
    "Whoever has the stego can reveal them with reveal.py, but needs the weights, passphrase and key file "
    "too, if you used them.",
    epilog="""examples:
  python hide.py --cover beach.jpg --secrets a.png b.jpg c.webp --out stego.png --passphrase
  python hide.py --weights quickstart --cover beach.jpg --secrets a.png b.jpg --out stego.png
  python hide.py --weights smilenet_l_25 --cover beach.jpg --secrets holiday/ --out stego.png --fit pad
  python hide.py --survive jpeg:75 --cover beach.jpg --secrets a.png --out stego.jpg --passphrase
  python reveal.py --stego stego.png --out revealed --passphrase
  python hide.py --plan --cover beach.jpg --secrets holiday/
  python hide.py --cover covers/ --secrets holiday/ notes.pdf --out stegos/ --passphrase

Without --survive, send the stego file unchanged: messengers and photo sites recompress pictures and
destroy what is hidden. With --survive, hide.py tries the named compression before it writes the stego.
Without a passphrase, anyone who has this program can reveal the pictures. Never publish the cover, and
never use it twice: anyone who has both cover and stego can see that something was hidden.""",
)
PARSER.add_argument(
    "--weights",
    metavar="NAME_OR_FILE",
    help="a run in experiments/, a network in experiments/pretrained/, a .safetensors file, or a method "
    "without weights: codec_lsb, codec_dct, lsb. Default: codec_lsb, which reveals best, keeps names and "
    "sizes, and takes up to 255 pictures",
)
PARSER.add_argument(
    "--cover",
    required=True,
    metavar="FILE",
    help="the picture to hide in, or a folder of pictures: the secrets are then spread over all of them, in "
    "order",
)
PARSER.add_argument(
    "--secrets",
    required=True,
    nargs="+",
    metavar="FILE",
    help="what to hide: pictures and folders of pictures. codec_lsb and codec_dct also take other files",
)
PARSER.add_argument(
    "--exact",
    action="store_true",
    help="hide pictures byte for byte, instead of coding them to fit, and hide all files of a folder",
)
PARSER.add_argument(
    "--out",
    type=Path,
    metavar="FILE.png",
    help="the stego to write; codec_dct can also write .jpg. For an album, this is a folder",
)
PARSER.add_argument(
    "--look",
    type=Path,
    metavar="FILE.png",
    help="write a picture of the cover, the stego and ten times their difference, side by side",
)
PARSER.add_argument(
    "--fit",
    choices=("stretch", "pad"),
    default="stretch",
    help="how to bring secrets to the cover's size: stretch them (default), or keep their shape and add grey "
    "bars. codec_lsb and codec_dct keep them as they are",
)
add_passphrase(PARSER)
PARSER.add_argument(
    "--decoy",
    nargs="+",
    metavar="FILE",
    help="also hide these files or this folder, under a separate passphrase that you can give away if you "
    "must. The secrets and the decoy each get half of the room. This hides which of the two is real, not "
    "that there are two: anyone who opens one sees that it fills only half the picture (codec_lsb)",
)
PARSER.add_argument(
    "--decoy-passphrase-file",
    type=Path,
    metavar="FILE",
    help="read the decoy's passphrase from the first line of a file; - means standard input. Without this "
    "option, hide.py asks for it",
)
PARSER.add_argument(
    "--decoy-passphrase-env",
    metavar="NAME",
    help="read the decoy's passphrase from this environment variable",
)
PARSER.add_argument(
    "--unmarked",
    action="store_true",
    help="leave out the public mark. The mark tells anyone who knows this program that something is hidden, "
    "but not what. Without the mark, reveal.py cannot tell a wrong passphrase from a picture with "
    "nothing in it (codec_lsb, smilenet_l)",
)
PARSER.add_argument(
    "--modulus",
    type=int,
    metavar="M",
    help="how far samples may move, in grey levels: a small M is kinder to the cover, a large M is kinder to "
    "the secrets (PSNR of the stego: 42 dB at 8, 38 at 12, 36 at 16). Takes 2 to 64, and 2 to 32 with "
    "codec_lsb. Default: 12, or the value in the weights (codec_lsb, smilenet_l)",
)
PARSER.add_argument(
    "--shaping",
    type=int,
    metavar="STATES",
    help="states of the trellis that shapes the changes: 8, 64 or 256, or 0 for none. With the same secrets, "
    "the stego gains 1.1 to 1.4 dB over 0. Networks become less tolerant: one changed sample can spoil up to "
    "768, and noise everywhere leaves nothing. Use --shaping 0 if damaged stegos must still be revealed. An "
    "odd modulus only takes 0. Default: 64, or 0 with an odd modulus (codec_lsb, smilenet_l)",
)
PARSER.add_argument(
    "--payload",
    type=float,
    metavar="BITS",
    help="the most bits to hide in each pixel of the cover. Fewer bits change fewer samples, but reveal "
    "coarser pictures. Default: as many as fit, which is 10.7 at modulus 12 (codec_lsb)",
)
PARSER.add_argument(
    "--survive",
    nargs="+",
    metavar="ATTACK",
    help="hide with codec_dct so that the pictures survive this compression and any milder one: jpeg:75, "
    "webp:80, avif:60, or jpeg:85+jpeg:75 for one after the other. Resizing and cropping still destroy them",
)
PARSER.add_argument(
    "--least-psnr",
    type=float,
    metavar="DB",
    help="with --survive: the lowest PSNR that the stego may have. Default: 36.5, or down to 33 if too "
    "little survives at 36.5",
)
PARSER.add_argument(
    "--longest-side",
    type=int,
    metavar="PX",
    help="first shrink a larger cover to this size, as a messenger would do after hiding",
)
PARSER.add_argument(
    "--dry-attack",
    metavar="ATTACK",
    help="write nothing: hide in memory, attack the stego (jpeg:90, noise:2, ..), and report what is left",
)
PARSER.add_argument(
    "--precision",
    choices=("fp32", "bf16", "fp16"),
    default="fp32",
    help="a network's arithmetic. bf16 and fp16 are faster and a little less exact, and the device must "
    "support them (default: %(default)s)",
)
PARSER.add_argument(
    "--plan",
    action="store_true",
    help="hide nothing. For each method and strength, report the expected quality of stego and secrets, how "
    "many bytes fit, how likely detection is, and how long hiding takes. Recommend one, and warn about "
    "problems with the cover",
)
PARSER.add_argument("--force", action="store_true", help="replace the output if it exists")
PARSER.add_argument("--device", default="auto", help="auto (default), cpu, cuda, cuda:1, mps")
PARSER.add_argument(
    "--experiments", type=Path, default=EXPERIMENTS, metavar="DIR", help="the folder that holds the runs"
)


def main(arguments: argparse.Namespace) -> None:
    """Hide, plan or try an attack, as the options ask, and print a report."""
    from engine.build import choose_device
    from engine.checkpoint import keep_used, load_model
    from engine.own.hiding import takes_files
    from engine.own.secrets import chosen
    from engine.own.telling import how_to_reveal
    from models import KeyedMethod

    if arguments.plan:
        planned(arguments)
        return
    check_outputs(arguments)
    wish = wished(arguments)
    model, about = load_model(wish.chosen, choose_device(arguments.device), arguments.experiments)
    wish.set_on(model)  # refuses wrong options before asking for a passphrase
    model.progress = sys.stderr.isatty()
    wanted = chosen(arguments.secrets, arguments.exact, takes_files(model))
    if wish.decoy is not None and not wish.passphrase:
        raise UserError("--decoy: the secrets need a passphrase too; add --passphrase")
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
        print(f"no passphrase: anyone who {who} can reveal the pictures (--passphrase prevents this)")


def wished(arguments: argparse.Namespace) -> "Wish":
    """Return the options that both --plan and hiding follow."""
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
    """Raise UserError for options that conflict, and for output files that may not be written."""
    from engine.own.hiding import check_output

    several = Path(arguments.cover).is_dir()
    if several and (arguments.look or arguments.dry_attack or arguments.decoy):
        raise UserError(f"{arguments.cover}: a folder; --look, --dry-attack and --decoy need a single cover")
    if arguments.look is not None:
        if arguments.look.suffix.lower() != ".png":
            raise UserError(f"{arguments.look}: expected a name that ends in .png")
        check_output(arguments.look, arguments.force)
        if arguments.dry_attack is not None:
            raise UserError("--look, --dry-attack: use one or the other; --dry-attack writes nothing")
    if arguments.decoy is not None and arguments.dry_attack is not None:
        raise UserError("--decoy, --dry-attack: use one or the other; --dry-attack only tries the secrets")
    if arguments.decoy is None and (arguments.decoy_passphrase_file or arguments.decoy_passphrase_env):
        raise UserError("--decoy-passphrase-file and --decoy-passphrase-env need --decoy")
    if arguments.dry_attack is None:
        if arguments.out is None:
            raise UserError("--out: say where to write the stego")
        if not several:
            robust = arguments.survive is not None or arguments.weights == "codec_dct"
            check_output(arguments.out, arguments.force, jpeg=robust)


def check_overwritten(arguments: argparse.Namespace, secrets: list[Path]) -> None:
    """Raise UserError if --look or --out would replace an input file, or each other."""
    keys = (arguments.keyfile, arguments.passphrase_file, arguments.decoy_passphrase_file)
    read = {path.resolve(): "this file is read for the key" for path in keys if path is not None}
    read |= {path.resolve(): "this file is a secret" for path in secrets}
    read[Path(arguments.cover).resolve()] = "this file is the cover"
    if arguments.out is not None:
        if why := read.get(arguments.out.resolve()):
            raise UserError(f"{arguments.out}: {why}; give the stego another name")
        read[arguments.out.resolve()] = "this file is the stego"
    if arguments.look is not None and (why := read.get(arguments.look.resolve())):
        raise UserError(f"{arguments.look}: {why}; give --look another name")


def planned(arguments: argparse.Namespace) -> None:
    """Print the plan of --plan."""
    from engine.build import choose_device
    from engine.own.plan import plan
    from engine.own.secrets import chosen
    from engine.own.telling import left_out

    if arguments.dry_attack is not None:
        raise UserError("--plan, --dry-attack: use one or the other; --dry-attack hides in memory")
    if Path(arguments.cover).is_dir():
        raise UserError(f"{arguments.cover}: a folder; --plan needs a single cover")
    wish, device = wished(arguments), choose_device(arguments.device)
    wanted = chosen(arguments.secrets, arguments.exact)
    for line in left_out(wanted.left_out):
        print(line)
    found = plan(arguments.cover, wanted, arguments.experiments, None, wish, device)
    for line in found.lines():
        print(line)


def dry(arguments: argparse.Namespace, model: "HidingModel", wanted: "Secrets", key: "Key") -> None:
    """Hide in memory, attack the stego, and print what is left."""
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
    """Hide in one cover, and print a report."""
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
        print("decoy:     in one half of the picture, the secrets in the other; each has its own passphrase")
    if arguments.look is not None:
        write_picture(arguments.look, side_by_side(*done.pictures))
        print(f"look:      {arguments.look}: cover, stego, and ten times their difference")


def asked_decoy(
    arguments: argparse.Namespace, model: "HidingModel", wanted: "Secrets | None", key: "Key"
) -> "Decoy | None":
    """Return what to hide beside the secrets, and its passphrase; None without --decoy."""
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
    """Spread the secrets over the covers of a folder, and print a report."""
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
        f"album:     {len(wanted.all)} secrets in {len(done)} stegos; a lost stego loses only what it holds"
    )


if __name__ == "__main__":
    sys.exit(run_command(PARSER, main))
