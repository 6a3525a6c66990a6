"""HiDDeN with a picture as its message: an encoder and a decoder hide one picture in another."""

import torch
from torch import Tensor, nn

from models.base import HidingModel, check_positive
from models.losses import PairObjective


def conv_bn_relu(inputs: int, outputs: int) -> nn.Sequential:
    """The block of both networks: 3x3 convolution, batch normalisation, ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class HiddenImage(HidingModel):
    """HiDDeN for 1 secret picture.

    J. Zhu, R. Kaplan, J. Johnson, L. Fei-Fei, "HiDDeN: Hiding Data With Deep Networks", ECCV 2018. The
    message is a picture, as in the comparison by HiNet's authors (ICCV 2021, 4.1).

        cover (B,3,H,W) -- blocks -- features (B,width,H,W) --|
              |-----------------------------------------------|-- block -- 1x1 -- stego, 8 bit, a PNG file
        secret (B,3,H,W), in the place of the message --------|                     |
                                                                                    |
        secret^ (B,3,H,W) -- 1x1 -- blocks -----------------------------------------|

    A block is a 3x3 convolution with batch normalisation and ReLU. hide and reveal normalise with the
    running means of training, so that the other pictures of a batch do not matter.

    Arguments:
        width           channels of all blocks
        encoder_blocks  blocks on the cover before the secret joins
        decoder_blocks  blocks of the decoder

    Parameters: 0.38 M.

    Different from the paper: the message is a picture (B,3,H,W), and not a vector of bits copied to every
    pixel. So the decoder ends in a 1x1 convolution, and not in a mean over the picture and a linear layer.
    The adversary (weight 0.001) is left out: it is a second network with its own optimiser, against
    detection, which comparisons with picture-hiding methods do not score. The only noise layer between
    encoder and decoder is the rounding to 8 bits, with the gradient of `quantize`. Pictures are centred on 0
    inside the networks.
    """

    Objective = PairObjective

    num_secrets = 1

    def __init__(self, *, width: int = 64, encoder_blocks: int = 4, decoder_blocks: int = 7):
        super().__init__()
        check_positive(width=width, encoder_blocks=encoder_blocks, decoder_blocks=decoder_blocks)
        self.features = nn.Sequential(
            *(conv_bn_relu(width if k else 3, width) for k in range(encoder_blocks))
        )
        self.hiding = nn.Sequential(conv_bn_relu(width + 6, width), nn.Conv2d(width, 3, 1))
        self.revealing = nn.Sequential(
            *(conv_bn_relu(width if k else 3, width) for k in range(decoder_blocks)), nn.Conv2d(width, 3, 1)
        )

    def encode(self, cover: Tensor, secrets: Tensor) -> Tensor:
        centred = cover - 0.5
        joined = torch.cat((self.features(centred), secrets[:, 0] - 0.5, centred), dim=1)
        return self.hiding(joined).to(cover.dtype) + 0.5

    def decode(self, stego: Tensor) -> Tensor:
        return self.revealing(stego - 0.5).to(stego.dtype)[:, None] + 0.5
