"""Draw docs/images/detection.png: how well detectors find codec_lsb, over its payload.

Run from the checkout: `python scripts/plot_detection.py --help`. Exit code 0: done; 2: a mistake in the call
or bad pictures, which one line on stderr explains; 1: any other error.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator

# Scripts run from the checkout without installation, so its root must be on the path.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data.files import write_beside
from data.images import list_pictures, write_picture
from data.pairs import paired_pictures
from engine.command import Parser, at_least, run_command
from engine.detection import RESULTS, label
from engine.log import EXPERIMENTS, ROOT
from engine.testing.collected import without_paths
from engine.testing.steganalysis.analysis import Settings, analyse
from engine.testing.steganalysis.files import write_analysis
from engine.testing.steganalysis.stegos import checksum, make_stegos, method_about, method_sender
from engine.testing.steganalysis.training import Training
from errors import UserError
from models.codec_lsb import CodecLSB

DETECTORS = ("spam", "crm", "xunet")
COLOURS = dict(zip(DETECTORS, ("#4477aa", "#cc3311", "#009988"), strict=True))
SPEED = 10  # of the encoder; a detector cannot see the quality, because the payload is encrypted

PARSER = Parser(
    "plot_detection.py",
    description="""\
For each payload, plain and shaped: hide one picture in another with codec_lsb, and train detectors on half of
the pairs. Then draw the plot, and print a Markdown table. Each finished point is kept in --data; a repeated
command continues from there. The stegos, detectors and curves are in --work.""",
    epilog="example:\n  python scripts/plot_detection.py --pictures datasets/ImageNet/test --count 260",
)
PARSER.add_argument(
    "--pictures", nargs="+", default=["samples:test"], metavar="DIR", help="covers and secrets"
)
PARSER.add_argument("--count", type=at_least(1), metavar="N", help="use the first N pictures (default: all)")
PARSER.add_argument(
    "--size", type=at_least(32), default=256, metavar="PX", help="side of the centre square (default: 256)"
)
PARSER.add_argument(
    "--payloads",
    type=float,
    nargs="+",
    default=[0.5, 1, 2, 4, 7, 10.5],
    metavar="BITS",
    help="most bits per pixel, as in hide.py (default: %(default)s)",
)
PARSER.add_argument(
    "--shapings",
    type=int,
    nargs="+",
    default=[0, 64],
    metavar="STATES",
    help="states of the trellis; 0: plain (default: 0 64)",
)
PARSER.add_argument(
    "--detectors",
    nargs="+",
    choices=DETECTORS,
    default=list(DETECTORS),
    metavar="NAME",
    help="detectors to train (default: all)",
)
PARSER.add_argument(
    "--steps", type=at_least(1), default=600, metavar="N", help="training steps of XuNet (default: 600)"
)
PARSER.add_argument(
    "--seed", type=at_least(0), default=0, metavar="N", help="seed of split and training (default: 0)"
)
PARSER.add_argument("--workers", type=at_least(1), metavar="N", help="processes (default: one per core)")
PARSER.add_argument(
    "--work",
    type=Path,
    default=EXPERIMENTS / "detection",
    metavar="DIR",
    help="folder for stegos, detectors and curves (default: %(default)s)",
)
PARSER.add_argument(
    "--data",
    type=Path,
    default=RESULTS / "detection.json",
    metavar="FILE.json",
    help="file that keeps the points, all of the same pictures (default: docs/results/detection.json)",
)
PARSER.add_argument(
    "--out",
    type=Path,
    default=ROOT / "docs/images/detection.png",
    metavar="FILE.png",
    help="the plot to draw (default: docs/images/detection.png)",
)
PARSER.add_argument("--only-draw", action="store_true", help="only draw the points in --data")


def main(arguments: argparse.Namespace) -> None:
    points = read_points(arguments.data)
    if not arguments.only_draw:
        measure(arguments, points)
    if not points:
        raise UserError(f"{arguments.data}: no points yet; leave out --only-draw")
    print("\n".join(table(points)))
    write_picture(arguments.out, drawn(points))


def read_points(file: Path) -> list[dict]:
    if not file.exists():
        return []
    try:
        return json.loads(file.read_text())["points"]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{file}: not written by plot_detection.py ({error})") from error


def measure(arguments: argparse.Namespace, points: list[dict]) -> None:
    """Add the missing points, and keep each as soon as it is measured."""
    files = list_pictures(arguments.pictures)
    if arguments.count is not None:
        if arguments.count > len(files):
            raise UserError(f"--count {arguments.count}: there are {len(files)} pictures")
        files = files[: arguments.count]
    check_alike(points, arguments, checksum(files))
    for payload in arguments.payloads:
        for shaping in arguments.shapings:
            model = CodecLSB(num_secrets=1, shaping=shaping, payload=payload, speed=SPEED)
            model.method = "codec_lsb"
            folder = arguments.work / f"{payload:g}_{shaping}"
            about = method_about(model, "codec_lsb", passphrase=False)
            about = make_stegos(files, 1, folder, method_sender(model), about, arguments.size)
            for detector in arguments.detectors:
                if any(key(point) == (payload, shaping, detector) for point in points):
                    continue
                points.append(without_paths(found(arguments, folder, detector) | {"stegos": about}))
                points.sort(key=lambda point: (key(point)[1], key(point)[0], key(point)[2]))
                text = json.dumps({"points": points}, indent=1) + "\n"
                write_beside(arguments.data, text.encode())


def found(arguments: argparse.Namespace, folder: Path, detector: str) -> dict:
    """Return what a detector finds in the stegos of a folder, and write its files beside them."""
    pairs = paired_pictures(folder / "cover", folder / "stego")
    network = detector == "xunet"
    settings = Settings(
        seed=arguments.seed,
        features="spam" if network else detector,
        training=Training(detector if network else "xunet", steps=arguments.steps, crop=128),
        workers=arguments.workers,
    )
    out = folder / detector
    # All points have the same covers, so they share the features.
    analysis = analyse(pairs, "cnn" if network else "rich", out if network else arguments.work, settings)
    write_analysis(analysis, out)
    return analysis.summary


def check_alike(points: list[dict], arguments: argparse.Namespace, pictures: str) -> None:
    """Raise UserError if the kept points come from other pictures, another split or other training."""
    for point in points:
        stegos = point["stegos"]
        differing = {
            "the pictures": stegos["pictures_sha256"] != pictures,
            "--size": stegos["size"] != arguments.size,
            "--seed": point["seed"] != arguments.seed,
            "--steps": point.get("steps", arguments.steps) != arguments.steps,
        }
        if found := [what for what, differs in differing.items() if differs]:
            raise UserError(f"{arguments.data}: {', '.join(found)} of its points differ; use another --data")


def key(point: dict) -> tuple[float, int, str]:
    return point["stegos"]["payload"], point["stegos"]["shaping"], label(point)


def table(points: list[dict]) -> list[str]:
    """Return the points as a Markdown table."""
    lines = [
        "| bits a pixel | shaping | stego (dB) | detector | AUC | 95 % | P_E | pairs |",
        "|" + "---|" * 8,
    ]
    for point in points:
        payload, shaping, detector = key(point)
        low, high = point["auc_interval"]
        pairs = f"{point['train_pairs']}+{point['test_pairs']}"
        lines.append(
            f"| {payload:g} | {shaping or 'plain'} | {point['stegos']['psnr']:.2f} | {detector} | "
            f"{point['auc']:.3f} | {low:.3f} to {high:.3f} | {point['p_e']:.3f} | {pairs} |"
        )
    return lines


def drawn(points: list[dict]) -> np.ndarray:
    """Draw the plot (h,w,3) uint8: AUC over payload above, the stego's PSNR below. Dashed means shaped."""
    figure = Figure(figsize=(8, 6.5), layout="constrained", dpi=110)
    canvas = FigureCanvasAgg(figure)
    above, below = figure.subplots(2, sharex=True, height_ratios=(3, 2))
    for shaping in sorted({key(p)[1] for p in points}):
        style, words = ("--", "shaped") if shaping else ("-", "plain")
        some = [p for p in points if key(p)[1] == shaping]
        for detector in [d for d in DETECTORS if d in {label(p) for p in some}]:
            line = sorted((p for p in some if label(p) == detector), key=key)
            x, auc = [key(p)[0] for p in line], np.array([p["auc"] for p in line])
            ends = np.array([p["auc_interval"] for p in line])
            bars = np.maximum(0, np.stack((auc - ends[:, 0], ends[:, 1] - auc)))
            about = {"color": COLOURS[detector], "linestyle": style, "label": f"{detector}, {words}"}
            above.errorbar(x, auc, bars, marker="o", ms=4, capsize=3, **about)
        quality = sorted({(key(p)[0], p["stegos"]["psnr"]) for p in some})
        below.plot(*zip(*quality, strict=True), "s", linestyle=style, ms=4, color="#555555", label=words)
    above.axhline(0.5, color="grey", linestyle=":", linewidth=1)
    above.set(ylabel="AUC of the detector (0.5 is chance)", ylim=(0.4, 1.02))
    below.set(
        xlabel="most bits a pixel of the cover (codec_lsb, modulus 12)", ylabel="PSNR of the stego (dB)"
    )
    below.set_xscale("log")
    below.xaxis.set_major_locator(FixedLocator(sorted({key(p)[0] for p in points})))
    below.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    below.minorticks_off()
    for axes in (above, below):
        axes.grid(alpha=0.25)
        axes.legend(fontsize=8)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


if __name__ == "__main__":
    sys.exit(run_command(PARSER, main))
