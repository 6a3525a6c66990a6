"""InvMIHNet: hides 4 to 16 pictures in one, through a mosaic of small pictures."""

import math

import torch
from torch import Tensor, nn

from errors import UserError
from models.base import Hidden, HidingModel, check_positive
from models.layers.coupling import CouplingBlock, CouplingStack
from models.layers.hiding import BandHiding
from models.layers.latent import pack, stand_in, unpack
from models.layers.mosaic import small_pictures, tile, untile
from models.layers.quantize import Channel, quantize, transmit
from models.layers.rescaling import MeanHaar, mean_first, vertical_split
from models.layers.sizes import even_size, grown, join_rim, rim, rim_shapes, tiled_size, with_rim
from models.losses import Losses, Objective, distance_called, low_band, squared, weighted

TILINGS = {4: (2, 2), 6: (3, 2), 8: (4, 2), 9: (3, 3), 16: (4, 4)}  # N: rows m, cols n
STAGES = ("rescaling", "hiding", "joint")


class RescalingStep(nn.Module):
    """One decomposition, then coupling blocks between the low 3 channels and the others.

    (B,3,H,W) -> (B,C,H/m,W/n). The inverse gives the input back exactly, up to rounding of floats.
    """

    def __init__(self, channels: int, decomposition: nn.Module, blocks: int, growth: int, clamp: float):
        super().__init__()
        self.decomposition = decomposition
        self.blocks = CouplingStack(
            CouplingBlock(3, channels - 3, growth=growth, clamp=clamp) for _ in range(blocks)
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.decomposition(x)
        return torch.cat(self.blocks(y[:, :3], y[:, 3:]), dim=1)

    def small(self, x: Tensor) -> Tensor:
        """Return only the low 3 channels, and skip the computations that only the others need."""
        y = self.decomposition(x)
        return self.blocks.forward_a(y[:, :3], y[:, 3:])

    def inverse(self, y: Tensor) -> Tensor:
        bands = self.blocks.inverse(y[:, :3], y[:, 3:])
        return self.decomposition.inverse(torch.cat(bands, dim=1))


class IIR(nn.Module):
    """Invertible Image Rescaling: (B,3,H,W) <-> (B,3mn,H/m,W/n). The first 3 channels are a small picture.

    N = 4, 16: 2x2 Haar, once or twice. N = 8 = 4 x 2: Haar, then a learned split of rows in two. N = 6 = 3 x
    2 and 9 = 3 x 3: a learned matrix. Coupling blocks follow each. Law: inverse(forward(x)) == x.
    """

    def __init__(self, num_secrets: int, blocks: int, growth: int, clamp: float):
        super().__init__()
        rows, cols = TILINGS[num_secrets]
        decompositions: list[nn.Module] = [MeanHaar()]
        if num_secrets in (6, 9):
            decompositions = [mean_first(rows, cols)]
        elif num_secrets == 8:
            decompositions.append(vertical_split(12))
        elif num_secrets == 16:
            decompositions.append(MeanHaar())
        channels, steps = 3, []
        for decomposition in decompositions:
            channels *= decomposition.rows * decomposition.cols
            steps.append(RescalingStep(channels, decomposition, blocks, growth, clamp))
        self.steps = nn.ModuleList(steps)

    def forward(self, x: Tensor) -> Tensor:
        for step in self.steps:
            x = step(x)
        return x

    def small(self, x: Tensor) -> Tensor:
        """Return only the small picture: (B,3,H,W) -> (B,3,H/m,W/n)."""
        *before, last = self.steps
        for step in before:
            x = step(x)
        return last.small(x)

    def inverse(self, y: Tensor) -> Tensor:
        for step in reversed(self.steps):
            y = step.inverse(y)
        return y


class InvMIHNetObjective(Objective):
    """InvMIHNet's loss (eq. 3), with means per value instead of sums, in three stages.

        L = l1 |revealed - secrets|                     reveal
          + l2 |mosaic - bicubic(secrets)|^2            small_pictures
          + l3 |mosaic^ - mosaic|^2                     mosaic_recovery
          + |stego - cover|^2                           imperceptibility
          + |LL(stego) - LL(cover)|^2                   low_frequency
          + |z_iir|^2                                   latent

    The last term replaces the paper's Jensen-Shannon divergence between secrets and revealed secrets, as in
    the released code. Identical pictures (and z_iir = 0) give 0. The paper does not say over what its norms
    are summed. The released code sums over a picture and averages over the N secrets. As means, its weights
    would be l2/N on small_pictures and (N-1)/N on latent, and the others as here.

    Stages, so that the paper's separate warm-ups are phases of one option file:
        rescaling   only IIR: reveal, small_pictures, latent. Secrets are revealed from the 8-bit mosaic
                    itself, and IIH does not run. Freeze iih.
        hiding      only IIH: mosaic_recovery, imperceptibility, low_frequency. The mosaics come from the
                    current IIR, and IIR^-1 does not run. Freeze iir.
        joint       all terms

    Arguments (weights, dimensionless; defaults: the paper's):
        reveal           l1
        distance         of reveal: l1 (the paper's), l2 or charbonnier
        small_pictures   l2
        mosaic_recovery  l3
        imperceptibility, low_frequency, latent  weights of the last three terms
        stage            rescaling, hiding or joint
    """

    def __init__(
        self,
        rows: int,
        cols: int,
        /,
        reveal: float = 1.0,
        distance: str = "l1",
        small_pictures: float = 4.0,
        mosaic_recovery: float = 5.0,
        imperceptibility: float = 1.0,
        low_frequency: float = 1.0,
        latent: float = 1.0,
        stage: str = "joint",
    ):
        super().__init__()
        self.rows, self.cols = rows, cols
        if stage not in STAGES:
            raise UserError(f"stage: '{stage}' is not one of {', '.join(STAGES)}")
        self.reveal, self.distance = reveal, distance_called(distance)
        self.small_pictures, self.mosaic_recovery = small_pictures, mosaic_recovery
        self.imperceptibility, self.low_frequency = imperceptibility, low_frequency
        self.latent, self.stage = latent, stage
        self.forward_arguments = {"stage": stage}

    def forward(self, hidden: Hidden, cover: Tensor, secrets: Tensor, progress: float) -> Losses:
        mosaic = hidden.parts["mosaic"]
        measured: dict[str, Tensor] = {}
        if self.stage != "hiding":
            small = small_pictures(secrets, self.rows, self.cols)
            inner = mosaic[..., : small.shape[-2], : small.shape[-1]]
            measured["reveal"] = self.distance(hidden.revealed, secrets)
            measured["small_pictures"] = squared(inner, small)
            measured["latent"] = hidden.parts["z_iir"].square().mean()
        if self.stage != "rescaling":
            recovered = hidden.parts["mosaic_revealed"]
            measured["mosaic_recovery"] = squared(recovered, mosaic)
            measured["imperceptibility"] = squared(hidden.stego, cover)
            measured["low_frequency"] = low_band(hidden.stego, cover)
        return weighted(measured, vars(self))


class InvMIHNet(HidingModel):
    """InvMIHNet for N = 4, 6, 8, 9 or 16 secrets.

    Z. Chen, T. Liu, J.-J. Huang, W. Zhao, X. Bi, M. Wang, "Invertible Mosaic Image Hiding Network for
    Very Large Capacity Image Steganography", ICASSP 2024.

        secrets (B,N,3,H,W)
          IIR: decomposition and R blocks -- z_iir (B*N,3(mn-1),H/m,W/n), dropped
          small pictures (B*N,3,H/m,W/n), tiled
        mosaic (B,3,H,W)           cover (B,3,H,W)
          |--------- IIH -----------|
          |                         |
        z_iih, dropped            stego, 8 bit, a PNG file
                                    |
        mosaic^ <-- IIH^-1 (z = 0) -|
        8 bit, untiled, IIR^-1 (z = 0) --> secrets^

    Arguments:
        num_secrets  N: 4 = 2 x 2, 6 = 3 x 2, 8 = 4 x 2, 9 = 3 x 3, 16 = 4 x 4 (rows x cols)
        iir_blocks   R, coupling blocks after each decomposition of IIR (8 and 16 secrets have two);
                     null: as released, 12 for 6 and 9 secrets, otherwise 8
        iih_blocks   G, coupling blocks of IIH
        growth       channels that each convolution of a dense block adds
        iir_clamp, iih_clamp   bounds of the coupling blocks' logarithmic scale
        z_std        0: reveal replaces what is dropped with zeros; above: with Gaussian noise of this
                     standard deviation, drawn anew in training and fixed at reveal

    Parameters: 5.72 M at N = 4 (the paper: 5.71 M), 6.81, 7.73, 7.19 and 8.41 M at 6, 8, 9 and 16.

    Different from the paper: z = 0 by default (the paper samples a Gaussian: z_std = 1), and one Adam with
    one pair of betas (there 0.9/0.999 for IIR, 0.5/0.999 for IIH). Different from the released code: the
    tiles form one mosaic, as the paper says, which is hidden in the whole cover (there, each tile is hidden
    on its own in its part of the cover, which shows at the seams with converted weights). Secrets are
    revealed from the 8-bit stego (there, from floats). The bicubic term uses the mosaic, as in eq. 3 (there,
    the recovered mosaic). The optimiser holds IIH's parameters (there, the second optimiser holds IIR's
    again). The inverse of the learned split for 8 is the inverse of its matrix (there, twice the transpose,
    which is the same only at the start of training). Losses are means per value instead of sums. The same as
    there: the mosaic is rounded to 8 bits before IIR^-1, the decompositions, the LeakyReLU slopes (0.2 in
    IIR, 0.01 in IIH), clamps and block counts. scripts/convert_weights.py converts its released weights.

    The paper leaves open: the mosaics for the warm-up of IIH (here, those of the warmed-up IIR), and sizes
    that m and n do not divide. Here the networks run on the largest even region from the top left, and on
    secrets cropped to multiples of m and n within it. The cover's odd last row or column stays unchanged.
    Up to m rows (n columns) at a secret's lower (right) edge come back as copies of the last one revealed.
    """

    Objective = InvMIHNetObjective

    def __init__(
        self,
        num_secrets: int = 4,
        *,
        iir_blocks: int | None = None,
        iih_blocks: int = 16,
        growth: int = 32,
        iir_clamp: float = 1.0,
        iih_clamp: float = 2.0,
        z_std: float = 0.0,
    ):
        super().__init__()
        if num_secrets not in TILINGS:
            known = ", ".join(map(str, TILINGS))
            raise UserError(f"num_secrets: InvMIHNet hides {known} secrets, not {num_secrets}")
        if iir_blocks is None:
            iir_blocks = 12 if num_secrets in (6, 9) else 8
        check_positive(iir_blocks=iir_blocks, iih_blocks=iih_blocks, growth=growth)
        self.num_secrets, self.z_std = num_secrets, z_std
        self.rows, self.cols = self.geometry = TILINGS[num_secrets]
        self.patch_multiple = (math.lcm(2, self.rows), math.lcm(2, self.cols))
        self.smallest = (4 * self.rows, 4 * self.cols)  # tiles of 4 x 4 pixels
        self.iir = IIR(num_secrets, iir_blocks, growth, iir_clamp)
        self.iih = BandHiding(iih_blocks, growth, iih_clamp, slope=0.01)

    # --- the reversible part, exact ------------------------------------------------------------

    def embed(self, cover: Tensor, secrets: Tensor) -> tuple[Tensor, Tensor]:
        """IIR and IIH: cover (B,3,H,W), secrets (B,N,3,H,W) -> stego (B,3,H,W), z (B,K).

        Floats, without rounding. z is flat. It holds z_iir, z_iih, and the strips of the secrets beyond a
        multiple of m and n.
        Law: extract(*embed(cover, secrets)) == (cover, secrets) to rounding, any H and W.
        """
        mosaic, z_iir = self._rescale(secrets)
        stego, z_iih = self.iih(*self._even(cover, mosaic))
        edges = rim(secrets, *tiled_size(cover, self.rows, self.cols))
        return with_rim(stego, cover), pack(len(cover), (z_iir, z_iih, *edges))

    def extract(self, stego: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """The exact inverse of `embed`: stego (B,3,H,W), z (B,K) -> cover (B,3,H,W), secrets (B,N,3,H,W)."""
        b, n = len(stego), self.num_secrets
        edges = rim_shapes((b, n, 3), stego.shape[-2:], tiled_size(stego, self.rows, self.cols))
        z_iir, z_iih, right, below = unpack(z, b, (*self._z_shapes(stego), *edges))
        (height, width), (h, w) = even_size(stego), tiled_size(stego, self.rows, self.cols)
        cover, mosaic = self.iih.inverse(stego[..., :height, :width], z_iih)
        mosaic = mosaic[..., :h, :w]
        inner = self._upscale(mosaic, z_iir).unflatten(0, (b, n))
        return with_rim(cover, stego), join_rim(inner, right, below)

    # --- sender and receiver -------------------------------------------------------------------

    def encode(self, cover: Tensor, secrets: Tensor) -> Tensor:
        return self._hide_mosaic(cover, self._mosaic(secrets))

    def decode(self, stego: Tensor) -> Tensor:
        z_iir, z_iih = self._stand_ins(stego, sampled=False)
        return self._revealed(self._reveal_mosaic(stego, z_iih), z_iir, stego)

    def forward(
        self, cover: Tensor, secrets: Tensor, channel: Channel | None = None, stage: str = "joint"
    ) -> Hidden:
        """Training. Stage "rescaling" skips IIH (stego is the cover), "hiding" skips IIR^-1 (no revealed)."""
        stand_ins = self._stand_ins(cover, sampled=self.training)
        if stage == "hiding":
            parts = {"mosaic": self._mosaic(secrets)}
        else:
            parts = dict(zip(("mosaic", "z_iir"), self._rescale(secrets), strict=True))
        mosaic = parts["mosaic"]
        if stage == "rescaling":
            return Hidden(cover, self._revealed(mosaic, stand_ins[0], cover), parts)
        stego, received = transmit(self._hide_mosaic(cover, mosaic), channel)
        parts["mosaic_revealed"] = self._reveal_mosaic(received, stand_ins[1])
        if stage == "hiding":
            return Hidden(stego, secrets[:, :0], parts)
        return Hidden(stego, self._revealed(parts["mosaic_revealed"], stand_ins[0], stego), parts)

    # --- parts of both -------------------------------------------------------------------------

    def _rescale(self, secrets: Tensor) -> tuple[Tensor, Tensor]:
        """(B,N,3,H,W) -> mosaic (B,3,h,w), h and w multiples of m and n; z_iir (B*N,3(mn-1),h/m,w/n)."""
        bands = self.iir(self._tileable(secrets))
        return tile(bands[:, :3], self.rows, self.cols), bands[:, 3:]

    def _mosaic(self, secrets: Tensor) -> Tensor:
        """Return only the mosaic of `_rescale`."""
        return tile(self.iir.small(self._tileable(secrets)), self.rows, self.cols)

    def _tileable(self, secrets: Tensor) -> Tensor:
        """(B,N,3,H,W) -> (B*N,3,h,w)."""
        height, width = tiled_size(secrets, self.rows, self.cols)
        return secrets[..., :height, :width].flatten(0, 1)

    def _upscale(self, mosaic: Tensor, z_iir: Tensor) -> Tensor:
        """The inverse of `_rescale`: -> (B*N,3,h,w)."""
        return self.iir.inverse(torch.cat((untile(mosaic, self.rows, self.cols), z_iir), dim=1))

    def _hide_mosaic(self, cover: Tensor, mosaic: Tensor) -> Tensor:
        return with_rim(self.iih.hide(*self._even(cover, mosaic)), cover)

    def _reveal_mosaic(self, stego: Tensor, z_iih: Tensor) -> Tensor:
        (height, width), (h, w) = even_size(stego), tiled_size(stego, self.rows, self.cols)
        return self.iih.reveal(stego[..., :height, :width], z_iih)[..., :h, :w]

    @staticmethod
    def _even(cover: Tensor, mosaic: Tensor) -> tuple[Tensor, Tensor]:
        """Crop the cover to even size, and extend the mosaic to that size."""
        height, width = even_size(cover)
        inner = cover[..., :height, :width]
        return inner, grown(mosaic, inner)

    def _revealed(self, mosaic: Tensor, z_iir: Tensor, like: Tensor) -> Tensor:
        """Secrets (B,N,3,H,W) of the size of `like`, from the mosaic rounded to 8-bit values."""
        revealed = self._upscale(quantize(mosaic), z_iir)
        return grown(revealed, like).unflatten(0, (len(like), self.num_secrets))

    def _stand_ins(self, like: Tensor, sampled: bool) -> list[Tensor]:
        return [stand_in(like, shape, self.z_std, sampled) for shape in self._z_shapes(like)]

    def _z_shapes(self, stego: Tensor) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Shapes of z_iir and z_iih."""
        b, n = len(stego), self.num_secrets
        (height, width), even = tiled_size(stego, self.rows, self.cols), even_size(stego)
        iir = (b * n, 3 * (n - 1), height // self.rows, width // self.cols)
        return iir, (b, 12, even[0] // 2, even[1] // 2)
