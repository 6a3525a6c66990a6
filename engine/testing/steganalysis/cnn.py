"""Train a network as a detector on pairs of cover and stego, and score pictures with it."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from data.images import read_picture, to_tensor
from engine.testing.steganalysis.training import Training, patches, train
from metrics.steganalysis.cnn import NETWORKS


def train_network(
    pairs: list[tuple[Path, Path]],
    training: Training,
    device: torch.device,
    checkpoint: Path,
    fingerprint: str,
) -> nn.Module:
    """Train a network on pairs (cover, stego); see `train`. Keeps all pictures in memory.

    fingerprint: a checksum of the pictures. Raises UserError if the checkpoint belongs to other pictures or
    other settings.
    """
    with torch.random.fork_rng():
        torch.manual_seed(training.seed)
        network = NETWORKS[training.network]().to(device)
    pictures = [tuple(to_tensor(read_picture(path)) for path in pair) for pair in pairs]

    def loss_at(network: nn.Module, step: int) -> Tensor:
        batch, labels = _batch(pictures, training, step)
        return F.cross_entropy(network(batch.to(device)), labels.to(device))

    about = {**asdict(training), "pictures": fingerprint}
    return train(network, loss_at, training, checkpoint, about, f"{training.network}, {len(pairs)} pairs")


def _batch(pictures: list[tuple[Tensor, ...]], training: Training, step: int) -> tuple[Tensor, Tensor]:
    """Return a step's patches (2B,3,c,c) float, 0..255, covers first, and labels (2B,), 1 for a stego."""
    covers, stegos = zip(*patches(pictures, training, step), strict=True)
    labels = torch.arange(2).repeat_interleave(len(covers))
    return torch.stack(covers + stegos).float(), labels


@torch.inference_mode()
def network_scores(network: nn.Module, pictures: list[Path], device: torch.device) -> np.ndarray:
    """Score whole pictures: logit of stego minus logit of cover, (N,). Above 0 means stego."""
    scores = []
    for path in tqdm(pictures, "detecting", unit="picture", disable=None):
        logits = network(to_tensor(read_picture(path))[None].to(device).float())[0]
        scores.append((logits[1] - logits[0]).item())
    return np.array(scores)
