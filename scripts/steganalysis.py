"""Measure how well a detector tells stegos from their covers (docs/steganalysis.md).

Run from the checkout: `python scripts/steganalysis.py --help`. Exit code 0: done; 2: a mistake in the
call or bad pictures, which one line on stderr explains; 1: any other error.
"""

import argparse
import sys
import warnings
from pathlib import Path

# Scripts run from the checkout without installation, so its root must be on the path.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data.images import list_pictures
from data.pairs import lossy_pictures, named_pairs, paired_pictures
from engine.build import choose_device
from engine.checkpoint import fingerprint, load_model
from engine.command import Parser, at_least, run_command
from engine.log import EXPERIMENTS
from engine.testing.steganalysis.analysis import Settings, analyse
from engine.testing.steganalysis.extract import extract
from engine.testing.steganalysis.files import write_analysis, write_extraction
from engine.testing.steganalysis.pairs import DETECTORS, Pairs, without
from engine.testing.steganalysis.stegos import ABOUT, made_of, survives_jpeg
from engine.testing.steganalysis.training import Training
from errors import UserError
from metrics.steganalysis.cnn import NETWORKS
from metrics.steganalysis.rich import CHANNELS, FEATURES
from models import HidingModel

EXAMPLES = """\
--cover and --stego are folders of pictures from any program. Pairs have the same name without the suffix.

examples:
  is it found by the classic detectors of replaced bits? (no training)
    python scripts/steganalysis.py --cover covers --stego stegos --detector stegexpose --out security
  is it found by a detector that learns from half of the pairs?
    python scripts/steganalysis.py --cover covers --stego stegos --detector rich --out security_rich
  how many pairs does a network need to find it?
    python scripts/steganalysis.py --cover covers --stego stegos --detector cnn --network srnet \\
        --pairs 10,20,50,100 --out security_srnet
  is it found by eight numbers per picture, which find the stegos of networks?
    python scripts/steganalysis.py --cover covers --stego stegos --detector ica --out security_ica
  can the secrets be read without the passphrase?
    python scripts/steganalysis.py --cover tried/cover --stego tried/stego --detector extract \\
        --secret tried/secret_1 --weights smilenet_l_4 --out extracted
scripts/make_stegos.py makes such folders. stegexpose, rich and ica need extra packages:
  pip install -e '.[steganalysis]'
"""

# The options of each detector. Others would have no effect, so they are refused.
OPTIONS = {
    "stegexpose": set(),
    "rich": {"features", "channel", "train_share", "cache", "trained"},
    "ica": {"train_share", "cache", "trained"},
    "cnn": {"network", "train_share", "pairs", "steps", "batch", "crop", "lr", "device", "trained"},
    "extract": {"secret", "train_share", "steps", "batch", "crop", "lr", "device"},
}


def main(options: argparse.Namespace) -> None:
    refuse_foreign_options(options)
    for folder in (options.out, options.cache):
        if folder is not None and folder.exists() and not folder.is_dir():
            raise UserError(f"{folder}: is a file; expected a folder")
    # Pillow warns about odd files before it reads or refuses them. Only the refusal matters here.
    warnings.filterwarnings("ignore", module="PIL")
    pairs = paired_pictures(options.cover, options.stego)
    for folder in (options.cover, options.stego):
        if Path(folder).resolve() in (options.out.resolve(), *options.out.resolve().parents):
            raise UserError(
                f"--out {options.out}: lies in {folder}, a folder of pictures; use another folder"
            )
    if options.exclude is not None:
        left = without(pairs, list_pictures(options.exclude))
        print(f"{len(pairs) - len(left)} of {len(pairs)} pairs are in {options.exclude}, and are left out")
        pairs = left
    model = None
    if options.weights is not None:
        model, _ = load_model(options.weights, choose_device(options.device or "auto"), options.experiments)
    check_jpeg(pairs, model, options.weights)
    chosen = {key: getattr(options, key) for key in ("network", "steps", "batch", "crop", "lr")}
    training = Training(
        **{key: value for key, value in chosen.items() if value is not None}, seed=options.seed
    )
    share = 0.5 if options.train_share is None else options.train_share
    about = {"cover": options.cover, "stego": options.stego, "stegos": made_of(pairs)}
    if options.detector == "extract":
        read_without_the_key(options, pairs, model, training, share, about)
        return
    settings = Settings(
        seed=options.seed,
        train_share=share,
        features=options.features or "spam",
        channel=options.channel or "all",
        training=training,
        train_pairs=options.pairs,
        device=options.device or "auto",
        workers=options.workers,
        trained=options.trained,
    )
    analysis = analyse(pairs, options.detector, options.cache or options.out, settings)
    analysis.summary |= about
    write_analysis(analysis, options.out)
    report(analysis.summary, options.out)


def check_jpeg(pairs: Pairs, model: HidingModel | None, weights: str | None) -> None:
    """Refuse JPEG stegos of a method that does not survive JPEG. If the method is unknown, warn."""
    lossy = lossy_pictures(stego for _, stego in pairs)
    if not lossy or (model is not None and survives_jpeg(model)):
        return
    what = f"{len(lossy)} of {len(pairs)} stegos are JPEG files ({lossy[0].name}, ...)"
    if model is not None:
        raise UserError(f"{what}; JPEG destroys what {weights} hides: use the files as hide.py wrote them")
    print(
        f"warning: {what}: they lose what was hidden in the pixels, so the detector measures the compression",
        file=sys.stderr,
    )


def read_without_the_key(
    options: argparse.Namespace,
    pairs: Pairs,
    model: HidingModel | None,
    training: Training,
    share: float,
    about: dict,
) -> None:
    if model is None or not options.secret:
        raise UserError(
            "--detector extract needs --weights NAME and --secret DIR, with secrets named like their stegos"
        )
    check_made_by(about["stegos"], model, options)
    matched = [dict(named_pairs(options.stego, folder).values()) for folder in options.secret]
    secrets = {stego: [of[stego] for of in matched] for _, stego in pairs}
    device = options.device or "auto"
    found = extract(pairs, secrets, model, options.out, training, share, device, options.workers)
    found.summary |= about | {"weights_name": options.weights}
    write_extraction(found, options.out)
    of = found.summary
    print(f"{of['train_pairs']} stegos learned, {of['test_pairs']} tested: PSNR to the secrets (dB, RGB)")
    print(f"  flat mean colour         {of['flat']['psnr']:.2f}")
    for name, words in (("weights", f"by {options.weights}, no key"), ("unet", "by a U-Net on pairs")):
        print(f"  {words:24} {gained(of[name])}")
    print(f"  stegos that open without a passphrase: {of['weights']['opened']} of {of['test_pairs']}")
    print(f"results: {options.out / 'extraction.json'}")


def check_made_by(made: dict | None, model: HidingModel, options: argparse.Namespace) -> None:
    """Raise UserError if stegos.json says that other weights hid the secrets, or these in another order."""
    if made is None:
        return
    own = fingerprint(model).hex() if model.trainable else ""
    if (made.get("method"), made.get("fingerprint")) != (model.method, own):
        raise UserError(
            f"--weights {options.weights}: {ABOUT} says that these stegos were made with "
            f"{made.get('weights') or made.get('method')}; other weights read nothing"
        )
    for place, folder in enumerate(options.secret, 1):
        name = Path(folder).resolve().name
        if name.startswith("secret_") and name != f"secret_{place}":
            raise UserError(f"--secret {folder}: expected secret_1 first, then secret_2, ..., as revealed")


def gained(reader: dict) -> str:
    """Say how well a reader did: its PSNR, and its gain over the flat colour with the interval."""
    if reader["psnr"] is None:
        return "without any error"
    interval = reader["gain_interval"]
    ends = (
        f"{interval[0]:+.2f}..{interval[1]:+.2f}" if interval else "no interval: too few pictures with errors"
    )
    return f"{reader['psnr']:.2f}, {reader['gain']:+.2f} ({ends})"


def refuse_foreign_options(options: argparse.Namespace) -> None:
    for key in sorted(set().union(*OPTIONS.values()) - OPTIONS[options.detector]):
        if getattr(options, key) is not None:
            its = " or ".join(name for name, keys in OPTIONS.items() if key in keys)
            raise UserError(f"--{key.replace('_', '-')} goes with --detector {its}, not {options.detector}")
    for key in sorted(OPTIONS[options.detector] - {"trained", "device"}) if options.trained else ():
        if getattr(options, key) is not None:
            raise UserError(f"--{key.replace('_', '-')} has no effect with --trained; leave out one of them")


def report(summary: dict, out: Path) -> None:
    if summary["pairs_of_equal_files"]:
        print(
            f"{summary['pairs_of_equal_files']} of {summary['pairs']} stegos are the same file as their cover"
        )
    if summary["pairs_that_share_files"]:
        print(
            f"{summary['pairs_that_share_files']} pairs share a file with another pair and stay on one side"
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


def counts(text: str) -> tuple[int, ...]:
    parts = text.split(",")
    if not all(part.isdecimal() for part in parts):
        raise argparse.ArgumentTypeError(f"'{text}': expected whole numbers and commas, such as 10,20,50")
    return tuple(int(part) for part in parts)


PARSER = Parser("steganalysis.py", description=__doc__.split("\n\n")[0], epilog=EXAMPLES)
PARSER.add_argument("--cover", required=True, metavar="DIR", help="covers, searched recursively")
PARSER.add_argument("--stego", required=True, metavar="DIR", help="stegos, with the same names")
PARSER.add_argument("--detector", required=True, choices=DETECTORS, help="the detector to run")
PARSER.add_argument(
    "--out",
    required=True,
    type=Path,
    metavar="DIR",
    help="folder for the results: security.json, roc.csv, roc.png, ...",
)
PARSER.add_argument(
    "--seed", type=at_least(0), default=0, metavar="N", help="seed of split and training (default 0)"
)
PARSER.add_argument(
    "--exclude",
    metavar="LIST",
    help="folder or .txt list of pictures to leave out, such as those that trained the hiding network",
)
PARSER.add_argument("--workers", type=at_least(1), metavar="N", help="processes (default: one per core)")
PARSER.add_argument(
    "--weights",
    metavar="NAME",
    help="the weights that made the stegos, as in hide.py; JPEG stegos are refused unless their method "
    "survives JPEG",
)
PARSER.add_argument("--experiments", type=Path, default=EXPERIMENTS, metavar="DIR", help="folder of the runs")
LEARNING = PARSER.add_argument_group("with --detector rich, ica, cnn and extract")
LEARNING.add_argument(
    "--train-share", type=share, metavar="X", help="share of the pairs to learn from (default 0.5)"
)
LEARNING.add_argument(
    "--trained",
    type=Path,
    metavar="FILE",
    help="rich, ica, cnn: learn nothing, use this detector.npz or detector.safetensors, and test all pairs "
    "that it did not learn from",
)
LEARNING.add_argument(
    "--cache", type=Path, metavar="DIR", help="rich, ica: folder that keeps features (default: --out)"
)
EXTRACT = PARSER.add_argument_group("with --detector extract")
EXTRACT.add_argument(
    "--secret",
    nargs="+",
    metavar="DIR",
    help="the secrets, named like the stegos; one folder for each secret of a stego",
)
RICH = PARSER.add_argument_group("with --detector rich")
RICH.add_argument("--features", choices=list(FEATURES), help="the features (default spam, the fastest)")
RICH.add_argument(
    "--channel",
    choices=CHANNELS,
    help="spam, srm: use all three channels and average (default), or only one of them or the luma, "
    "in a third of the time",
)
CNN = PARSER.add_argument_group(
    "with --detector cnn; --steps, --batch, --crop, --lr and --device also with extract"
)
CNN.add_argument("--network", choices=list(NETWORKS), help=f"the network (default {Training.network})")
CNN.add_argument(
    "--pairs",
    type=counts,
    metavar="N,N,...",
    help="train once for each of these numbers of pairs (default: all)",
)
CNN.add_argument(
    "--steps", type=at_least(1), metavar="N", help=f"steps of each training (default {Training.steps})"
)
CNN.add_argument("--batch", type=at_least(1), metavar="N", help=f"pairs per step (default {Training.batch})")
CNN.add_argument(
    "--crop", type=at_least(32), metavar="PX", help=f"side of the patches (default {Training.crop})"
)
CNN.add_argument("--lr", type=positive, metavar="X", help=f"learning rate (default {Training.lr})")
CNN.add_argument("--device", metavar="NAME", help="auto, cpu, cuda, cuda:N or mps (default auto)")

if __name__ == "__main__":
    sys.exit(run_command(PARSER, main))
