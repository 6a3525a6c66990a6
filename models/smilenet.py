"""SMILENet: hides 25 pictures in one, through a mosaic."""

import math

from torch import Tensor

from errors import UserError
from models.base import Hidden, HidingModel
from models.layers.hiding import BandHiding
from models.layers.latent import pack, unpack
from models.layers.mosaic_network import MosaicNetwork, check_least
from models.layers.quantize import Channel, transmit
from models.layers.sizes import even_size, grown, join_rim, rim, rim_shapes, with_rim
from models.losses import UnifiedObjective


class SMILENet(HidingModel):
    """SMILENet, a synergistic mosaic invertible hiding network for N = m x n secrets, 25 = 5 x 5 by default.

    It follows the abstract of SMILENet (2025) and the equations of InvMIHNet, on which SMILENet builds
    (Z. Chen, T. Liu, J.-J. Huang, W. Zhao, X. Bi, M. Wang, "Invertible Mosaic Image Hiding Network for Very
    Large Capacity Image Steganography", ICASSP 2024).

        secrets (B,N,3,H,W)                        cover (B,3,H,W)
          T, SIS                 cover tile ----------|
          ICDM | cover tile                           |
          mosaic (B,3,H,W) ------------ IMSE ---------|
                                         |
                                 stego, 8 bit, a PNG file
                                         |
          cover^, mosaic^ <-- IMSE^-1 (z_embed = 0)
          secrets^ <-- T^-1, SDE | cover^ tile <-- ICDM^-1 (z_mosaic = 0) | cover^ tile

    Reversible: T, ICDM, IMSE (`embed` and `extract` are their exact pair). Not reversible: SIS (Secret
    Information Selection) and SDE (Secret Detail Enhancement), feature modulation that starts as the
    identity. All modules except IMSE are in models/layers/mosaic_network.py.

    From the paper: the five modules and their roles, reversible ICDM and IMSE around a Mosaic Secret
    Representation guided by the cover, learnable feature modulation in SIS and SDE, and unified training.
    Only the abstract was available. So our own choices are: the learned orthonormal T, the coupling blocks
    (InvMIHNet's), what conditions what, the inside of SIS and SDE, the loss weights, all block counts, and
    z = 0 at reveal.

    Arguments:
        rows, cols    m and n: N = m * n secrets, each shrunk by m and n into its mosaic tile
        icdm_blocks   R, coupling blocks of ICDM
        icdm_clamp    bound of their logarithmic scale
        imse_blocks   G, coupling blocks of IMSE
        imse_clamp    bound of their logarithmic scale
        growth        channels that each convolution of a dense block adds
        sis_width, sis_blocks, sde_width, sde_blocks   channels and blocks of SIS and SDE; 0 blocks
                      leave the module out
        condition     channels of the cover tile's features; 0: ICDM, SIS and SDE do not see the cover
        z_std         0: reveal replaces the dropped parts with zeros; above: with Gaussian noise of this
                      standard deviation, drawn anew in training and fixed at reveal
        headroom      0 to 64 grey levels: `encode` first clamps the cover to [headroom, 255 - headroom],
                      because black or blown-out areas would clip half of every change

    Sizes: the networks run on the largest even region from the top left, and on secrets cropped to multiples
    of m and n within it. The cover's odd last row or column stays unchanged. Up to m rows (n columns) at a
    secret's lower (right) edge come back as copies of the last one revealed.
    """

    Objective = UnifiedObjective

    def __init__(
        self,
        rows: int = 5,
        cols: int = 5,
        *,
        icdm_blocks: int = 8,
        imse_blocks: int = 16,
        growth: int = 32,
        icdm_clamp: float = 1.0,
        imse_clamp: float = 2.0,
        sis_width: int = 64,
        sis_blocks: int = 4,
        sde_width: int = 128,
        sde_blocks: int = 8,
        condition: int = 16,
        z_std: float = 0.0,
        headroom: float = 4.0,
    ):
        super().__init__()
        check_least(imse_blocks=(imse_blocks, 1), imse_clamp=(imse_clamp, 0), headroom=(headroom, 0))
        if headroom > 64:
            raise UserError(f"headroom: must be at most 64 grey levels, got {headroom}")
        self.mosaic = MosaicNetwork(
            rows,
            cols,
            icdm_blocks=icdm_blocks,
            icdm_clamp=icdm_clamp,
            growth=growth,
            sis_width=sis_width,
            sis_blocks=sis_blocks,
            sde_width=sde_width,
            sde_blocks=sde_blocks,
            condition=condition,
            z_std=z_std,
        )
        self.imse = BandHiding(imse_blocks, growth, imse_clamp)
        self.num_secrets, self.figure_columns, self.geometry = rows * cols, cols, (rows, cols)
        self.patch_multiple = (math.lcm(2, rows), math.lcm(2, cols))
        self.smallest = (4 * rows, 4 * cols)  # tiles of 4 x 4 pixels
        self.headroom = headroom / 255

    # --- the reversible part, exact ------------------------------------------------------------

    def embed(self, cover: Tensor, secrets: Tensor) -> tuple[Tensor, Tensor]:
        """T, ICDM and IMSE alone: cover (B,3,H,W), secrets (B,N,3,H,W) -> stego (B,3,H,W), z (B,K).

        Floats, without rounding, SIS and SDE. z is flat. It holds everything for which the stego has no
        room: z_mosaic, z_embed, and the strips of the secrets beyond a multiple of m and n.
        Law: extract(*embed(cover, secrets)) == (cover, secrets) to rounding, any H and W.
        """
        height, width = size = self.mosaic.size(cover)
        inner = secrets[..., :height, :width]
        mosaic, z_mosaic = self.mosaic.shrunk_exactly(inner, self.mosaic.condition(cover))
        stego, z_embed = self._embed_mosaic(cover, mosaic)
        return stego, pack(len(cover), (z_mosaic, z_embed, *rim(secrets, *size)))

    def extract(self, stego: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """The exact inverse of `embed`: stego (B,3,H,W), z (B,K) -> cover (B,3,H,W), secrets (B,N,3,H,W)."""
        b, n = len(stego), self.num_secrets
        size = height, width = self.mosaic.size(stego)
        z_mosaic = (b * n, 3 * (n - 1), height // self.mosaic.rows, width // self.mosaic.cols)
        edges = rim_shapes((b, n, 3), stego.shape[-2:], size)
        z_mosaic, z_embed, *edges = unpack(z, b, (z_mosaic, self._z_shape(stego), *edges))
        cover, mosaic = self._extract_mosaic(stego, z_embed)
        inner = self.mosaic.grown_exactly(mosaic, z_mosaic, self.mosaic.condition(cover))
        return cover, join_rim(inner, *edges)

    # --- sender and receiver -------------------------------------------------------------------

    def encode(self, cover: Tensor, secrets: Tensor) -> Tensor:
        cover = cover.clamp(self.headroom, 1 - self.headroom)
        mosaic = self.mosaic.hide(secrets, self.mosaic.condition(cover), self._slices)
        inner, mosaic = self._centred(cover, mosaic)
        return with_rim(self.imse.hide(inner, mosaic) + 0.5, cover)

    def decode(self, stego: Tensor) -> Tensor:
        return self._receive(stego)[0]

    def forward(self, cover: Tensor, secrets: Tensor, channel: Channel | None = None) -> Hidden:
        cover = cover.clamp(self.headroom, 1 - self.headroom)
        mosaic, z_mosaic = self.mosaic(secrets, self.mosaic.condition(cover))
        stego, z_embed = self._embed_mosaic(cover, mosaic)
        stego, received = transmit(stego, channel)
        revealed, mosaic_revealed = self._receive(received)
        parts = {
            "mosaic": mosaic + 0.5,
            "mosaic_revealed": mosaic_revealed + 0.5,
            "z_mosaic": z_mosaic,
            "z_embed": z_embed,
        }
        return Hidden(stego, revealed, parts)

    def _taken(self, secrets: Tensor) -> Tensor:
        return secrets.to(self.device)  # still uint8: the mosaic network converts a few at a time

    def _receive(self, stego: Tensor) -> tuple[Tensor, Tensor]:
        """-> secrets (B,N,3,H,W), mosaic^ (B,3,h,w)."""
        z_embed = self.mosaic.latent(stego, self._z_shape(stego))
        if self.mosaic.encoder is None:  # nothing needs the cover
            height, width = even_size(stego)
            mosaic = self.imse.reveal(stego[..., :height, :width] - 0.5, z_embed)
            height, width = self.mosaic.size(stego)
            mosaic, condition = mosaic[..., :height, :width], None
        else:
            cover, mosaic = self._extract_mosaic(stego, z_embed)
            condition = self.mosaic.condition(cover)
        return self.mosaic.reveal(mosaic, condition, like=stego, slices=self._slices), mosaic

    def _embed_mosaic(self, cover: Tensor, mosaic: Tensor) -> tuple[Tensor, Tensor]:
        stego, z = self.imse(*self._centred(cover, mosaic))
        return with_rim(stego + 0.5, cover), z

    @staticmethod
    def _centred(cover: Tensor, mosaic: Tensor) -> tuple[Tensor, Tensor]:
        """Crop the cover to even size and centre it on 0; extend the mosaic to that size."""
        height, width = even_size(cover)
        inner = cover[..., :height, :width] - 0.5
        return inner, grown(mosaic, inner)

    def _extract_mosaic(self, stego: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        height, width = even_size(stego)
        cover, mosaic = self.imse.inverse(stego[..., :height, :width] - 0.5, z)
        height, width = self.mosaic.size(stego)
        return with_rim(cover + 0.5, stego), mosaic[..., :height, :width]

    @staticmethod
    def _z_shape(stego: Tensor) -> tuple[int, ...]:
        height, width = even_size(stego)
        return len(stego), 12, height // 2, width // 2
