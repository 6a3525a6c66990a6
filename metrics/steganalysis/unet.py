"""A network that looks for the secrets in a stego, without the hiding network and without a key."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

GAIN = 16.0  # hiding changes samples by a few grey levels; this amplifies the change


class UNet(nn.Module):
    """A small U-Net (O. Ronneberger et al., 2015) from stego to secrets.

    Peng et al. (ICASSP 2024) read secrets in this way with a U-Net++. This one is smaller. Beside the stego,
    it sees the stego minus its 3x3 mean, times 16.

        stego (B,3,H,W) -- 6 channels -- two halvings, width w, 2w, 4w -- back up with the skipped layers
          -- secrets (B,3N,H,W)

    count: N. colour: (3N,) in [0,1], the flat colour that the network gives before it has learned anything.
    Input and output are in [0,1]. The output is not clamped. H and W can have any value.
    """

    def __init__(self, count: int, colour: Tensor, width: int = 24):
        super().__init__()
        self.first = _pair(6, width)
        self.second, self.third = _pair(width, 2 * width), _pair(2 * width, 4 * width)
        self.up_second, self.up_first = _pair(6 * width, 2 * width), _pair(3 * width, width)
        self.last = nn.Conv2d(width, 3 * count, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        self.last.bias = nn.Parameter(colour.clone())

    def forward(self, stego: Tensor) -> Tensor:
        fine = stego - F.avg_pool2d(stego, 3, stride=1, padding=1, count_include_pad=False)
        first = self.first(torch.cat((stego, GAIN * fine), dim=1))
        second = self.second(F.avg_pool2d(first, 2, ceil_mode=True))
        third = self.third(F.avg_pool2d(second, 2, ceil_mode=True))
        second = self.up_second(torch.cat((_enlarged(third, second), second), dim=1))
        first = self.up_first(torch.cat((_enlarged(second, first), first), dim=1))
        return self.last(first)


def _enlarged(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, size=like.shape[-2:], mode="bilinear", align_corners=False)


def _pair(a: int, b: int) -> nn.Sequential:
    layers = [nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU()]
    layers += [nn.Conv2d(b, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU()]
    return nn.Sequential(*layers)
