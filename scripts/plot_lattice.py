"""Draw docs/images/lattice.png: what shipped SMILENet-L networks and codec_lsb reveal for each modulus.

Run from the checkout: `python scripts/plot_lattice.py --help`.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

# Scripts run from the checkout without installation, so its root must be on the path.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data.files import sha256
from data.images import list_pictures, write_picture
from engine.build import set_name
from engine.checkpoint import shipped
from engine.command import Parser, run_command
from engine.log import EXPERIMENTS, ROOT
from engine.testing.tester import run_tests
from engine.training.run_folder import keep_settings
from errors import UserError
from metrics.capacity import capacity_bound
from options import Network, load_test

MODULI = range(6, 21, 2)
CODED = (4, *MODULI, 24, 32)  # a wider range, because the bound exceeds what M digits carry at this stego

PARSER = Parser(
    "plot_lattice.py",
    description="""\
Hide with each network and with codec_lsb, for every even modulus from 6 to 20, through PNG files, and draw
revealed over stego PSNR. The bound is what codec_lsb would reveal if it carried all the bits that a stego
with this error can carry. Results in --out-runs are not measured again. Prints the numbers as Markdown.""",
    epilog="""examples:
  python scripts/plot_lattice.py --test DIR
  python scripts/plot_lattice.py --test DIR smilenet_l_4 --out l_4.png""",
)
PARSER.add_argument(
    "names", nargs="*", default=["smilenet_l_4", "smilenet_l_25"], metavar="NAME", help="shipped networks"
)
PARSER.add_argument(
    "--test", required=True, metavar="DIR", help="pictures to test on, in groups as in options/test/"
)
PARSER.add_argument(
    "--out",
    type=Path,
    default=ROOT / "docs/images/lattice.png",
    metavar="FILE.png",
    help="the plot to draw (default: docs/images/lattice.png)",
)
PARSER.add_argument(
    "--out-runs", type=Path, default=EXPERIMENTS / "lattice", metavar="DIR", help="results of each modulus"
)
PARSER.add_argument(
    "--experiments", type=Path, default=EXPERIMENTS, metavar="DIR", help="folder that holds pretrained/"
)


def main(arguments: argparse.Namespace) -> None:
    known = shipped(arguments.experiments)
    for name in arguments.names:
        if name not in known:
            raise UserError(f"{name}: no such network in {arguments.experiments / 'pretrained'}")
    list_pictures(arguments.test)
    weights = {name: sha256(known[name]) for name in arguments.names}
    settings = {"test": str(Path(arguments.test).resolve()), **weights}
    keep_settings(arguments.out_runs / "plot_lattice.json", settings)
    curves: dict[str, list[dict]] = {}
    for name in arguments.names:
        curves[name] = [tested(name, modulus, arguments) for modulus in MODULI]
        num_secrets = curves[name][0]["num_secrets"]
        curves[f"codec_lsb, N = {num_secrets}"] = [
            tested(name, modulus, arguments, coded=num_secrets) for modulus in CODED
        ]
    write_picture(arguments.out, drawn(curves))
    print("| | " + " | ".join(f"M = {modulus}" for modulus in MODULI) + " |")
    print("|---|" + "---|" * len(MODULI))
    for name, results in curves.items():
        shown = [result for result in results if result["modulus"] in MODULI]
        print(f"| {name} | " + " | ".join(f"{stego(r):.1f} / {revealed(r):.1f}" for r in shown) + " |")
    print(arguments.out)


def tested(name: str, modulus: int, arguments: argparse.Namespace, coded: int | None = None) -> dict:
    """Return the metrics of a network for one modulus; coded: those of codec_lsb for so many secrets."""
    own = f"{name}_{modulus:02d}" if coded is None else f"codec_lsb_{coded}_{modulus:02d}"
    overrides = [f"data.test.0.folder={arguments.test}", "save_images=0", "capacity=false", f"name={own}"]
    overrides += [f"network.modulus={modulus}", f"weights={name}"]
    options = load_test(ROOT / f"options/test/{name}_nano.yml", overrides)
    data_set = set_name(options.data.test[0])
    file = arguments.out_runs / own / "results" / data_set / "metrics.json"
    if not file.exists():
        if coded is not None:
            network = Network(type="codec_lsb", num_secrets=coded, modulus=modulus)
            options = options.model_copy(update={"weights": "codec_lsb", "network": network})
        else:
            options = options.model_copy(update={"weights": str(shipped(arguments.experiments)[name])})
        run_tests(options, arguments.out_runs)
    return {"modulus": modulus, **json.loads(file.read_text())}


def stego(result: dict) -> float:
    return float(result["cover_stego"]["psnr_rgb"])


def revealed(result: dict) -> float:
    return float(result["secret_revealed"]["psnr_rgb"])


def bound(coded: list[dict]) -> tuple[list[float], list[float]]:
    """Return codec_lsb's PSNRs if the stego carried the most bits: (stego PSNR, revealed PSNR) [dB].

    The revealed PSNR of M digits depends on their rate, 3 log2 M bits per pixel. The bound's rate at the same
    stego is higher (docs/capacity.md).
    """
    rates = [3 * np.log2(result["modulus"]) for result in coded]
    most = [capacity_bound(result["cover_stego"]["mse"]) for result in coded]
    within = [k for k, rate in enumerate(most) if rate <= rates[-1] and coded[k]["modulus"] in MODULI]
    reached = np.interp([most[k] for k in within], rates, [revealed(result) for result in coded])
    return [stego(coded[k]) for k in within], reached.tolist()


def drawn(curves: dict[str, list[dict]]) -> np.ndarray:
    """Draw the plot: (h,w,3) uint8."""
    figure = Figure(figsize=(9.5, 5.5), layout="constrained")
    canvas, axes = FigureCanvasAgg(figure), figure.subplots()
    colours = {n: f"C{k}" for k, n in enumerate(sorted({r[0]["num_secrets"] for r in curves.values()}))}
    for name, results in curves.items():
        colour, coded = colours[results[0]["num_secrets"]], name.startswith("codec_lsb")
        if coded:
            x, y = bound(results)
            axes.plot(x, y, ":", color=colour, label=f"bound, N = {results[0]['num_secrets']}")
        shown = [result for result in results if result["modulus"] in MODULI]
        x, y = [stego(result) for result in shown], [revealed(result) for result in shown]
        axes.plot(x, y, "s--" if coded else "o-", color=colour, label=name, markersize=4)
        for result in shown if not coded else ():
            point = stego(result), revealed(result)
            axes.annotate(f"{result['modulus']}", point, (0, 5), textcoords="offset points", fontsize=8)
    axes.set(xlabel="cover/stego PSNR (dB, RGB)", ylabel="secret/revealed PSNR (dB, RGB)")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


if __name__ == "__main__":
    sys.exit(run_command(PARSER, main))
