"""Turn secrets into one mosaic of small pictures (T, SIS, ICDM, tiling), and back (with SDE)."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from errors import UserError
from models.layers.coupling import CouplingBlock, CouplingStack
from models.layers.latent import stand_in
from models.layers.modulation import ConditionEncoder, Modulation
from models.layers.mosaic import BlockTransform, tile, untile
from models.layers.sizes import grown, tiled_size
from models.layers.slices import USUAL, Slices


class ICDM(nn.Module):
    """Invertible Cover-Driven Mosaic: the bands of a secret <-> its small picture and z, given the cover.

    bands (B,3mn,h,w) -> small (B,3,h,w), z (B,3(mn-1),h,w). It has coupling blocks between the small picture
    (the low 3 channels) and all other bands. Their condition is features of the cover tile that will hold
    the small picture. Law: inverse(*forward(x, c), c) == x, for the same condition c.
    """

    def __init__(self, secrets: int, blocks: int, growth: int, clamp: float, condition: int):
        super().__init__()
        high = 3 * (secrets - 1)
        self.blocks = CouplingStack(
            CouplingBlock(3, high, condition, growth=growth, clamp=clamp) for _ in range(blocks)
        )

    def forward(self, bands: Tensor, condition: Tensor | None) -> tuple[Tensor, Tensor]:
        return self.blocks(bands[:, :3], bands[:, 3:], condition)

    def small(self, bands: Tensor, condition: Tensor | None) -> Tensor:
        """Return only the small picture, and skip the computations that only z needs."""
        if not len(self.blocks):
            return bands[:, :3]
        return self.blocks.forward_a(bands[:, :3], bands[:, 3:], condition)

    def inverse(self, small: Tensor, z: Tensor, condition: Tensor | None) -> Tensor:
        return torch.cat(self.blocks.inverse(small, z, condition), dim=1)


class MosaicNetwork(nn.Module):
    """N = m x n secrets <-> one mosaic of their small pictures: the part that SMILENet and SMILENet-L share.

        secrets (B,N,3,H,W) -- T -- SIS -- ICDM -- tiles -- mosaic (B,3,h,w)       z dropped
        secrets^            <- T^-1 <- SDE <- ICDM^-1 <- tiles <- mosaic^           z = 0

    h and w are the largest multiples of m and n within the even part of H x W. Pictures are in [0,1]; the
    mosaic is centred on 0. T and ICDM have an exact inverse (`shrunk_exactly`, `grown_exactly`). SIS (Secret
    Information Selection) and SDE (Secret Detail Enhancement) have none: they are feature modulation that
    starts as the identity.

    Arguments: see `SMILENet`, which uses the same names. Raises UserError for values out of range.
    """

    def __init__(
        self,
        rows: int,
        cols: int,
        *,
        icdm_blocks: int,
        icdm_clamp: float,
        growth: int,
        sis_width: int,
        sis_blocks: int,
        sde_width: int,
        sde_blocks: int,
        condition: int,
        z_std: float,
    ):
        super().__init__()
        if rows < 1 or cols < 1 or rows * cols < 2:
            raise UserError(f"rows x cols = {rows} x {cols}: expected at least 1 x 2 or 2 x 1 secrets")
        check_least(
            growth=(growth, 1),
            icdm_blocks=(icdm_blocks, 0),
            sis_blocks=(sis_blocks, 0),
            sde_blocks=(sde_blocks, 0),
            sis_width=(sis_width, 1),
            sde_width=(sde_width, 1),
            condition=(condition, 0),
            icdm_clamp=(icdm_clamp, 0),
            z_std=(z_std, 0),
        )
        self.rows, self.cols, self.num_secrets, self.z_std = rows, cols, rows * cols, z_std
        bands = 3 * self.num_secrets
        # Most channels at a time: the input of a dense block's last layer, or some copies of SIS's or SDE's.
        self._widest = max(
            bands + condition + 5 * growth,
            4 * sis_width * (sis_blocks > 0),
            4 * sde_width * (sde_blocks > 0),
        )
        self.transform = BlockTransform(rows, cols)
        self.encoder = ConditionEncoder(condition) if condition else None
        self.sis = Modulation(bands, sis_width, sis_blocks, condition) if sis_blocks else None
        self.icdm = ICDM(self.num_secrets, icdm_blocks, growth, icdm_clamp, condition)
        self.sde = Modulation(bands, sde_width, sde_blocks, condition) if sde_blocks else None

    def size(self, picture: Tensor) -> tuple[int, int]:
        """Return (h, w) of the mosaic for pictures (...,H,W)."""
        return tiled_size(picture, self.rows, self.cols)

    def condition(self, cover: Tensor) -> Tensor | None:
        """Return features (B*N,condition,h/m,w/n) of the cover tiles; None if the network uses no cover."""
        encoder = self.encoder
        if encoder is None:
            return None
        height, width = self.size(cover)
        tiles = untile(cover[..., :height, :width] - 0.5, self.rows, self.cols)
        step = USUAL.at_once(height * width // self.num_secrets, 0, tiles.device)
        return USUAL.map(lambda some: encoder(tiles[some]), len(tiles), step, "looking at the cover")

    def forward(self, secrets: Tensor, condition: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Training: secrets (B,N,3,H,W) -> mosaic (B,3,h,w), z (B*N,3(mn-1),h/m,w/n)."""
        height, width = self.size(secrets)
        inner = secrets[..., :height, :width].flatten(0, 1)
        small, z = self.icdm(self._selected(inner, condition), condition)
        return tile(small, self.rows, self.cols), z

    def hide(
        self, secrets: Tensor | Sequence[Tensor], condition: Tensor | None = None, slices: Slices = USUAL
    ) -> Tensor:
        """Return only the mosaic (B,3,h,w).

        secrets: (B,N,3,H,W), or N of (3,H,W), which are not copied into one tensor. They are floats, or
        uint8, which takes a quarter of the memory.
        """
        if isinstance(secrets, Tensor):
            secrets = secrets.flatten(0, 1)
        (height, width), device = self.size(secrets[0]), next(self.parameters()).device

        def shrink(some: slice) -> Tensor:
            inner = torch.stack([x[..., :height, :width] for x in secrets[some]]).to(device)
            condition_of = None if condition is None else condition[some]
            return self.icdm.small(self._selected(inner, condition_of), condition_of)

        step = slices.at_once(height * width, self._bytes_a_pixel, device)
        small = slices.map(shrink, len(secrets), step, "shrinking")
        return tile(small, self.rows, self.cols)

    def reveal(
        self,
        mosaic: Tensor,
        condition: Tensor | None,
        like: Tensor,
        finish: Callable[[Tensor], Tensor] = lambda secrets: secrets,
        slices: Slices = USUAL,
    ) -> Tensor:
        """mosaic (B,3,h,w) -> secrets (B,N,3,H,W) of the size of `like` (B,.,H,W), with z = 0.

        finish: applied to a few secrets (.,3,H,W) at a time, such as rounding to uint8.
        """

        small = untile(mosaic, self.rows, self.cols)

        def grow(some: slice) -> Tensor:
            condition_of = None if condition is None else condition[some]
            low = small[some]
            z = self.latent(low, (len(low), 3 * (self.num_secrets - 1), *low.shape[-2:]))
            bands = self.icdm.inverse(low, z, condition_of)
            if self.sde is not None:
                bands = self.sde(bands, condition_of)
            return finish(grown(self.transform.inverse(bands) + 0.5, like))

        pixels = small[0, 0].numel() * self.num_secrets
        step = slices.at_once(pixels, self._bytes_a_pixel, small.device)
        revealed = slices.map(grow, len(small), step, "growing")
        return revealed.unflatten(0, (len(like), self.num_secrets))

    @property
    def _bytes_a_pixel(self) -> int:
        """An upper bound of the memory that T, SIS, ICDM and SDE take per pixel of a secret [bytes].

        Measured in docs/benchmarks.md.
        """
        bands = 3 * self.num_secrets
        return 4 * (12 * bands + 3 * self._widest) // self.num_secrets

    def _selected(self, secrets: Tensor, condition: Tensor | None) -> Tensor:
        """T and SIS: (.,3,h,w) -> bands (.,3mn,h/m,w/n)."""
        if secrets.dtype == torch.uint8:
            secrets = secrets.to(next(self.transform.parameters()).dtype).div_(255).sub_(0.5)
        else:
            secrets = secrets - 0.5
        bands = self.transform(secrets)
        del secrets  # it may be large
        return bands if self.sis is None else self.sis(bands, condition)

    def latent(self, like: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Return the replacement of z at reveal."""
        return stand_in(like, shape, self.z_std, sampled=self.training)

    # --- T and ICDM alone, exact -----------------------------------------------------------------

    def shrunk_exactly(self, secrets: Tensor, condition: Tensor | None) -> tuple[Tensor, Tensor]:
        """secrets (B,N,3,h,w), h and w multiples of m and n -> mosaic (B,3,h,w), z; without SIS."""
        small, z = self.icdm(self.transform(secrets.flatten(0, 1) - 0.5), condition)
        return tile(small, self.rows, self.cols), z

    def grown_exactly(self, mosaic: Tensor, z: Tensor, condition: Tensor | None) -> Tensor:
        """The inverse of `shrunk_exactly`."""
        bands = self.icdm.inverse(untile(mosaic, self.rows, self.cols), z, condition)
        return self.transform.inverse(bands).unflatten(0, (len(mosaic), self.num_secrets)) + 0.5


def check_least(**least: tuple[float, float]) -> None:
    """Raise UserError if an argument of a constructor is below its lowest value: name=(value, lowest)."""
    for name, (value, lowest) in least.items():
        if value < lowest:
            raise UserError(f"{name}: must be at least {lowest}, got {value}")
