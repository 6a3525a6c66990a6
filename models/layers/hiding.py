"""One picture hidden in another by coupling blocks over their Haar bands: HiNet, IIH, IMSE."""

from torch import Tensor, nn

from models.layers.coupling import CouplingBlock
from models.layers.wavelet import haar, ihaar

BANDS = 12  # of an RGB picture: 3 colours x 4 Haar bands


class BandHiding(nn.Module):
    """cover, picture (B,3,H,W) <-> stego (B,3,H,W), z (B,12,H/2,W/2), H and W even.

    Law: inverse(*forward(cover, picture)) == (cover, picture) to rounding.

    blocks  how many coupling blocks; growth, clamp, slope as in `CouplingBlock`
    """

    def __init__(self, blocks: int, growth: int, clamp: float, slope: float = 0.2):
        super().__init__()
        self.blocks = nn.ModuleList(
            CouplingBlock(BANDS, BANDS, growth=growth, clamp=clamp, slope=slope) for _ in range(blocks)
        )

    def forward(self, cover: Tensor, picture: Tensor) -> tuple[Tensor, Tensor]:
        a, b = haar(cover), haar(picture)
        for block in self.blocks:
            a, b = block(a, b)
        return ihaar(a), b

    def inverse(self, stego: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        a, b = haar(stego), z
        for block in reversed(self.blocks):
            a, b = block.inverse(a, b)
        return ihaar(a), ihaar(b)
