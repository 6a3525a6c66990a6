"""Training a steganalysis network on cover/stego pairs: from a seed alone, and resumable at any step."""

import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from data.images import read_picture, to_tensor
from engine.checkpoint import load_state, save_state
from engine.interrupt import StopRequest
from errors import UserError
from metrics.steganalysis.cnn import NETWORKS

SAVE_EVERY = 60  # seconds


@dataclass(frozen=True)
class Training:
    """How a network is trained. With the seed and the pictures this decides every weight."""

    network: str = "xunet"  # a key of NETWORKS
    steps: int = 2000
    batch: int = 8  # pairs a step: a cover is always together with its stego
    crop: int = 256  # side of the patches [px]; less where a picture is smaller
    lr: float = 1e-3  # Adamax (as for SRNet), falling to 0 along a cosine
    seed: int = 0


def train_network(
    pairs: list[tuple[Path, Path]],
    training: Training,
    device: torch.device,
    checkpoint: Path,
    fingerprint: str,
) -> nn.Module:
    """A network that was trained on pairs (cover, stego); goes on from `checkpoint` where there is one.

    Patches are cut at random, turned and mirrored, in the same way for both of a pair. Step k draws
    its pairs and patches from (seed, k) alone, so that a run that was interrupted ends as one that
    was not. All pictures are kept in memory.
    fingerprint: of the pictures; a checkpoint of others, or of other settings, is a UserError.
    Ctrl-C or SIGTERM: the state is saved, then KeyboardInterrupt.
    """
    with torch.random.fork_rng():
        torch.manual_seed(training.seed)
        network = NETWORKS[training.network]().to(device)
    optimizer = torch.optim.Adamax(network.parameters(), lr=training.lr)
    about = {**asdict(training), "pictures": fingerprint}
    start = _resume(checkpoint, about, network, optimizer) if checkpoint.exists() else 0
    if start == training.steps:
        return network.eval()
    pictures = [tuple(to_tensor(read_picture(path)) for path in pair) for pair in pairs]

    network.train()
    saved, loss = time.monotonic(), torch.zeros(())
    bar = tqdm(
        total=training.steps, initial=start, desc=f"{training.network}, {len(pairs)} pairs", disable=None
    )
    with StopRequest() as stop, bar:
        for step in range(start, training.steps):
            for group in optimizer.param_groups:
                group["lr"] = training.lr * (1 + math.cos(math.pi * step / training.steps)) / 2
            batch, labels = _batch(pictures, training, step)
            loss = F.cross_entropy(network(batch.to(device)), labels.to(device))
            if not torch.isfinite(loss):
                raise UserError(f"the loss is {loss.item()} at step {step}; try a lower --lr")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            bar.update()
            if (step + 1) % 20 == 0:
                bar.set_postfix(loss=f"{loss.item():.3f}")
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


def _batch(pictures: list[tuple[Tensor, ...]], training: Training, step: int) -> tuple[Tensor, Tensor]:
    """The patches of a step: (2B,3,c,c) float, 0..255, covers first, and labels (2B,), 1 for a stego."""
    size = min(training.batch, len(pictures))
    side = min(training.crop, *(min(cover.shape[1:]) for cover, _ in pictures))
    rng = np.random.default_rng((training.seed, step))
    covers: list[Tensor] = []
    stegos: list[Tensor] = []
    for k in range(step * size, (step + 1) * size):
        turn, place = divmod(k, len(pictures))
        order = np.random.default_rng((training.seed, 0, turn)).permutation(len(pictures))
        pair = pictures[order[place]]
        height, width = pair[0].shape[1:]
        top, left = rng.integers(height - side + 1), rng.integers(width - side + 1)
        turns, mirror = int(rng.integers(4)), bool(rng.integers(2))
        for picture, patches in zip(pair, (covers, stegos), strict=True):
            patch = picture[:, top : top + side, left : left + side]
            patch = torch.rot90(patch, turns, (1, 2))
            patches.append(patch.flip(2) if mirror else patch)
    labels = torch.arange(2).repeat_interleave(size)
    return torch.stack(covers + stegos).float(), labels


@torch.inference_mode()
def network_scores(network: nn.Module, pictures: list[Path], device: torch.device) -> np.ndarray:
    """Logit of stego less logit of cover for each whole picture: (N,); above 0 is a stego."""
    scores = []
    for path in tqdm(pictures, "detecting", unit="picture", disable=None):
        logits = network(to_tensor(read_picture(path))[None].to(device).float())[0]
        scores.append((logits[1] - logits[0]).item())
    return np.array(scores)
