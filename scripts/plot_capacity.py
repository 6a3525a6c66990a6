"""Draw docs/images/capacity.png: the most that a stego can carry, and how much each method needs.

Run from the checkout: `python scripts/plot_capacity.py --help`.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator

# Scripts run from the checkout without installation, so its root must be on the path.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from container.codecs import PayloadCodec
from data.images import list_pictures, read_picture, to_array, to_tensor, write_picture
from data.transforms import fit_picture
from engine.command import Parser, run_command
from engine.log import EXPERIMENTS, ROOT
from engine.testing.published import read_published, read_results
from errors import UserError
from metrics.capacity import capacity_bound, cdt_efficiency, payload

PARSER = Parser(
    "plot_capacity.py",
    description="""\
Draw the capacity bound over the stego's PSNR, with LSB and base-M digits from their formulas, the published
figures (scripts/published.yml), and this project's results if there are any. For a published figure, it
measures on --pictures what a codec needs for as many secrets at the same PSNR. Prints the numbers as a
Markdown table.""",
    epilog="""examples:
  python scripts/plot_capacity.py
  python scripts/plot_capacity.py --pictures datasets/ImageNet/test --count 50""",
)
PARSER.add_argument(
    "--out",
    type=Path,
    default=ROOT / "docs/images/capacity.png",
    metavar="FILE.png",
    help="the plot to draw (default: docs/images/capacity.png)",
)
PARSER.add_argument(
    "--pictures", default="samples:test", metavar="DIR", help="secrets to code (default: samples:test)"
)
PARSER.add_argument("--count", type=int, default=20, metavar="N", help="most pictures to use (default: 20)")
PARSER.add_argument(
    "--size", type=int, default=256, metavar="PX", help="side of the centre square (default: 256)"
)
PARSER.add_argument(
    "--experiments", type=Path, default=EXPERIMENTS, metavar="DIR", help="folder of our results"
)


def main(arguments: argparse.Namespace) -> None:
    if arguments.count < 1 or arguments.size < 16:
        raise UserError(
            f"--count {arguments.count} --size {arguments.size}: expected --count from 1 and --size from 16"
        )
    files = list_pictures(arguments.pictures)[: arguments.count]
    secrets = [to_array(fit_picture(to_tensor(read_picture(p)), arguments.size, path=p)) for p in files]
    quoted = [
        (name, n, stego, revealed, n * needed(secrets, revealed)) for name, n, stego, revealed in published()
    ]
    measured = [result.metrics for result in read_results(arguments.experiments)]
    ours = [m for m in measured if m.get("payload_bpp") and m["cover_stego"]["psnr_rgb"] != "inf"]
    write_picture(arguments.out, drawn(quoted, ours))
    print(f"secrets: {len(secrets)} pictures of {arguments.pictures}, {arguments.size} pixels\n")
    print("| method | secrets | stego (dB) | revealed (dB) | needs (bits a pixel) | at most | efficiency |")
    print("|---|---|---|---|---|---|---|")
    for name, n, stego, revealed, bits in quoted:
        error = 255**2 / 10 ** (stego / 10)
        bound = capacity_bound(error)
        share = cdt_efficiency(bits, error)
        print(f"| {name} | {n} | {stego:.2f} | {revealed:.2f} | {bits:.1f} | {bound:.1f} | {share:.2f} |")


def published() -> list[tuple[str, int, float, float]]:
    """Return (method and data set, N, stego dB, revealed dB) of every published method with both PSNRs."""
    found = []
    for table in read_published()["tables"]:
        # Skip attacks, steganalysis and studies of a network's parts.
        if "cover/stego" not in table["parts"] or table.get("ours") == "none":
            continue
        at = table["columns"].index("psnr")
        if table["id"] == "srisnet_2":  # of its 16 methods, only its own and the next best
            names = {"PRIS", "SRIS-Net"}
        else:
            names = set().union(*table["parts"]["cover/stego"].values())
        for dataset, methods in table["parts"]["cover/stego"].items():
            for method in methods.keys() & names:
                stego, revealed = methods[method], table["parts"]["secret/revealed"][dataset][method]
                label = f"{method}, {dataset}"
                found.append((label, int(table["num_secrets"]), float(stego[at]), float(revealed[at])))
    return sorted(found, key=lambda one: (one[1], one[0]))


def needed(secrets: list[np.ndarray], decibels: float) -> float:
    """Return the bits per pixel that a codec needs for one secret at this PSNR [dB], on average."""
    codec = PayloadCodec()
    return float(np.mean([payload(s, decibels, codec).bits / s[..., 0].size for s in secrets]))


def drawn(quoted: list[tuple], ours: list[dict]) -> np.ndarray:
    """Draw the plot: (h,w,3) uint8."""
    figure = Figure(figsize=(10.5, 5.5), layout="constrained", dpi=110)
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots()
    decibels = np.linspace(30, 54, 300)
    bound = [capacity_bound(255**2 / 10 ** (d / 10)) for d in decibels]
    axes.plot(decibels, bound, color="black", label="the most possible, C(D)")
    axes.fill_between(decibels, bound, 80, color="#cc3311", alpha=0.07, linewidth=0)
    axes.text(51.5, 25, "no 8-bit stego\ncan carry this", ha="center", color="#aa2200", fontsize=9)
    k = np.arange(1, 5)
    axes.plot(psnr_of((4.0**k - 1) / 6), 3 * k, "s", color="#999999", label="k-bit LSB, k = 1..4 (formula)")
    m = np.array([2, 3, 4, 5, 6, 8, 10, 12, 16, 20])
    digits = np.where(m % 2, m**2 - 1, m**2 + 2) / 12
    axes.plot(
        psnr_of(digits), 3 * np.log2(m), "^", color="#4477aa", label="base-M digits, M = 2..20 (formula)"
    )
    colours = dict(zip(sorted({n for _, n, *_ in quoted}), COLOURS * 9, strict=False))
    for n, colour in colours.items():
        chosen = [one for one in quoted if one[1] == n]
        words = f"published, {n} secret{'s' if n > 1 else ''}"
        axes.plot([o[2] for o in chosen], [o[4] for o in chosen], "o", mfc="none", color=colour, label=words)
    if ours:
        stego = [o["cover_stego"]["psnr_rgb"] for o in ours]
        axes.plot(
            stego, [o["payload_bpp"] for o in ours], "*", color="#117733", ms=11, label="ours, through PNG"
        )
        for x, o in zip(stego, ours, strict=True):
            axes.annotate(
                f"{o['method']} {o['num_secrets']}",
                (x, o["payload_bpp"]),
                (6, -12),
                textcoords="offset points",
                fontsize=8,
            )
    high = [o for o in quoted if o[4] > 0.6 * capacity_bound(255**2 / 10 ** (o[2] / 10))]
    for place, (name, _, x, _, bits) in enumerate(sorted(high, key=lambda one: one[2])):
        shift = (6, 6 if place % 2 else -12)  # labels go above and below in turn
        axes.annotate(name, (x, bits), shift, textcoords="offset points", fontsize=8)
    axes.set(xlabel="PSNR of the stego (dB, RGB)", ylabel="bits per cover pixel")
    axes.set(xlim=(30, 54), ylim=(0.3, 40))
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(FixedLocator([0.5, 1, 2, 5, 10, 20, 50]))
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.minorticks_off()
    axes.grid(alpha=0.25)
    figure.legend(fontsize=8, loc="outside right upper")
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


COLOURS = ["#ee7733", "#cc3311", "#009988", "#ee3377", "#33bbee", "#aa4499", "#bbaa00", "#882255"]


def psnr_of(error: np.ndarray) -> np.ndarray:
    return 10 * np.log10(255**2 / error)


if __name__ == "__main__":
    sys.exit(run_command(PARSER, main))
