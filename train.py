#!/usr/bin/env python
"""Train the network of an option file: python train.py -opt options/train/smilenet_25.yml"""

import argparse
import sys
from pathlib import Path

from engine.command import Parser, run_command
from engine.log import EXPERIMENTS
from errors import UserError
from options import TrainOptions, describe, load_train

PARSER = Parser(
    prog="train.py",
    description="Train the hiding network that an option file describes. Uses CUDA if there is a GPU, "
    "otherwise the CPU. Everything goes to experiments/<name>/: checkpoints/best.safetensors and "
    "last.safetensors (weights), last.state (what --resume continues from), train.log, tb/ (TensorBoard), "
    "images/.",
    epilog="""examples:
  python train.py -opt options/train/quickstart.yml
  python train.py -opt options/train/smilenet_25.yml --set data.train.folder=/data/DIV2K
  python train.py -opt options/train/smilenet_25.yml --resume
  torchrun --nproc_per_node=8 train.py -opt options/train/smilenet_25.yml     # docs/scale.md
  tensorboard --logdir experiments

Ctrl-C (or SIGTERM) finishes the step, saves and exits. --resume continues; on a CPU, and without
train.minutes, it ends with the same weights as an uninterrupted run. A new run with the same name first
renames the earlier one to <name>_archived_<time>. Exit codes: 0 finished or saved, 2 a mistake in files
or options, 1 any other failure.""",
)
PARSER.add_argument("-opt", metavar="FILE", help="YAML option file (shipped ones: options/train/)")
PARSER.add_argument("--resume", action="store_true", help="continue the run that the option file names")
PARSER.add_argument(
    "--set",
    action="append",
    default=[],
    metavar="KEY=VALUE",
    dest="overrides",
    help="override one option, for example --set train.lr=1e-4 (may be repeated)",
)
PARSER.add_argument(
    "--experiments",
    type=Path,
    default=EXPERIMENTS,
    metavar="DIR",
    help="the folder that holds the runs (default: %(default)s)",
)
PARSER.add_argument(
    "--profile",
    type=int,
    default=0,
    metavar="N",
    help="write a trace of N steps to profile/trace.json.gz in the run's folder (open it in ui.perfetto.dev)",
)
PARSER.add_argument(
    "--help-options", action="store_true", help="explain every key of an option file and exit"
)
PARSER.add_argument(
    "--list", action="store_true", help="list methods, option files, runs and shipped weights, then exit"
)


def main(arguments: argparse.Namespace) -> None:
    if arguments.help_options:
        print(describe(TrainOptions))
        return
    if arguments.list:
        from engine.listing import listing

        for line in listing(arguments.experiments):
            print(line)
        return
    if not arguments.opt:
        raise UserError("-opt is missing: try -opt options/train/quickstart.yml (see --help)")
    if arguments.profile < 0:
        raise UserError(f"--profile {arguments.profile}: expected 0 or more steps")
    options = load_train(arguments.opt, arguments.overrides)
    from engine import processes  # after the options: reports a misspelt key at once
    from engine.training.trainer import Trainer

    with processes.joined():
        trainer = Trainer(options, arguments.experiments, resume=arguments.resume, profile=arguments.profile)
        try:
            trainer.fit()
        finally:
            trainer.close()


if __name__ == "__main__":
    sys.exit(run_command(PARSER, main))
