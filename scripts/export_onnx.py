#!/usr/bin/env python
"""Write a network's sender and receiver as two ONNX files, and check them with onnxruntime (see --help)."""

import argparse
import sys
from pathlib import Path

# Scripts run from the checkout without installation, so its root must be on the path.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from engine.command import Parser, run_command
from engine.log import EXPERIMENTS
from errors import UserError

PARSER = Parser(
    prog="export_onnx.py",
    description="Write OUT/sender.onnx (cover (1,3,H,W) and secrets (1,N,3,H,W) -> stego (1,3,H,W), uint8) "
    "and OUT/receiver.onnx (stego -> secrets), for pictures of one size. onnxruntime first tries both on a "
    "group of pictures; they are kept only if they differ from PyTorch by at most one grey level. Methods "
    "with a key cannot be exported, because encryption is not a network. It needs the extra `onnx`.",
    epilog="example:\n  python scripts/export_onnx.py --weights smilenet_4_nano --size 256 256 --out onnx",
)
PARSER.add_argument(
    "--weights", required=True, metavar="NAME_OR_FILE", help="a run, a shipped network or a weights file"
)
PARSER.add_argument(
    "--size",
    type=int,
    nargs=2,
    default=(256, 256),
    metavar=("H", "W"),
    help="height and width of the pictures [px] (default: 256 256)",
)
PARSER.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the two files")
PARSER.add_argument("--force", action="store_true", help="replace files that exist")
PARSER.add_argument("--experiments", type=Path, default=EXPERIMENTS, metavar="DIR", help="folder of the runs")


def main(arguments: argparse.Namespace) -> None:
    import torch

    from data.files import replaced_at_once
    from engine.checkpoint import load_model

    _needs("onnx", "onnxscript", "onnxruntime")
    targets = [arguments.out / f"{name}.onnx" for name in ("sender", "receiver")]
    for target in targets:
        if target.exists() and not arguments.force:
            raise UserError(f"{target}: exists already; --force replaces it")
    model, _ = load_model(arguments.weights, torch.device("cpu"), arguments.experiments)
    check_exportable(model, *arguments.size)
    sender, receiver = parts(model)
    cover, secrets = sample_group(model.num_secrets, *arguments.size)
    stego = model.hide(cover, secrets)
    arguments.out.mkdir(parents=True, exist_ok=True)
    for target, part, given in zip(targets, (sender, receiver), ((cover, secrets), (stego,)), strict=True):
        with replaced_at_once(target) as unfinished:
            export(part, given, unfinished)
            expected = model.hide(*given) if part is sender else model.reveal(*given)
            off = largest_difference(unfinished, given, expected)
        print(f"{target}: differs from PyTorch by at most {off} grey level{'s' * (off != 1)}")


def check_exportable(model, height: int, width: int) -> None:
    """Raise UserError for a method that is not two networks, and for a size that is too small for it."""
    from models import KeyedMethod

    if isinstance(model, KeyedMethod) or not model.trainable:
        why = "encrypts" if isinstance(model, KeyedMethod) else "has no network"
        raise UserError(f"'{model.method}' {why}, so it cannot be exported to ONNX")
    if height < model.smallest[0] or width < model.smallest[1]:
        raise UserError(
            f"--size {height} {width}: these weights need at least {model.smallest[0]} {model.smallest[1]}"
        )


def parts(model):
    """Return (sender, receiver): modules from uint8 to uint8 that compute the same as `hide` and `reveal`."""
    import torch

    plain_weights(model)

    class Sender(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, cover, secrets):
            return to_uint8(self.model.encode(cover.float() / 255, secrets.float() / 255))

    class Receiver(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, stego):
            return to_uint8(self.model.decode(stego.float() / 255))

    def to_uint8(x):
        return x.clamp(0, 1).mul(255).round().to(torch.uint8)

    return Sender().eval(), Receiver().eval()


def plain_weights(model) -> None:
    """Turn computed weights into plain tensors of the same values, in place.

    ONNX has no operator for the computation that keeps a rotation orthonormal.
    """
    from torch.nn.utils import parametrize

    for module in list(model.modules()):
        if parametrize.is_parametrized(module):
            for name in list(module.parametrizations):
                parametrize.remove_parametrizations(module, name, leave_parametrized=True)


def sample_group(count: int, height: int, width: int):
    """Return a cover (1,3,H,W) and secrets (1,N,3,H,W), uint8, from scikit-image's pictures."""
    import torch

    from data.images import list_pictures, read_picture, to_tensor
    from data.transforms import fit_secret

    files = list_pictures("samples:test")
    pictures = [
        to_tensor(fit_secret(read_picture(files[k % len(files)]), height, width)) for k in range(count + 1)
    ]
    return pictures[0][None], torch.stack(pictures[1:])[None]


def export(part, given: tuple, target: Path) -> None:
    """Write a module as ONNX, for inputs of these shapes."""
    import torch

    with torch.no_grad():
        program = torch.onnx.export(part, given, dynamo=True, verbose=False)
    assert program is not None
    program.save(target, external_data=False)


def largest_difference(file: Path, given: tuple, expected) -> int:
    """Return onnxruntime's largest difference from PyTorch [grey levels]. Raises UserError above 1."""
    import onnxruntime

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_inputs()]
    (found,) = session.run(None, {name: one.numpy() for name, one in zip(names, given, strict=True)})
    off = int(abs(found.astype(int) - expected.numpy().astype(int)).max())
    if off > 1:
        raise UserError(f"onnxruntime differs from PyTorch by {off} grey levels; the file was not kept")
    return off


def _needs(*names: str) -> None:
    from importlib.util import find_spec

    missing = [name for name in names if find_spec(name) is None]
    if missing:
        raise UserError(f"{', '.join(missing)}: not installed; pip install -e '.[onnx]'")


if __name__ == "__main__":
    sys.exit(run_command(PARSER, main))
