"""What many tests need: the checkout's folder, a small network, groups of pictures, a score."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from container.header import write_header
from container.keys import Key, new_nonce
from models import MODELS, HidingModel, KeyedMethod, build_model
from tests.toy import TOYS

ROOT = Path(__file__).resolve().parents[1]
MODELS.update(TOYS)  # the line that a new method needs


def shaken(method: str, shake: float = 0.05, **arguments) -> HidingModel:
    """A network with noise on all weights, in training mode: a fresh one would only test the identity."""
    torch.manual_seed(0)
    net = build_model(method, **arguments)
    with torch.no_grad():
        for p in net.parameters():
            p.add_(torch.randn_like(p) * shake)
    return net


def group(net: HidingModel, height: int = 40, width: int = 60, batch: int = 1, seed: int = 0):
    """Noise pictures, not below the network's smallest: cover (B,3,H,W), secrets (B,N,3,H,W), uint8."""
    height, width = max(height, net.smallest[0]), max(width, net.smallest[1])
    pictures = noise((batch, net.num_secrets + 1, 3, height, width), seed)
    return pictures[:, 0], pictures[:, 1:]


def noise(shape: tuple[int, ...], seed: int = 0) -> Tensor:
    """Uniform uint8 of this shape."""
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def forged(net: KeyedMethod, picture: Tensor, note: bytes, shaping: int) -> Tensor:
    """A picture (3,H,W) uint8 with a header for `net` under the public key, as anybody could write one."""
    height, width = picture.shape[1:]
    samples, nonce = picture.permute(1, 2, 0).reshape(-1).numpy().copy(), new_nonce()
    keys = Key().derive(nonce)
    write_header(samples, (height, width), keys, nonce, net.method, net.fingerprint, note, shaping=shaping)
    return torch.from_numpy(samples.reshape(height, width, 3)).permute(2, 0, 1)


def photo(picture: Callable[[], np.ndarray], height: int, width: int) -> Tensor:
    """The top left of one of skimage.data's pictures: (3,height,width) uint8."""
    return torch.from_numpy(picture()[:height, :width].copy()).permute(2, 0, 1)


def psnr(x: Tensor, y: Tensor) -> float:
    """dB over all values of two uint8 tensors; inf where equal."""
    error = (x.double() - y.double()).square().mean().item()
    return 10 * math.log10(255**2 / error) if error else math.inf
