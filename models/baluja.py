"""Baluja's deep steganography: three convolutional networks hide one picture in another."""

import torch
from torch import Tensor, nn

from models.base import HidingModel, check_positive
from models.losses import PairObjective


class MultiScale(nn.Module):
    """Parallel 3x3, 4x4 and 5x5 convolutions, `width` channels each: (B,C,H,W) -> (B,3*width,H,W)."""

    def __init__(self, inputs: int, width: int):
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(
                nn.ZeroPad2d(((k - 1) // 2, k // 2, (k - 1) // 2, k // 2)),
                nn.Conv2d(inputs, width, k),
                nn.ReLU(inplace=True),
            )
            for k in (3, 4, 5)
        )
        for branch in self.branches:  # torch's own initial weights would shrink the secret to 0 in 12 layers
            nn.init.kaiming_normal_(branch[1].weight, nonlinearity="relu")
            nn.init.zeros_(branch[1].bias)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([branch(x) for branch in self.branches], dim=1)


def multi_scale_layers(inputs: int, width: int, count: int) -> list[MultiScale]:
    """Return `count` layers in sequence: (B,inputs,H,W) -> (B,3*width,H,W)."""
    return [MultiScale(3 * width if k else inputs, width) for k in range(count)]


class Baluja(HidingModel):
    """Baluja's deep steganography for 1 secret.

    S. Baluja, "Hiding Images in Plain Sight: Deep Steganography", NIPS 2017.

        secret (B,3,H,W) -- preparation, 2 layers -- (B,3*width,H,W)
                                                       |
        cover (B,3,H,W) ------------------------- hiding, 5 layers -- stego, 8 bit, a PNG file
                                                                        |
        secret^ (B,3,H,W) ----------------------- reveal, 5 layers -----|

    A layer is `MultiScale`: filters of 3x3, 4x4 and 5x5, `width` of each.

    Arguments:
        width  filters of each of the three sizes in a layer

    Parameters: 3.78 M.

    Different from the paper: the stego is rounded to 8 bits in training, with the gradient of `quantize`.
    (The paper adds a little noise instead, so that the secret does not only use the lowest bits.) The loss
    has mean squared errors where the paper writes norms. Pictures are centred on 0 inside the networks.
    There is no released code.

    The paper leaves open: how the three filter sizes are joined (here, each layer sees all channels of the
    previous one), the last convolution (here, 3x3 to RGB), and the initial weights (here, He et al., ICCV
    2015).
    """

    Objective = PairObjective

    num_secrets = 1

    def __init__(self, *, width: int = 50):
        super().__init__()
        check_positive(width=width)
        self.preparation = nn.Sequential(*multi_scale_layers(3, width, 2))
        self.hiding = nn.Sequential(
            *multi_scale_layers(3 + 3 * width, width, 5), nn.Conv2d(3 * width, 3, 3, padding=1)
        )
        self.revealing = nn.Sequential(
            *multi_scale_layers(3, width, 5), nn.Conv2d(3 * width, 3, 3, padding=1)
        )

    def encode(self, cover: Tensor, secrets: Tensor) -> Tensor:
        prepared = self.preparation(secrets[:, 0] - 0.5)
        return self.hiding(torch.cat((cover - 0.5, prepared), dim=1)).to(cover.dtype) + 0.5

    def decode(self, stego: Tensor) -> Tensor:
        return self.revealing(stego - 0.5).to(stego.dtype)[:, None] + 0.5
