"""Rewrite report.html in results folders, for example after scripts/steganalysis.py wrote into them.

Run from the checkout: `python scripts/make_report.py --help`.
"""

import argparse
import sys
from pathlib import Path

# Scripts run from the checkout without installation, so its root must be on the path.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from engine.command import Parser, run_command

PARSER = Parser(
    "make_report.py",
    description="Write report.html into folders of test.py or scripts/evaluate.py, from their present "
    "content. It also shows security.json and roc*.png from scripts/steganalysis.py.",
    epilog="""examples:
  python scripts/make_report.py experiments/quickstart/results/samples
  python scripts/make_report.py experiments/*/results/*""",
)
PARSER.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="results folders")


def main(arguments: argparse.Namespace) -> None:
    from engine.testing.report import write_report

    for folder in arguments.folders:
        print(write_report(folder))


if __name__ == "__main__":
    sys.exit(run_command(PARSER, main))
