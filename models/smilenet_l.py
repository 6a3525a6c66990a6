"""SMILENet-L: the residues of the stego's samples carry SMILENet's mosaic, under a key."""

import math

import torch
from torch import Tensor

from container.keys import Key
from models.base import EMPTY, Hidden
from models.keyed import Content, KeyedMethod
from models.layers.lattice import LatticeEmbedding, pack_about, unpack_about
from models.layers.mosaic_network import MosaicNetwork
from models.layers.quantize import Channel
from models.losses import LatticeObjective


class SMILENetL(KeyedMethod):
    """SMILENet-L for N = m x n secrets; this project's own method (docs/lattice.md).

        secrets (B,N,3,H,W) -- T, SIS, ICDM -- mosaic -- companding -- residues modulo M -- + key's dither
                                                                                                 |
        cover (B,3,H,W) -- header in the first samples -- each sample to the nearest value of its residue
                                                                                                 |
        secrets^ <-- T^-1 <-- SDE <-- ICDM^-1 (z = 0) <-- mosaic^ <-- residues - dither <------ stego

    T, SIS, ICDM and SDE are SMILENet's (models/layers/mosaic_network.py). Arithmetic replaces IMSE. The
    mosaic arrives with the same small noise for every cover, so the networks do not see the cover. Under a
    passphrase the stego reveals nothing about the secrets.

    Arguments:
        rows, cols    m and n: N = m * n secrets, each shrunk by m and n into its mosaic tile
        icdm_blocks   R, coupling blocks of ICDM
        icdm_clamp    bound of their logarithmic scale
        growth        channels that each convolution of a dense block adds
        sis_width, sis_blocks, sde_width, sde_blocks   channels and blocks of SIS and SDE; 0 blocks
                      leave the module out
        z_std         0: reveal replaces what ICDM drops with zeros; above: with Gaussian noise of this
                      standard deviation, drawn anew in training and fixed at reveal
        modulus       M of the lattice, 2 to 64 grey levels; without shaping the stego's mean squared error is
                      (M^2 + 2) / 12. The stego stores M, so the sender may choose another one than in
                      training
        shaping       states of the trellis that shapes the deployed stego's changes: 0 (plain), 8, 64, 256;
                      null: 64, or 0 if M is odd. The sender may choose it; training does not depend on it

    Sizes: secrets are cropped to multiples of m and n within the even part of the cover. Up to m rows (n
    columns) at a secret's lower (right) edge come back as copies of the last one revealed. There is no exact
    inverse, because the lattice overwrites a part of the cover.
    """

    Objective = LatticeObjective

    def __init__(
        self,
        rows: int = 5,
        cols: int = 5,
        *,
        icdm_blocks: int = 8,
        growth: int = 32,
        icdm_clamp: float = 1.0,
        sis_width: int = 64,
        sis_blocks: int = 4,
        sde_width: int = 128,
        sde_blocks: int = 8,
        z_std: float = 0.0,
        modulus: int = 12,
        shaping: int | None = None,
    ):
        super().__init__()
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
            condition=0,
            z_std=z_std,
        )
        self.lattice = LatticeEmbedding(modulus)
        self.shaping = shaping
        self.num_secrets, self.figure_columns = rows * cols, cols
        self.patch_multiple = (math.lcm(2, rows), math.lcm(2, cols))
        self.smallest = self.lattice.smallest(rows, cols)

    @property
    def modulus(self) -> int:
        """M of the lattice [grey levels]."""
        return self.lattice.modulus

    @modulus.setter
    def modulus(self, modulus: int) -> None:
        self.lattice.modulus = modulus

    def forward(self, cover: Tensor, secrets: Tensor, channel: Channel | None = None) -> Hidden:
        mosaic, z_mosaic = self.mosaic(secrets)
        stego, received = self.lattice(cover, mosaic, channel)
        revealed = self.mosaic.reveal(received, None, like=cover)
        overshoot = self.lattice.companding.overshoot(mosaic)
        return Hidden(stego, revealed, {"z_mosaic": z_mosaic, "overshoot": overshoot})

    def _seal(self, cover: Tensor, content: Content, key: Key, marked: bool) -> Tensor:
        secrets = content.secrets
        grey = [torch.full_like(cover, EMPTY)] * (self.num_secrets - len(secrets))
        (mosaic,) = self.mosaic.hide([*secrets, *grey], slices=self._slices)
        about = self.method, self.fingerprint
        note = pack_about(len(secrets), content.note, self.num_secrets)
        return self.lattice.seal(cover, mosaic, key, note, about, marked, self.shaping)

    def _unseal(self, stego: Tensor, key: Key, damaged_ok: bool) -> Content:
        size, about = self.mosaic.size(stego), (self.method, self.fingerprint)
        mosaic, note = self.lattice.unseal(stego, size, key, about, damaged_ok)
        count, note = unpack_about(note, self.num_secrets)
        revealed = self.mosaic.reveal(
            mosaic[None], None, like=stego[None], finish=self._to_uint8, slices=self._slices
        )
        return Content(list(revealed[0].to(stego.device)[:count]), note)
