"""Score pictures from any program: folders of covers and stegos, and of secrets and revealed pictures.

Run from the checkout: `python scripts/evaluate.py --help`. Exit code 0: done; 2: folders that do not
fit, which the lines on stderr explain; 1: anything else.
"""

import argparse
import sys
from pathlib import Path

# Scripts run from the checkout without installation, so its root must be on the path.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from engine.command import Parser, run_command
from engine.log import git_commit, log_to, logger
from errors import UserError

PARSER = Parser(
    "evaluate.py",
    description="""\
Score stegos against covers, and revealed secrets against secrets, from files of any program. The scores are
the same as test.py's, without a network. Writes metrics.json, per_image.csv, figures, the pictures of the
first groups and report.html to --out, all at once.

Which files belong together:
  pairs   have the same name without the suffix: cover/0001.png and stego/0001.png,
          secret/0001_02.jpg and revealed/0001_02.png
  secrets belong to covers by name, if each has its cover's name (0001), or that and a number
          (0001_01, 0001_02); otherwise in order: the first N of 4N secrets to the first of 4 covers
Both pictures of a pair must have the same size. docs/evaluation.md explains the scores.""",
    epilog="""\
examples:
  only the stegos:
    python scripts/evaluate.py --cover covers --stego stegos --out scores
  all four, as HiNet's test script leaves them:
    python scripts/evaluate.py --cover image/cover --stego image/steg --secret image/secret \\
        --revealed image/secret-rev --name HiNet --out scores
""",
)
PARSER.add_argument("--cover", required=True, metavar="DIR", help="the covers: a folder or a .txt list")
PARSER.add_argument("--stego", required=True, metavar="DIR", help="the stegos, one for each cover")
PARSER.add_argument("--secret", metavar="DIR", help="the secrets, N for each cover")
PARSER.add_argument("--revealed", metavar="DIR", help="the revealed pictures, one for each secret")
PARSER.add_argument("--out", required=True, type=Path, metavar="DIR", help="a new folder for the scores")
PARSER.add_argument("--force", action="store_true", help="replace existing results in --out")
PARSER.add_argument("--name", default="unknown", metavar="METHOD", help="the method's name, for tables")
PARSER.add_argument(
    "--dataset", metavar="NAME", help="the data set's name, for tables (default: the cover folder's name)"
)
PARSER.add_argument(
    "--save-images", type=int, default=4, metavar="N", help="keep the pictures of N groups (default: 4)"
)
PARSER.add_argument(
    "--no-capacity", action="store_true", help="leave out payload_bpp and cdt_efficiency, the slowest part"
)


def main(arguments: argparse.Namespace) -> None:
    out, inputs = arguments.out, (arguments.cover, arguments.stego, arguments.secret, arguments.revealed)
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        if not (out / "metrics.json").is_file():
            raise UserError(f"{out}: exists, but holds no results to replace; choose another --out")
        if not arguments.force:
            raise UserError(f"{out}: holds results; --force replaces them")
    for folder in filter(None, inputs):
        if Path(folder).resolve().is_relative_to(out.resolve()):
            raise UserError(f"{folder}: is inside {out}, the folder to write; choose another --out")
    if arguments.save_images < 0:
        raise UserError(f"--save-images {arguments.save_images}: expected 0 or more")
    log_to()
    from engine.testing.folders import match_folders, read_folders
    from engine.testing.results import table, write_results
    from engine.testing.results_folder import replaced_folder

    groups = match_folders(*inputs)
    summary = {
        "method": arguments.name,
        "dataset": arguments.dataset or Path(arguments.cover).resolve().stem,
        "through": "files of another program",
        "folders": {
            name: str(folder)
            for name, folder in zip(("cover", "stego", "secret", "revealed"), inputs, strict=True)
            if folder
        },
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "git_commit": git_commit(),
    }
    with replaced_folder(out) as new:
        metrics = write_results(
            new, read_folders(groups), summary, arguments.save_images, not arguments.no_capacity
        )
    logger.info(table(metrics))
    logger.info(f"results: {out / 'metrics.json'}")
    logger.info(f"report: {out / 'report.html'}")


if __name__ == "__main__":
    sys.exit(run_command(PARSER, main))
