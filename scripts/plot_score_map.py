"""Draw docs/images/score_map.jpg: what a critic's score map shows on covers and on their stegos.

Run from the checkout: `python scripts/plot_score_map.py --help`.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

# Scripts run from the checkout without installation, so its root must be on the path.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from channel.promise import jpeg_file
from data.files import write_beside
from data.groups import make_groups
from data.images import list_pictures, to_array
from data.transforms import load_group
from engine.checkpoint import load_model
from engine.command import Parser, run_command
from engine.log import ROOT
from errors import UserError
from metrics.image import psnr
from models.layers.quantize import quantize
from models.srisnet import SRISNet

GAIN = 8  # of the drawn changes

PARSER = Parser(
    "plot_score_map.py",
    description="""\
Hide with a SRIS-Net whose critic has a score map (`network.critic: gate`). Draw each cover beside its score
map, its changes, and the stego's score map. A score is from 0 (cover) to 1 (stego). Print a Markdown table:
the mean scores, the correlation of the cover's map and the changes, and what changes if the sender gets
the map's mean value at every pixel instead of the map.""",
    epilog="example:\n  python scripts/plot_score_map.py --weights RUN --pictures DIR --groups 20",
)
PARSER.add_argument(
    "--weights", required=True, metavar="NAME_OR_FILE", help="weights of a SRIS-Net with `critic: gate`"
)
PARSER.add_argument(
    "--out",
    type=Path,
    default=ROOT / "docs/images/score_map.jpg",
    metavar="FILE.jpg",
    help="the picture to draw (default: docs/images/score_map.jpg)",
)
PARSER.add_argument(
    "--pictures",
    default="samples:test",
    metavar="DIR",
    help="pictures in this order: a cover, its secrets, the next cover, ... (default: samples:test)",
)
PARSER.add_argument("--groups", type=int, default=2, metavar="N", help="number of groups (default: 2)")
PARSER.add_argument("--stride", type=int, metavar="N", help="step from cover to cover (default: secrets + 1)")
PARSER.add_argument("--shown", type=int, default=3, metavar="K", help="draw the first K groups (default: 3)")
PARSER.add_argument(
    "--size", type=int, default=256, metavar="PX", help="side of the centre square (default: 256)"
)


def main(arguments: argparse.Namespace) -> None:
    model, _ = load_model(arguments.weights)
    if not isinstance(model, SRISNet) or not model.critic_hides:
        raise UserError(
            f"{arguments.weights}: has no score map that the sender uses; expected a SRIS-Net trained with "
            "network.critic=gate"
        )
    files = list_pictures(arguments.pictures)
    groups = make_groups(
        files, model.num_secrets, arguments.groups, grouping="sorted", stride=arguments.stride
    )
    rows: list[dict[str, float]] = []
    drawn: list[dict[str, np.ndarray]] = []
    for group in groups:
        cover, secrets = load_group(group, arguments.size)
        figures, pictures = one_group(model, cover, secrets)
        rows.append(figures)
        if len(drawn) < arguments.shown:
            drawn.append(pictures)
    print(f"{len(rows)} groups\n\n| | mean | lowest | highest |\n|---|---:|---:|---:|")
    for name in rows[0]:
        values = [row[name] for row in rows]
        print(f"| {name} | {np.mean(values):.3f} | {np.min(values):.3f} | {np.max(values):.3f} |")
    write_beside(arguments.out, jpeg_file(plot(drawn), 90, "4:4:4"))


@torch.no_grad()
def one_group(
    model: SRISNet, cover: Tensor, secrets: Tensor
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Hide one group: (3,H,W) and (N,3,H,W) uint8 -> its figures, and what to draw, by their names."""
    pictures, hidden = cover[None].float() / 255, secrets[None].float() / 255
    of_cover = model.score_map(pictures)
    flat = model.encode_with(pictures, hidden, torch.full_like(of_cover, of_cover.mean().item()))
    stego = model.hide(cover[None], secrets[None])
    of_stego = model.score_map(stego.float() / 255)
    change = (stego[0].int() - cover.int()).abs()
    with np.errstate(invalid="ignore", divide="ignore"):  # NaN if the map is flat
        agreement = np.corrcoef(of_cover.flatten(), change.float().mean(dim=0).flatten())[0, 1]

    def scores(one: Tensor) -> tuple[float, float]:
        pairs = zip(secrets, model.reveal(one)[0], strict=True)
        revealed = [psnr(to_array(secret), to_array(found)) for secret, found in pairs]
        return psnr(to_array(cover), to_array(one[0])), float(np.mean(revealed))

    with_map, without = scores(stego), scores((quantize(flat) * 255).round().to(torch.uint8))
    figures = {
        "score of the cover": of_cover.mean().item(),
        "score of the stego": of_stego.mean().item(),
        "correlation of the cover's map and the changes": float(agreement),
        "stego (dB)": with_map[0],
        "revealed (dB)": with_map[1],
        "stego, mean for map (dB)": without[0],
        "revealed, mean for map (dB)": without[1],
    }
    shown = {
        "cover": to_array(cover),
        "its score map": of_cover[0, 0].numpy(),
        "stego": to_array(stego[0]),
        f"changes x {GAIN}": to_array((GAIN * change).clamp(0, 255).to(torch.uint8)),
        "the stego's score map": of_stego[0, 0].numpy(),
    }
    return figures, shown


def plot(rows: list[dict[str, np.ndarray]]) -> np.ndarray:
    """Draw one row per group, (h,w,3) uint8. Maps of all groups share one scale of colours."""
    figure = Figure(figsize=(11, 2.2 * len(rows) + 0.4), layout="constrained", dpi=110)
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots(len(rows), len(rows[0]), squeeze=False)
    maps = [picture for row in rows for picture in row.values() if picture.ndim == 2]
    low, high = min(x.min() for x in maps), max(x.max() for x in maps)
    for line, row in zip(axes, rows, strict=True):
        for place, (name, picture) in zip(line, row.items(), strict=True):
            shown = place.imshow(picture, cmap="viridis", vmin=low, vmax=high)
            place.set_xticks([])
            place.set_yticks([])
            if row is rows[0]:
                place.set_title(name, fontsize=9)
            if picture.ndim == 2:
                of_maps = shown
    figure.colorbar(of_maps, ax=axes, shrink=0.7, label="score: 0 cover, 1 stego")
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


if __name__ == "__main__":
    sys.exit(run_command(PARSER, main))
