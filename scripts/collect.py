"""Keep test results as data: docs/results/<set>/<run name>.json, the source of all tables.

Run from the checkout: `python scripts/collect.py --help`. Exit code 0: done; 2: results that do not fit,
which one line on stderr explains; 1: any other error.
"""

import argparse
import sys
from pathlib import Path

# Scripts run from the checkout without installation, so its root must be on the path.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from engine.command import Parser, run_command
from engine.testing.collected import RESULTS, collect, result_folders, write_runs
from engine.testing.detected import keep_detection
from errors import UserError

PARSER = Parser(
    "collect.py",
    description="""\
Copy the figures of results folders into docs/results: means with their intervals, PSNR of every pair,
command, commit, seed, machine, and the validations of the training. Absolute paths become DIR/<last name>.
Afterwards, `python scripts/make_tables.py --pages` puts the figures into the pages.""",
    epilog="""examples:
  python scripts/collect.py --set imagenet650 experiments/compare
  python scripts/collect.py --set imagenet650 experiments/smilenet_l_4/results/test
  python scripts/collect.py --set imagenet650 --detection experiments/security/smilenet_l_4/*""",
)
PARSER.add_argument(
    "folders",
    nargs="+",
    type=Path,
    metavar="DIR",
    help="a results folder, or a folder of runs, which stands for all its */results/*",
)
PARSER.add_argument("--set", metavar="NAME", help="name of the set (default: the data set of each result)")
PARSER.add_argument("--replace", action="store_true", help="overwrite other results of the same name")
PARSER.add_argument(
    "--results",
    type=Path,
    default=RESULTS,
    metavar="DIR",
    help="folder to keep them in (default: docs/results)",
)


PARSER.add_argument(
    "--detection",
    action="store_true",
    help="the folders are .../NAME/DETECTOR, written by scripts/steganalysis.py: keep the findings for the "
    "stegos called NAME, and the trained detector",
)


def main(arguments: argparse.Namespace) -> None:
    if arguments.detection:
        if arguments.set is None:
            raise UserError("--detection needs --set NAME")
        for folder in arguments.folders:
            for file in keep_detection(folder, arguments.set, arguments.results, arguments.replace):
                print(file)
        return
    folders = [folder for place in arguments.folders for folder in result_folders(place)]
    runs = [collect(folder, arguments.set) for folder in folders]
    for file in write_runs(runs, arguments.results, arguments.replace):
        print(file)


if __name__ == "__main__":
    sys.exit(run_command(PARSER, main))
