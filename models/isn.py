"""ISN: hides 1 to 5 pictures in one, side by side as the channels of one branch."""

from torch import Tensor

from errors import UserError
from models.base import Hidden, HidingModel, check_positive
from models.layers.coupling import CouplingBlock, CouplingStack
from models.layers.latent import pack, stand_in, unpack
from models.layers.quantize import Channel, transmit
from models.losses import PairObjective

LARGEST = 5


class ISN(HidingModel):
    """Invertible Steganography Network for N = 1 to 5 secrets.

    S.-P. Lu, R. Wang, T. Zhong, P. L. Rosin, "Large-Capacity Image Steganography Based on Invertible
    Neural Networks", CVPR 2021.

        cover (B,3,H,W) ------------------------|              |-- stego, 8 bit, a PNG file
                                                |  coupling    |
        secrets (B,N,3,H,W) -- (B,3N,H,W) ------|  blocks      |-- r (B,3N,H,W), dropped

        stego ---------------|                  |-- cover^
                             |  inverse blocks  |
        z = 0 (B,3N,H,W) ----|                  |-- (B,3N,H,W) -- secrets^

    It works on pixels, without a wavelet, so it takes pictures of any size.

    Arguments:
        num_secrets  N, 1 to 5
        num_blocks   coupling blocks, kept in `blocks`
        growth       channels that each convolution of a dense block adds
        clamp        bound of the coupling blocks' logarithmic scale
        z_std        0: reveal replaces r with zeros; above: with Gaussian noise of this standard deviation,
                     drawn anew in training and fixed at reveal

    Parameters: 3.00 M at N = 1, 3.51 M at 4, with 16 blocks. InvMIHNet's paper gives 1.75 M for ISN at N = 4,
    which is the number with 8 blocks.

    Different from the paper: the stego is rounded to 8 bits in training too, with the gradient of
    `quantize`. The loss covers only stego and secrets, as means per value. We could not compare with the
    paper's code, which was not available. Our choices: z = 0, and growth, clamp and the slope of 0.2 of the
    invertible rescaling network (Xiao et al., ECCV 2020), from which the blocks come.
    """

    Objective = PairObjective

    def __init__(
        self,
        num_secrets: int = 4,
        *,
        num_blocks: int = 16,
        growth: int = 32,
        clamp: float = 1.0,
        z_std: float = 0.0,
    ):
        super().__init__()
        if not 1 <= num_secrets <= LARGEST:
            raise UserError(f"num_secrets: ISN hides 1, 2, 3, 4, {LARGEST} secrets, not {num_secrets}")
        check_positive(num_blocks=num_blocks, growth=growth)
        self.num_secrets, self.z_std = num_secrets, z_std
        self.blocks = CouplingStack(
            CouplingBlock(3, 3 * num_secrets, growth=growth, clamp=clamp) for _ in range(num_blocks)
        )

    # --- the reversible part, exact ------------------------------------------------------------

    def embed(self, cover: Tensor, secrets: Tensor) -> tuple[Tensor, Tensor]:
        """cover (B,3,H,W), secrets (B,N,3,H,W) -> stego (B,3,H,W), z (B,3N*H*W). Floats, without rounding.

        Law: extract(*embed(cover, secrets)) == (cover, secrets) to rounding, any H and W.
        """
        stego, z = self.blocks(cover, secrets.flatten(1, 2))
        return stego, pack(len(cover), (z,))

    def extract(self, stego: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """The exact inverse of `embed`: stego (B,3,H,W), z (B,K) -> cover (B,3,H,W), secrets (B,N,3,H,W)."""
        (z,) = unpack(z, len(stego), [self._z_shape(stego)])
        cover, secrets = self.blocks.inverse(stego, z)
        return cover, secrets.unflatten(1, (self.num_secrets, 3))

    # --- sender and receiver -------------------------------------------------------------------

    def encode(self, cover: Tensor, secrets: Tensor) -> Tensor:
        return self.blocks.forward_a(cover, secrets.flatten(1, 2))

    def decode(self, stego: Tensor) -> Tensor:
        return self._revealed(stego, sampled=False)

    def forward(self, cover: Tensor, secrets: Tensor, channel: Channel | None = None) -> Hidden:
        stego, received = transmit(self.encode(cover, secrets), channel)
        return Hidden(stego, self._revealed(received, sampled=self.training))

    def _revealed(self, stego: Tensor, sampled: bool) -> Tensor:
        z = stand_in(stego, self._z_shape(stego), self.z_std, sampled)
        return self.blocks.inverse_b(stego, z).unflatten(1, (self.num_secrets, 3))

    def _z_shape(self, stego: Tensor) -> tuple[int, ...]:
        b, _, height, width = stego.shape
        return b, 3 * self.num_secrets, height, width
