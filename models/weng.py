"""Weng et al.: a U-Net hides one picture in another, and a second network reveals it."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from errors import UserError
from models.base import HidingModel, check_positive
from models.losses import PairObjective


class UNet(nn.Module):
    """U-Net: (B,inputs,H,W) -> (B,outputs,H,W), no activation at the end; H and W multiples of 2^depth.

    It halves the size `depth` times by 4x4 convolutions of stride 2. The first has `width` channels, each
    further one twice as many, up to 8 * width. Then it doubles the size as often; each step also gets the
    features of its size from the way down.
    """

    def __init__(self, inputs: int, outputs: int, depth: int, width: int):
        super().__init__()
        channels = [inputs, *(width * min(2**k, 8) for k in range(depth))]
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for k in range(depth):
            self.down.append(nn.Sequential(nn.Conv2d(channels[k], channels[k + 1], 4, 2, 1, bias=False)))
            if 0 < k < depth - 1:  # the first and the last are not normalised
                self.down[k].append(nn.BatchNorm2d(channels[k + 1]))
        for k in reversed(range(depth)):
            given = channels[k + 1] * (1 if k == depth - 1 else 2)
            if k:
                self.up.append(
                    nn.Sequential(
                        nn.ConvTranspose2d(given, channels[k], 4, 2, 1, bias=False),
                        nn.BatchNorm2d(channels[k]),
                    )
                )
            else:
                self.up.append(nn.ConvTranspose2d(given, outputs, 4, 2, 1))

    def forward(self, x: Tensor) -> Tensor:
        features = []
        for k, layer in enumerate(self.down):
            x = layer(F.leaky_relu(x, 0.2) if k else x)
            features.append(x)
        x = features.pop()
        for layer in self.up[:-1]:
            x = torch.cat((features.pop(), layer(F.relu(x))), dim=1)
        return self.up[-1](F.relu(x))


class RevealNet(nn.Sequential):
    """Six 3x3 convolutions, widest in the middle: (B,3,H,W) -> (B,3,H,W), no activation at the end."""

    def __init__(self, width: int):
        layers: list[nn.Module] = []
        channels = (3, width, 2 * width, 4 * width, 2 * width, width)
        for k in range(5):
            layers.append(nn.Conv2d(channels[k], channels[k + 1], 3, padding=1, bias=False))
            layers += [nn.BatchNorm2d(channels[k + 1]), nn.ReLU(inplace=True)]
        super().__init__(*layers, nn.Conv2d(width, 3, 3, padding=1))


class Weng(HidingModel):
    """Weng et al.'s hiding of one frame in another, for 1 secret.

    X. Weng, Y. Li, L. Chi, Y. Mu, "High-Capacity Convolutional Video Steganography with Temporal Residual
    Modeling", ICMR 2019.

        cover (B,3,H,W) ---|
                           |-- U-Net -- sigmoid -- stego, 8 bit, a PNG file
        secret (B,3,H,W) --|                         |
                                                     |
        secret^ (B,3,H,W) -- sigmoid -- RevealNet ---|

    The paper hides videos in videos. It has two similar pairs of networks, for whole frames and for the
    differences between frames. This is the pair for whole frames, with which picture-hiding papers compare.
    hide and reveal normalise with the running means of training, so that the other pictures of a batch do
    not matter.

    Arguments:
        depth         number of halvings of the U-Net, at least 2
        hide_width    channels of the U-Net after its first layer
        reveal_width  channels of the reveal network after its first layer

    Parameters: 42.57 M at the default size.

    Different from the released code: the stego is rounded to 8 bits in training, with the gradient of
    `quantize`. Convolutions before a normalisation have no bias, which would have no effect. Weights have
    torch's initial values (there, Gaussian with a standard deviation of 0.02). The code shrinks all pictures
    to 256 pixels; here, sizes that 2^depth does not divide are extended by copies of the last row and
    column, and the stego is cropped back.
    """

    Objective = PairObjective

    num_secrets = 1

    def __init__(self, *, depth: int = 7, hide_width: int = 64, reveal_width: int = 64):
        super().__init__()
        check_positive(hide_width=hide_width, reveal_width=reveal_width)
        if depth < 2:
            raise UserError(f"depth: must be at least 2, got {depth}")
        self.patch_multiple = (2**depth, 2**depth)
        self.hiding = UNet(6, 3, depth, hide_width)
        self.revealing = RevealNet(reveal_width)

    def encode(self, cover: Tensor, secrets: Tensor) -> Tensor:
        height, width = cover.shape[-2:]
        gap = (0, -width % self.patch_multiple[1], 0, -height % self.patch_multiple[0])
        both = F.pad(torch.cat((cover, secrets[:, 0]), dim=1), gap, mode="replicate")
        return torch.sigmoid(self.hiding(both).to(cover.dtype))[..., :height, :width]

    def decode(self, stego: Tensor) -> Tensor:
        return torch.sigmoid(self.revealing(stego).to(stego.dtype))[:, None]
