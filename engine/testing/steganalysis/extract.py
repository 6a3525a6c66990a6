"""Try to read the secrets without the key: with the public weights, and with a network trained on pairs."""

import hashlib
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from container.header import ContainerError
from data.files import sha256
from data.images import read_picture, to_array, to_tensor
from engine.build import choose_device
from engine.log import git_commit
from engine.testing.steganalysis.features import everywhere
from engine.testing.steganalysis.kept import network_file
from engine.testing.steganalysis.pairs import Pairs, check_sizes, checked_split
from engine.testing.steganalysis.training import Training, patches, train
from metrics.image import psnr
from metrics.intervals import mean_interval, paired_difference
from metrics.steganalysis.unet import UNet
from models import HidingModel, KeyedMethod

SHOWN = 4  # stegos in the picture

Secrets = dict[Path, list[Path]]


@dataclass
class Extraction:
    """What could be read without the key.

    rows: one for each tested stego: its name, and the PSNR of each reader [dB].
    sheet: (h,w,3) uint8, a row for each of a few stegos: stego, secret, what weights and network read.
    network: (name, content) of the file with the trained U-Net.
    """

    summary: dict
    rows: list[dict]
    sheet: np.ndarray
    network: tuple[str, bytes]


def extract(
    pairs: Pairs,
    secrets: Secrets,
    model: HidingModel,
    work: Path,
    training: Training,
    train_share: float = 0.5,
    device: str = "auto",
    workers: int | None = None,
) -> Extraction:
    """Try to read the secrets of stegos, and measure how much closer that comes than a flat colour.

    pairs: (cover, stego). secrets: {stego: the files hidden in it, of the stego's size, place by place}.
    There are three readers. Each gets its PSNR (RGB, dB) against the tested secrets, averaged over places:
      flat     the mean colour of the secrets to learn from: a guess without a look at the stego
      weights  what `model` reveals without a passphrase; the flat colour if the stego does not open
      unet     a U-Net trained on the stegos and secrets to learn from
    Pairs that share a cover, a stego or a secret are on one side. Raises UserError for too few pairs.
    """
    started = time.monotonic()
    check_sizes(pairs)
    files = [path for cover, stego in pairs for path in (cover, stego, *secrets[stego])]
    digests = everywhere(sha256, files, workers, "reading")
    # The secret of one stego may be the cover of another. Only pictures with the same role count as shared.
    marks = {stego: [f"secret {digests[s]}" for s in secrets[stego]] for _, stego in pairs}
    learn, tested = checked_split("extract", pairs, digests, train_share, training.seed, marks)
    places = len(secrets[tested[0][1]])
    on = choose_device(device)
    colour = _mean_colour([secrets[stego] for _, stego in learn])
    training = replace(training, network="unet")
    state = work / "checkpoints" / f"unet_{len(learn)}.pt"
    together = [(stego, *secrets[stego]) for _, stego in learn]
    prints = hashlib.sha256("".join(digests[p] for one in together for p in one).encode()).hexdigest()
    network = _trained(together, colour, training, on, state, prints)

    rows: list[dict] = []
    shown: list[list[np.ndarray]] = []
    opened = 0
    for _, stego in tqdm(tested, "reading without the key", unit="stego", disable=None):
        picture = to_tensor(read_picture(stego))
        wanted = [read_picture(path) for path in secrets[stego]]
        flat = [np.broadcast_to(rgb, w.shape) for rgb, w in zip(colour.reshape(-1, 3), wanted, strict=True)]
        by_weights = _by_weights(model, picture, len(wanted))
        opened += by_weights is not None
        by_network = _by_network(network, picture, on)
        read = {"flat": flat, "weights": by_weights or flat, "unet": by_network}
        means = {
            name: float(np.mean([psnr(w, r) for w, r in zip(wanted, found, strict=True)]))
            for name, found in read.items()
        }
        rows.append({"stego": stego.name, **means})
        if len(shown) < SHOWN:
            shown.append([to_array(picture), wanted[0], (by_weights or flat)[0], by_network[0]])

    groups = list(range(len(rows)))
    of = {name: [row[name] for row in rows] for name in ("flat", "weights", "unet")}
    found: dict = {"flat": _mean(of["flat"], groups)}
    for name in ("weights", "unet"):
        gain, interval = paired_difference(of[name], of["flat"], groups)
        found[name] = _mean(of[name], groups) | {"gain": _or_none(gain), "gain_interval": interval}
    found["weights"]["opened"] = opened
    about = {
        "detector": "extract",
        **found,
        "method": model.method,
        "places": places,
        "device": on.type,
        **asdict(training),
        "pairs": len(pairs),
        "train_pairs": len(learn),
        "test_pairs": len(tested),
        "seconds": round(time.monotonic() - started, 1),
        "git_commit": git_commit(),
    }
    names = {"learned": [s.stem for _, s in learn], "tested": [s.stem for _, s in tested]}
    kept = network_file(
        network, {key: about[key] for key in ("detector", "places", *asdict(training))} | names
    )
    return Extraction(about, rows, _sheet(shown), kept)


def _mean_colour(secrets: list[list[Path]]) -> np.ndarray:
    """Return the mean colour of the secrets of each place: (3N,) uint8."""
    means = [np.concatenate([read_picture(p).mean(axis=(0, 1)) for p in places]) for places in secrets]
    return np.mean(means, axis=0).round().astype(np.uint8)


def _trained(
    together: list[tuple[Path, ...]],
    colour: np.ndarray,
    training: Training,
    device: torch.device,
    checkpoint: Path,
    fingerprint: str,
) -> nn.Module:
    """Train a U-Net on (stego, secret, secret, ...)."""
    with torch.random.fork_rng():
        torch.manual_seed(training.seed)
        network = UNet(len(colour) // 3, torch.from_numpy(colour) / 255).to(device)
    pictures = [tuple(to_tensor(read_picture(path)) for path in one) for one in together]

    def loss_at(network: nn.Module, step: int) -> Tensor:
        stegos, *secrets = (
            torch.stack(x).to(device) / 255 for x in zip(*patches(pictures, training, step), strict=True)
        )
        return F.mse_loss(network(stegos), torch.cat(secrets, dim=1))

    about = {**asdict(training), "pictures": fingerprint}
    return train(network, loss_at, training, checkpoint, about, f"unet, {len(together)} stegos")


def _by_weights(model: HidingModel, stego: Tensor, count: int) -> list[np.ndarray] | None:
    """Reveal a stego (3,H,W) with the weights and no passphrase; None if it does not open."""
    try:
        found = model.unseal(stego)[0] if isinstance(model, KeyedMethod) else model.reveal(stego[None])[0]
    except ContainerError:
        return None
    return [to_array(one) for one in found[:count]]


@torch.inference_mode()
def _by_network(network: nn.Module, stego: Tensor, device: torch.device) -> list[np.ndarray]:
    read = network(stego[None].to(device) / 255)[0].clamp(0, 1).mul(255).round().to(torch.uint8).cpu()
    return [to_array(one) for one in read.split(3)]


def _mean(values: list[float], groups: list[int]) -> dict:
    """Return the mean of the finite values and its interval; None if every secret came back exactly."""
    finite = [value for value in values if np.isfinite(value)]
    return {"psnr": float(np.mean(finite)) if finite else None, "interval": mean_interval(values, groups)}


def _or_none(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _sheet(shown: list[list[np.ndarray]]) -> np.ndarray:
    """Lay out rows of pictures, which may differ in size, on white: (h,w,3) uint8."""
    height = max(picture.shape[0] for row in shown for picture in row)
    width = max(picture.shape[1] for row in shown for picture in row)

    def padded(picture: np.ndarray) -> np.ndarray:
        edges = (4, height - picture.shape[0] + 4), (4, width - picture.shape[1] + 4), (0, 0)
        return np.pad(picture, edges, constant_values=255)

    return np.vstack([np.hstack([padded(picture) for picture in row]) for row in shown])
