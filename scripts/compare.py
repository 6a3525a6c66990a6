"""Compare methods side by side: each trained for equally long, tested through PNG files, one table, one plot.

Run from the checkout: `python scripts/compare.py --help`. Exit code 0: done; 2: bad pictures or a
mistake in the call, which one line on stderr explains; 1: anything else, such as an interruption.
"""

import argparse
import json
import math
import sys
from pathlib import Path

import numpy as np

# The checkout is run in place and installs nothing: its root is where `engine` is found.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data.files import write_beside
from data.images import list_pictures, write_picture
from engine.build import set_name
from engine.command import Parser, run_command
from engine.log import ROOT
from engine.testing.tester import run_tests
from engine.training.run_folder import keep_settings
from engine.training.trainer import Trainer
from errors import UserError
from options import Network, TestOptions, TrainOptions, load_test, load_train

MODULI = range(2, 17, 2)  # of codec_lsb, which needs no training
ENDLESS = 10**8  # steps; the run ends by its minutes

PARSER = Parser(
    prog="compare.py",
    description="Train the small option files for an equal number of minutes each, test them through PNG "
    "files, and write OUT/table.md and OUT/plot.png. codec_lsb, which is not trained, stands beside them as "
    "a curve over its modulus. What OUT holds already is not done again; an interrupted run is taken up.",
    epilog="""A NAME may carry changes of its training file; such a run is called after them:
smilenet_4_nano,network.sde_blocks=0 is in the folder and the table smilenet_4_nano_sde_blocks_0.

examples:
  python scripts/compare.py --train DIR --test DIR --minutes 5 --out experiments/compare
  python scripts/compare.py --train DIR --test DIR --minutes 60 --out experiments/hour isn_4_nano
  python scripts/compare.py --train DIR --test DIR --minutes 5 --out experiments/ablation \\
      smilenet_4_nano smilenet_4_nano,network.sis_blocks=0 smilenet_4_nano,network.sde_blocks=0""",
)
PARSER.add_argument(
    "names",
    nargs="*",
    metavar="NAME[,KEY=VALUE...]",
    help="files of options/train/, each with changes or without (default: *_nano)",
)
PARSER.add_argument("--train", required=True, metavar="DIR", help="pictures to train on")
PARSER.add_argument(
    "--test", required=True, metavar="DIR", help="pictures to test on, by the groups of options/test/NAME.yml"
)
PARSER.add_argument("--minutes", required=True, type=float, help="of training for each")
PARSER.add_argument("--out", required=True, type=Path, metavar="DIR", help="runs, results, table and plot")
PARSER.add_argument("--threads", type=int, help="CPU threads (default: what the option files say)")
PARSER.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (default: auto)")


def main(arguments: argparse.Namespace) -> None:
    names = arguments.names or sorted(path.stem for path in (ROOT / "options/train").glob("*_nano.yml"))
    # All that can be a mistake of the caller comes first, before anything is written.
    runs = [run_name(variant) for variant in names]
    if twice := {name for name in runs if runs.count(name) > 1}:
        raise UserError(f"two runs would be called {', '.join(sorted(twice))}; name each once")
    trains = {run_name(variant): train_options(variant, arguments) for variant in names}
    tests = {run_name(variant): test_options(variant, arguments) for variant in names}
    for folder in (arguments.train, arguments.test):
        list_pictures(folder)
    settings = {
        "train": str(Path(arguments.train).resolve()),
        "test": str(Path(arguments.test).resolve()),
        "minutes": arguments.minutes,
    }
    keep_settings(arguments.out / "compare.json", settings)
    results = [trained(name, trains[name], tests[name], arguments.out) for name in trains]
    for num_secrets in sorted({result["num_secrets"] for result in results}):
        name = next(r["name"] for r in results if r["num_secrets"] == num_secrets)
        results += [coded(num_secrets, modulus, tests[name], arguments.out) for modulus in MODULI]
    text = table(results)
    about = f"{arguments.minutes:g} minutes of training each. `{' '.join(['python', *sys.argv])}`\n\n"
    write_beside(arguments.out / "table.md", (about + text).encode())
    write_picture(arguments.out / "plot.png", plot(results))
    print(text, end="")
    print(f"{arguments.out / 'table.md'}\n{arguments.out / 'plot.png'}")


# --- one method -------------------------------------------------------------------------------------


def run_name(variant: str) -> str:
    """What a run of NAME[,KEY=VALUE...] is called: "isn_4_nano,network.growth=8" -> "isn_4_nano_growth_8"."""
    name, *changes = variant.split(",")
    for change in changes:
        key, found, value = change.partition("=")
        if not found:
            raise UserError(
                f"{variant}: '{change}' is not KEY=VALUE, such as network.sde_blocks=0 (no lists)"
            )
        if not key.startswith(("network.", "loss.", "train.")) or key in ("train.minutes", "train.steps"):
            raise UserError(
                f"{variant}: {key} is the same for all that are compared; change network, loss or train"
            )
        name += f"_{key.rpartition('.')[2]}_{value}"
    return name


def train_options(variant: str, arguments: argparse.Namespace) -> TrainOptions:
    """The training file of a method, on the training pictures, to be ended by its minutes."""
    file, *changes = variant.split(",")
    overrides = [
        f"name={run_name(variant)}",
        f"data.train.folder={arguments.train}",
        "data.validate=null",
        f"train.minutes={arguments.minutes}",
        f"train.steps={ENDLESS}",
        f"device={arguments.device}",
    ]
    if arguments.threads is not None:
        overrides.append(f"train.threads={arguments.threads}")
    return load_train(ROOT / f"options/train/{file}.yml", overrides + changes)


def test_options(variant: str, arguments: argparse.Namespace) -> TestOptions:
    """The test file of a method, on the test pictures."""
    file, *changes = variant.split(",")
    overrides = [
        f"name={run_name(variant)}",
        f"weights={run_name(variant)}",
        f"data.test.0.folder={arguments.test}",
        f"device={arguments.device}",
        "save_images=1",
    ]
    overrides += [change for change in changes if change.startswith("network.")]
    return load_test(ROOT / f"options/test/{file}.yml", overrides)


def trained(name: str, train: TrainOptions, test: TestOptions, out: Path) -> dict:
    """Train and test one option file, as far as that is not done: its metrics.json, with its name."""
    data_set = set_name(test.data.test[0])
    file = out / name / "results" / data_set / "metrics.json"
    if not file.exists():
        trainer = Trainer(train, out, resume=(out / name / "checkpoints" / "last.state").exists())
        try:
            trainer.fit()
            if not trainer.finished():
                raise KeyboardInterrupt
        finally:
            trainer.close()
        run_tests(test, out, [data_set])
    return {"name": name, **json.loads(file.read_text())}


def coded(num_secrets: int, modulus: int, test: TestOptions, out: Path) -> dict:
    """Test codec_lsb with one modulus on the same groups."""
    name, data_set = f"codec_lsb_{num_secrets}_{modulus:02d}", set_name(test.data.test[0])
    file = out / name / "results" / data_set / "metrics.json"
    if not file.exists():
        network = Network(type="codec_lsb", num_secrets=num_secrets, modulus=modulus)
        changes = {"name": name, "weights": "codec_lsb", "network": network}
        run_tests(test.model_copy(update=changes), out, [data_set])
    return {"name": name, "modulus": modulus, **json.loads(file.read_text())}


# --- table and plot ---------------------------------------------------------------------------------

COLUMNS = (
    "method",
    "secrets",
    "parameters",
    "steps",
    "stego dB",
    "(luma)",
    "SSIM",
    "revealed dB",
    "(luma)",
    "SSIM",
)


def table(results: list[dict]) -> str:
    """Markdown, one row a result: by the number of secrets, then by revealed PSNR, codec_lsb by modulus."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|---|" + "---:|" * (len(COLUMNS) - 1)]

    def place(result: dict) -> tuple:
        return result["num_secrets"], result.get("modulus", 0), -_psnr(result, "secret_revealed")

    for result in sorted(results, key=place):
        if "modulus" in result:
            cells = [f"codec_lsb M = {result['modulus']}", str(result["num_secrets"]), "-", "-"]
        else:
            cells = [_label(result), str(result["num_secrets"])]
            cells += [f"{result['params'] / 1e6:.2f} M", str(result["weights_step"])]
        for kind in ("cover_stego", "secret_revealed"):
            scores = result[kind]
            cells += [
                _number(scores["psnr_rgb"], 2),
                _number(scores["psnr_y"], 2),
                _number(scores["ssim_rgb"], 4),
            ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def plot(results: list[dict]) -> np.ndarray:
    """Stego against revealed PSNR: a point for each trained network, a curve for codec_lsb: (h,w,3) uint8."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6), layout="constrained")
    canvas, axes = FigureCanvasAgg(figure), figure.subplots()
    counts = sorted({result["num_secrets"] for result in results})
    places = {
        r["name"]: (_psnr(r, "cover_stego"), _psnr(r, "secret_revealed"))
        for r in results
        if "modulus" not in r
    }
    for colour, count in enumerate(counts):
        chosen = [r for r in results if r["num_secrets"] == count]
        curve = sorted((r for r in chosen if "modulus" in r), key=lambda r: r["modulus"])
        if curve:
            x, y = ([_psnr(r, kind) for r in curve] for kind in ("cover_stego", "secret_revealed"))
            axes.plot(x, y, ".-", color=f"C{colour}", label=f"codec_lsb, N = {count}")
        for result in chosen:
            if "modulus" not in result:
                point = places[result["name"]]
                # A name goes to the left where another point is as high and further right.
                left = any(abs(point[1] - y) < 1 and point[0] < x for x, y in places.values())
                axes.plot(*point, "o", color=f"C{colour}")
                side = "right" if left else "left"
                axes.annotate(f" {_label(result)} ", point, va="center", ha=side, fontsize=9)
    axes.set(xlabel="cover/stego PSNR (dB, RGB)", ylabel="secret/revealed PSNR (dB, RGB)")
    axes.margins(x=0.15)
    axes.grid(alpha=0.3)
    if axes.get_legend_handles_labels()[0]:
        axes.legend()
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _label(result: dict) -> str:
    """smilenet_l_4 for smilenet_l_4_nano: method, number of secrets, and what was changed."""
    return result["name"].replace("_nano", "")


def _psnr(result: dict, kind: str) -> float:
    return float(result[kind]["psnr_rgb"])


def _number(value: float | str, digits: int) -> str:
    return f"{float(value):.{digits}f}" if math.isfinite(float(value)) else "inf"


if __name__ == "__main__":
    sys.exit(run_command(PARSER, main))
