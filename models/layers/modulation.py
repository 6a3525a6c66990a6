"""Learnable feature modulation: the network of SMILENet's non-reversible modules SIS and SDE."""

import torch
from torch import Tensor, nn

from models.layers.recompute import Recomputing


class ModulationBlock(nn.Module):
    """Adds a gated residual to x: (B,width,h,w), condition (B,condition,h,w) -> (B,width,h,w).

    The residual is conv, LeakyReLU, conv. The condition gives it scale and shift (as in spatial feature
    transforms, Wang et al., CVPR 2018). Then come a gate for each channel (from the means over the picture)
    and a gate for each pixel.
    """

    def __init__(self, width: int, condition: int):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(width, width, 3, padding=1),
        )
        nn.init.zeros_(self.body[2].weight)  # a fresh block is the identity, so a trained network can grow
        nn.init.zeros_(self.body[2].bias)
        self.modulate = nn.Conv2d(condition, 2 * width, 3, padding=1) if condition else None
        squeezed = max(width // 4, 4)
        self.channel_gate = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(width, squeezed, 1),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(squeezed, width, 1),
            nn.Sigmoid(),
        )
        self.spatial_gate = nn.Sequential(nn.Conv2d(width, 1, 3, padding=1), nn.Sigmoid())
        if self.modulate is not None:  # scale 1 and shift 0 at the start
            nn.init.zeros_(self.modulate.weight)
            nn.init.zeros_(self.modulate.bias)

    def forward(self, x: Tensor, condition: Tensor | None) -> Tensor:
        y = self.body(x)
        if self.modulate is not None:
            scale, shift = self.modulate(condition).chunk(2, dim=1)
            y = y * (1 + scale) + shift
        return x + y * self.channel_gate(y) * self.spatial_gate(y) * 4  # 4: both gates start near 1/2


class Modulation(Recomputing, nn.Module):
    """x + M(x | condition): (B,channels,h,w) -> the same shape. A fresh module is the identity.

    M is a head convolution, `blocks` modulation blocks of `width` channels, and a tail convolution that
    starts at zero. condition: the number of the condition's channels; 0: no condition.
    """

    def __init__(self, channels: int, width: int, blocks: int, condition: int = 0):
        super().__init__()
        self.head = nn.Conv2d(channels, width, 3, padding=1)
        self.blocks = nn.ModuleList(ModulationBlock(width, condition) for _ in range(blocks))
        self.tail = nn.Conv2d(width, channels, 3, padding=1)
        nn.init.zeros_(self.tail.weight)
        nn.init.zeros_(self.tail.bias)

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        y = self.head(x)
        for block in self.blocks:
            y = self._run(block, y, condition)
        return x + self.tail(y)


class ConditionEncoder(nn.Module):
    """Computes the condition of ICDM, SIS and SDE from the cover tile: (B,3,h,w) -> (B,features,h,w)."""

    def __init__(self, features: int):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(3, features, 3, padding=1),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(features, features, 3, padding=1),
        )

    def forward(self, tiles: Tensor) -> Tensor:
        return torch.tanh(self.net(tiles))  # bounded, so that a wrong revealed cover cannot blow up ICDM
