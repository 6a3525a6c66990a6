"""The dual-task critic: does a picture hide something, and where?"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from models.layers.multiscale import activated, conv

HIGH_PASS = ((-1, 2, -1), (2, -4, 2), (-1, 2, -1))  # the 3x3 part of the KV filter: 0 on smooth areas


class Said(NamedTuple):
    """The critic's output: logits (B,) per picture, scores (B,1,H,W) per pixel. Above 0 means stego."""

    logits: Tensor
    scores: Tensor


class DualTaskCritic(nn.Module):
    """Tells stegos from covers: pictures (B,3,H,W) in [0,1] -> `Said`.

        picture -- its high-pass too -- 3x3 -- 3x3, stride 2 -- 3x3, stride 2 --|-- mean -- logit
                                         |          |----------- up, + ---------|
                                         |---------- up, + -- 1x1 -- score map

    A U-Net discriminator (Schoenfeld et al., CVPR 2020) with spectral normalisation of all convolutions
    (Miyato et al., ICLR 2018). The high-pass filter is fixed, so that the critic does not have to learn
    first to ignore the content.

    width  channels at the full size
    """

    high_pass: Tensor

    def __init__(self, width: int):
        super().__init__()
        kernel = torch.tensor(HIGH_PASS, dtype=torch.float32) / 4
        self.register_buffer("high_pass", kernel.expand(3, 1, 3, 3).clone(), persistent=False)
        self.head = spectral_norm(conv(6, width, 3))
        self.down = nn.ModuleList(
            spectral_norm(conv(width * 2**k, width * 2 ** (k + 1), 3, stride=2)) for k in (0, 1)
        )
        self.up = nn.ModuleList(spectral_norm(conv(width * 2 ** (k + 1), width * 2**k, 1)) for k in (0, 1))
        self.logit = spectral_norm(conv(4 * width, 1, 1))
        self.score = spectral_norm(conv(width, 1, 1))

    def forward(self, pictures: Tensor) -> Said:
        with torch.autocast(pictures.device.type, enabled=False):  # a grey level is finer than bfloat16
            padded = F.pad(pictures, (1, 1, 1, 1), mode="replicate")
            high = F.conv2d(padded, self.high_pass.to(pictures.dtype), groups=3)
        x = activated(self.head(torch.cat((pictures - 0.5, 8 * high), dim=1)))
        shallow = []
        for down in self.down:
            shallow.append(x)
            x = activated(down(x))
        logits = self.logit(x.mean(dim=(-2, -1), keepdim=True)).flatten()
        for k in (1, 0):
            height, width = shallow[k].shape[-2:]
            x = F.interpolate(self.up[k](x), scale_factor=2, mode="nearest")[..., :height, :width]
            x = activated(x + shallow[k])
        return Said(logits, self.score(x))
