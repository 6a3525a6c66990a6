"""How well stegos can be told from their covers (docs/steganalysis.md).

Run from the checkout: `python scripts/steganalysis.py --help`. Exit code 0: done; 2: a mistake in the
call or bad pictures, which one line on stderr explains; 1: anything else.
"""

import argparse
import sys
import warnings
from pathlib import Path

# The checkout is run in place and installs nothing: its root is where `engine` is found.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data.images import list_pictures
from data.pairs import lossy_pictures, paired_pictures
from engine.command import Parser, run_command
from engine.testing.steganalysis import DETECTORS, analyse, without, write_analysis
from engine.testing.steganalysis_cnn import Training
from errors import UserError
from metrics.steganalysis.cnn import NETWORKS
from metrics.steganalysis.rich import FEATURES

EXAMPLES = """\
COVER and STEGO are folders of anybody's pictures; pairs have the same name in both, the suffix aside.

examples:
  is it found by the classic detectors of replaced bits? (no training)
    python scripts/steganalysis.py --cover covers --stego stegos --detector stegexpose --out security
  is it found by a detector that learns from half of the pairs?
    python scripts/steganalysis.py --cover covers --stego stegos --detector rich --out security_rich
  how many pairs does a network need to find it?
    python scripts/steganalysis.py --cover covers --stego stegos --detector cnn --network srnet \\
        --pairs 10,20,50,100 --out security_srnet
stegexpose and rich need extra packages: pip install -e '.[steganalysis]'
"""

# Which options go with which detector; the others would have no effect there and are refused.
OPTIONS = {
    "stegexpose": set(),
    "rich": {"features", "train_share", "cache"},
    "cnn": {"network", "train_share", "pairs", "steps", "batch", "crop", "lr", "device"},
}


def main(options: argparse.Namespace) -> None:
    refuse_foreign_options(options)
    for folder in (options.out, options.cache):
        if folder is not None and folder.exists() and not folder.is_dir():
            raise UserError(f"{folder}: is a file, a folder is to be written there")
    # Pillow comments on odd files before it reads or refuses them; only the refusal matters here.
    warnings.filterwarnings("ignore", module="PIL")
    pairs = paired_pictures(options.cover, options.stego)
    if options.exclude is not None:
        left = without(pairs, list_pictures(options.exclude))
        print(f"{len(pairs) - len(left)} of {len(pairs)} pairs are in {options.exclude} and left out")
        pairs = left
    if lossy := lossy_pictures(stego for _, stego in pairs):
        print(
            f"warning: {len(lossy)} of {len(pairs)} stegos are JPEG files ({lossy[0].name}, ...): lossy, "
            "what was hidden in the pixels is gone, and what is measured is the compression",
            file=sys.stderr,
        )
    chosen = {key: getattr(options, key) for key in ("network", "steps", "batch", "crop", "lr")}
    analysis = analyse(
        pairs,
        options.detector,
        options.cache or options.out,
        seed=options.seed,
        train_share=0.5 if options.train_share is None else options.train_share,
        features=options.features or "spam",
        training=Training(**{key: value for key, value in chosen.items() if value is not None}),
        train_pairs=options.pairs,
        device=options.device or "auto",
        workers=options.workers,
    )
    analysis.summary |= {"cover": options.cover, "stego": options.stego}
    write_analysis(analysis, options.out)
    report(analysis.summary, options.out)


def refuse_foreign_options(options: argparse.Namespace) -> None:
    for key in sorted(set().union(*OPTIONS.values()) - OPTIONS[options.detector]):
        if getattr(options, key) is not None:
            its = " or ".join(name for name, keys in OPTIONS.items() if key in keys)
            raise UserError(f"--{key.replace('_', '-')} goes with --detector {its}, not {options.detector}")


def report(summary: dict, out: Path) -> None:
    if summary["pairs_of_equal_files"]:
        print(
            f"{summary['pairs_of_equal_files']} of {summary['pairs']} stegos are the very file of their cover"
        )
    learned = f"{summary['train_pairs']} pairs learned, " if summary["train_pairs"] else ""
    print(f"{learned}{summary['test_pairs']} tested{'':12}AUC  95 % interval    P_E  accuracy")
    for one in summary.get("by_train_pairs", ())[:-1]:
        print(line(f"{one['train_pairs']} pairs", one))
    print(line(summary["detector"], summary))
    for name, part in summary.get("parts", {}).items():
        print(line(f"  {name}", part))
    print(f"results: {out / 'security.json'}")


def line(name: str, found: dict) -> str:
    low, high = found["auc_interval"]
    return f"{name:24} {found['auc']:.3f}  {low:.3f}..{high:.3f}  {found['p_e']:.3f}  {found['accuracy']:.3f}"


def at_least(least: int):
    def parse(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"'{text}': expected a whole number from {least} on")
        return int(text)

    return parse


def share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"'{text}': expected a number between 0 and 1")
    return value


def positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"'{text}': expected a number above 0")
    return value


def counts(text: str) -> list[int]:
    parts = text.split(",")
    if not all(part.isdecimal() for part in parts):
        raise argparse.ArgumentTypeError(f"'{text}': expected whole numbers with commas between, as 10,20,50")
    return [int(part) for part in parts]


PARSER = Parser("steganalysis.py", description=__doc__.split("\n\n")[0], epilog=EXAMPLES)
PARSER.add_argument("--cover", required=True, metavar="DIR", help="covers, searched recursively")
PARSER.add_argument("--stego", required=True, metavar="DIR", help="stegos, of the same names")
PARSER.add_argument("--detector", required=True, choices=DETECTORS)
PARSER.add_argument(
    "--out", required=True, type=Path, metavar="DIR", help="security.json, roc.csv, roc.png, ..."
)
PARSER.add_argument(
    "--seed", type=at_least(0), default=0, metavar="N", help="of split and training (default 0)"
)
PARSER.add_argument(
    "--exclude",
    metavar="LIST",
    help="folder or .txt list of pictures to leave out: those that trained the hiding",
)
PARSER.add_argument("--workers", type=at_least(1), metavar="N", help="processes (default: one a core)")
LEARNING = PARSER.add_argument_group("with --detector rich and cnn")
LEARNING.add_argument(
    "--train-share", type=share, metavar="X", help="of the pairs that is learned (default 0.5)"
)
RICH = PARSER.add_argument_group("with --detector rich")
RICH.add_argument("--features", choices=list(FEATURES), help="default spam, the fastest")
RICH.add_argument("--cache", type=Path, metavar="DIR", help="where features are kept (default: --out)")
CNN = PARSER.add_argument_group("with --detector cnn")
CNN.add_argument("--network", choices=list(NETWORKS), help=f"default {Training.network}")
CNN.add_argument(
    "--pairs", type=counts, metavar="N,N,...", help="train anew with so many pairs each (default: all)"
)
CNN.add_argument(
    "--steps", type=at_least(1), metavar="N", help=f"of training, each (default {Training.steps})"
)
CNN.add_argument("--batch", type=at_least(1), metavar="N", help=f"pairs a step (default {Training.batch})")
CNN.add_argument(
    "--crop", type=at_least(32), metavar="PX", help=f"side of the patches (default {Training.crop})"
)
CNN.add_argument("--lr", type=positive, metavar="X", help=f"learning rate (default {Training.lr})")
CNN.add_argument("--device", metavar="NAME", help="auto, cpu, cuda, cuda:N or mps (default auto)")

if __name__ == "__main__":
    sys.exit(run_command(PARSER, main))
