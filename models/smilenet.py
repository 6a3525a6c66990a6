"""SMILENet: 25 pictures in one, through a mosaic."""

import math

import torch
from torch import Tensor, nn

from container.header import Key
from errors import UserError
from models.base import EMPTY, Hidden, HidingModel
from models.layers.coupling import CouplingBlock
from models.layers.hiding import hide_in_bands, reveal_from_bands
from models.layers.latent import pack, stand_in, unpack
from models.layers.lattice import MODULI, LatticeEmbedding, pack_about, unpack_about
from models.layers.modulation import ConditionEncoder, Modulation
from models.layers.mosaic import BlockTransform, small_pictures, tile, untile
from models.layers.quantize import quantize
from models.layers.sizes import even_size, grown, tiled_size, with_rim
from models.losses import LatticeObjective, UnifiedObjective

SLICE = 2**19  # pixels of secrets that are worked on at a time when no gradient is kept


class ICDM(nn.Module):
    """Invertible Cover-Driven Mosaic: the bands of all secrets <-> one mosaic, given the cover.

    (B*N,3mn,h,w) -> mosaic (B,3,m*h,n*w), z (B*N,3(mn-1),h,w). Coupling blocks between the small
    picture (low 3 channels) and all other bands, conditioned on features of the cover tile that the
    small picture will lie in. Law: inverse(*forward(x, c), c) == x, for the same condition c.
    """

    def __init__(self, rows: int, cols: int, blocks: int, growth: int, clamp: float, condition: int):
        super().__init__()
        self.rows, self.cols = rows, cols
        high = 3 * (rows * cols - 1)
        self.blocks = nn.ModuleList(
            CouplingBlock(3, high, condition, growth=growth, clamp=clamp) for _ in range(blocks)
        )

    def forward(self, bands: Tensor, condition: Tensor | None) -> tuple[Tensor, Tensor]:
        small, z = self.shrink(bands, condition)
        return tile(small, self.rows, self.cols), z

    def inverse(self, mosaic: Tensor, z: Tensor, condition: Tensor | None) -> Tensor:
        return self.grow(untile(mosaic, self.rows, self.cols), z, condition)

    def shrink(self, bands: Tensor, condition: Tensor | None) -> tuple[Tensor, Tensor]:
        """`forward` before the tiling: each secret by itself -> small picture (.,3,h,w), z."""
        low, high = bands[:, :3], bands[:, 3:]
        for block in self.blocks:
            low, high = block(low, high, condition)
        return low, high

    def grow(self, small: Tensor, z: Tensor, condition: Tensor | None) -> Tensor:
        """The inverse of `shrink`."""
        low, high = small, z
        for block in reversed(self.blocks):
            low, high = block.inverse(low, high, condition)
        return torch.cat((low, high), dim=1)


class IMSE(nn.Module):
    """Invertible Mosaic Secret Embedding: cover and mosaic <-> stego and z, in the Haar domain.

    cover, mosaic (B,3,H,W) -> stego (B,3,H,W), z (B,12,H/2,W/2). Law: inverse(*forward(c, m)) == c, m.
    """

    def __init__(self, blocks: int, growth: int, clamp: float):
        super().__init__()
        self.blocks = nn.ModuleList(CouplingBlock(12, 12, growth=growth, clamp=clamp) for _ in range(blocks))

    def forward(self, cover: Tensor, mosaic: Tensor) -> tuple[Tensor, Tensor]:
        return hide_in_bands(self.blocks, cover, mosaic)

    def inverse(self, stego: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        return reveal_from_bands(self.blocks, stego, z)


class SMILENet(HidingModel):
    """SMILENet, a synergistic mosaic invertible hiding network for N = m x n secrets, 25 = 5 x 5 by default.

    After the abstract of SMILENet (2025) and the equations of InvMIHNet (Z. Chen, T. Liu, J.-J.
    Huang, W. Zhao, X. Bi, M. Wang, "Invertible Mosaic Image Hiding Network for Very Large Capacity
    Image Steganography", ICASSP 2024), on which it builds.

        secrets (B,N,3,H,W)                        cover (B,3,H,W)
          T, SIS                 cover tile ----------|
          ICDM | cover tile                           |
          mosaic (B,3,H,W) ------------ IMSE ---------|
                                         |
                                 stego, 8 bit, a PNG file
                                         |
          cover^, mosaic^ <-- IMSE^-1 (z_embed = 0)
          secrets^ <-- T^-1, SDE | cover^ tile <-- ICDM^-1 (z_mosaic = 0) | cover^ tile

    Reversible: T, ICDM, IMSE (`embed` and `extract` are their exact pair). Not reversible: SIS
    (Secret Information Selection) and SDE (Secret Detail Enhancement), feature modulation that
    starts as the identity.

    The paper's: the five modules and their roles, reversible ICDM and IMSE around a Mosaic Secret
    Representation guided by the cover, learnable feature modulation in SIS and SDE, unified
    training. Ours, since its equations and sizes were not to be had: the learned orthonormal T, the
    coupling blocks (InvMIHNet's), what conditions what, the inside of SIS and SDE, the loss weights,
    all block counts, z = 0 at reveal.

    SMILENet-L, this project's own variant (embedding: lattice, docs/lattice.md), replaces IMSE by
    arithmetic: the mosaic is carried by the residues of the stego's samples, under a key, and arrives with
    the same small noise whatever the cover is. The networks then see no cover (condition: 0).

        secrets -- T, SIS, ICDM, companding -- mosaic -- residues + key's dither -- stego

    Arguments:
        rows, cols    m and n: N = m * n secrets, each shrunk by m and n into its mosaic tile
        icdm_blocks   R, coupling blocks of ICDM; icdm_clamp bounds their logarithmic scale
        imse_blocks   G, coupling blocks of IMSE; imse_clamp likewise
        growth        channels that each convolution of a dense block adds
        sis_width, sis_blocks, sde_width, sde_blocks   channels and blocks of SIS and SDE; 0 blocks
                      leave the module out
        condition     channels of the cover tile's features; 0: ICDM, SIS and SDE do not see the cover
        z_std         0: the dropped parts are replaced by zeros; above: by Gaussian noise of this
                      deviation, fixed at reveal (some papers sample)
        embedding     imse, or lattice for SMILENet-L
        modulus       M of the lattice, 2 to 64 grey levels: the stego's squared error is (M^2 + 2) / 12. The
                      stego says which, so the sender may take another than the one trained with
        headroom      grey levels (0 to 255): `encode` first pulls the cover into [headroom, 255 -
                      headroom]. On black or blown-out areas half of every change would be clipped

    Sizes: networks run on the largest region from the top left that is even and on secrets cropped
    to multiples of m and n within it; the cover's odd last row or column stays as it is, and up to
    m rows (n columns) at a secret's lower (right) edge come back as copies of the last one revealed.
    """

    Criterion = UnifiedObjective

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
        embedding: str = "imse",
        modulus: int = 12,
    ):
        super().__init__()
        if rows < 1 or cols < 1 or rows * cols < 2:
            raise UserError(f"rows x cols = {rows} x {cols}: at least 1 x 2 or 2 x 1 secrets")
        least = {
            "growth": (growth, 1),
            "imse_blocks": (imse_blocks, 1),
            "icdm_blocks": (icdm_blocks, 0),
            "sis_blocks": (sis_blocks, 0),
            "sde_blocks": (sde_blocks, 0),
            "sis_width": (sis_width, 1),
            "sde_width": (sde_width, 1),
            "condition": (condition, 0),
            "icdm_clamp": (icdm_clamp, 0),
            "imse_clamp": (imse_clamp, 0),
            "z_std": (z_std, 0),
            "headroom": (headroom, 0),
        }
        for name, (value, lowest) in least.items():
            if value < lowest:
                raise UserError(f"{name}: must be at least {lowest}, got {value}")
        if embedding not in ("imse", "lattice"):
            raise UserError(f"embedding: '{embedding}' is neither imse nor lattice")
        if embedding == "lattice" and condition:
            raise UserError(
                f"condition: must be 0 with embedding lattice (it sees no cover), got {condition}"
            )
        if modulus not in MODULI:
            raise UserError(f"modulus: must be a whole number of grey levels from 2 to 64, got {modulus}")
        if headroom > 64:
            raise UserError(f"headroom: must be at most 64 grey levels, got {headroom}")
        self.rows, self.cols, self.num_secrets = rows, cols, rows * cols
        self.patch_multiple = (math.lcm(2, rows), math.lcm(2, cols))
        self.smallest = (4 * rows, 4 * cols)  # tiles of 4 x 4 pixels
        self.keyed = embedding == "lattice"
        self.z_std, self.headroom = z_std, headroom / 255
        self.figure_columns = cols
        bands = 3 * rows * cols
        self.transform = BlockTransform(rows, cols)
        self.encoder = ConditionEncoder(condition) if condition else None
        self.sis = Modulation(bands, sis_width, sis_blocks, condition) if sis_blocks else None
        self.icdm = ICDM(rows, cols, icdm_blocks, growth, icdm_clamp, condition)
        if self.keyed:
            self.lattice = LatticeEmbedding(int(modulus))
            self.Criterion = LatticeObjective
            self.smallest = self.lattice.smallest(rows, cols)
        else:
            self.imse = IMSE(imse_blocks, growth, imse_clamp)
        self.sde = Modulation(bands, sde_width, sde_blocks, condition) if sde_blocks else None

    @property
    def modulus(self) -> int | None:
        """M of the lattice; None with IMSE."""
        return self.lattice.modulus if self.keyed else None

    @modulus.setter
    def modulus(self, modulus: int) -> None:
        if not self.keyed:
            raise UserError("modulus: this SMILENet hides by IMSE, which has none")
        if modulus not in MODULI:
            raise UserError(f"modulus: must be a whole number of grey levels from 2 to 64, got {modulus}")
        self.lattice.modulus = int(modulus)

    # --- the reversible part, exact ------------------------------------------------------------

    def embed(self, cover: Tensor, secrets: Tensor) -> tuple[Tensor, Tensor]:
        """T, ICDM and IMSE alone: cover (B,3,H,W), secrets (B,N,3,H,W) -> stego (B,3,H,W), z (B,K).

        Floats, no quantiser, SIS and SDE left out. z holds all that the stego has no room for, laid
        out flat: z_mosaic, z_embed, and the strips of the secrets beyond a multiple of m and n.
        Law: extract(*embed(cover, secrets)) == (cover, secrets) to rounding, any H and W. Only with IMSE:
        the lattice overwrites what it needs of the cover, and raises UserError here.
        """
        if self.keyed:
            raise UserError("embed: the lattice embedding has no exact inverse, it keeps no cover")
        size = self._secret_size(cover)
        inner = secrets[..., : size[0], : size[1]]
        condition = self._condition(cover)
        mosaic, z_mosaic = self.icdm(self.transform(inner.flatten(0, 1) - 0.5), condition)
        stego, z_embed = self._embed_mosaic(cover, mosaic)
        right, below = secrets[..., : size[0], size[1] :], secrets[..., size[0] :, :]
        return stego, pack(len(cover), (z_mosaic, z_embed, right, below))

    def extract(self, stego: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """The exact inverse of `embed`: stego (B,3,H,W), z (B,K) -> cover (B,3,H,W), secrets (B,N,3,H,W)."""
        (b, _, height, width), n = stego.shape, self.num_secrets
        (h, w), (even_h, even_w) = self._secret_size(stego), even_size(stego)
        shapes = (
            (b * n, 3 * (n - 1), h // self.rows, w // self.cols),
            (b, 12, even_h // 2, even_w // 2),
            (b, n, 3, h, width - w),
            (b, n, 3, height - h, width),
        )
        parts = unpack(z, b, shapes)
        z_mosaic, z_embed, right, below = parts
        cover, mosaic = self._extract_mosaic(stego, z_embed)
        bands = self.icdm.inverse(mosaic, z_mosaic, self._condition(cover))
        inner = self.transform.inverse(bands).unflatten(0, (b, n)) + 0.5
        return cover, torch.cat((torch.cat((inner, right), dim=-1), below), dim=-2)

    # --- sender and receiver -------------------------------------------------------------------

    def encode(self, cover: Tensor, secrets: Tensor) -> Tensor:
        return self._send(cover, secrets)[0]

    def decode(self, stego: Tensor) -> Tensor:
        return self._receive(stego)[0]

    def forward(self, cover: Tensor, secrets: Tensor) -> Hidden:
        if self.keyed:
            small, z_mosaic = self._shrink(secrets, None)
            stego, received = self.lattice(cover, tile(small, self.rows, self.cols))
            revealed = self._grow(received, None, like=cover)
            overshoot = self.lattice.companding.overshoot(small)
            return Hidden(stego, revealed, {"z_mosaic": z_mosaic, "overshoot": overshoot})
        stego, mosaic, z_mosaic, z_embed = self._send(cover, secrets)
        stego = quantize(stego)
        revealed, mosaic_revealed = self._receive(stego)
        parts = {
            "mosaic": mosaic + 0.5,
            "mosaic_revealed": mosaic_revealed + 0.5,
            "readable": self._readable(secrets),
            "z_mosaic": z_mosaic,
            "z_embed": z_embed,
        }
        return Hidden(stego, revealed, parts)

    def _send(self, cover: Tensor, secrets: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        cover = cover.clamp(self.headroom, 1 - self.headroom)
        small, z_mosaic = self._shrink(secrets, self._condition(cover))
        mosaic = tile(small, self.rows, self.cols)
        stego, z_embed = self._embed_mosaic(cover, mosaic)
        return stego, mosaic, z_mosaic, z_embed

    def _receive(self, stego: Tensor) -> tuple[Tensor, Tensor]:
        even = even_size(stego)
        z_embed = self._latent(stego, (len(stego), 12, even[0] // 2, even[1] // 2))
        cover, mosaic = self._extract_mosaic(stego, z_embed)
        return self._grow(mosaic, self._condition(cover), like=stego), mosaic

    # --- SMILENet-L: the lattice instead of IMSE -------------------------------------------------

    def _seal(self, cover: Tensor, secrets: list[Tensor], key: Key, note: bytes, marked: bool) -> Tensor:
        grey = [torch.full_like(cover, EMPTY)] * (self.num_secrets - len(secrets))
        small, _ = self._shrink(self._to_float(torch.stack(list(secrets) + grey))[None], None)
        (mosaic,) = tile(small, self.rows, self.cols)
        about = self.method, self.fingerprint
        note = pack_about(len(secrets), note, self.num_secrets)
        return self.lattice.seal(cover, mosaic, key, note, about, marked)

    def _unseal(self, stego: Tensor, key: Key, damaged_ok: bool) -> tuple[list[Tensor], bytes]:
        size, about = self._secret_size(stego), (self.method, self.fingerprint)
        mosaic, note = self.lattice.unseal(stego, size, key, about, damaged_ok)
        count, note = unpack_about(note, self.num_secrets)
        revealed = self._grow(mosaic[None], None, like=stego[None])
        return list(self._to_uint8(revealed[0]).to(stego.device)[:count]), note

    # --- parts of all -----------------------------------------------------------------------------

    def _shrink(self, secrets: Tensor, condition: Tensor | None) -> tuple[Tensor, Tensor]:
        """T, SIS, ICDM: secrets (B,N,3,H,W) -> small pictures (B*N,3,h,w), z (B*N,3(mn-1),h,w)."""

        def shrink(secret: Tensor, condition: Tensor | None) -> tuple[Tensor, Tensor]:
            bands = self.transform(secret - 0.5)
            if self.sis is not None:
                bands = self.sis(bands, condition)
            return self.icdm.shrink(bands, condition)

        height, width = self._secret_size(secrets)
        inner = secrets[..., :height, :width].flatten(0, 1)
        small, z = _in_slices(shrink, inner, condition, height * width)
        return small, z

    def _grow(self, mosaic: Tensor, condition: Tensor | None, like: Tensor) -> Tensor:
        """ICDM, SDE, T backwards, z = 0: mosaic (B,3,m*h,n*w) -> secrets (B,N,3,H,W) of like's size."""

        def grow(small: Tensor, condition: Tensor | None) -> tuple[Tensor]:
            z = self._latent(small, (len(small), 3 * (self.num_secrets - 1), *small.shape[-2:]))
            bands = self.icdm.grow(small, z, condition)
            if self.sde is not None:
                bands = self.sde(bands, condition)
            return (self.transform.inverse(bands) + 0.5,)

        height, width = mosaic.shape[-2:]
        small = untile(mosaic, self.rows, self.cols)
        (revealed,) = _in_slices(grow, small, condition, height * width)
        return grown(revealed, like).unflatten(0, (len(like), self.num_secrets))

    def _secret_size(self, cover: Tensor) -> tuple[int, int]:
        """Height and width of the secrets' region: multiples of m and n within the even region."""
        return tiled_size(cover, self.rows, self.cols)

    def _condition(self, cover: Tensor) -> Tensor | None:
        """Features of the cover tile under each secret: (B*N,condition,h,w)."""
        if self.encoder is None:
            return None
        height, width = self._secret_size(cover)
        return self.encoder(untile(cover[..., :height, :width] - 0.5, self.rows, self.cols))

    def _readable(self, secrets: Tensor) -> Tensor:
        height, width = self._secret_size(secrets)
        return small_pictures(secrets[..., :height, :width], self.rows, self.cols)

    def _embed_mosaic(self, cover: Tensor, mosaic: Tensor) -> tuple[Tensor, Tensor]:
        height, width = even_size(cover)
        inner = cover[..., :height, :width] - 0.5
        stego, z = self.imse(inner, grown(mosaic, inner))
        return with_rim(stego + 0.5, cover), z

    def _extract_mosaic(self, stego: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        height, width = even_size(stego)
        cover, mosaic = self.imse.inverse(stego[..., :height, :width] - 0.5, z)
        size = self._secret_size(stego)
        return with_rim(cover + 0.5, stego), mosaic[..., : size[0], : size[1]]

    def _latent(self, like: Tensor, shape: tuple[int, ...]) -> Tensor:
        return stand_in(like, shape, self.z_std, sampled=self.training)


def _in_slices(function, x: Tensor, condition: Tensor | None, pixels: int) -> tuple[Tensor, ...]:
    """function(x, condition), a few secrets at a time where no gradient is kept.

    The secrets pass through T, SIS, ICDM and SDE one by one, so a large picture with 25 of them needs
    the memory of a few. x and condition (B*N,.,h,w); pixels: how many a secret has.
    """
    if torch.is_grad_enabled():
        return function(x, condition)
    step = max(1, SLICE // pixels)
    parts = [
        function(x[k : k + step], None if condition is None else condition[k : k + step])
        for k in range(0, len(x), step)
    ]
    return tuple(torch.cat(part) for part in zip(*parts, strict=True))
