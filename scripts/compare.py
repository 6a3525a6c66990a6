"""Compare methods: train each for the same time, test through PNG files, and write tables and a plot.

Run from the checkout: `python scripts/compare.py --help`. Exit code 0: done; 2: bad pictures or a
mistake in the call, which one line on stderr explains; 1: any other error, such as an interruption.
"""

import argparse
import sys
from pathlib import Path

# Scripts run from the checkout without installation, so its root must be on the path.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data.files import write_beside
from data.images import list_pictures, write_picture
from engine.build import set_name
from engine.command import Parser, run_command
from engine.log import ROOT
from engine.testing.collected import Run, collect
from engine.testing.tables import comparison, differences, plot, rows_of, target, usual_pairs
from engine.testing.tester import run_tests
from engine.training.run_folder import keep_settings
from engine.training.trainer import Trainer
from errors import UserError
from options import Network, TestOptions, TrainOptions, load_test, load_train

UNTRAINED = ("codec_lsb", "thumbnails")  # compared with every network, for each of MODULI
MODULI = range(2, 17, 2)
ENDLESS = 10**8  # steps; the run ends when its minutes are over
VALIDATE_EVERY = 50  # steps; often enough to see when a target is reached

PARSER = Parser(
    prog="compare.py",
    description="""\
Train the small option files for the same number of minutes each, test them through PNG files, and write
OUT/table.md and OUT/plot.png: means with 95 % intervals over the pictures, the spread over the seeds, and
paired differences on the same pictures. They also show codec_lsb and thumbnails, which need no training,
for each modulus. With --validate, the table says after how many minutes a method with 4 secrets reached
36 / 28 dB. Finished parts in OUT are not repeated; an interrupted run continues.""",
    epilog="""A NAME may include changes to its training file, which become part of the run's name:
smilenet_4_nano,network.sde_blocks=0 is called smilenet_4_nano_sde_blocks_0.

examples:
  python scripts/compare.py --train DIR --test DIR --minutes 5 --out experiments/compare
  python scripts/compare.py --train DIR --test DIR --minutes 60 --out experiments/hour isn_4_nano
  python scripts/compare.py --train DIR --test DIR,DIR2 --validate DIR3 --minutes 5 --seeds 3 --out OUT
  python scripts/compare.py --train DIR --test DIR --minutes 5 --out experiments/ablation \\
      smilenet_4_nano smilenet_4_nano,network.sis_blocks=0 smilenet_4_nano,network.sde_blocks=0""",
)
PARSER.add_argument(
    "names",
    nargs="*",
    metavar="NAME[,KEY=VALUE...]",
    help="files of options/train/, each with or without changes (default: *_nano)",
)
PARSER.add_argument("--train", required=True, metavar="DIR", help="pictures to train on")
PARSER.add_argument(
    "--test",
    required=True,
    metavar="DIR[,DIR...]",
    help="pictures to test on, in groups as in options/test/NAME.yml",
)
PARSER.add_argument(
    "--validate",
    metavar="DIR",
    help=f"pictures to validate on every {VALIDATE_EVERY} steps; this counts as training time",
)
PARSER.add_argument("--minutes", required=True, type=float, help="minutes of training for each run")
PARSER.add_argument(
    "--seeds", type=int, default=1, metavar="K", help="train each with the seeds 0 to K-1 (default: 1)"
)
PARSER.add_argument(
    "--out", required=True, type=Path, metavar="DIR", help="folder for runs, results, table and plot"
)
PARSER.add_argument("--threads", type=int, help="CPU threads (default: as in the option files)")
PARSER.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (default: auto)")


def main(arguments: argparse.Namespace) -> None:
    names = arguments.names or sorted(path.stem for path in (ROOT / "options/train").glob("*_nano.yml"))
    # Find all of the caller's mistakes first, before anything is written.
    if arguments.seeds < 1:
        raise UserError(f"--seeds {arguments.seeds}: expected 1 or more")
    variants = [(variant, seed) for variant in names for seed in range(arguments.seeds)]
    called = [run_name(*variant) for variant in variants]
    if twice := {name for name in called if called.count(name) > 1}:
        raise UserError(f"two runs would be called {', '.join(sorted(twice))}; give each NAME only once")
    asked = {
        run_name(*variant): (train_options(*variant, arguments), test_options(*variant, arguments))
        for variant in variants
    }
    folders = [arguments.train, *tested(arguments), *filter(None, [arguments.validate])]
    for folder in folders:
        list_pictures(folder)
    settings = {
        "train": str(Path(arguments.train).resolve()),
        "test": ",".join(str(Path(folder).resolve()) for folder in tested(arguments)),
        "validate": arguments.validate and str(Path(arguments.validate).resolve()),
        "minutes": arguments.minutes,
    }
    keep_settings(arguments.out / "compare.json", settings)
    runs = [trained(name, *options, arguments.out) for name, options in asked.items()]
    for num_secrets in sorted({run["num_secrets"] for run in runs}):
        options = next(asked[run.name][1] for run in runs if run["num_secrets"] == num_secrets)
        for method in UNTRAINED:
            runs += [untrained(method, num_secrets, modulus, options, arguments.out) for modulus in MODULI]
    rows = rows_of(runs)
    parts = [comparison(rows), differences(usual_pairs(rows))]
    if arguments.validate:
        parts.append(target([row for row in rows if row[0]["num_secrets"] == 4]))
    text = "\n\n".join("\n".join(lines) for lines in parts) + "\n"
    about = f"{arguments.minutes:g} minutes of training each. `{' '.join(['python', *sys.argv])}`\n\n"
    write_beside(arguments.out / "table.md", (about + text).encode())
    write_picture(arguments.out / "plot.png", plot(rows))
    print(text, end="")
    print(f"{arguments.out / 'table.md'}\n{arguments.out / 'plot.png'}")


# --- one method -------------------------------------------------------------------------------------


def tested(arguments: argparse.Namespace) -> list[str]:
    return arguments.test.split(",")


def run_name(variant: str, seed: int = 0) -> str:
    """Return the name of a run: "isn_4_nano,network.growth=8" -> "isn_4_nano_growth_8".

    Seeds other than 0 are part of the name: "isn_4_nano_seed_1". Raises UserError for a change that is not
    KEY=VALUE, or that would make the comparison unfair.
    """
    name, *changes = variant.split(",")
    for change in changes:
        key, found, value = change.partition("=")
        if not found:
            raise UserError(
                f"{variant}: '{change}': expected KEY=VALUE without lists, such as network.sde_blocks=0"
            )
        if not key.startswith(("network.", "loss.", "train.")) or key in ("train.minutes", "train.steps"):
            raise UserError(
                f"{variant}: {key} must be the same for all runs; only network, loss and train may change"
            )
        name += f"_{key.rpartition('.')[2]}_{value}"
    return f"{name}_seed_{seed}" if seed else name


def train_options(variant: str, seed: int, arguments: argparse.Namespace) -> TrainOptions:
    """Load the training file of a method, for the training pictures and the given minutes."""
    file, *changes = variant.split(",")
    overrides = [
        f"name={run_name(variant, seed)}",
        f"seed={seed}",
        f"data.train.folder={arguments.train}",
        f"train.minutes={arguments.minutes}",
        f"train.steps={ENDLESS}",
        f"device={arguments.device}",
    ]
    if arguments.validate:
        overrides += [f"data.validate.folder={arguments.validate}", f"train.validate_every={VALIDATE_EVERY}"]
    else:
        overrides.append("data.validate=null")
    if arguments.threads is not None:
        overrides.append(f"train.threads={arguments.threads}")
    return load_train(ROOT / f"options/train/{file}.yml", overrides + changes)


def test_options(variant: str, seed: int, arguments: argparse.Namespace) -> TestOptions:
    """Load the test file of a method, for the test pictures and the last weights, not the best ones."""
    file, *changes = variant.split(",")
    name = run_name(variant, seed)
    overrides = [
        f"name={name}",
        f"weights={name}/last.safetensors",
        f"data.test.0.folder=[{','.join(tested(arguments))}]",
        f"device={arguments.device}",
        "save_images=1",
        "capacity=false",
    ]
    overrides += [change for change in changes if change.startswith("network.")]
    return load_test(ROOT / f"options/test/{file}.yml", overrides)


def trained(name: str, train: TrainOptions, test: TestOptions, out: Path) -> Run:
    """Train and test one option file, unless there are results already."""
    data_set = set_name(test.data.test[0])
    results = out / name / "results" / data_set
    if not (results / "metrics.json").exists():
        trainer = Trainer(train, out, resume=(out / name / "checkpoints" / "last.state").exists())
        try:
            trainer.fit()
            if not trainer.finished():
                raise KeyboardInterrupt
        finally:
            trainer.close()
        run_tests(test, out, [data_set])
    return collect(results)


def untrained(method: str, num_secrets: int, modulus: int, test: TestOptions, out: Path) -> Run:
    """Test a method without training, with one modulus, on the same groups."""
    name, data_set = f"{method}_{num_secrets}_{modulus:02d}", set_name(test.data.test[0])
    results = out / name / "results" / data_set
    if not (results / "metrics.json").exists():
        network = Network(type=method, num_secrets=num_secrets, modulus=modulus)
        changes = {"name": name, "weights": method, "network": network}
        run_tests(test.model_copy(update=changes), out, [data_set])
    return collect(results)


if __name__ == "__main__":
    sys.exit(run_command(PARSER, main))
