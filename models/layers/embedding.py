"""GLEM: embeds a secret's features into a cover's, pixel by pixel and channel by channel."""

import torch
from torch import Tensor, nn

from errors import UserError
from models.layers.multiscale import activated, conv

BRANCHES = ("both", "global", "local")


class GLEM(nn.Module):
    """Global-local embedding: cover X, secret Y, assistant P (B,C,h,w) -> stego features (B,C,h,w).

        M = sigmoid((L(X + Y + P) + G(mean(X + Y + P))) (1 + g score)),    M X + (1 - M) (Y + P)

    L, the local branch, is two 1x1 convolutions on each pixel. G, the global branch, is two on the mean over
    all pixels: AFF with MS-CAM (Dai et al., WACV 2021), without its normalisation. P is the result of the
    previous band, resized to this one; None: no P. score (B,1,h,w) in [0,1]; None: 0. g is learned and starts
    at 0, because the paper does not say whether a high score asks for more or for less.

    width     C
    branches  "both", "global" or "local"
    assisted  whether there is a P
    scored    whether there is a score
    Raises UserError for other branches.
    """

    def __init__(self, width: int, branches: str = "both", assisted: bool = True, scored: bool = False):
        super().__init__()
        if branches not in BRANCHES:
            raise UserError(f"glem: '{branches}' is not one of {', '.join(BRANCHES)}")
        narrow = max(4, width // 4)
        self.local = self._branch(width, narrow) if branches != "global" else None
        self.whole = self._branch(width, narrow) if branches != "local" else None
        self.assistance = conv(width, width, 1) if assisted else None
        self.gain = nn.Parameter(torch.zeros(())) if scored else None

    @staticmethod
    def _branch(width: int, narrow: int) -> nn.ModuleList:
        return nn.ModuleList((conv(width, narrow, 1), conv(narrow, width, 1)))

    def forward(
        self, cover: Tensor, secret: Tensor, assistant: Tensor | None, score: Tensor | None
    ) -> Tensor:
        if self.assistance is not None and assistant is not None:
            secret = secret + self.assistance(assistant)
        both = cover + secret
        gate = torch.zeros((), dtype=both.dtype, device=both.device)
        for branch, seen in (
            (self.local, both),
            (self.whole, both.mean(dim=(-2, -1), keepdim=True)),
        ):
            if branch is not None:
                gate = gate + branch[1](activated(branch[0](seen)))
        if self.gain is not None and score is not None:
            gate = gate * (1 + self.gain * score)
        share = torch.sigmoid(gate)
        return share * cover + (1 - share) * secret
