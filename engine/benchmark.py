"""Networks timed side by side: calls that take turns, the machine's own rate, another project's network."""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from engine.log import ROOT
from errors import UserError

ADAPTERS = {  # by name, files that a checkout of the project has
    "hinet": ("hinet.py", "invblock.py", "modules/Unet_common.py"),
    "invmihnet": ("codes/models/modules/Inv_arch.py", "codes/models/IIH_module.py"),
}
PEER = "the authors' code"
PAUSE = 0.05  # seconds between two calls, in which the threads of the one before come to rest


@dataclass
class Timing:
    """What one contender needed for one operation.

    seconds: of each turn; flops: floating-point operations of a call, where a multiplication and an addition
    are two; peak_memory: bytes, of a GPU alone.
    """

    contender: str
    operation: str
    flops: int
    seconds: list[float] = field(default_factory=list)
    peak_memory: int | None = None

    @property
    def median(self) -> float:
        return float(np.median(self.seconds))

    @property
    def rate(self) -> float:
        """FLOP a second."""
        return self.flops / self.median


Contender = Callable[[], float]  # makes one call and returns its seconds


def in_turns(contenders: dict[str, Contender], rounds: int) -> dict[str, list[float]]:
    """Seconds of each contender in each round, after one that does not count. The first of a round rotates.

    So that a machine that slows down, or is shared with others for a while, slows all of them alike.
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
    """Seconds of one call, until the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def flops_of(call: Callable[[], object]) -> int:
    """Floating-point operations of the convolutions and matrix products in a call."""
    with torch.compiler.set_stance("force_eager"), FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops()


def yardsticks(device: torch.device) -> dict[str, Callable[[], object]]:
    """What the machine's rate is measured by: a matrix product, and a convolution as in a dense block."""
    a = torch.randn(1024, 1024, device=device)
    x = torch.randn(1, 128, 128, 128, device=device).to(memory_format=torch.channels_last)
    weight = torch.randn(32, 128, 3, 3, device=device)
    return {
        "matrix product 1024": lambda: a @ a,
        "convolution 128 -> 32": torch.no_grad()(lambda: F.conv2d(x, weight, padding=1)),
    }


# --- another project's network ---------------------------------------------------------------------------


def check_peer(checkout: Path, adapter: str) -> None:
    """Raises UserError where a folder is not what the adapter is for, and says what it is instead."""
    if not checkout.is_dir():
        raise UserError(f"--peer {checkout}: no such folder")
    missing = [file for file in ADAPTERS[adapter] if not (checkout / file).is_file()]
    if missing:
        there = {name: all((checkout / file).is_file() for file in files) for name, files in ADAPTERS.items()}
        hint = "".join(f"; this is a checkout for --adapter {name}" for name in there if there[name])
        raise UserError(f"--peer {checkout}: --adapter {adapter} needs {missing[0]} there{hint}")


class Peer:
    """Another project's network in a child process, given the same pictures (scripts/peer.py).

    pictures: by name, as scripts/peer.py takes them, uint8. A context, which ends the process. Raises
    UserError where the checkout does not do what the adapter expects.
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
        self.process.communicate()  # closes its stdin, at which it ends
        self.folder.cleanup()

    def seconds(self, operation: str) -> float:
        return self._ask(f"time {operation}")["seconds"]

    def flops(self, operation: str) -> int:
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
            raise UserError(f"--peer {self.checkout}: its network failed: {said[-1] if said else 'no word'}")
        return json.loads(line)


# --- what is written ----------------------------------------------------------------------------------------


def report(about: dict, timings: Sequence[Timing], rates: dict[str, float]) -> dict:
    """All that was measured, as plain data."""
    return {
        **about,
        "rates": rates,
        "timings": [asdict(one) | {"median": one.median} for one in timings],
    }


def kept_table(file: Path) -> list[str]:
    """The lines of `markdown` from what `benchmark.py network --json` wrote."""
    kept = json.loads(file.read_text(encoding="utf-8"))
    timings = [Timing(**{key: one[key] for key in Timing.__dataclass_fields__}) for one in kept["timings"]]
    return markdown(timings, kept["rates"], PEER if "peer" in kept else "fp32").splitlines()


def markdown(timings: Sequence[Timing], rates: dict[str, float], baseline: str | None) -> str:
    """A table: each contender and operation, its share of the machine's best rate, its ratio to the baseline.

    The ratio is the median of the rounds' ratios; the 95 % of the rounds in the middle stand beside it.
    """
    best = max(rates.values())
    lines = ["| | | median | GFLOP | of the machine's rate | times as fast | peak memory |"]
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
    """Operations that follow one another, round by round, as one."""
    memory = [one.peak_memory for one in parts if one.peak_memory is not None]
    return Timing(
        parts[0].contender,
        operation,
        sum(one.flops for one in parts),
        [sum(turn) for turn in zip(*(one.seconds for one in parts), strict=True)],
        max(memory, default=None),
    )
