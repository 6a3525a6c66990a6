"""Hide one picture in another with coupling blocks over their Haar bands: HiNet, IIH, IMSE."""

from torch import Tensor, nn

from models.layers.coupling import CouplingBlock, CouplingStack
from models.layers.wavelet import haar, ihaar

BANDS = 12  # of an RGB picture: 3 colours x 4 Haar bands


class BandHiding(nn.Module):
    """cover, picture (B,3,H,W) <-> stego (B,3,H,W), z (B,12,H/2,W/2), H and W even.

    Law: inverse(*forward(cover, picture)) == (cover, picture) to rounding.
    `hide` gives the same stego, but skips the computations that only z needs. `reveal` gives the same
    picture, but skips those that only the cover needs.

    blocks  number of coupling blocks; growth, clamp, slope as in `CouplingBlock`
    """

    def __init__(self, blocks: int, growth: int, clamp: float, slope: float = 0.2):
        super().__init__()
        self.blocks = CouplingStack(
            CouplingBlock(BANDS, BANDS, growth=growth, clamp=clamp, slope=slope) for _ in range(blocks)
        )

    def forward(self, cover: Tensor, picture: Tensor) -> tuple[Tensor, Tensor]:
        a, z = self.blocks(haar(cover), haar(picture))
        return ihaar(a), z

    def hide(self, cover: Tensor, picture: Tensor) -> Tensor:
        """Return only the stego."""
        return ihaar(self.blocks.forward_a(haar(cover), haar(picture)))

    def inverse(self, stego: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        a, b = self.blocks.inverse(haar(stego), z)
        return ihaar(a), ihaar(b)

    def reveal(self, stego: Tensor, z: Tensor) -> Tensor:
        """Return only the picture."""
        return ihaar(self.blocks.inverse_b(haar(stego), z))
