"""Convert the authors' released weights of HiNet or InvMIHNet into weights of this project.

Run from the checkout: `python scripts/convert_weights.py --help`. It executes nothing from the files: it
reads them with safetensors, or torch.load with weights_only. Exit code 0: done; 2: a file that does not
fit, which one line on stderr explains; 1: any other error.
"""

import argparse
import re
import sys
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

# Scripts run from the checkout without installation, so its root must be on the path.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data.files import sha256, write_beside
from engine.checkpoint import save_weights
from engine.command import Parser, run_command
from engine.earlier import read_format1
from errors import UserError
from models import HidingModel, build_model

EXAMPLES = """\
examples:
  python scripts/convert_weights.py --from hinet model.pt --out experiments/pretrained/hinet_1
  python scripts/convert_weights.py --from invmihnet IIR_4.pth IIH_4.pth \\
      --out experiments/pretrained/invmihnet_4
"""

WRAPPERS = r"(?:(?:net|module|model|state_dict)\.)*"  # DataParallel, an outer class, a flattened {"net": ...}
HIDING = re.compile(WRAPPERS + r"inv(\d+)\.([ryf])\.(conv[1-5]\.(?:weight|bias))")
RESCALING = re.compile(
    WRAPPERS + r"operations\.(\d+)\.(?:([FGH])\.(conv[1-5]\.(?:weight|bias))|((?:haar|conv)_weights))"
)
HIDING_NAMES = {"r": "rho", "y": "eta", "f": "phi"}
RESCALING_NAMES = {"F": "phi", "G": "eta", "H": "rho"}
HAAR = torch.tensor([[1.0, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]])


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read all tensors of a .safetensors or .pth/.pt file by name, and ignore the rest of a checkpoint."""
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    if path.suffix == ".safetensors":
        try:
            content: dict = safetensors.torch.load_file(path)
        except SafetensorError as error:
            raise UserError(f"{path}: not a complete safetensors file ({error})") from error
    else:
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises many kinds, from zipfile's to pickle's
            raise UserError(
                f"{path}: not a complete checkpoint, or it holds more than data ({type(error).__name__}); "
                "nothing was executed"
            ) from error
    if isinstance(content, dict):
        for outer in ("net", "state_dict"):
            if isinstance(content.get(outer), dict):
                content = content[outer]
    if not isinstance(content, dict) or not any(isinstance(value, Tensor) for value in content.values()):
        raise UserError(f"{path}: holds no named tensors; expected a state dict")
    # "io." holds the inputs and outputs of a parity fixture.
    return {k: v for k, v in content.items() if isinstance(v, Tensor) and not k.startswith("io.")}


def hiding_blocks(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename HiNet's blocks (IIH's are the same): [...]inv1.r.conv1.weight -> blocks.0.rho.conv1.weight."""
    found = {}
    for name, value in tensors.items():
        if match := HIDING.fullmatch(name):
            number, part, rest = match.groups()
            found[f"blocks.{int(number) - 1}.{HIDING_NAMES[part]}.{rest}"] = value
    return found


def rescaling_steps(tensors: dict[str, Tensor]) -> tuple[int, int, dict[str, Tensor]]:
    """Convert IIR's operations to (N, blocks in each step, state dict of our IIR).

    operations.K is a decomposition (K = 0, and once more for 8 and 16 secrets) or a coupling block. Raises
    UserError if the operations are not those of an InvMIHNet.
    """
    operations: dict[int, dict[tuple[str, str], Tensor]] = {}
    for name, value in tensors.items():
        if match := RESCALING.fullmatch(name):
            number, part, rest, weights = match.groups()
            operations.setdefault(int(number), {})[(part or "", rest or weights)] = value
    found: dict[str, Tensor] = {}
    shapes: list[tuple[int, ...]] = []
    counts: list[int] = []
    for number in sorted(operations):
        operation = operations[number]
        decomposition = [rest for part, rest in operation if not part]
        if decomposition:
            matrix = operation[("", decomposition[0])]
            step = len(shapes)
            shapes.append(tuple(matrix.shape))
            counts.append(0)
            if decomposition[0] == "conv_weights":
                found[f"steps.{step}.decomposition.matrix"] = matrix
            elif tuple(matrix.shape) == (24, 1, 2, 1):  # a 2x2 matrix per channel, row after row
                found[f"steps.{step}.decomposition.matrix"] = matrix.reshape(-1, 2, 2)
            elif not torch.equal(matrix.flatten(1), HAAR.repeat(len(matrix) // 4, 1).to(matrix)):
                raise UserError(f"operations.{number}.haar_weights is not the Haar transform")
        elif not counts:
            raise UserError(f"operations.{number}: a coupling block before any haar_weights or conv_weights")
        else:
            prefix = f"steps.{len(counts) - 1}.blocks.{counts[-1]}"
            counts[-1] += 1
            for (part, rest), value in operation.items():
                found[f"{prefix}.{RESCALING_NAMES[part]}.{rest}"] = value
    known = {
        ((12, 1, 2, 2),): 4,
        ((6, 6),): 6,
        ((12, 1, 2, 2), (24, 1, 2, 1)): 8,
        ((9, 9),): 9,
        ((12, 1, 2, 2), (48, 1, 2, 2)): 16,
    }
    if tuple(shapes) not in known:
        raise UserError(
            f"decompositions of shapes {shapes}: expected those of an InvMIHNet (4, 6, 8, 9, 16 secrets)"
        )
    if len(set(counts)) != 1:
        raise UserError(f"steps of {counts} coupling blocks; expected the same number in each")
    return known[tuple(shapes)], counts[0], found


def convert(method: str, tensors: dict[str, Tensor], z_std: float = 1.0) -> tuple[HidingModel, dict]:
    """Convert the authors' tensors to (our model with these weights, its arguments).

    It also accepts only the IIR or only the IIH of an InvMIHNet; the other part stays fresh.
    Raises UserError if tensors are missing, unknown, of another method or of other shapes.
    """
    known = (HIDING, RESCALING)
    foreign = [name for name in tensors if not any(pattern.fullmatch(name) for pattern in known)]
    if foreign:
        raise UserError(f"{len(foreign)} tensors are not of HiNet or InvMIHNet, such as '{foreign[0]}'")
    hiding = hiding_blocks(tensors)
    rescaling = any(RESCALING.fullmatch(name) for name in tensors)
    blocks = len({name.split(".")[1] for name in hiding})
    arguments: dict = {"z_std": z_std}
    if method == "hinet":
        if rescaling or not hiding:
            found = "InvMIHNet's rescaling net (operations.*)" if rescaling else "none"
            raise UserError(f"expected HiNet's blocks (model.inv*), found {found}")
        arguments |= {"num_blocks": blocks, "growth": growth_of(hiding)}
        state = {f"network.{name}": value for name, value in hiding.items()}
    else:
        missing = "IIR" if not rescaling else "IIH" if not hiding else None
        if not rescaling and not hiding:
            raise UserError("expected IIR (operations.*) or IIH (model.inv*) of an InvMIHNet, found neither")
        state = {f"iih.{name}": value for name, value in hiding.items()}
        if rescaling:
            secrets, iir_blocks, steps = rescaling_steps(tensors)
            state |= {f"iir.{name}": value for name, value in steps.items()}
            arguments |= {"num_secrets": secrets, "iir_blocks": iir_blocks}
        if hiding:
            arguments["iih_blocks"] = blocks
        arguments["growth"] = growth_of(state)
    model = build_model(method, **arguments)
    if method == "invmihnet" and missing:
        fresh = f"{missing.lower()}."
        state |= {name: value for name, value in model.state_dict().items() if name.startswith(fresh)}
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        reason = " ".join(str(error).split("\n\t")[1:2]) or str(error)
        raise UserError(f"the tensors do not fit {method}: {reason[:200]}") from error
    return model.eval(), arguments


def growth_of(state: dict[str, Tensor]) -> int:
    for name, value in state.items():
        if name.endswith("conv1.bias"):
            return len(value)
    raise UserError("no conv1.bias; expected complete coupling blocks")


def card(
    method: str, model: HidingModel, arguments: dict, files: list[Path], name: str, partial: bool
) -> str:
    """Return the model card, in Markdown."""
    paper = {
        "hinet": "J. Jing et al., HiNet: Deep Image Hiding by Invertible Network, ICCV 2021",
        "invmihnet": "Z. Chen et al., Invertible Mosaic Image Hiding Network for Very Large Capacity Image "
        "Steganography, ICASSP 2024",
    }[method]
    size = sum(p.numel() for p in model.parameters()) / 1e6
    sources = "\n".join(f"- `{f.name}`, SHA-256 `{sha256(f)}`" for f in files)
    settings = ", ".join(f"{key} = {value}" for key, value in arguments.items())
    warning = ""
    if partial:
        warning = "\nOnly one part of the network was converted; the other is untrained and hides nothing.\n"
    if arguments.get("num_secrets") == 8:
        matrix = model.state_dict()["iir.steps.1.decomposition.matrix"]
        apart = (torch.linalg.inv(matrix) - 2 * matrix.transpose(1, 2)).abs().max().item()
        warning += (
            "\nThe learned split is inverted by the inverse of its matrix, in the released code by twice the "
            f"transpose. Here the two differ by up to {apart:.2g}.\n"
        )
    return f"""# {name}

Weights of `{method}` for {model.num_secrets} secret(s), {size:.2f} M parameters: {settings}.
Converted by `scripts/convert_weights.py` from weights that the method's authors released:

{sources}

Paper: {paper}. The weights are the authors' work; their terms apply.
{warning}
The networks are the same as the authors' (coupling blocks and decompositions to 1e-5). The docstring of
`models/{method}.py` lists what this project does differently, such as revealing from an 8-bit picture file
with a fixed z. So figures differ from the paper's. No figure was measured with these weights when this card
was written.

    python hide.py --weights {name} --cover COVER --secrets SECRET --out stego.png
    python reveal.py --weights {name} --stego stego.png --out revealed
"""


PARSER = Parser(prog="convert_weights.py", description=__doc__.split("\n\n")[0], epilog=EXAMPLES)
PARSER.add_argument(
    "--from",
    dest="method",
    choices=("hinet", "invmihnet", "format1"),
    required=True,
    help="the method, or format1 for this project's earlier weights",
)
PARSER.add_argument("files", nargs="+", type=Path, metavar="FILE", help=".pth, .pt or .safetensors files")
PARSER.add_argument("--out", type=Path, required=True, help="folder for the weights and the model card")
PARSER.add_argument(
    "--z-std",
    type=float,
    default=1.0,
    help="standard deviation of the noise that replaces z at reveal; 0: zeros (default: 1, as in the "
    "authors' training)",
)
PARSER.add_argument("--force", action="store_true", help="replace existing weights")


def bring_over(path: Path, out: Path, force: bool) -> None:
    """Write weights of format 1 in today's format. Raises UserError if the file exists, unless `force`."""
    model, about = read_format1(path)
    weights = out / path.name
    if weights.exists() and not force:
        raise UserError(f"{weights}: exists; --force replaces it")
    save_weights(weights, model, half=False, **about)
    print(f"{weights}: {model.method}, {model.num_secrets} secret(s)")


def main(options: argparse.Namespace) -> None:
    if options.method == "format1":
        for path in options.files:
            bring_over(path, options.out, options.force)
        return
    if not 1 <= len(options.files) <= (1 if options.method == "hinet" else 2):
        raise UserError(
            f"{options.method}: {len(options.files)} files, expected 1 for hinet and 1 or 2 for invmihnet"
        )
    tensors: dict[str, Tensor] = {}
    for path in options.files:
        more = read_tensors(path)
        if twice := sorted(tensors.keys() & more.keys()):
            raise UserError(f"{path}: '{twice[0]}' is already in the other file")
        tensors |= more
    names = " + ".join(str(path) for path in options.files)
    try:
        model, arguments = convert(options.method, tensors, options.z_std)
    except UserError as error:
        raise UserError(f"{names}: {error}") from error
    name = f"{options.method}_{model.num_secrets}"
    weights = options.out / f"{name}.safetensors"
    if weights.exists() and not options.force:
        raise UserError(f"{weights}: exists; --force replaces it")
    origin = ", ".join(path.name for path in options.files)
    save_weights(weights, model, converted_from=origin)
    whole = options.method == "hinet" or {"num_secrets", "iih_blocks"} <= arguments.keys()
    text = card(options.method, model, arguments, options.files, options.out.name, not whole)
    write_beside(options.out / "README.md", text.encode())
    print(
        f"{weights}: {options.method}, {model.num_secrets} secret(s); the card is {options.out / 'README.md'}"
    )
    if not whole:
        missing = "IIR" if "num_secrets" not in arguments else "IIH"
        print(f"warning: {missing} was not given and stays untrained: this network hides nothing yet")


if __name__ == "__main__":
    sys.exit(run_command(PARSER, main))
