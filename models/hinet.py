"""HiNet: an invertible network over wavelet bands hides one picture in another."""

from torch import Tensor

from models.base import Hidden, HidingModel, check_positive
from models.layers.hiding import BandHiding
from models.layers.latent import pack, stand_in, unpack
from models.layers.quantize import Channel, transmit
from models.layers.sizes import even_size, grown, join_rim, rim, rim_shapes, with_rim
from models.losses import Losses, Objective, low_band, squared, weighted


class HiNetObjective(Objective):
    """HiNet's loss (eq. 3 to 6), with means per value instead of sums.

        L = lc |stego - cover|^2 + lr |revealed - secret|^2 + lf |LL(stego) - LL(cover)|^2

    Except for a common factor, the three terms have the same weights as the paper's sums: `low_band` is the
    sum over the LL band divided by the number of values in the picture. Identical pictures give 0. The paper
    starts with lf = 0 and adds this term later. In an option file these are two phases, the first with
    `low_frequency: 0.0`.

    Arguments (weights, dimensionless; defaults are the paper's, its released code has 1, 5 and 1):
        imperceptibility  lc, the concealing loss, eq. 3
        reveal            lr, the revealing loss, eq. 4
        low_frequency     lf, eq. 5; 0 leaves the term out
    """

    def __init__(self, imperceptibility: float = 10.0, reveal: float = 1.0, low_frequency: float = 10.0):
        super().__init__()
        self.imperceptibility, self.reveal = imperceptibility, reveal
        self.low_frequency = low_frequency

    def forward(self, hidden: Hidden, cover: Tensor, secrets: Tensor, progress: float) -> Losses:
        measured = {
            "imperceptibility": squared(hidden.stego, cover),
            "reveal": squared(hidden.revealed, secrets),
        }
        if self.low_frequency:
            measured["low_frequency"] = low_band(hidden.stego, cover)
        return weighted(measured, vars(self))


class HiNet(HidingModel):
    """HiNet for 1 secret.

    J. Jing, X. Deng, M. Xu, J. Wang, Z. Guan, "HiNet: Deep Image Hiding by Invertible Network", ICCV 2021.

        cover (B,3,H,W) -- Haar -- (B,12,H/2,W/2) --|                |-- Haar^-1 -- stego, 8 bit, a PNG file
                                                    |  M coupling    |
        secret (B,3,H,W) - Haar -- (B,12,H/2,W/2) --|  blocks        |-- r (B,12,H/2,W/2), dropped

        stego -- Haar --------|                        |-- Haar^-1 -- cover^
                              |  M inverse blocks      |
        z = 0 (B,12,H/2,W/2) -|                        |-- Haar^-1 -- secret^

    Arguments:
        num_blocks  M, coupling blocks (models/layers/coupling.py)
        growth      channels that each convolution of a dense block adds
        clamp       bound of the coupling blocks' logarithmic scale
        z_std       0: reveal replaces r with zeros; above: with Gaussian noise of this standard deviation,
                    drawn anew in training and fixed at reveal

    Different from the paper: z = 0 by default. (The paper samples a Gaussian: z_std = 1, as in
    options/train/hinet_1.yml. Here the sample is fixed, so that reveal is repeatable.) Different from the
    released code: the stego is rounded to 8 bits in training too, with the gradient of `quantize` (there,
    training and test reveal from floats); losses are means per value instead of sums; a step that is not
    finite is skipped (there, it ends the run). The same as there: LeakyReLU of slope 0.01, the order of the
    Haar bands, and last layers that start at zero, so that a fresh network's stego is the cover.
    scripts/convert_weights.py converts its released weights.

    The paper leaves open: odd sizes. Here the cover's odd last row or column stays unchanged, and the
    secret's comes back as a copy of the one before.
    """

    Objective = HiNetObjective

    num_secrets = 1
    patch_multiple = (2, 2)
    smallest = (2, 2)

    def __init__(self, *, num_blocks: int = 16, growth: int = 32, clamp: float = 2.0, z_std: float = 0.0):
        super().__init__()
        check_positive(num_blocks=num_blocks, growth=growth)
        self.z_std = z_std
        self.network = BandHiding(num_blocks, growth, clamp, slope=0.01)

    # --- the reversible part, exact ------------------------------------------------------------

    def embed(self, cover: Tensor, secrets: Tensor) -> tuple[Tensor, Tensor]:
        """cover (B,3,H,W), secrets (B,1,3,H,W) -> stego (B,3,H,W), z (B,K). Floats, without rounding.

        z is flat. It holds r and the secret's odd last row and column.
        Law: extract(*embed(cover, secrets)) == (cover, secrets) to rounding, any H and W.
        """
        stego, z = self.network(*self._inner(cover, secrets))
        return with_rim(stego, cover), pack(len(cover), (z, *rim(secrets, *even_size(cover))))

    def extract(self, stego: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """The exact inverse of `embed`: stego (B,3,H,W), z (B,K) -> cover (B,3,H,W), secrets (B,1,3,H,W)."""
        b, (height, width) = len(stego), even_size(stego)
        edges = rim_shapes((b, 1, 3), stego.shape[-2:], (height, width))
        z, right, below = unpack(z, b, (self._z_shape(stego), *edges))
        cover, secret = self.network.inverse(stego[..., :height, :width], z)
        return with_rim(cover, stego), join_rim(secret[:, None], right, below)

    # --- sender and receiver -------------------------------------------------------------------

    def encode(self, cover: Tensor, secrets: Tensor) -> Tensor:
        return with_rim(self.network.hide(*self._inner(cover, secrets)), cover)

    def decode(self, stego: Tensor) -> Tensor:
        return self._receive(stego, sampled=False)

    def forward(self, cover: Tensor, secrets: Tensor, channel: Channel | None = None) -> Hidden:
        stego, received = transmit(self.encode(cover, secrets), channel)
        return Hidden(stego, self._receive(received, sampled=self.training))

    @staticmethod
    def _inner(cover: Tensor, secrets: Tensor) -> tuple[Tensor, Tensor]:
        """Crop the cover and the one secret to even size: (B,3,h,w) each."""
        height, width = even_size(cover)
        return cover[..., :height, :width], secrets[:, 0, :, :height, :width]

    def _receive(self, stego: Tensor, sampled: bool) -> Tensor:
        height, width = even_size(stego)
        z = stand_in(stego, self._z_shape(stego), self.z_std, sampled)
        secret = self.network.reveal(stego[..., :height, :width], z)
        return grown(secret, stego)[:, None]

    @staticmethod
    def _z_shape(stego: Tensor) -> tuple[int, ...]:
        height, width = even_size(stego)
        return len(stego), 12, height // 2, width // 2
