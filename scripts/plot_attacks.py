"""Show what a network reveals after each attack on its stegos: a table, and a picture of one secret.

Run from the checkout: `python scripts/plot_attacks.py --help`.
"""

import argparse
import math
import sys
import textwrap
from pathlib import Path

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

# Scripts run from the checkout without installation, so its root must be on the path.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from channel.attacks import Attack, Nothing, label, send
from channel.entry import Entry
from channel.layers import Codec, layer
from channel.notation import parse_attack
from channel.promise import jpeg_file
from data.files import write_beside
from data.groups import make_groups
from data.images import list_pictures, to_array, to_tensor, write_picture
from data.transforms import load_group
from engine.checkpoint import load_model
from engine.command import Parser, run_command
from engine.log import ROOT
from engine.own.hiding import JPEG_SUFFIXES
from errors import UserError
from metrics.image import psnr
from models import HidingModel, KeyedMethod

ATTACKS = ["none", "mean:3", "gaussian:0.8,size=3", "sharpen:1.0", "noise:2", "jpeg:95", "jpeg:90", "jpeg:80"]
ATTACKS += ["jpeg:70", "webp:80", "resize:0.75", "flip:horizontal"]
COLUMNS = 5

PARSER = Parser(
    "plot_attacks.py",
    description="Hide, attack the stego, and reveal. Prints a Markdown table: the PSNR of secrets revealed "
    "from 8-bit stegos, and from floats that no file could hold, as papers often report it; and whether the "
    "network was trained for the attack. Draws the first secret as it comes back.",
    epilog="example:\n  python scripts/plot_attacks.py --weights srisnet_1_nano --pictures DIR --stride 6",
)
PARSER.add_argument(
    "--weights", required=True, metavar="NAME_OR_FILE", help="weights of a method without a key"
)
PARSER.add_argument(
    "--out",
    type=Path,
    default=ROOT / "docs/images/srisnet_attacks.jpg",
    metavar="FILE",
    help="the picture to draw, .jpg or .png (default: docs/images/srisnet_attacks.jpg)",
)
PARSER.add_argument(
    "--pictures",
    default="samples:test",
    metavar="DIR",
    help="pictures in this order: a cover, its secrets, the next cover, ...",
)
PARSER.add_argument("--groups", type=int, default=1, metavar="N", help="number of groups (default: 1)")
PARSER.add_argument("--stride", type=int, metavar="N", help="step from cover to cover (default: secrets + 1)")
PARSER.add_argument(
    "--shown", type=int, default=0, metavar="K", help="the group to draw, counted from 0 (default: 0)"
)
PARSER.add_argument(
    "--size", type=int, default=256, metavar="PX", help="side of the centre square (default: 256)"
)
PARSER.add_argument("--attacks", nargs="+", default=ATTACKS, metavar="ATTACK", help="such as jpeg:80")


def main(arguments: argparse.Namespace) -> None:
    attacks = [parse_attack(text) for text in arguments.attacks]
    model, _ = load_model(arguments.weights)
    if isinstance(model, KeyedMethod):
        raise UserError(f"{arguments.weights}: '{model.method}' has a key; expected a method without a key")
    files, count = list_pictures(arguments.pictures), arguments.groups
    groups = make_groups(files, model.num_secrets, count, grouping="sorted", stride=arguments.stride)
    if not 0 <= arguments.shown < count:
        raise UserError(f"--shown {arguments.shown}: expected a group from 0 to {count - 1}")
    of_stego: list[float] = []
    of_files: list[list[float]] = [[] for _ in attacks]
    of_floats: list[list[float]] = [[] for _ in attacks]
    for g, group in enumerate(groups):
        cover, secrets = load_group(group, arguments.size)
        stego = to_array(model.hide(cover[None], secrets[None])[0])
        exact = encoded(model, cover, secrets)
        of_stego.append(psnr(to_array(cover), stego))
        drawn = [(f"stego, {of_stego[-1]:.1f} dB", stego), ("secret", to_array(secrets[0]))]
        for k, attack in enumerate(attacks):
            revealed = model.reveal(to_tensor(send(stego, attack, g))[None])[0]
            of_files[k] += [psnr(to_array(a), to_array(b)) for a, b in zip(secrets, revealed, strict=True)]
            of_floats[k] += from_floats(model, exact, attack, g, secrets)
            score = psnr(to_array(secrets[0]), to_array(revealed[0]))
            drawn.append((f"{label(attack)}, {score:.1f} dB", to_array(revealed[0])))
        if g == arguments.shown:
            drawing = panels(drawn)
            if arguments.out.suffix.lower() in JPEG_SUFFIXES:  # a sixth of a PNG's size
                write_beside(arguments.out, jpeg_file(drawing, 90, "4:4:4"))
            else:
                write_picture(arguments.out, drawing)
    print(f"{count} groups, stego {np.mean(of_stego):.2f} dB\n")
    print("| attack | 8 bit (dB) | floats (dB) | trained for |\n|---|---:|---:|---|")
    for attack, files_, floats in zip(attacks, of_files, of_floats, strict=True):
        exact_score = "-" if math.isnan(np.mean(floats)) else f"{np.mean(floats):.2f}"
        trained = "yes" if covered(attack, model.trained_channel) else "no"
        if attack == Nothing():
            trained = "-"
        print(f"| {label(attack)} | {np.mean(files_):.2f} | {exact_score} | {trained} |")


@torch.no_grad()
def encoded(model: HidingModel, cover: Tensor, secrets: Tensor) -> Tensor:
    """The stego before rounding: (3,H,W) and (N,3,H,W) uint8 -> (1,3,H,W) float."""
    return model.encode(cover[None].float() / 255, secrets[None].float() / 255)


@torch.no_grad()
def from_floats(model: HidingModel, stego: Tensor, attack: Attack, seed: int, secrets: Tensor) -> list[float]:
    """Return the PSNR of secrets revealed without rounding [dB]; NaN for codecs, which need 8 bits."""
    attacking = layer(attack)
    if any(isinstance(part, Codec) for part in attacking.modules()):
        return [math.nan]
    revealed = model.decode(attacking(stego, seed))[0].clamp(0, 1)
    errors = (revealed - secrets.float() / 255).square().mean(dim=(1, 2, 3))
    return (-10 * errors.log10()).tolist()


def covered(attack: Attack, channel: list[list[dict]]) -> bool:
    """Return whether a network was trained for an attack, with each strength within its range."""
    low_and_high = ((Entry.read(one).at_end(0), Entry.read(one).at_end(1)) for one in channel)
    return any(
        type(attack) is type(low) is type(high)
        and all(_within(value, vars(low)[name], vars(high)[name]) for name, value in vars(attack).items())
        for low, high in low_and_high
    )


def _within(value, low, high) -> bool:
    return value == low or (
        isinstance(value, int | float) and None not in (low, high) and low <= value <= high
    )


def panels(shown: list[tuple[str, np.ndarray]]) -> np.ndarray:
    """Draw pictures (H,W,3) with their titles, in rows of COLUMNS: (h,w,3) uint8."""
    rows = math.ceil(len(shown) / COLUMNS)
    figure = Figure(figsize=(2.3 * COLUMNS, 2.5 * rows), layout="constrained", dpi=100)
    canvas = FigureCanvasAgg(figure)
    for axes in figure.subplots(rows, COLUMNS, squeeze=False).flat:
        axes.axis("off")
    for axes, (title, picture) in zip(figure.axes, shown, strict=False):
        axes.imshow(picture)
        axes.set_title(textwrap.fill(title, 32), fontsize=8)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


if __name__ == "__main__":
    sys.exit(run_command(PARSER, main))
