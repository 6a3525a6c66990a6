"""Draw docs/images/shaping.png: the cost of a payload, plain and with each trellis, and the lowest possible.

Run from the checkout: `python scripts/plot_shaping.py --help`.
"""

import argparse
import math
import sys
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy.optimize import brentq

# Scripts run from the checkout without installation, so its root must be on the path.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from container.digits import nearest_congruent
from container.trellis import SHAPINGS, embed_digits
from data.images import list_pictures, read_picture, to_array, to_tensor, write_picture
from data.transforms import fit_picture
from engine.command import Parser, run_command
from engine.log import ROOT
from errors import UserError
from metrics.capacity import capacity_bound

MODULI = range(4, 21, 2)

PARSER = Parser(
    "plot_shaping.py",
    description="""\
Embed random digits into every sample of the pictures, for every even modulus from 4 to 20, plain and with
each trellis, and draw the stego's PSNR over the payload. No 8-bit stego can be above the bound
(docs/capacity.md). Prints the numbers as a Markdown table.""",
    epilog="""examples:
  python scripts/plot_shaping.py
  python scripts/plot_shaping.py --pictures datasets/ImageNet/test --count 5""",
)
PARSER.add_argument(
    "--out",
    type=Path,
    default=ROOT / "docs/images/shaping.png",
    metavar="FILE.png",
    help="the plot to draw (default: docs/images/shaping.png)",
)
PARSER.add_argument(
    "--pictures", default="samples:test", metavar="DIR", help="covers (default: samples:test)"
)
PARSER.add_argument("--count", type=int, default=4, metavar="N", help="most pictures to use (default: 4)")
PARSER.add_argument(
    "--size", type=int, default=256, metavar="PX", help="side of the centre square (default: 256)"
)


def main(arguments: argparse.Namespace) -> None:
    if arguments.count < 1 or arguments.size < 16:
        raise UserError(
            f"--count {arguments.count} --size {arguments.size}: expected --count from 1 and --size from 16"
        )
    files = list_pictures(arguments.pictures)[: arguments.count]
    covers = [to_array(fit_picture(to_tensor(read_picture(p)), arguments.size, path=p)) for p in files]
    samples = np.concatenate([cover.reshape(-1) for cover in covers])
    payloads = [3 * math.log2(modulus) for modulus in MODULI]
    curves = {states: [decibels(error(samples, m, states)) for m in MODULI] for states in SHAPINGS}
    bound = [decibels(least_error(payload)) for payload in payloads]
    write_picture(arguments.out, drawn(payloads, curves, bound))
    print("| M | bits a pixel | plain | " + " | ".join(f"{s} states" for s in SHAPINGS[1:]) + " | bound |")
    print("|---|---|" + "---|" * (len(SHAPINGS) + 1))
    for k, modulus in enumerate(MODULI):
        cells = " | ".join(f"{curves[states][k]:.2f}" for states in SHAPINGS)
        print(f"| {modulus} | {payloads[k]:.2f} | {cells} | {bound[k]:.2f} |")
    print(arguments.out)


def error(samples: np.ndarray, modulus: int, states: int) -> float:
    """Return the mean squared error of random digits in all samples (count,) uint8."""
    generator = np.random.default_rng(0)
    digits = generator.integers(0, modulus, len(samples))
    coins = generator.integers(0, 256, len(samples), np.uint8)
    if states:
        stego = embed_digits(samples, digits, modulus, states, coins)
    else:
        stego = nearest_congruent(samples, digits, modulus, coins >= 128)
    return float(np.square(stego.astype(np.float64) - samples).mean())


def least_error(payload: float) -> float:
    """Return the distortion D at which C(D) equals so many bits per pixel."""
    return float(brentq(lambda distortion: capacity_bound(distortion) - payload, 1e-3, 1e3))


def decibels(error: float) -> float:
    return 10 * math.log10(255**2 / error)


def drawn(payloads: list[float], curves: dict[int, list[float]], bound: list[float]) -> np.ndarray:
    """Draw the plot (h,w,3) uint8: PSNR over the payload, and below it the distance from the bound."""
    figure = Figure(figsize=(8.5, 6.5), layout="constrained", dpi=110)
    canvas = FigureCanvasAgg(figure)
    above, below = figure.subplots(2, sharex=True, height_ratios=(3, 2))
    above.plot(payloads, bound, color="black", label="the most possible")
    below.plot(payloads, np.zeros(len(payloads)), color="black")
    for (states, curve), marker in zip(curves.items(), "^os*", strict=True):
        label = f"{states} states" if states else "plain"
        (line,) = above.plot(payloads, curve, marker + "-", markersize=4, linewidth=1, label=label)
        gaps = np.subtract(curve, bound)
        below.plot(payloads, gaps, marker + "-", color=line.get_color(), markersize=4, linewidth=1)
    for k, modulus in enumerate(MODULI):
        place = payloads[k], curves[0][k] - bound[k]
        below.annotate(f"M = {modulus}", place, (0, -13), textcoords="offset points", fontsize=7, ha="center")
    above.set_ylabel("PSNR of the stego (dB, RGB)")
    below.set(xlabel="bits per cover pixel", ylabel="below the bound (dB)", ylim=(-2.3, 0.1))
    for axes in (above, below):
        axes.grid(alpha=0.25)
    above.legend(fontsize=8)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


if __name__ == "__main__":
    sys.exit(run_command(PARSER, main))
