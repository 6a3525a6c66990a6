"""Training a network for steganalysis: from a seed alone, and resumable at any step."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from engine.checkpoint import load_state, save_state
from engine.interrupt import StopRequest
from errors import UserError

SAVE_EVERY = 60  # seconds


@dataclass(frozen=True)
class Training:
    """How a network is trained. With the seed and the pictures this decides every weight."""

    network: str = "xunet"  # a key of NETWORKS, or unet for reading without the key
    steps: int = 2000
    batch: int = 8  # pairs a step: two pictures that belong together are always in it together
    crop: int = 256  # side of the patches [px]; less where a picture is smaller
    lr: float = 1e-3  # Adamax (as for SRNet), falling to 0 along a cosine
    seed: int = 0


def train(
    network: nn.Module,
    loss_at: Callable[[nn.Module, int], Tensor],
    training: Training,
    checkpoint: Path,
    about: dict,
    what: str,
) -> nn.Module:
    """Train a network, on from `checkpoint` where there is one; returns it in evaluation mode.

    loss_at: the loss at a step, which must depend on the network and the step alone, so that a run that was
    interrupted ends as one that was not. about: settings and pictures; a checkpoint of others is a
    UserError. Ctrl-C or SIGTERM: the state is saved, then KeyboardInterrupt.
    """
    optimizer = torch.optim.Adamax(network.parameters(), lr=training.lr)
    start = _resume(checkpoint, about, network, optimizer) if checkpoint.exists() else 0
    network.train()
    saved = time.monotonic()
    bar = tqdm(total=training.steps, initial=start, desc=what, disable=None)
    with StopRequest() as stop, bar:
        for step in range(start, training.steps):
            for group in optimizer.param_groups:
                group["lr"] = training.lr * (1 + math.cos(math.pi * step / training.steps)) / 2
            loss = loss_at(network, step)
            if not torch.isfinite(loss):
                raise UserError(f"the loss is {loss.item()} at step {step}; try a lower --lr")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            bar.update()
            if (step + 1) % 20 == 0:
                bar.set_postfix(loss=f"{loss.item():.3g}")
            done = step + 1 == training.steps
            if done or stop.asked or time.monotonic() - saved > SAVE_EVERY:
                state = {
                    "about": about,
                    "step": step + 1,
                    "network": network.state_dict(),
                    "optimizer": optimizer.state_dict(),
                }
                save_state(checkpoint, state)
                saved = time.monotonic()
            if stop.asked and not done:
                raise KeyboardInterrupt
    return network.eval()


def _resume(checkpoint: Path, about: dict, network: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """Load a state and return how many steps it has behind it."""
    state = load_state(checkpoint)
    there = state.get("about")
    if not isinstance(there, dict) or there != about:
        differing = [key for key in about if not isinstance(there, dict) or there.get(key) != about[key]]
        raise UserError(
            f"{checkpoint}: a network that was trained otherwise ({', '.join(differing)} differ); "
            "take another --out, or delete the file"
        )
    network.load_state_dict(state["network"])
    optimizer.load_state_dict(state["optimizer"])
    return state["step"]


def patches(pictures: list[tuple[Tensor, ...]], training: Training, step: int) -> list[tuple[Tensor, ...]]:
    """The patches of a step, cut, turned and mirrored at random, in the same way for all of a tuple.

    pictures: tuples of (C,H,W) uint8 that belong together. Step k draws its tuples and patches from
    (seed, k) alone.
    """
    size = min(training.batch, len(pictures))
    side = min(training.crop, *(min(one[0].shape[1:]) for one in pictures))
    rng = np.random.default_rng((training.seed, step))
    found = []
    for k in range(step * size, (step + 1) * size):
        turn, place = divmod(k, len(pictures))
        order = np.random.default_rng((training.seed, 0, turn)).permutation(len(pictures))
        together = pictures[order[place]]
        height, width = together[0].shape[1:]
        top, left = rng.integers(height - side + 1), rng.integers(width - side + 1)
        turns, mirror = int(rng.integers(4)), bool(rng.integers(2))
        cut = [torch.rot90(x[:, top : top + side, left : left + side], turns, (1, 2)) for x in together]
        found.append(tuple(x.flip(2) if mirror else x for x in cut))
    return found
