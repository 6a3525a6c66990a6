"""SRIS-Net: hides 1 to 4 pictures robustly, in the Laplacian bands of a cover's features."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from errors import UserError
from models.base import Hidden, HidingModel, check_positive
from models.layers.critic import DualTaskCritic, Said
from models.layers.embedding import GLEM
from models.layers.multiscale import DMSubNet, activated, conv
from models.layers.pyramid import compose, decompose, down, up
from models.layers.quantize import Channel, transmit
from models.layers.similarity import ms_ssim
from models.layers.tiles import Tiles
from models.losses import Losses, Objective, squared, weighted

MOST_SECRETS = 4
PROGRESSIONS = ("coarse_to_fine", "fine_to_coarse", "none")
CRITICS = ("none", "logit", "map", "gate")


class SRISObjective(Objective):
    """SRIS-Net's objective (this project's reading: the paper's equations were not available).

        L = lc |stego - cover|^2 + ls |revealed - secrets|^2 + lm (1 - MS-SSIM(stego, cover))
          + la softplus(critic(stego)) + lp mean softplus(map(stego))           the stego passes as a cover

        critic: softplus(-critic(stego)) + softplus(critic(cover)), and the same of its map, means over pixels

    All are means. With softplus these are binary cross-entropies. The critic is above 0 if it sees a stego.
    Raises UserError for wrong scales or a wrong window.

    Weights, dimensionless unless stated:
        imperceptibility  lc
        reveal            ls
        structure         lm; 0: MS-SSIM is not computed
        scales            most scales of MS-SSIM, 1 to 5
        window            side of the window of MS-SSIM [px], odd, at least 3
        unseen            la, if the method has a critic
        unseen_pixels     lp, if the critic has a map
    """

    def __init__(
        self,
        imperceptibility: float = 1.0,
        reveal: float = 1.0,
        structure: float = 0.01,
        scales: int = 3,
        window: int = 7,
        unseen: float = 1e-4,
        unseen_pixels: float = 1e-4,
    ):
        super().__init__()
        if not 1 <= scales <= 5:
            raise UserError(f"scales: expected 1 to 5, got {scales}")
        if window < 3 or window % 2 == 0:
            raise UserError(f"window: expected an odd number of pixels, at least 3, got {window}")
        self.imperceptibility, self.reveal, self.structure = imperceptibility, reveal, structure
        self.scales, self.window = scales, window
        self.unseen, self.unseen_pixels = unseen, unseen_pixels

    def forward(self, hidden: Hidden, cover: Tensor, secrets: Tensor, progress: float) -> Losses:
        measured = {
            "imperceptibility": squared(hidden.stego, cover),
            "reveal": squared(hidden.revealed, secrets),
        }
        if self.structure:
            measured["structure"] = 1 - ms_ssim(hidden.stego, cover, self.scales, self.window)
        hits: dict[str, Tensor] = {}
        for name, what in (("unseen", "logits"), ("unseen_pixels", "scores")):
            if f"{what}_of_stego" in hidden.parts:
                measured[name] = F.softplus(hidden.parts[f"{what}_of_stego"]).mean()
                hits[f"hits_{what}"] = F.softplus(-hidden.parts[f"{what}_of_detached"]).mean()
                hits[f"false_alarms_{what}"] = F.softplus(hidden.parts[f"{what}_of_cover"]).mean()
        losses = weighted(measured, vars(self))
        losses.critic = Losses(sum(hits.values()), hits) if hits else None
        return losses


class SRISNet(HidingModel):
    """SRIS-Net for 1 to 4 secrets.

    A. Xiao, Z. Li, G. Wang, L. Zheng, H. Sun, "SRIS-Net: a robust image steganography algorithm based on
    feature score maps", Frontiers of Information Technology & Electronic Engineering 26(6), 2025.

        cover ---- stem -- features -- LPFDD: bands 1 (fine) to K (low) --|
        secrets -- stem -- features -- LPFDD -----------------------------|
        cover ---- critic -- score map, detached -------------------------|
                                                                          |
          coarse to fine:  stego band k = GLEM(cover band k, secret band k, up(stego band k+1), score)
                                                                          |
        stego, 8 bit -- cover + residual -- DMSubNet -- inverse of LPFDD -|
          |
        what arrives -- DMSubNet -- secrets^

    From the paper (its slides and abstract): the parts and their purposes. Its equations, sizes and losses
    were not available. So the inside of every part is this project's own reading; see its docstring.

    Arguments:
        num_secrets  N, 1 to 4
        width        channels of stems, bands and both DMSubNets at their full size
        fold         side of the squares of pixels that first become channels; 1: none. With 2, a pass costs a
                     quarter and the networks see twice as far
        levels       K, bands of LPFDD; 1: no decomposition
        progression  coarse_to_fine, fine_to_coarse, or none: each band by itself
        glem         branches: both, global or local
        depth        number of halvings in a DMSubNet
        blocks       blocks in sequence at each size of a DMSubNet
        block        msib, or plain: two convolutions
        fusion       sfm, add or concat
        tile         largest side of the tiles that are hidden separately [px]; 0: the whole picture. A
                     network trained on patches finds colours by the borders of its input (zero padding),
                     so it only reveals larger pictures well in tiles of the patches' size
        critic       none; logit: it tells stegos from covers; map: also pixel by pixel; gate: also, and
                     its map of the cover scales GLEM's gates, so the sender needs the critic
        critic_width  channels of the critic at the full size
        grey         true: hide grey pictures in grey pictures; of three equal channels, the networks see one

    Raises UserError for other values.
    """

    Objective = SRISObjective

    def __init__(
        self,
        *,
        num_secrets: int = 1,
        width: int = 32,
        fold: int = 1,
        levels: int = 3,
        progression: str = "coarse_to_fine",
        glem: str = "both",
        depth: int = 3,
        blocks: int = 1,
        block: str = "msib",
        fusion: str = "sfm",
        tile: int = 0,
        critic: str = "gate",
        critic_width: int = 32,
        grey: bool = False,
    ):
        super().__init__()
        check_positive(width=width, fold=fold, levels=levels, blocks=blocks, critic_width=critic_width)
        if not 1 <= num_secrets <= MOST_SECRETS:
            raise UserError(f"num_secrets: SRIS-Net hides 1 to {MOST_SECRETS}, got {num_secrets}")
        for name, value in (("depth", depth), ("tile", tile)):
            if value < 0:
                raise UserError(f"{name}: must be at least 0, got {value}")
        for name, value, known in (
            ("progression", progression, PROGRESSIONS),
            ("critic", critic, CRITICS),
        ):
            if value not in known:
                raise UserError(f"{name}: '{value}' is not one of {', '.join(known)}")
        self.num_secrets, self.fold, self.levels, self.grey = num_secrets, fold, levels, grey
        self.tile = tile
        self.progression, self.critic_says = progression, critic
        self.critic_hides = critic == "gate"
        self.patch_multiple = (fold, fold)
        side = fold * 2 ** max(levels - 1, depth)  # one value at the coarsest
        self.smallest = (side, side)
        values = (1 if grey else 3) * fold**2
        self.cover_stem = nn.ModuleList((conv(values, width, 3), conv(width, width, 3)))
        self.secret_stem = nn.ModuleList((conv(values * num_secrets, width, 3), conv(width, width, 3)))
        first = {"coarse_to_fine": levels - 1, "fine_to_coarse": 0}.get(progression)
        self.embedding = nn.ModuleList(
            GLEM(width, glem, assisted=first not in (None, k), scored=critic == "gate") for k in range(levels)
        )
        shape = dict(width=width, depth=depth, blocks=blocks, block=block, fusion=fusion)
        self.finishing = DMSubNet(width, values, **shape)
        self.revealing = DMSubNet(values, values * num_secrets, **shape)
        if critic != "none":
            self.critic = DualTaskCritic(critic_width)

    # --- the deployed path -------------------------------------------------------------------------

    def encode(self, cover: Tensor, secrets: Tensor) -> Tensor:
        score = self.score_map(cover) if self.critic_hides and self.critic else None
        return self.encode_with(cover, secrets, score)

    def decode(self, stego: Tensor) -> Tensor:
        tiles = Tiles(stego, self.tile, self.smallest[0])
        seen = tiles.cut(stego)
        revealed = self._unfolded(self.revealing(self._folded(seen)), *seen.shape[-2:])
        revealed = tiles.joined(revealed.to(stego.dtype) + 0.5)
        revealed = revealed.unflatten(1, (self.num_secrets, -1))
        return revealed.expand(-1, -1, 3, -1, -1)

    def score_map(self, pictures: Tensor) -> Tensor:
        """Return where the critic sees a stego: (B,3,H,W) in [0,1] -> (B,1,H,W), 0 (cover) to 1 (stego)."""
        return torch.sigmoid(self.critic(pictures).scores)

    def encode_with(self, cover: Tensor, secrets: Tensor, score: Tensor | None) -> Tensor:
        """Return the stego before rounding (B,3,H,W), for a cover and secrets as in `encode`.

        score: (B,1,H,W) in [0,1], without a gradient; None: GLEM works without it.
        """
        tiles = Tiles(cover, self.tile, self.smallest[0])
        whole, cover, secrets = cover, tiles.cut(cover), tiles.cut(secrets.flatten(1, 2))
        score = None if score is None else tiles.cut(score)
        bands = self._hidden_bands(
            decompose(_stem(self.cover_stem, self._folded(cover)), self.levels),
            decompose(_stem(self.secret_stem, self._folded(secrets)), self.levels),
            score,
        )
        residual = self._unfolded(self.finishing(compose(bands)), *cover.shape[-2:]).to(cover.dtype)
        return whole + tiles.joined(residual)

    # --- training ----------------------------------------------------------------------------------

    def forward(self, cover: Tensor, secrets: Tensor, channel: Channel | None = None) -> Hidden:
        if self.critic is None:
            return super().forward(cover, secrets, channel)
        of_cover: Said = self.critic(cover)
        score = torch.sigmoid(of_cover.scores.detach()) if self.critic_hides else None
        stego, received = transmit(self.encode_with(cover, secrets, score), channel)
        parts: dict[str, Tensor] = {}
        said = {"stego": self.critic(stego), "detached": self.critic(stego.detach()), "cover": of_cover}
        for of, one in said.items():
            parts[f"logits_of_{of}"] = one.logits
            if self.critic_says != "logit":
                parts[f"scores_of_{of}"] = one.scores
        return Hidden(stego, self.decode(received), parts)

    # -----------------------------------------------------------------------------------------------

    def _hidden_bands(
        self, covers: list[Tensor], secrets: list[Tensor], score: Tensor | None
    ) -> list[Tensor]:
        """Run GLEM on every band, in the order of `progression`. Input and output are from fine to coarse."""
        order = list(range(self.levels))
        if self.progression == "coarse_to_fine":
            order.reverse()
        stegos: dict[int, Tensor] = {}
        before: Tensor | None = None
        for k in order:
            assistant = None
            if before is not None and self.progression == "coarse_to_fine":
                assistant = up(before, like=covers[k])
            elif before is not None and self.progression == "fine_to_coarse":
                assistant = down(before)
            small = None if score is None else F.adaptive_avg_pool2d(score, covers[k].shape[-2:])
            stegos[k] = before = self.embedding[k](covers[k], secrets[k], assistant, small)
        return [stegos[k] for k in range(self.levels)]

    def _folded(self, pictures: Tensor) -> Tensor:
        """(B,3n,H,W) in [0,1] -> (B,3n fold^2,ceil(H/fold),ceil(W/fold)) around 0; grey: n fold^2."""
        if self.grey:
            pictures = pictures[:, ::3]
        gap = (0, -pictures.shape[-1] % self.fold, 0, -pictures.shape[-2] % self.fold)
        return F.pixel_unshuffle(F.pad(pictures - 0.5, gap, mode="replicate"), self.fold)

    def _unfolded(self, x: Tensor, height: int, width: int) -> Tensor:
        return F.pixel_shuffle(x, self.fold)[..., :height, :width]


def _stem(layers: nn.ModuleList, x: Tensor) -> Tensor:
    """Shallow spatial features: (B,C,h,w) -> (B,width,h,w)."""
    return layers[1](activated(layers[0](x)))
