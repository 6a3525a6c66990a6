"""Networks that learn to tell stegos from covers. They turn a picture into two logits (cover, stego)."""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

KV = (  # 12 times the KV high-pass filter, which removes the content and keeps what hiding adds
    (-1, 2, -2, 2, -1),
    (2, -6, 8, -6, 2),
    (-2, 8, -12, 8, -2),
    (2, -6, 8, -6, 2),
    (-1, 2, -2, 2, -1),
)


class XuNet(nn.Module):
    """G. Xu, H.-Z. Wu, Y.-Q. Shi, "Structural design of convolutional neural networks for steganalysis",
    IEEE Signal Processing Letters 23(5), 2016.

        x -> KV filter -> conv 5x5, |.|, BN, tanh, pool -> conv 5x5, BN, tanh, pool
          -> three times conv 1x1, BN, ReLU, pool (the last one global) -> linear -> logits
           (C,H,W)         (8,H/2,W/2)                       (16,H/4,W/4)  ... (128)

    Pools are averages over 5x5 with stride 2.
    channels: 1 (as published) or 3. The filter is applied to each channel, and the first layer sees all
    channels.
    """

    kernel: Tensor

    def __init__(self, channels: int = 3):
        super().__init__()
        kernel = torch.tensor(KV, dtype=torch.float32) / 12
        self.register_buffer("kernel", kernel.expand(channels, 1, 5, 5).clone(), persistent=False)
        self.first = nn.Conv2d(channels, 8, 5, padding=2, bias=False)
        self.first_norm = nn.BatchNorm2d(8)
        self.second = _normed(8, 16, 5)
        self.third, self.fourth, self.fifth = _normed(16, 32, 1), _normed(32, 64, 1), _normed(64, 128, 1)
        self.classify = nn.Linear(128, 2)

    def forward(self, x: Tensor) -> Tensor:
        """(B,C,H,W) grey levels 0..255 -> (B,2)"""
        x = F.conv2d(x, self.kernel, padding=2, groups=x.shape[1])
        x = self._pool(torch.tanh(self.first_norm(self.first(x).abs())))
        x = self._pool(torch.tanh(self.second(x)))
        x = self._pool(F.relu(self.third(x)))
        x = self._pool(F.relu(self.fourth(x)))
        return self.classify(F.relu(self.fifth(x)).mean((2, 3)))

    @staticmethod
    def _pool(x: Tensor) -> Tensor:
        return F.avg_pool2d(x, 5, stride=2, padding=2)


class SRNet(nn.Module):
    """M. Boroumand, M. Chen, J. Fridrich, "Deep residual network for steganalysis of digital images",
    IEEE Trans. Information Forensics and Security 14(5), 2019.

        x -> 2 layers (64, 16) -> 5 residual layers without pooling (16), which keep all of the noise
          -> 4 residual layers, each halves the size (16, 64, 128, 256)
          -> 2 layers (512), global mean -> linear -> logits

    All convolutions are 3x3 with batch norm; pools are averages over 3x3 with stride 2.
    channels: 1 (as published) or 3. With 3, the first layer sees all of them.
    """

    def __init__(self, channels: int = 3):
        super().__init__()
        self.plain = nn.Sequential(
            _normed(channels, 64, 3),
            nn.ReLU(),
            _normed(64, 16, 3),
            nn.ReLU(),
            *(_Residual(16) for _ in range(5)),
        )
        self.pooled = nn.Sequential(*(_Halving(a, b) for a, b in ((16, 16), (16, 64), (64, 128), (128, 256))))
        self.last = nn.Sequential(_normed(256, 512, 3), nn.ReLU(), _normed(512, 512, 3))
        self.classify = nn.Linear(512, 2, bias=False)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight)
        nn.init.normal_(self.classify.weight, std=0.01)

    def forward(self, x: Tensor) -> Tensor:
        """(B,C,H,W) grey levels 0..255 -> (B,2)"""
        return self.classify(self.last(self.pooled(self.plain(x))).mean((2, 3)))


class _Residual(nn.Module):
    """SRNet's layer type 2. It keeps the number of channels and the size."""

    def __init__(self, width: int):
        super().__init__()
        self.change = nn.Sequential(_normed(width, width, 3), nn.ReLU(), _normed(width, width, 3))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.change(x)


class _Halving(nn.Module):
    """SRNet's layer type 3: (a,H,W) -> (b,H/2,W/2), rounded up."""

    def __init__(self, a: int, b: int):
        super().__init__()
        pool = nn.AvgPool2d(3, stride=2, padding=1)
        self.change = nn.Sequential(_normed(a, b, 3), nn.ReLU(), _normed(b, b, 3), pool)
        self.shortcut = nn.Sequential(nn.Conv2d(a, b, 1, stride=2, bias=False), nn.BatchNorm2d(b))

    def forward(self, x: Tensor) -> Tensor:
        return self.shortcut(x) + self.change(x)


def _normed(a: int, b: int, size: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(a, b, size, padding=size // 2, bias=False), nn.BatchNorm2d(b))


def srm_filters() -> np.ndarray:
    """Return the 30 linear filters of the spatial rich model (Fridrich, Kodovsky, 2012), (30,5,5) float32.

    They are 8 differences of the first order, 4 of the second and 8 of the third, the 3x3 square with its 4
    halves, and the 5x5 square (KV) with its 4 halves. Each is divided by the weight of its centre. Each sums
    to 0.
    """
    around = ((0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1))

    def line(direction: tuple[int, int], weights: dict[int, float]) -> np.ndarray:
        kernel = np.zeros((5, 5))
        for step, weight in weights.items():
            kernel[2 + step * direction[0], 2 + step * direction[1]] = weight
        return kernel

    def with_halves(square: np.ndarray) -> list[np.ndarray]:
        upper = square.copy()
        upper[3:] = 0
        return [square, *(np.rot90(upper, k) for k in range(4))]

    first = [line(d, {0: -1, 1: 1}) for d in around]
    second = [line(d, {-1: 1 / 2, 0: -1, 1: 1 / 2}) for d in around[:4]]
    third = [line(d, {-1: 1 / 3, 0: -1, 1: 1, 2: -1 / 3}) for d in around]
    kb = np.pad(np.array(((-1, 2, -1), (2, -4, 2), (-1, 2, -1))) / 4, 1)
    kernels = [*first, *second, *third, *with_halves(kb), *with_halves(np.array(KV) / 12)]
    return np.stack(kernels).astype(np.float32)


class UCNet(nn.Module):
    """A colour detector after K. Wei, W. Luo, S. Tan, J. Huang, "Universal deep network for steganalysis of
    color image based on channel representation", IEEE Trans. Information Forensics and Security, 2022.

        x -> 30 SRM filters on each colour, clipped to +-5: 90 maps that keep the colours apart
          -> layer (32) -> residual layer (32) -> 3 residual layers, each halves the size (64, 128, 256)
          -> global mean -> linear -> logits

    Like the published network, it filters each colour separately and lets later layers compare the colours.
    It is smaller: it has no 32 Gabor filters and no groups, and its layers are SRNet's.
    """

    kernels: Tensor
    LIMIT = 5.0

    def __init__(self, channels: int = 3):
        super().__init__()
        kernels = torch.from_numpy(srm_filters())[:, None].repeat(channels, 1, 1, 1)
        self.register_buffer("kernels", kernels, persistent=False)
        self.channels = channels
        self.body = nn.Sequential(
            _normed(30 * channels, 32, 3),
            nn.ReLU(),
            _Residual(32),
            *(_Halving(a, b) for a, b in ((32, 64), (64, 128), (128, 256))),
        )
        self.classify = nn.Linear(256, 2)

    def forward(self, x: Tensor) -> Tensor:
        """(B,C,H,W) grey levels 0..255 -> (B,2)"""
        x = F.conv2d(x, self.kernels, padding=2, groups=self.channels)  # (B,30*C,H,W)
        return self.classify(self.body(x.clamp(-self.LIMIT, self.LIMIT)).mean((2, 3)))


NETWORKS = {"xunet": XuNet, "srnet": SRNet, "ucnet": UCNet}
