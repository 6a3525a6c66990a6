"""Training a detecting network on cover/stego pairs, and asking it."""

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
    """A network that was trained on pairs (cover, stego): see `train`. All pictures are kept in memory.

    fingerprint: of the pictures; a checkpoint of others, or of other settings, is a UserError.
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
    """The patches of a step: (2B,3,c,c) float, 0..255, covers first, and labels (2B,), 1 for a stego."""
    covers, stegos = zip(*patches(pictures, training, step), strict=True)
    labels = torch.arange(2).repeat_interleave(len(covers))
    return torch.stack(covers + stegos).float(), labels


@torch.inference_mode()
def network_scores(network: nn.Module, pictures: list[Path], device: torch.device) -> np.ndarray:
    """Logit of stego less logit of cover for each whole picture: (N,); above 0 is a stego."""
    scores = []
    for path in tqdm(pictures, "detecting", unit="picture", disable=None):
        logits = network(to_tensor(read_picture(path))[None].to(device).float())[0]
        scores.append((logits[1] - logits[0]).item())
    return np.array(scores)
