"""Time networks side by side, and against the machine's own rate and another project's network."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from engine.log import ROOT
from errors import UserError
from models.layers.winograd import only_convolutions

ADAPTERS = {  # adapter name -> files that a checkout of that project contains
    "hinet": ("hinet.py", "invblock.py", "modules/Unet_common.py"),
    "invmihnet": ("codes/models/modules/Inv_arch.py", "codes/models/IIH_module.py"),
}
PEER = "the authors' code"
PAUSE = 0.05  # seconds between two calls; lets the threads of the previous call finish


@dataclass
class Timing:
    """What one contender needed for one operation.

    flops: floating-point operations of a call; a multiplication and an addition count as two.
    seconds: the duration of each call.
    peak_memory: bytes; None unless the device is a GPU.
    """

    contender: str
    operation: str
    flops: int
    seconds: list[float] = field(default_factory=list)
    peak_memory: int | None = None

    @property
    def median(self) -> float:
        """Median duration of a call [s]."""
        return float(np.median(self.seconds))

    @property
    def rate(self) -> float:
        """Floating-point operations per second, at the median duration."""
        return self.flops / self.median


Contender = Callable[[], float]  # makes one call and returns its duration in seconds


def in_turns(contenders: dict[str, Contender], rounds: int) -> dict[str, list[float]]:
    """The seconds that each contender takes in each round; a warm-up call before the rounds does not count.

    Contenders alternate and each round starts with the next one. A machine that slows down for a while, or
    that others share, therefore slows all contenders alike.
    """
    names = list(contenders)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for name in names:
        contenders[name]()
    for turn in range(rounds):
        shift = turn % len(names)
        for name in names[shift:] + names[:shift]:
            time.sleep(PAUSE)
            seconds[name].append(contenders[name]())
    return seconds


def timed(call: Callable[[], object], device: torch.device) -> float:
    """The seconds that one call takes until the device has finished."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def flops_of(call: Callable[[], object], compiled: bool = False) -> int:
    """The floating-point operations of all convolutions and matrix products in a call.

    compiled: the call contains a network that torch has compiled. It runs uncompiled to count them.
    """
    algorithms = only_convolutions() if compiled else nullcontext()
    eager = torch.compiler.set_stance("force_eager")
    with algorithms, eager, FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops()


def yardsticks(device: torch.device) -> dict[str, Callable[[], object]]:
    """Calls that measure the machine's rate: a matrix product, and a convolution as in a dense block."""
    a = torch.randn(1024, 1024, device=device)
    x = torch.randn(1, 128, 128, 128, device=device).to(memory_format=torch.channels_last)
    weight = torch.randn(32, 128, 3, 3, device=device)
    return {
        "matrix product 1024": lambda: a @ a,
        "convolution 128 -> 32": torch.no_grad()(lambda: F.conv2d(x, weight, padding=1)),
    }


# --- another project's network ---------------------------------------------------------------------------


def check_peer(checkout: Path, adapter: str) -> None:
    """Raise UserError if `checkout` does not suit the adapter. Its message names one that does, if any."""
    if not checkout.is_dir():
        raise UserError(f"--peer {checkout}: no such folder")
    missing = [file for file in ADAPTERS[adapter] if not (checkout / file).is_file()]
    if missing:
        there = {name: all((checkout / file).is_file() for file in files) for name, files in ADAPTERS.items()}
        hint = "".join(f"; this is a checkout for --adapter {name}" for name in there if there[name])
        raise UserError(f"--peer {checkout}: --adapter {adapter} needs {missing[0]} in it{hint}")


class Peer:
    """Another project's network, run on the same pictures in a child process (scripts/peer.py).

    Use it as a context manager; leaving the context ends the process. Every call raises UserError if the
    checkout does not behave as the adapter expects.

    checkout: folder of the other project; adapter: a name in ADAPTERS.
    pictures: name -> uint8 tensor, as scripts/peer.py expects them.
    """

    def __init__(self, checkout: Path, adapter: str, pictures: dict[str, torch.Tensor], device: torch.device):
        check_peer(checkout, adapter)
        self.checkout = checkout
        self.folder = tempfile.TemporaryDirectory()
        file = Path(self.folder.name) / "pictures.pt"
        torch.save({name: picture.cpu() for name, picture in pictures.items()}, file)
        words = [checkout.resolve(), adapter, file, device, torch.get_num_threads()]
        self.process = subprocess.Popen(
            [sys.executable, str(ROOT / "scripts" / "peer.py"), *map(str, words)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.folder.name,
        )

    def __enter__(self) -> "Peer":
        self.about = self._answer()
        return self

    def __exit__(self, *_) -> None:
        self.process.communicate()  # closes stdin, which ends the process
        self.folder.cleanup()

    def seconds(self, operation: str) -> float:
        """The seconds that one call of the operation takes."""
        return self._ask(f"time {operation}")["seconds"]

    def flops(self, operation: str) -> int:
        """The floating-point operations of one call."""
        return self._ask(f"flops {operation}")["flops"]

    def _ask(self, line: str) -> dict:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict:
        assert self.process.stdout is not None and self.process.stderr is not None
        line = self.process.stdout.readline()
        if not line:
            said = self.process.stderr.read().strip().splitlines()
            raise UserError(
                f"--peer {self.checkout}: its network failed: {said[-1] if said else 'no error message'}"
            )
        return json.loads(line)


# --- output ----------------------------------------------------------------------------------------


def report(about: dict, timings: Sequence[Timing], rates: dict[str, float]) -> dict:
    """All measurements as plain data, ready for JSON."""
    return {
        **about,
        "rates": rates,
        "timings": [asdict(one) | {"median": one.median} for one in timings],
    }


def kept_table(file: Path) -> list[str]:
    """The lines of `markdown`, from a file that `benchmark.py network --json` wrote."""
    kept = json.loads(file.read_text(encoding="utf-8"))
    timings = [Timing(**{key: one[key] for key in Timing.__dataclass_fields__}) for one in kept["timings"]]
    return markdown(timings, kept["rates"], PEER if "peer" in kept else "fp32").splitlines()


def markdown(timings: Sequence[Timing], rates: dict[str, float], baseline: str | None) -> str:
    """A Markdown table with a row for each contender and operation, then a row for each machine rate.

    A row gives the share of the machine's best rate and the speed relative to the baseline. That ratio is the
    median of the ratios of all rounds; the central 95 % of them follow in brackets.
    rates: floating-point operations per second, by the name of the yardstick.
    baseline: name of a contender; None leaves the ratios out.
    """
    best = max(rates.values())
    lines = ["| | | median | GFLOP | share of the rate | speed-up | peak memory |"]
    lines.append("|---|---|---|---|---|---|---|")
    found = {(one.operation, one.contender): one for one in timings}
    for one in timings:
        other = found.get((one.operation, baseline)) if baseline else None
        ratio = ""
        if other is not None and other is not one:
            ratios = np.array(other.seconds) / np.array(one.seconds)
            low, middle, high = np.quantile(ratios, (0.025, 0.5, 0.975))
            ratio = f"{middle:.2f} ({low:.2f} to {high:.2f})"
        memory = "-" if one.peak_memory is None else f"{one.peak_memory / 2**30:.2f} GiB"
        lines.append(
            f"| {one.operation} | {one.contender} | {one.median:.3f} s | {one.flops / 1e9:.1f} "
            f"| {one.rate / best:.0%} | {ratio} | {memory} |"
        )
    for name, rate in rates.items():
        lines.append(f"| {name} | this machine | | | {rate / 1e9:.0f} GFLOP/s | | |")
    return "\n".join(lines)


def summed(parts: Sequence[Timing], operation: str) -> Timing:
    """Consecutive operations as one: times and FLOP add up round by round, and the largest memory counts."""
    memory = [one.peak_memory for one in parts if one.peak_memory is not None]
    return Timing(
        parts[0].contender,
        operation,
        sum(one.flops for one in parts),
        [sum(turn) for turn in zip(*(one.seconds for one in parts), strict=True)],
        max(memory, default=None),
    )
