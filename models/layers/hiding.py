"""One picture hidden in another by coupling blocks over their Haar bands (HiNet, IIH, IMSE)."""

from torch import Tensor, nn

from models.layers.wavelet import haar, ihaar


def hide_in_bands(blocks: nn.ModuleList, cover: Tensor, picture: Tensor) -> tuple[Tensor, Tensor]:
    """cover, picture (B,3,H,W), H and W even -> stego (B,3,H,W), z (B,12,H/2,W/2)."""
    a, b = haar(cover), haar(picture)
    for block in blocks:
        a, b = block(a, b)
    return ihaar(a), b


def reveal_from_bands(blocks: nn.ModuleList, stego: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
    """The exact inverse of `hide_in_bands`: stego, z -> cover, picture."""
    a, b = haar(stego), z
    for block in reversed(blocks):
        a, b = block.inverse(a, b)
    return ihaar(a), ihaar(b)
