#!/usr/bin/env python
"""Test weights on data sets, with stegos saved as PNG: python test.py -opt options/test/smilenet_25.yml"""

import argparse
import sys
from pathlib import Path

from engine.command import Parser, run_command
from engine.log import EXPERIMENTS
from errors import UserError
from options import TestOptions, describe, load_test

PARSER = Parser(
    prog="test.py",
    description="Hide and reveal groups of pictures by the protocol of docs/evaluation.md (each stego is "
    "written to a PNG file and read back), and score the stegos and the revealed pictures. Results go to "
    "experiments/<name>/results/<data set>/: metrics.json, per_image.csv, groups.csv, figures/, pictures/.",
    epilog="""examples:
  python test.py -opt options/test/quickstart.yml
  python test.py -opt options/test/smilenet_25.yml --datasets div2k
  python test.py -opt options/test/smilenet_25.yml --set weights=my_run/last.safetensors
  python test.py -opt options/test/smilenet_25.yml --set data.test.0.folder=/data/DIV2K_valid_HR""",
)
PARSER.add_argument("-opt", metavar="FILE", help="YAML option file (shipped ones: options/test/)")
PARSER.add_argument("--datasets", metavar="NAME,...", help="test only these data sets of the file")
PARSER.add_argument(
    "--set",
    action="append",
    default=[],
    metavar="KEY=VALUE",
    dest="overrides",
    help="override one option, for example --set weights=my_run (may be repeated)",
)
PARSER.add_argument(
    "--experiments",
    type=Path,
    default=EXPERIMENTS,
    metavar="DIR",
    help="the folder that holds the runs and results (default: %(default)s)",
)
PARSER.add_argument(
    "--precision",
    choices=("fp32", "bf16", "fp16"),
    default="fp32",
    help="the network's arithmetic. bf16 and fp16 are faster and a little less exact, and the device must "
    "support them (default: %(default)s)",
)
PARSER.add_argument(
    "--reveal-precision",
    choices=("fp32", "bf16", "fp16"),
    help="reveal in a different precision than hiding, as a receiver with another device would",
)
PARSER.add_argument(
    "--help-options", action="store_true", help="explain every key of an option file and exit"
)


def main(arguments: argparse.Namespace) -> None:
    if arguments.help_options:
        print(describe(TestOptions))
        return
    if not arguments.opt:
        raise UserError("-opt is missing: try -opt options/test/quickstart.yml (see --help)")
    options = load_test(arguments.opt, arguments.overrides)
    from engine.testing.tester import run_tests  # after the options: reports a misspelt key at once

    chosen = arguments.datasets.split(",") if arguments.datasets else None
    run_tests(options, arguments.experiments, chosen, arguments.precision, arguments.reveal_precision)


if __name__ == "__main__":
    sys.exit(run_command(PARSER, main))
