#!/usr/bin/env python
"""Estimate the memory and time of a training run, and write them into the heads of option files."""

import argparse
import re
import sys
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

# Scripts run from the checkout without installation, so its root must be on the path.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from torch._subclasses import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from data.files import write_beside
from engine.build import build_network, build_objectives
from engine.command import Parser, run_command
from models.losses import losses_of
from options import TrainOptions, load_train

STATES = {"adam": 4, "muon": 3}  # floats per parameter: the value, its gradient, the optimiser's state
WORKING = 1.25  # factor on the tensors kept for the backward pass, which accounts for all others
GPU, CORE = 1e13, 4e10  # assumed floating-point operations per second
MARK = "# Estimated: "

PARSER = Parser(
    prog="estimate.py",
    description="Count the floating-point operations and the kept tensors of one step of an option file, "
    "without computing it (with torch's fake tensors), and write the result into the file's head. Memory "
    "includes neither the pictures nor PyTorch itself. Time assumes 10 TFLOP/s for the papers' files "
    "(a GPU) and 40 GFLOP/s for the small ones (one core of a server).",
    epilog="example:\n  python scripts/estimate.py options/train/*.yml",
)
PARSER.add_argument("files", nargs="+", type=Path, metavar="FILE", help="option files of train.py")
PARSER.add_argument("--dry", action="store_true", help="only print the lines")


@dataclass(frozen=True)
class Needs:
    """The needs of one training run: peak memory [bytes], and floating-point operations in total."""

    memory: float
    operations: float

    def line(self, small: bool) -> str:
        """Return the line for an option file's head. small: for one core of a CPU."""
        where = "one core of a server (40 GFLOP/s)" if small else "a GPU (10 TFLOP/s)"
        seconds = self.operations / (CORE if small else GPU)
        return f"{MARK}{_bytes(self.memory)} of memory besides PyTorch's own; {_time(seconds)} on {where}."


def main(arguments: argparse.Namespace) -> None:
    for file in arguments.files:
        options = load_train(file)
        line = needs(options).line(small=is_small(file))
        print(f"{file}: {line.removeprefix(MARK)}")
        if not arguments.dry:
            write_beside(file, with_line(file.read_text(), line).encode())


def is_small(file: Path) -> bool:
    """Return whether an option file is for a CPU."""
    return file.stem.endswith("_nano") or file.stem == "quickstart"


def needs(options: TrainOptions) -> Needs:
    """Estimate the needs of an option file's training, from one step of its last phase."""
    crop, train = options.data.train.crop or 128, options.train
    model = build_network(options).train()
    objective = build_objectives(options, model)[-1]
    parameters = sum(p.numel() for p in model.parameters())
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        for part in (model, objective):
            _make_fake(part, mode)
        groups = train.batch_size // train.accumulate
        cover = torch.empty(groups, 3, crop, crop)
        secrets = torch.empty(groups, model.num_secrets, 3, crop, crop)
        kept: dict[int, int] = {}

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            storage = tensor.untyped_storage()
            kept[storage._cdata] = storage.nbytes()
            return tensor

        half = train.precision != "fp32"
        counter = FlopCounterMode(display=False)
        with counter, torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                losses = losses_of(model, objective, cover, secrets, 0.5)
            losses.total.backward()
    states = 4 * STATES[train.optimizer] * parameters
    steps = train.steps * train.accumulate * (1 if options.critic is None else 2)
    return Needs(states + WORKING * sum(kept.values()), float(counter.get_total_flops()) * steps)


def _make_fake(part: torch.nn.Module, mode: FakeTensorMode) -> None:
    for module in part.modules():
        for name, value in module._parameters.items():
            if value is not None:
                fake = mode.from_tensor(value.detach())
                module._parameters[name] = torch.nn.Parameter(fake, value.requires_grad)
        for name, buffer in module._buffers.items():
            if buffer is not None:
                module._buffers[name] = mode.from_tensor(buffer)


def with_line(text: str, line: str) -> str:
    """Put this line at the end of an option file's head, in place of an earlier one; return the text."""
    text = re.sub(rf"^{re.escape(MARK)}.*\n", "", text, flags=re.MULTILINE)
    head = "".join(takewhile(lambda one: one.startswith("#"), text.splitlines(keepends=True)))
    return f"{head}{line}\n{text[len(head) :]}"


def _bytes(count: float) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{max(1, round(count / 2**20))} MiB"


def _time(seconds: float) -> str:
    for unit, name in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 1.5 * unit:
            return f"{seconds / unit:.0f} {name}" if seconds >= 9.5 * unit else f"{seconds / unit:.1f} {name}"
    return f"{seconds:.0f} seconds"


if __name__ == "__main__":
    sys.exit(run_command(PARSER, main))
