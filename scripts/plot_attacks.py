"""Draw a network's secret as it comes back after each attack on the stego: one picture, for a page.

Run from the checkout: `python scripts/plot_attacks.py --help`.
"""

import argparse
import math
import sys
from pathlib import Path

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

# The checkout is run in place and installs nothing: its root is where `engine` is found.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from channel.attacks import send
from channel.notation import parse_attack
from data.images import list_pictures, read_picture, to_array, to_tensor, write_picture
from data.transforms import fit_picture
from engine.checkpoint import load_model
from engine.command import Parser, run_command
from engine.log import ROOT
from errors import UserError
from metrics.image import psnr
from models import KeyedMethod

ATTACKS = ["none", "mean:3", "gaussian:0.8,size=3", "sharpen:1.0", "noise:2.0"]
ATTACKS += ["jpeg:90", "jpeg:80", "jpeg:70", "webp:80", "resize:0.75"]
COLUMNS = 4

PARSER = Parser(
    "plot_attacks.py",
    description="Hide pictures of a folder in its first one, attack the stego in many ways, and draw what is "
    "revealed each time, with its PSNR.",
    epilog="example:\n  python scripts/plot_attacks.py --weights srisnet_1_nano --pictures datasets/test",
)
PARSER.add_argument("--weights", required=True, metavar="NAME_OR_FILE", help="of a method without a key")
PARSER.add_argument("--out", type=Path, default=ROOT / "docs/images/srisnet_attacks.png", metavar="FILE.png")
PARSER.add_argument("--pictures", default="samples:test", metavar="DIR", help="a cover, then the secrets")
PARSER.add_argument("--size", type=int, default=256, metavar="PX", help="side of their middle (default: 256)")
PARSER.add_argument("--attacks", nargs="+", default=ATTACKS, metavar="ATTACK", help="such as jpeg:80")


def main(arguments: argparse.Namespace) -> None:
    attacks = [parse_attack(text) for text in arguments.attacks]
    model, _ = load_model(arguments.weights)
    if isinstance(model, KeyedMethod):
        raise UserError(
            f"{arguments.weights}: '{model.method}' reveals all or nothing; expected one without a key"
        )
    files = list_pictures(arguments.pictures)[: 1 + model.num_secrets]
    if len(files) <= model.num_secrets:
        raise UserError(
            f"{arguments.pictures}: {model.num_secrets + 1} pictures are needed, found {len(files)}"
        )
    cover, *secrets = (fit_picture(to_tensor(read_picture(p)), arguments.size, path=p) for p in files)
    stego = to_array(model.hide(cover[None], torch.stack(secrets)[None])[0])
    shown = [(f"stego, {psnr(to_array(cover), stego):.1f} dB", stego), ("secret", to_array(secrets[0]))]
    for text, attack in zip(arguments.attacks, attacks, strict=True):
        revealed = to_array(model.reveal(to_tensor(send(stego, attack))[None])[0, 0])
        shown.append((f"{text}, {psnr(to_array(secrets[0]), revealed):.1f} dB", revealed))
    write_picture(arguments.out, drawn(shown))


def drawn(shown: list[tuple[str, np.ndarray]]) -> np.ndarray:
    """Pictures (H,W,3) with their titles, in rows of COLUMNS: (h,w,3) uint8."""
    rows = math.ceil(len(shown) / COLUMNS)
    figure = Figure(figsize=(2.3 * COLUMNS, 2.5 * rows), layout="constrained", dpi=110)
    canvas = FigureCanvasAgg(figure)
    for axes in figure.subplots(rows, COLUMNS, squeeze=False).flat:
        axes.axis("off")
    for axes, (title, picture) in zip(figure.axes, shown, strict=False):
        axes.imshow(picture)
        axes.set_title(title, fontsize=9)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


if __name__ == "__main__":
    sys.exit(run_command(PARSER, main))
