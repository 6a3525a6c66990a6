"""Measure speed: scoring compared with reading and writing, or a network's training, hiding and revealing.

Run from the checkout: `python scripts/benchmark.py --help`. It prints Markdown for docs/benchmarks.md.
"""

import argparse
import copy
import json
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numpy as np
import torch

# Scripts run from the checkout without installation, so its root must be on the path.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from container.codecs import PayloadCodec
from data.files import write_beside
from data.images import list_pictures, read_picture, to_array, to_tensor, write_picture
from data.transforms import fit_picture
from engine.benchmark import (
    ADAPTERS,
    PEER,
    Contender,
    Peer,
    Timing,
    flops_of,
    in_turns,
    markdown,
    report,
    summed,
    timed,
    yardsticks,
)
from engine.build import build_channels, build_network, build_objectives, choose_device
from engine.command import Parser, run_command
from engine.log import device_name, git_commit, machine_name
from engine.precision import HALF, has, set_precision
from engine.testing.collected import without_paths
from engine.training.step import Step
from errors import UserError
from metrics.capacity import payload
from metrics.image import score_pair
from models import HidingModel
from options import TrainOptions, load_train

VARIANTS = {  # of a training step: name -> (precision, channels_last)
    "fp32": ("fp32", False),
    "fp32 channels_last": ("fp32", True),
    "bf16": ("bf16", False),
    "bf16 channels_last": ("bf16", True),
}

PARSER = Parser(
    "benchmark.py",
    description="Measure the speed of this machine, and print the tables of docs/benchmarks.md.",
    epilog="""examples:
  python scripts/benchmark.py scoring
  python scripts/benchmark.py network -opt options/train/smilenet_25.yml --device cuda
  python scripts/benchmark.py network -opt options/train/invmihnet_4.yml --size 1024 --no-train
  python scripts/benchmark.py network -opt options/train/hinet_1.yml --peer ../HiNet --adapter hinet""",
)
PARSER.add_argument("what", choices=("scoring", "network"), help="what to measure")
PARSER.add_argument(
    "--threads", type=int, metavar="N", help="CPU threads for a network (default: torch's choice)"
)
scoring_options = PARSER.add_argument_group("with scoring")
scoring_options.add_argument(
    "--pictures",
    metavar="DIR",
    default="samples:test",
    help="pictures to crop from (default: the sample pictures)",
)
scoring_options.add_argument(
    "--groups", type=int, default=100, metavar="N", help="groups of 26 pictures of 256 px (default: 100)"
)
network_options = PARSER.add_argument_group("with network")
network_options.add_argument(
    "-opt", metavar="FILE", help="a training option file, which gives network, crop and batch size"
)
network_options.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N (default: auto)")
network_options.add_argument(
    "--size",
    type=int,
    default=256,
    metavar="PX",
    help="side of the pictures to hide and reveal (default: 256)",
)
network_options.add_argument(
    "--repeat", type=int, default=5, metavar="N", help="measured rounds, after a warm-up (default: 5)"
)
network_options.add_argument("--no-train", action="store_true", help="measure only hide and reveal")
network_options.add_argument(
    "--peer", type=Path, metavar="DIR", help="a checkout of the authors' code, timed in its own process"
)
network_options.add_argument("--adapter", choices=tuple(ADAPTERS), help="which authors' code --peer is")
network_options.add_argument(
    "--json",
    type=Path,
    metavar="FILE",
    help="write every measurement to this file; absolute paths become DIR/<last name>",
)
network_options.add_argument("--compile", action="store_true", help="torch.compile the network in training")


def main(arguments: argparse.Namespace) -> None:
    for name in ("groups", "size", "repeat"):
        if getattr(arguments, name) < 1:
            raise UserError(f"--{name} {getattr(arguments, name)}: expected 1 or more")
    if (arguments.peer is None) != (arguments.adapter is None):
        raise UserError("--peer and --adapter go together: give both or neither")
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    if arguments.what == "scoring":
        scoring(arguments.pictures, arguments.groups)
    elif arguments.opt:
        network(arguments)
    else:
        raise UserError("network needs -opt FILE, such as -opt options/train/smilenet_25.yml")


# --- scoring ------------------------------------------------------------------------------------


def scoring(folder: str, groups: int, per_group: int = 26, size: int = 256) -> None:
    """Measure the time to write, read and score `groups` groups, in one process and one thread."""
    files = list_pictures(folder)
    pictures = [to_array(fit_picture(to_tensor(read_picture(path)), size, path=path)) for path in files]
    rng = np.random.default_rng(0)
    pairs = [(p, noisy(p, rng)) for p in (pictures[k % len(pictures)] for k in range(per_group))]
    spent = {name: np.zeros(2) for name in ("write", "read", "score")}
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "picture.png"
        for _ in range(groups):
            for a, b in pairs:
                spent["write"] += clocked(write_picture, file, b)
                spent["read"] += clocked(read_picture, file)
                spent["score"] += clocked(score_pair, a, b)
    both = spent["write"] + spent["read"]
    count = groups * per_group
    print(f"{groups} groups of {per_group} pictures of {size} pixels; {machine()}")
    print("| | ms a picture | of CPU time | times reading and writing |\n|---|---|---|---|")
    for name, seconds in (*spent.items(), ("read and write", both)):
        wall, cpu = 1e3 * seconds / count
        print(f"| {name} | {wall:.1f} | {cpu:.1f} | {seconds[1] / both[1]:.2f} |")
    codec = PayloadCodec()
    for target in (28.0, 34.0, 40.0, 46.0):
        wall, cpu = 1e3 * np.mean(
            [clocked(payload, a, target, codec) for a, _ in pairs[: len(pictures)]], axis=0
        )
        print(f"| payload of a secret at {target:.0f} dB | {wall:.0f} | {cpu:.0f} | |")


def noisy(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the picture with noise of about 38 dB PSNR, like a stego."""
    return np.clip(picture + rng.normal(0, 3.2, picture.shape), 0, 255).astype(np.uint8)


def clocked(function: Callable, *arguments) -> np.ndarray:
    """Return seconds of wall-clock and CPU time (2,). A busy machine affects CPU time less."""
    start = np.array([time.perf_counter(), time.process_time()])
    function(*arguments)
    return np.array([time.perf_counter(), time.process_time()]) - start


# --- networks -----------------------------------------------------------------------------------


def network(arguments: argparse.Namespace) -> None:
    """Measure training step, hide and reveal of an option file's network, beside another project's."""
    options = load_train(arguments.opt)
    device = choose_device(arguments.device)
    model = build_network(options).to(device)
    crop, batch = options.data.train.crop or 128, options.train.batch_size
    pictures = {
        "cover": random_pictures(1, arguments.size),
        "secrets": random_pictures(model.num_secrets, arguments.size)[None],
        "crop_cover": random_pictures(batch, crop),
        "crop_secrets": random_pictures(batch * model.num_secrets, crop).unflatten(0, (batch, -1)),
    }
    pictures = {name: picture.to(device) for name, picture in pictures.items()}
    calls = deployed_calls(model, pictures, device)
    if not arguments.no_train:
        calls["training step"] = training_calls(model, options, pictures, device, arguments.compile)
    about = {
        "command": ["scripts/benchmark.py", *sys.argv[1:]],
        "network": f"{options.network.type}, {model.num_secrets} secrets",
        "parameters": sum(p.numel() for p in model.parameters()),
        "pictures": arguments.size,
        "crop": crop,
        "batch": batch,
        "machine": machine(device),
        "git_commit": git_commit(),
    }
    with ExitStack() as stack:
        peer = None
        if arguments.peer:
            peer = stack.enter_context(Peer(arguments.peer, arguments.adapter, pictures, device))
            about["peer"] = {"adapter": arguments.adapter, **peer.about}
        timings, rates = measured(calls, peer, arguments.repeat, device, arguments.compile)
    millions = sum(p.numel() for p in model.parameters()) / 1e6
    print(f"{arguments.opt}: {about['network']}, {millions:.2f} M parameters; {machine(device)}")
    print(f"hide and reveal: {arguments.size} px; training step: {batch} groups of {crop} px\n")
    print(markdown(timings, rates, PEER if peer else "fp32"))
    if device.type == "cpu" and not has(device, "bf16"):
        print("\nbf16: not measured, because this device has no bfloat16 arithmetic")
    if arguments.json:
        write_beside(
            arguments.json,
            (json.dumps(without_paths(report(about, timings, rates)), indent=1) + "\n").encode(),
        )


def measured(
    calls: dict[str, dict[str, Callable[[], object]]],
    peer: Peer | None,
    rounds: int,
    device: torch.device,
    compiled: bool,
) -> tuple[list[Timing], dict[str, float]]:
    """Time all calls, {operation: {contender: call}}; return timings and the machine's rates [FLOP/s].

    compiled: the networks in training steps are compiled.
    """
    timings, sticks = [], yardsticks(device)
    spent: dict[str, list[float]] = {name: [] for name in sticks}
    for operation, contenders in calls.items():
        turns: dict[str, Contender] = {
            name: partial(timed, call, device) for name, call in (contenders | sticks).items()
        }
        uses_compiler = compiled and operation == "training step"
        flops = {name: flops_of(call, uses_compiler) for name, call in contenders.items()}
        if peer is not None:
            turns[PEER], flops[PEER] = partial(peer.seconds, operation), peer.flops(operation)
        seconds = in_turns(turns, rounds)
        for name in sticks:
            spent[name] += seconds.pop(name)
        for name, each in seconds.items():
            memory = None if name == PEER else memory_of(contenders[name], device)
            timings.append(Timing(name, operation, flops[name], each, memory))
    both: dict[str, list[Timing]] = {one.contender: [] for one in timings if one.operation == "reveal"}
    for one in timings:
        if one.operation in ("hide", "reveal"):
            both[one.contender].append(one)
    timings += [summed(parts, "hide + reveal") for parts in both.values()]
    rates = {name: flops_of(call) / float(np.median(spent[name])) for name, call in sticks.items()}
    return timings, rates


def deployed_calls(
    model: HidingModel, pictures: dict[str, torch.Tensor], device: torch.device
) -> dict[str, dict[str, Callable[[], object]]]:
    """Return calls of hide and reveal, in float32 and in bfloat16 if the device has it."""
    calls: dict[str, dict[str, Callable[[], object]]] = {"hide": {}, "reveal": {}}
    stego = model.hide(pictures["cover"], pictures["secrets"])
    for name in ("fp32", "bf16"):
        if not has(device, name):
            continue

        def in_precision(call: Callable, *given: torch.Tensor, name: str = name) -> object:
            set_precision(model, name)
            return call(*given)

        calls["hide"][name] = partial(in_precision, model.hide, pictures["cover"], pictures["secrets"])
        calls["reveal"][name] = partial(in_precision, model.reveal, stego)
    return calls


def training_calls(
    model: HidingModel,
    options: TrainOptions,
    pictures: dict[str, torch.Tensor],
    device: torch.device,
    compiled: bool,
) -> dict[str, Callable[[], object]]:
    """Return calls of the trainer's own step, without reading pictures.

    They run the last phase of the option file, at a tiny learning rate.
    """
    calls: dict[str, Callable[[], object]] = {}
    for name, (precision, channels_last) in VARIANTS.items():
        if not has(device, precision):
            continue
        one = copy.deepcopy(model)
        one.to(memory_format=torch.channels_last if channels_last else torch.contiguous_format)
        objective = build_objectives(options, one)[-1].to(device)
        channel = build_channels(options)[-1]
        network = torch.compile(one.train()) if compiled else one.train()
        step = Step(one, network, options.train, options.critic, HALF[precision])
        drawn = None if channel is None else channel.drawn(options.seed, step=0)
        calls[name] = partial(
            step,
            pictures["crop_cover"],
            pictures["crop_secrets"],
            objective,
            progress=0.5,
            rate=1e-9,
            channel=drawn,
        )
    return calls


def memory_of(call: Callable[[], object], device: torch.device) -> int | None:
    """Return the peak memory of one call on a GPU [bytes]; None on other devices."""
    if device.type != "cuda":
        return None
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    call()
    return torch.cuda.max_memory_allocated(device)


def random_pictures(count: int, size: int) -> torch.Tensor:
    """Return random pictures (count,3,size,size) uint8, always the same."""
    return torch.randint(0, 256, (count, 3, size, size), generator=torch.Generator().manual_seed(0)).byte()


def machine(device: torch.device | None = None) -> str:
    name = device_name(device) if device and device.type != "cpu" else machine_name()
    return f"{name}, {torch.get_num_threads()} threads, torch {torch.__version__}"


if __name__ == "__main__":
    sys.exit(run_command(PARSER, main))
