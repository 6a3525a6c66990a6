"""Put a trained network into experiments/pretrained/, with its checksum, its options and its card.

Run from the checkout: `python scripts/ship.py --help`. Exit code 0: done; 2: a mistake in the call or a bad
file, which one line on stderr explains; 1: any other error.
"""

import argparse
import hashlib
import json
import re
import sys
import textwrap
from pathlib import Path

import yaml

# Scripts run from the checkout without installation, so its root must be on the path.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data.files import write_beside
from engine.checkpoint import deployed_size, load_model, read_metadata, weights_file
from engine.command import Parser, run_command
from engine.detection import RESULTS
from engine.log import EXPERIMENTS, ROOT
from engine.states import load_state
from engine.testing.check import sample_scores
from engine.testing.pages import filled
from errors import UserError
from models import HidingModel
from options import TrainOptions
from options.schema import FOLDER_NAME

LARGEST = 16 * 2**20  # bytes of a weights file in the repository
KEPT = ("step", "run", "git_commit", "options")  # kept keys of a run's metadata
CHECK = (
    "One group of scikit-image's pictures (engine/testing/check.py): stego {:.2f} dB, revealed {:.2f} dB. "
    "A test holds the weights to this."
)
PICTURES = "imagenet"  # the set of pictures whose detectors' figures cards show
DETECTION = (
    "AUC (95 % interval), least error, pairs learned + tested; an AUC of 0.5 is chance "
    "([docs/steganalysis.md](../../../docs/steganalysis.md))."
)

PARSER = Parser(
    prog="ship.py",
    description="Write experiments/pretrained/NAME/: the best weights of a run (without the paths of this "
    "machine), SHA256SUMS, options.yml and the card README.md. Call it once, test the shipped weights, and "
    "call it again with the results, to put them into the card. It refuses results of other weights. The "
    "card's table of detectors comes from docs/results/detection, as tables of pages do (make_tables.py).",
    epilog="""examples:
  python scripts/ship.py experiments/smilenet_l_4_nano smilenet_l_4 --trained-on "400 pictures of BSDS500" \\
      --licence "non-commercial research"
  python test.py -opt options/test/smilenet_l_4_nano.yml --set weights=smilenet_l_4
  python scripts/ship.py experiments/smilenet_l_4_nano smilenet_l_4 --trained-on "400 pictures of BSDS500" \\
      --licence "non-commercial research" \\
      --results experiments/smilenet_l_4_nano/results/test/metrics.json""",
)
PARSER.add_argument("run", type=Path, metavar="RUN", help="the folder of a training run")
PARSER.add_argument("name", metavar="NAME", help="its name for hide.py --weights")
PARSER.add_argument("--trained-on", required=True, metavar="TEXT", help="the training pictures, in words")
PARSER.add_argument(
    "--licence",
    required=True,
    metavar="TEXT",
    help="what the licence of the training pictures permits for the weights",
)
PARSER.add_argument(
    "--results", nargs="*", default=[], type=Path, metavar="JSON", help="test.py's metrics.json"
)
PARSER.add_argument(
    "--machine", default="", metavar="TEXT", help="the machine of the training (default: from env.json)"
)
PARSER.add_argument(
    "--before", default="", metavar="TEXT", help="the origin of the weights in train.start_from, in words"
)
PARSER.add_argument("--limits", default="", metavar="TEXT", help="further limits for the card")
PARSER.add_argument(
    "--experiments", type=Path, default=EXPERIMENTS, metavar="DIR", help="folder that holds pretrained/"
)


def main(arguments: argparse.Namespace) -> None:
    weights = best_weights(arguments.run)
    if not re.fullmatch(FOLDER_NAME, arguments.name):
        raise UserError(f"NAME '{arguments.name}': expected only letters, digits, '.', '_' or '-'")
    model, metadata = load_model(weights)
    metadata, options = as_of_now(metadata)
    out = arguments.experiments / "pretrained" / arguments.name
    content = shipped_bytes(out / f"{arguments.name}.safetensors", model, metadata)
    if len(content) > LARGEST:
        raise UserError(f"{weights}: {len(content) / 2**20:.0f} MiB, but the repository takes at most 16 MiB")
    digest = hashlib.sha256(content).hexdigest()
    results = [scores_of(path, digest) for path in arguments.results]
    facts = {
        "network": f"{called(model)}, {secrets_of(model)}, {parameters(model):.2f} M parameters",
        "trained on": arguments.trained_on + f"; random patches of {options['data']['train']['crop']} px",
        "training": training(metadata, options, weights.with_suffix(".state"), arguments.before),
        "machine": arguments.machine or read_json(arguments.run / "env.json", "device")["device"],
        "options": "[options.yml](options.yml)" + origin(options),
        "licence": arguments.licence,
        "fingerprint": f"`{metadata['fingerprint']}`",
        "SHA-256": f"`{digest}`",
        "commit": metadata["git_commit"][:12],
    }
    text = card(arguments.name, model, facts, results, arguments.limits)
    options["name"] = arguments.name
    write_beside(out / "options.yml", yaml.safe_dump(options, sort_keys=False).encode())
    write_beside(out / "README.md", text.encode())
    write_beside(out / "SHA256SUMS", f"{digest}  {arguments.name}.safetensors\n".encode())
    write_beside(out / f"{arguments.name}.safetensors", content)
    print(f"{out}: {len(content) / 2**20:.1f} MiB, {digest[:12]}")


def secrets_of(model: HidingModel) -> str:
    return "1 secret" if model.num_secrets == 1 else f"{model.num_secrets} secrets"


def shipped_bytes(shipped: Path, model: HidingModel, metadata: dict[str, str]) -> bytes:
    """Return the file's bytes, with floats in half precision.

    If nothing changed, these are the bytes of the shipped file: safetensors writes the metadata in another
    order each time, so that the same weights would get another checksum.
    """
    about = {key: metadata[key] for key in KEPT if key in metadata}
    if shipped.exists():
        before = read_metadata(shipped)
        same = before["fingerprint"] == metadata["fingerprint"]
        if same and {key: as_of_now(before)[0].get(key) for key in about} == about:
            return shipped.read_bytes()
    return weights_file(model, half=True, **about)


def as_of_now(metadata: dict[str, str]) -> tuple[dict[str, str], dict]:
    """Return the metadata with the options in today's form and without paths, and these options."""
    options = without_paths(TrainOptions.model_validate_json(metadata["options"]))
    return {**metadata, "options": json.dumps(options)}, options


def without_paths(trained: TrainOptions) -> dict:
    """Return the options with datasets/NAME for each folder of pictures, and only names of other files."""
    options = trained.model_dump(mode="json", by_alias=True)
    for pictures in options["data"].values():
        if not isinstance(pictures, dict):
            continue
        folder = pictures.get("folder")
        if isinstance(folder, list):
            pictures["folder"] = [_here(one) for one in folder]
        elif folder:
            pictures["folder"] = _here(folder)
        if pictures.get("groups_file"):
            pictures["groups_file"] = Path(pictures["groups_file"]).name
    if options["train"]["start_from"]:
        options["train"]["start_from"] = Path(options["train"]["start_from"]).name
    return options


def _here(folder: str) -> str:
    return folder if folder.startswith("samples:") else f"datasets/{Path(folder).name}"


def best_weights(run: Path) -> Path:
    """Return the weights with the best validation, or the last ones of a run without validation.

    Raises UserError if there are no weights.
    """
    for name in ("best", "last"):
        file = run / "checkpoints" / f"{name}.safetensors"
        if file.exists():
            return file
    raise UserError(f"{run}: not a training run: its folder checkpoints/ holds no weights")


def read_json(path: Path, *keys: str) -> dict:
    """Read a JSON object. Raises UserError if it is not JSON, or lacks one of these keys."""
    try:
        content = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise UserError(f"{path}: not JSON ({error})") from error
    for key in keys:
        if not isinstance(content, dict) or key not in content:
            raise UserError(f"{path}: '{key}' is missing")
    return content


def scores_of(path: Path, digest: str) -> dict:
    """Read a metrics.json. Raises UserError if it is not of the weights with this checksum."""
    metrics = read_json(path, "weights_sha256", "dataset", "groups", "cover_stego", "secret_revealed")
    if metrics["weights_sha256"] != digest:
        raise UserError(f"{path}: scores of other weights; test the shipped ones (SHA-256 {digest[:12]}...)")
    return metrics


def parameters(model: HidingModel) -> float:
    """Return the millions of parameters that sender and receiver need."""
    return deployed_size(model) / 1e6


def called(model: HidingModel) -> str:
    """Return a network's name as a card shows it."""
    if model.method != "smilenet_l":
        return f"`{model.method}`"
    return f"SMILENet-L ([docs/lattice.md](../../../docs/lattice.md)), M = {model.arguments['modulus']}"


def origin(options: dict) -> str:
    """Return where a run's options come from; empty if the run has a name of its own."""
    if options["train"]["start_from"]:
        return ", of the last stage: the weights that its `start_from` names are not shipped"
    file = Path("options", "train", f"{options['name']}.yml")
    return f", from `{file}`" if (ROOT / file).exists() else ""


def training(metadata: dict, options: dict, state: Path, before: str) -> str:
    """Describe the training of these weights. state: the state that was saved beside them."""
    train = options["train"]
    minutes = load_state(state)["seconds"] / 60
    rates = f"lr {train['lr']:g}"
    if train["optimizer"] == "muon":
        rates = f"muon_lr {train['muon_lr']:g}, {rates}"
    begun = f", begun from {before or train['start_from']}" if train["start_from"] else ""
    groups = f"{train['batch_size']} group" + "s" * (train["batch_size"] > 1)
    return (
        f"{metadata['step']} steps of {groups}, {minutes:.0f} minutes, "
        f"{train['optimizer']} ({rates}, {train['schedule']}), seed {options['seed']}{begun}"
    )


def card(
    name: str,
    model: HidingModel,
    facts: dict[str, str],
    results: list[dict],
    limits: str,
) -> str:
    files = "a.png" if model.num_secrets == 1 else "a.png b.png"
    lines = [
        f"# {name}",
        "",
        f"    python hide.py --weights {name} --cover cover.jpg --secrets {files} --out stego.png",
        f"    python reveal.py --weights {name} --stego stego.png --out revealed",
        "",
        "A stego opens only with these very weights, whichever file they are in: keep them.",
        "",
    ]
    lines += ["| | |", "|---|---|", *(f"| {key} | {value} |" for key, value in facts.items())]
    lines += [
        "",
        "## Scores",
        "",
        "Through PNG files, by `python test.py`; mean over all pictures, PSNR in dB.",
        "",
    ]
    lines += ["| pictures | | PSNR RGB | luma | SSIM | worst PSNR |", "|---|---|---:|---:|---:|---:|"]
    for metrics in results:
        for kind in ("cover_stego", "secret_revealed"):
            scores = metrics[kind]
            numbers = [scores["psnr_rgb"], scores["psnr_y"], scores["ssim_rgb"], scores["worst_psnr_rgb"]]
            cells = [f"{float(x):.{digits}f}" for x, digits in zip(numbers, (2, 2, 4, 2), strict=True)]
            about = f"{metrics['dataset']}, {metrics['groups']} groups"
            lines.append(f"| {about} | {kind.replace('_', '/')} | " + " | ".join(cells) + " |")
    if not results:
        lines.append("| not measured | | | | | |")
    lines += [
        "",
        "## Detection",
        "",
        DETECTION,
        "",
        f"<!-- table: detection {PICTURES} {name} -->",
        "<!-- end -->",
    ]
    lines += ["", "## Check", "", CHECK.format(*sample_scores(model))]
    lines += ["", "## Limits", ""]
    known = "`codec_lsb` reveals better at the same stego ([docs/results.md](../../../docs/results.md))."
    if not model.trained_channel:
        known = f"Recompressing or resizing a stego destroys what is hidden. {known}"
    lines.append(known)
    return filled("\n".join(lines + textwrap.wrap(limits, 118)) + "\n", RESULTS)


if __name__ == "__main__":
    sys.exit(run_command(PARSER, main))
