"""DeepMIH: a cascade of invertible networks hides 2 to 4 pictures in one, one after the other."""

import torch
from torch import Tensor, nn

from errors import UserError
from models.base import Hidden, HidingModel, check_positive
from models.layers.coupling import CouplingBlock, CouplingStack
from models.layers.latent import pack, stand_in, unpack
from models.layers.quantize import Channel, transmit
from models.layers.sizes import even_size, grown, join_rim, rim, rim_shapes, with_rim
from models.layers.wavelet import haar, ihaar
from models.losses import Losses, Objective, low_band, squared, weighted

SUPPORTED = (2, 3, 4)
BANDS = 12  # of an RGB picture: 3 colours x 4 Haar bands


class AttentiveDense(nn.Module):
    """Densely connected 3x3 convolutions, channel attention over all their outputs, one more convolution.

    (B,inputs,h,w) -> (B,outputs,h,w). The attention is squeeze and excitation (Hu et al., CVPR 2018) with a
    reduction of 16.
    """

    def __init__(self, inputs: int, outputs: int, growth: int, layers: int):
        super().__init__()
        self.convs = nn.ModuleList(
            nn.Conv2d(inputs + k * growth, growth, 3, padding=1) for k in range(layers)
        )
        channels = inputs + layers * growth
        squeezed = max(4, channels // 16)
        self.attention = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, squeezed, 1, bias=False),
            nn.ReLU(inplace=True),
            nn.Conv2d(squeezed, channels, 1, bias=False),
            nn.Sigmoid(),
        )
        self.last = nn.Conv2d(channels, outputs, 3, padding=1)
        self.act = nn.LeakyReLU(0.01, inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        for conv in self.convs:
            x = torch.cat((x, self.act(conv(x))), dim=1)
        return self.last(x * self.attention(x))


class ImportanceMap(nn.Module):
    """The IM module: it maps where hiding is easy and where it is hard.

    cover, secret, stego (B,3,H,W) each -> map (B,3,H,W). A fresh module gives zeros, so its stage hides
    without a guide.
    """

    def __init__(self, width: int, growth: int):
        super().__init__()
        self.cover, self.secret, self.stego = (
            AttentiveDense(3, width, growth=width, layers=2) for _ in range(3)
        )
        self.mix = AttentiveDense(3 * width, 3, growth=growth, layers=4)
        nn.init.zeros_(self.mix.last.weight)
        nn.init.zeros_(self.mix.last.bias)

    def forward(self, cover: Tensor, secret: Tensor, stego: Tensor) -> Tensor:
        features = self.cover(cover), self.stego(stego), self.secret(secret)
        return self.mix(torch.cat(features, dim=1))


class HidingStage(nn.Module):
    """One invertible network that hides a secret in a picture. If `guided`, a map guides it.

    It works on Haar bands. Before: a = (picture, map), b = secret. After: a = (stego, dropped), b = dropped
    too. Law: inverse(*forward(picture, secret, guide)) == (picture, secret, guide).
    """

    def __init__(self, guided: bool, blocks: int, growth: int, clamp: float):
        super().__init__()
        self.inputs = 2 * BANDS if guided else BANDS
        self.blocks = CouplingStack(
            CouplingBlock(self.inputs, BANDS, growth=growth, clamp=clamp, slope=0.01, affine_a=True)
            for _ in range(blocks)
        )

    def forward(self, picture: Tensor, secret: Tensor, guide: Tensor | None) -> tuple[Tensor, Tensor]:
        """(B,3,H,W) each, H and W even -> stego (B,3,H,W), z (B,12 or 24,H/2,W/2)."""
        a, b = self.blocks(self._bands(picture, guide), haar(secret))
        return ihaar(a[:, :BANDS]), torch.cat((a[:, BANDS:], b), dim=1)

    def hide(self, picture: Tensor, secret: Tensor, guide: Tensor | None) -> Tensor:
        """Return only the stego, and skip the computations that only z needs."""
        return ihaar(self.blocks.forward_a(self._bands(picture, guide), haar(secret))[:, :BANDS])

    @staticmethod
    def _bands(picture: Tensor, guide: Tensor | None) -> Tensor:
        return haar(picture) if guide is None else torch.cat((haar(picture), haar(guide)), dim=1)

    def inverse(self, stego: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        a, b = self.blocks.inverse(*self._joined(stego, z))
        guide = ihaar(a[:, BANDS:]) if self.inputs > BANDS else None
        return ihaar(a[:, :BANDS]), ihaar(b), guide

    def reveal(self, stego: Tensor, z: Tensor) -> Tensor:
        """Return only the secret, and skip the computations that only the picture needs."""
        return ihaar(self.blocks.inverse_b(*self._joined(stego, z)))

    def _joined(self, stego: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """Join stego and z to the outputs of the blocks: a and b."""
        dropped, b = z.split((self.inputs - BANDS, BANDS), dim=1)
        return torch.cat((haar(stego), dropped), dim=1), b


class DeepMIHObjective(Objective):
    """DeepMIH's loss, with means per value instead of sums. Every stage has the same weight.

        L = 1/N sum_k  lc |stego_k - cover|^2 + lf |LL(stego_k) - LL(cover)|^2 + lr |revealed_k - secret_k|^2

    stego_k carries secrets 1 to k. The last one is the stego, rounded to 8-bit values. Except for a common
    factor, the terms have the same weights as the released code's sums. Identical pictures give 0.

    Arguments (weights, dimensionless; defaults are the released code's):
        imperceptibility  lc
        reveal            lr
        low_frequency     lf; 0 leaves the term out
    """

    def __init__(self, imperceptibility: float = 1.0, reveal: float = 2.0, low_frequency: float = 1.0):
        super().__init__()
        self.imperceptibility, self.reveal = imperceptibility, reveal
        self.low_frequency = low_frequency

    def forward(self, hidden: Hidden, cover: Tensor, secrets: Tensor, progress: float) -> Losses:
        stegos = hidden.parts["stegos"]
        covers = cover[:, None].expand_as(stegos)
        measured = {
            "imperceptibility": squared(stegos, covers),
            "reveal": squared(hidden.revealed, secrets),
        }
        if self.low_frequency:
            low = low_band(stegos.flatten(0, 1), covers.flatten(0, 1))
            measured["low_frequency"] = low
        return weighted(measured, vars(self))


class DeepMIH(HidingModel):
    """DeepMIH for N = 2, 3 or 4 secrets.

    Z. Guan, J. Jing, X. Deng, M. Xu, L. Jiang, Z. Zhang, Y. Li, "DeepMIH: Deep Invertible Network for
    Multiple Image Hiding", IEEE Transactions on Pattern Analysis and Machine Intelligence, 2022.

        cover ------> stage 1 --stego_1--> stage 2 --stego_2--> ... stage N -- stego, 8 bit, a PNG file
        secret_1 ------^ |            secret_2 ^ ^ |
                         v z_1, dropped          | v z_2, dropped
              IM(cover, secret_1, stego_1), a map

        stego --> stage N^-1 --stego^_{N-1}--> ... stage 1^-1 --> cover^
                  z = 0 ^ |                     z = 0 ^ |
                          v secret^_N                   v secret^_1

    Each stage is a HiNet over Haar bands whose blocks scale both branches. From the second stage on, the map
    of what was hidden before joins the cover as 12 more bands. Hiding changes these bands too; the result is
    part of z and is dropped with the rest. The receiver replaces z with 0, so that reveal needs neither map
    nor cover. The exact inverse (`extract`) gets all of z. So it recovers the maps too, and ignores them.

    Arguments:
        num_secrets  N, 2 to 4; also the number of stages in the cascade
        num_blocks   coupling blocks of each stage
        growth       channels that each convolution of a dense block adds, in the maps too
        map_width    channels of the features of each of a map's three inputs
        clamp        bound of the coupling blocks' logarithmic scale
        z_std        0: reveal replaces z with zeros; above: with Gaussian noise of this standard deviation,
                     drawn anew in training and fixed at reveal

    Parameters: 12.42 M at N = 2, 19.44 M at 3, 26.46 M at 4 (InvMIHNet's paper gives 26.46 M for DeepMIH
    at N = 4).

    Different from the released code: z = 0 by default (there Gaussian: z_std = 1). The last stego is rounded
    to 8 bits in training too, with the gradient of `quantize` (there, it stays a float in training). The
    perceptual term (0.01, features of a VGG network trained for classification) is left out, because it
    needs that network's weights. The maps start at zero instead of at random, so that freezing `maps` trains
    the first stages without them. The non-local layer, which the code builds but never uses, is left out.
    There is one Adam, and the losses are means per value instead of sums. The same as there: between stages
    the stegos are floats, for sender and receiver.

    The paper and its code leave open: 3 and 4 secrets, which are only described in words (here, the map
    before stage k sees the cover, secret k-1 and stego k-1), and odd sizes (here, the cover's odd last row
    or column stays unchanged, and the secrets' last ones come back as copies of the ones before).
    """

    Objective = DeepMIHObjective

    patch_multiple = (2, 2)
    smallest = (2, 2)

    def __init__(
        self,
        num_secrets: int = 2,
        *,
        num_blocks: int = 16,
        growth: int = 32,
        map_width: int = 64,
        clamp: float = 2.0,
        z_std: float = 0.0,
    ):
        super().__init__()
        if num_secrets not in SUPPORTED:
            known = ", ".join(map(str, SUPPORTED))
            raise UserError(f"num_secrets: DeepMIH hides {known} secrets, not {num_secrets}")
        check_positive(num_blocks=num_blocks, growth=growth, map_width=map_width)
        self.num_secrets, self.z_std = num_secrets, z_std
        self.stages = nn.ModuleList(
            HidingStage(guided=k > 0, blocks=num_blocks, growth=growth, clamp=clamp)
            for k in range(num_secrets)
        )
        self.maps = nn.ModuleList(ImportanceMap(map_width, growth) for _ in range(num_secrets - 1))

    # --- the reversible part, exact ------------------------------------------------------------

    def embed(self, cover: Tensor, secrets: Tensor) -> tuple[Tensor, Tensor]:
        """cover (B,3,H,W), secrets (B,N,3,H,W) -> stego (B,3,H,W), z (B,K). Floats, without rounding.

        z is flat. It holds what each stage drops, and the secrets' odd last rows and columns.
        Law: extract(*embed(cover, secrets)) == (cover, secrets) to rounding, any H and W.
        """
        z: list[Tensor] = []
        stegos = self._stegos(cover, secrets, z)
        return stegos[-1], pack(len(cover), (*z, *rim(secrets, *even_size(cover))))

    def extract(self, stego: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """The exact inverse of `embed`: stego (B,3,H,W), z (B,K) -> cover (B,3,H,W), secrets (B,N,3,H,W)."""
        edges = rim_shapes((len(stego), self.num_secrets, 3), stego.shape[-2:], even_size(stego))
        *z_stages, right, below = unpack(z, len(stego), (*self._z_shapes(stego), *edges))
        first_stego, others = self._received(stego, z_stages)
        cover, first, _ = self.stages[0].inverse(first_stego, z_stages[0])
        secrets = torch.stack((first, *others), dim=1)
        return with_rim(cover, stego), join_rim(secrets, right, below)

    # --- sender and receiver -------------------------------------------------------------------

    def encode(self, cover: Tensor, secrets: Tensor) -> Tensor:
        return self._stegos(cover, secrets)[-1]

    def decode(self, stego: Tensor) -> Tensor:
        return self._revealed(stego, sampled=False)

    def forward(self, cover: Tensor, secrets: Tensor, channel: Channel | None = None) -> Hidden:
        stegos = self._stegos(cover, secrets)
        stego, received = transmit(stegos[-1], channel)
        parts = {"stegos": torch.stack((*stegos[:-1], stego), dim=1)}  # (B,N,3,H,W)
        return Hidden(stego, self._revealed(received, sampled=self.training), parts)

    def _stegos(self, cover: Tensor, secrets: Tensor, z: list[Tensor] | None = None) -> list[Tensor]:
        """Compute stego_1 ... stego_N (B,3,H,W). z: a list to append what each stage drops; None: skip it."""
        height, width = even_size(cover)
        inner, hidden = cover[..., :height, :width], secrets[..., :height, :width]
        stego, guide = inner, None
        stegos = []
        for k, stage in enumerate(self.stages):
            if k:
                guide = self.maps[k - 1](inner, hidden[:, k - 1], stego)
            if z is None:
                stego = stage.hide(stego, hidden[:, k], guide)
            else:
                stego, dropped = stage(stego, hidden[:, k], guide)
                z.append(dropped)
            stegos.append(with_rim(stego, cover))
        return stegos

    def _received(self, stego: Tensor, z: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Invert all stages but the first: stego_1 (B,3,h,w) and secrets 2 to N, of even size."""
        height, width = even_size(stego)
        picture, secrets = stego[..., :height, :width], []
        for k in range(self.num_secrets - 1, 0, -1):
            picture, secret, _ = self.stages[k].inverse(picture, z[k])
            secrets.insert(0, secret)
        return picture, secrets

    def _revealed(self, stego: Tensor, sampled: bool) -> Tensor:
        z = [stand_in(stego, shape, self.z_std, sampled) for shape in self._z_shapes(stego)]
        first_stego, others = self._received(stego, z)
        secrets = torch.stack((self.stages[0].reveal(first_stego, z[0]), *others), dim=1)
        return grown(secrets.flatten(0, 1), stego).unflatten(0, (len(stego), self.num_secrets))

    def _z_shapes(self, stego: Tensor) -> list[tuple[int, ...]]:
        height, width = even_size(stego)
        return [(len(stego), stage.inputs, height // 2, width // 2) for stage in self.stages]
