"""Measure speed: scoring against reading and writing, and a network's training, hiding and revealing.

Run from the checkout: `python scripts/benchmark.py --help`. Prints Markdown for docs/benchmarks.md.
"""

import argparse
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

# The checkout is run in place and installs nothing: its root is where `engine` is found.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from container.codecs import PayloadCodec
from data.images import list_pictures, read_picture, to_array, to_tensor, write_picture
from data.transforms import fit_picture
from engine.build import build_channels, build_network, build_objectives, choose_device, has_fast_bf16
from engine.command import Parser, run_command
from engine.log import device_name
from engine.training.step import Step
from errors import UserError
from metrics.capacity import payload
from metrics.image import score_pair
from models import HidingModel
from options import TrainOptions, load_train

VARIANTS = {  # name -> (bfloat16, channels_last)
    "fp32": (False, False),
    "fp32 channels_last": (False, True),
    "bf16": (True, False),
    "bf16 channels_last": (True, True),
}

PARSER = Parser(
    "benchmark.py",
    description="Measure speed on this machine; the tables of docs/benchmarks.md.",
    epilog="""examples:
  python scripts/benchmark.py scoring
  python scripts/benchmark.py network -opt options/train/smilenet_25.yml --device cuda
  python scripts/benchmark.py network -opt options/train/invmihnet_4.yml --size 1024 --no-train""",
)
PARSER.add_argument("what", choices=("scoring", "network"), help="what to measure")
PARSER.add_argument(
    "--threads", type=int, metavar="N", help="CPU threads of a network (default: torch's choice)"
)
scoring_options = PARSER.add_argument_group("with scoring")
scoring_options.add_argument(
    "--pictures",
    metavar="DIR",
    default="samples:test",
    help="pictures to cut from (default: the sample ones)",
)
scoring_options.add_argument(
    "--groups", type=int, default=100, metavar="N", help="groups of 26 pictures of 256 px (default: 100)"
)
network_options = PARSER.add_argument_group("with network")
network_options.add_argument("-opt", metavar="FILE", help="a training option file: network, crop, batch size")
network_options.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N (default: auto)")
network_options.add_argument(
    "--size",
    type=int,
    default=256,
    metavar="PX",
    help="side of the pictures hidden and revealed (default: 256)",
)
network_options.add_argument(
    "--repeat", type=int, default=5, metavar="N", help="timed calls, after one that is not (default: 5)"
)
network_options.add_argument("--no-train", action="store_true", help="only hide and reveal")
network_options.add_argument("--compile", action="store_true", help="torch.compile the network in training")


def main(arguments: argparse.Namespace) -> None:
    for name in ("groups", "size", "repeat"):
        if getattr(arguments, name) < 1:
            raise UserError(f"--{name} {getattr(arguments, name)}: expected 1 or more")
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    if arguments.what == "scoring":
        scoring(arguments.pictures, arguments.groups)
    elif arguments.opt:
        network(arguments)
    else:
        raise UserError("say which network: -opt options/train/smilenet_25.yml")


# --- scoring ------------------------------------------------------------------------------------


def scoring(folder: str, groups: int, per_group: int = 26, size: int = 256) -> None:
    """Time of writing, reading and scoring `groups` groups, in one process and one thread."""
    files = list_pictures(folder)
    pictures = [to_array(fit_picture(to_tensor(read_picture(path)), size, path=path)) for path in files]
    rng = np.random.default_rng(0)
    pairs = [(p, noisy(p, rng)) for p in (pictures[k % len(pictures)] for k in range(per_group))]
    spent = {name: np.zeros(2) for name in ("write", "read", "score")}
    with tempfile.TemporaryDirectory() as name:
        file = Path(name) / "picture.png"
        for _ in range(groups):
            for a, b in pairs:
                spent["write"] += timed(write_picture, file, b)
                spent["read"] += timed(read_picture, file)
                spent["score"] += timed(score_pair, a, b)
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
            [timed(payload, a, target, codec) for a, _ in pairs[: len(pictures)]], axis=0
        )
        print(f"| payload of a secret at {target:.0f} dB | {wall:.0f} | {cpu:.0f} | |")


def noisy(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """At some 38 dB, as a stego is."""
    return np.clip(picture + rng.normal(0, 3.2, picture.shape), 0, 255).astype(np.uint8)


def timed(function: Callable, *arguments) -> np.ndarray:
    """Seconds of wall-clock and of CPU time (2,); the latter is the less troubled by a busy machine."""
    start = np.array([time.perf_counter(), time.process_time()])
    function(*arguments)
    return np.array([time.perf_counter(), time.process_time()]) - start


# --- networks -----------------------------------------------------------------------------------


def network(arguments: argparse.Namespace) -> None:
    """Training steps, hides and reveals of an option file's network: fresh weights, random pictures."""
    options = load_train(arguments.opt)
    device = choose_device(arguments.device)
    model = build_network(options).to(device)
    parameters = sum(p.numel() for p in model.parameters())
    crop, batch = options.data.train.crop or 128, options.train.batch_size
    what = f"{options.network.type}, {model.num_secrets} secrets, {parameters / 1e6:.2f} M parameters"
    print(f"{arguments.opt}: {what}; {machine(device)}")
    print("| | training step | groups a second | peak memory |\n|---|---|---|---|")
    for name, (half, channels_last) in VARIANTS.items() if not arguments.no_train else ():
        if half and not has_fast_bf16(device):
            print(f"| {name} | not measured: this device has no bfloat16 arithmetic | | |")
            continue
        layout = torch.channels_last if channels_last else torch.contiguous_format
        model.to(memory_format=layout)
        reset_memory(device)
        step = training_step(model, options, batch, crop, half, arguments.compile)
        seconds = repeated(step, arguments.repeat, device)
        print(f"| {name} | {seconds:.3f} s | {batch / seconds:.2f} | {peak_memory(device)} |")
    if not arguments.no_train:
        print(f"\n(crop {crop}, batch {batch})\n")
    model.to(memory_format=torch.contiguous_format).eval()
    cover = random_pictures(1, arguments.size)
    secrets = random_pictures(model.num_secrets, arguments.size)[None]
    reset_memory(device)
    hide = repeated(lambda: model.hide(cover, secrets), arguments.repeat, device)
    stego = model.hide(cover, secrets)
    reveal = repeated(lambda: model.reveal(stego), arguments.repeat, device)
    print(f"| {arguments.size} pixels, fp32 | seconds | peak memory |\n|---|---|---|")
    print(f"| hide {model.num_secrets} | {hide:.3f} | {peak_memory(device)} |")
    print(f"| reveal {model.num_secrets} | {reveal:.3f} | |")


def training_step(
    model: HidingModel, options: TrainOptions, batch: int, crop: int, half: bool, compiled: bool
) -> Callable[[], object]:
    """The trainer's own step, without reading pictures: the last phase of the option file, at a tiny rate."""
    objective = build_objectives(options, model)[-1].to(model.device)
    channel = build_channels(options)[-1]
    network = torch.compile(model.train()) if compiled else model.train()
    step = Step(model, network, options.train, options.critic, half)
    cover = random_pictures(batch, crop).to(model.device)
    secrets = random_pictures(batch * model.num_secrets, crop).to(model.device)
    secrets = secrets.reshape(batch, model.num_secrets, 3, crop, crop)
    drawn = None if channel is None else channel.drawn(options.seed, step=0)
    return lambda: step(cover, secrets, objective, progress=0.5, rate=1e-9, channel=drawn)


def random_pictures(count: int, size: int) -> torch.Tensor:
    """(count,3,size,size) uint8."""
    return torch.randint(0, 256, (count, 3, size, size), generator=torch.Generator().manual_seed(0)).byte()


def repeated(call: Callable, times: int, device: torch.device) -> float:
    """Median seconds of a call, after one that warms up."""
    call()
    seconds = []
    for _ in range(times):
        synchronize(device)
        start = time.perf_counter()
        call()
        synchronize(device)
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds))


def synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def reset_memory(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory(device: torch.device) -> str:
    if device.type != "cuda":
        return "-"
    return f"{torch.cuda.max_memory_allocated(device) / 2**30:.2f} GiB"


def machine(device: torch.device | None = None) -> str:
    name = device_name(device) if device else platform.processor() or platform.machine()
    return f"{name}, {torch.get_num_threads()} threads, torch {torch.__version__}"


if __name__ == "__main__":
    sys.exit(run_command(PARSER, main))
