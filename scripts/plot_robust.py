"""Draw docs/images/robust.png: revealed PSNR after JPEG over the stego's PSNR; also a row of pictures.

Run from the checkout: `python scripts/plot_robust.py --help`.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

# Scripts run from the checkout without installation, so its root must be on the path.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from channel.attacks import Jpeg
from data.images import list_pictures, read_picture, to_array, to_tensor, write_picture
from data.transforms import fit_picture
from engine.checkpoint import load_model
from engine.command import Parser, run_command
from engine.log import ROOT
from errors import UserError
from metrics.image import psnr
from models import HidingModel
from models.codec_dct import CodecDCT
from models.keyed import KeyedMethod

PUBLISHED = ("best published, JPEG 80", 25.5, 27.4)  # stego, revealed [dB]: one secret through real files
COLOURS = ["#882255", "#cc3311", "#ee7733", "#009988", "#4477aa", "#aa4499"]

PARSER = Parser(
    "plot_robust.py",
    description="""\
Hide one picture in another with codec_dct, for each JPEG quality to survive and each PSNR of the stego. Send
the stego through Pillow's JPEG of that quality, and reveal. Do the same with trained networks, which hide
their own number of pictures. Prints a Markdown table.""",
    epilog="example:\n  python scripts/plot_robust.py --pictures datasets/ImageNet/test --count 20",
)
PARSER.add_argument(
    "--out",
    type=Path,
    default=ROOT / "docs/images/robust.png",
    metavar="FILE.png",
    help="the plot to draw (default: docs/images/robust.png)",
)
PARSER.add_argument(
    "--row", type=Path, metavar="FILE.png", help="also draw cover, stego, stego after JPEG 75, revealed"
)
PARSER.add_argument("--pictures", default="samples:test", metavar="DIR", help="covers and secrets in turn")
PARSER.add_argument("--count", type=int, default=8, metavar="N", help="number of covers (default: 8)")
PARSER.add_argument(
    "--size", type=int, default=256, metavar="PX", help="side of the centre square (default: 256)"
)
PARSER.add_argument(
    "--qualities",
    type=int,
    nargs="+",
    default=[95, 90, 85, 80, 75, 70],
    metavar="Q",
    help="JPEG qualities to survive (default: %(default)s)",
)
PARSER.add_argument(
    "--least", type=float, nargs="+", default=[36.5, 38.5], metavar="DB", help="lowest PSNRs of the stego"
)
PARSER.add_argument(
    "--networks",
    nargs="*",
    default=["srisnet_1_nano", "smilenet_4_nano"],
    metavar="NAME",
    help="trained networks without a key (default: srisnet_1_nano smilenet_4_nano); no NAME: only codec_dct",
)


class Point(NamedTuple):
    """Means over the covers with enough room: JPEG quality, PSNR of stego and revealed [dB], covers."""

    quality: int
    stego: float
    revealed: float
    hidden: int
    method: str = "codec_dct"


def main(arguments: argparse.Namespace) -> None:
    networks = {name: load_model(name)[0] for name in arguments.networks}
    if keyed := [name for name, model in networks.items() if isinstance(model, KeyedMethod)]:
        raise UserError(f"--networks {keyed[0]}: a keyed method reveals nothing from a changed stego")
    files = list_pictures(arguments.pictures)[: 2 * arguments.count]
    if len(files) < 2 * arguments.count or arguments.count < 1:
        raise UserError(f"{arguments.pictures}: {arguments.count} covers need twice as many pictures")
    pictures = [to_array(fit_picture(to_tensor(read_picture(p)), arguments.size, path=p)) for p in files]
    pairs = list(zip(pictures[::2], pictures[1::2], strict=True))
    if arguments.row is not None:
        write_picture(arguments.row, row(*pairs[0]))
    print(f"{len(pairs)} covers of {arguments.size} px\n")
    print("| method | JPEG | stego (dB) | revealed (dB) | covers |\n|---|---|---|---|---|", flush=True)
    points = []
    for point in all_points(arguments, pairs, networks):
        points.append(point)
        figures = f"{point.stego:.2f} | {point.revealed:.2f}"
        print(f"| {point.method} | {point.quality} | {figures} | {point.hidden} |", flush=True)
    write_picture(arguments.out, drawn(points))


def all_points(
    arguments: argparse.Namespace,
    pairs: list[tuple[np.ndarray, np.ndarray]],
    networks: dict[str, HidingModel],
) -> Iterator[Point]:
    """Yield the points in the order of the table."""
    for quality in arguments.qualities:
        for least in arguments.least:
            if (point := measured(pairs, quality, least)) is not None:
                yield point
    for name, model in networks.items():
        yield from by_network(name, model, pairs, arguments.qualities)


def by_network(
    name: str, model: HidingModel, pairs: list[tuple[np.ndarray, np.ndarray]], qualities: list[int]
) -> list[Point]:
    """Return the network's points. A cover hides its own secret and the next ones in `pairs`."""
    scores: list[list[float]] = []  # (covers, 1 + qualities): stego, revealed at each quality [dB]
    for i, (cover, _) in enumerate(pairs):
        secrets = [pairs[(i + k) % len(pairs)][1] for k in range(model.num_secrets)]
        stego = to_array(model.hide(to_tensor(cover)[None], torch.stack([*map(to_tensor, secrets)])[None])[0])
        received = (model.reveal(to_tensor(Jpeg(quality)(stego))[None])[0] for quality in qualities)
        revealed = [
            float(np.mean([psnr(a, to_array(b)) for a, b in zip(secrets, found, strict=True)]))
            for found in received
        ]
        scores.append([psnr(cover, stego), *revealed])
    stego_psnr, *by_quality = np.mean(scores, axis=0)
    label = f"{name}, {model.num_secrets} secret{'s' if model.num_secrets > 1 else ''}"
    return [
        Point(quality, float(stego_psnr), float(found), len(pairs), label)
        for quality, found in zip(qualities, by_quality, strict=True)
    ]


def measured(pairs: list[tuple[np.ndarray, np.ndarray]], quality: int, least: float) -> Point | None:
    """Return one point of the plot; None if no cover has room."""
    model = CodecDCT(survive=[f"jpeg:{quality}"], least_psnr=least)
    scores = []
    for cover, secret in pairs:
        try:
            stego = to_array(model.seal(to_tensor(cover), [to_tensor(secret)]))
        except UserError:
            continue
        scores.append((psnr(cover, stego), psnr(secret, through(model, stego, quality)[1])))
    if not scores:
        return None
    stego_psnr, revealed_psnr = np.mean(scores, axis=0)
    return Point(quality, float(stego_psnr), float(revealed_psnr), len(scores))


def through(model: CodecDCT, stego: np.ndarray, quality: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the stego after Pillow's JPEG, and the secret revealed from it: (H,W,3) uint8 each."""
    sent = Jpeg(quality)(stego)
    return sent, to_array(model.unseal(to_tensor(sent))[0][0])


def row(cover: np.ndarray, secret: np.ndarray) -> np.ndarray:
    """Lay out cover, stego, stego after JPEG 75, and the secret revealed from it: (H,4*W+24,3) uint8."""
    model = CodecDCT(survive=["jpeg:75"])
    stego = to_array(model.seal(to_tensor(cover), [to_tensor(secret)]))
    gap = np.full((cover.shape[0], 8, 3), 255, np.uint8)
    sent, revealed = through(model, stego, 75)
    return np.hstack([cover, gap, stego, gap, sent, gap, revealed])


def drawn(points: list[Point]) -> np.ndarray:
    """Draw the plot (h,w,3) uint8: a line for each quality of codec_dct, a column of marks per network."""
    figure = Figure(figsize=(8, 5), layout="constrained", dpi=110)
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots()
    name, stego, revealed = PUBLISHED
    axes.plot(stego, revealed, "x", color="black", ms=9, label=name)
    colours = dict(zip(sorted({p.quality for p in points}), COLOURS * 9, strict=False))
    marks = dict(zip(dict.fromkeys(p.method for p in points), "osDv^P" * 9, strict=False))
    for quality, colour in colours.items():
        for method, mark in marks.items():
            line = sorted(p for p in points if (p.quality, p.method) == (quality, method))
            at = [p.stego for p in line], [p.revealed for p in line]
            axes.plot(*at, f"{mark}-", color=colour)
        axes.plot([], [], "-", color=colour, label=f"JPEG {quality}")
    for method, mark in marks.items():
        axes.plot([], [], mark, color="grey", label=method)
    axes.set(xlabel="PSNR of the stego (dB, RGB)", ylabel="PSNR of what is revealed after JPEG (dB, RGB)")
    axes.grid(alpha=0.25)
    figure.legend(fontsize=8, loc="outside right upper")
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


if __name__ == "__main__":
    sys.exit(run_command(PARSER, main))
