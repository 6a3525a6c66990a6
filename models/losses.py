"""Training objectives: objective(hidden, cover, secrets, progress) -> Losses. hidden: a forward's result."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from errors import UserError
from models.base import Hidden
from models.layers.mosaic import small_pictures
from models.layers.quantize import Channel
from models.layers.wavelet import haar


@dataclass
class Losses:
    """The losses of one step. `total` is minimised; it is the sum of the weighted `terms`.

    weights: the factor of each term in this step; 1 for a term that it does not name.
    critic: the losses of the method's critic, in every step of a method that has one. They must not depend
    on the method's parameters: detach the stego.
    """

    total: Tensor
    terms: dict[str, Tensor]
    weights: dict[str, float] = field(default_factory=dict)
    critic: "Losses | None" = None


def weighted(measured: dict[str, Tensor], weights: Mapping[str, float]) -> Losses:
    """Multiply each term by the weight of the same name, and sum them. `weights` may hold other names."""
    used = {name: weights[name] for name in measured}
    terms = {name: weight * measured[name] for name, weight in used.items()}
    return Losses(sum(terms.values()), terms, used)


class Objective(nn.Module):
    """The training objective of a method, built as `method.Objective(*method.geometry, **weights)`.

    A subclass takes facts about the network (rows, cols) as positional-only arguments, and its weights as
    keyword arguments, which an option file may set. `forward_arguments` are keyword arguments for the
    method's forward.
    """

    forward_arguments: dict[str, Any] = {}

    def forward(self, hidden: Hidden, cover: Tensor, secrets: Tensor, progress: float) -> Losses:
        """Compute the losses of one step.

        hidden: the result of forward for cover (B,3,H,W) and secrets (B,N,3,H,W) in [0,1]. progress: the
        share of the run that is done, 0 to 1.
        """
        raise NotImplementedError


def losses_of(
    network: Callable[..., Hidden],
    objective: Objective,
    cover: Tensor,
    secrets: Tensor,
    progress: float,
    channel: Channel | None = None,
) -> Losses:
    """Run one training pass: the forward of a HidingModel, compiled or not, then its objective.

    cover (B,3,H,W) and secrets (B,N,3,H,W) in [0,1]. progress: share of the training done, 0 to 1.
    """
    hidden = network(cover, secrets, channel, **objective.forward_arguments)
    return objective(hidden, cover, secrets, progress)


def squared(x: Tensor, y: Tensor) -> Tensor:
    """Mean of (x - y)^2 over all values; 0 if equal."""
    return F.mse_loss(x, y)


def charbonnier(x: Tensor, y: Tensor, epsilon: float = 1e-3) -> Tensor:
    """Mean of sqrt((x - y)^2 + eps^2) - eps, an L1 that is smooth at 0 (Charbonnier, 1994); 0 if equal."""
    return (torch.sqrt((x - y) ** 2 + epsilon**2) - epsilon).mean()


DISTANCES = {"l1": F.l1_loss, "l2": squared, "charbonnier": charbonnier}


def distance_called(name: str) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the distance with this name: l1, l2 or charbonnier. Raises UserError for another name."""
    if name not in DISTANCES:
        raise UserError(f"distance: '{name}' is not one of {', '.join(DISTANCES)}")
    return DISTANCES[name]


def low_band(stego: Tensor, cover: Tensor) -> Tensor:
    """Mean of (LL(stego) - LL(cover))^2 of the one-level Haar transform (HiNet eq. 5); 0 if equal.

    (B,3,H,W) twice -> scalar. It is divided by 4, because LL is twice the local mean, and so has the same
    unit as the squared error of the pictures. An odd last row or column is left out.
    """
    difference = (stego - cover)[..., : stego.shape[-2] // 2 * 2, : stego.shape[-1] // 2 * 2]
    return (haar(difference)[:, :3] ** 2).mean() / 4


class PairObjective(Objective):
    """The loss of methods that only hide and reveal (Baluja 2017, eq. 1).

        L = lc |stego - cover|^2 + beta |revealed - secrets|^2

    Both are means per value; identical pictures give 0.

    Arguments (weights, dimensionless):
        imperceptibility  lc
        reveal            beta
    """

    def __init__(self, imperceptibility: float = 1.0, reveal: float = 1.0):
        super().__init__()
        self.imperceptibility, self.reveal = imperceptibility, reveal

    def forward(self, hidden: Hidden, cover: Tensor, secrets: Tensor, progress: float) -> Losses:
        measured = {
            "imperceptibility": squared(hidden.stego, cover),
            "reveal": squared(hidden.revealed, secrets),
        }
        return weighted(measured, vars(self))


class UnifiedObjective(Objective):
    """SMILENet's unified objective (this project's reading; the paper's equation was not available).

        L = lc |stego - cover|^2 + lf |LL(stego) - LL(cover)|^2       the stego looks like the cover
          + ls rho(revealed - secrets)                                the secrets come back
          + lm(t) |mosaic - bicubic(secrets)|^2                       the mosaic is readable, early on
          + lr |mosaic^ - mosaic|^2                                   IMSE alone carries the mosaic
          + lz (|z_mosaic|^2 + |z_embed|^2)                           the dropped parts hold nothing

    All terms are means per value. Sources: HiNet eq. 3-6 (first line), InvMIHNet eq. 3 (lm = lambda_2,
    lr = lambda_3; lz replaces its Jensen-Shannon term, as in its released code).

    rows, cols: m and n of the network. Weights, dimensionless unless stated:
        imperceptibility  lc
        low_frequency     lf
        reveal            ls
        distance          rho: l1, l2 or charbonnier
        readable_mosaic   lm at the start of the run
        readable_until    share of the run (0 to 1) after which lm has fallen linearly to 0
        mosaic_recovery   lr
        latent            lz
    """

    def __init__(
        self,
        rows: int,
        cols: int,
        /,
        imperceptibility: float = 1.0,
        low_frequency: float = 1.0,
        reveal: float = 1.0,
        distance: str = "l2",
        readable_mosaic: float = 1.0,
        readable_until: float = 0.5,
        mosaic_recovery: float = 1.0,
        latent: float = 0.1,
    ):
        super().__init__()
        self.rows, self.cols = rows, cols
        self.imperceptibility, self.low_frequency = imperceptibility, low_frequency
        self.reveal, self.distance = reveal, distance_called(distance)
        self.readable_mosaic, self.readable_until = readable_mosaic, readable_until
        self.mosaic_recovery, self.latent = mosaic_recovery, latent

    def forward(self, hidden: Hidden, cover: Tensor, secrets: Tensor, progress: float) -> Losses:
        mosaic, recovered = hidden.parts["mosaic"], hidden.parts["mosaic_revealed"]
        z_mosaic, z_embed = hidden.parts["z_mosaic"], hidden.parts["z_embed"]
        measured = {
            "imperceptibility": squared(hidden.stego, cover),
            "low_frequency": low_band(hidden.stego, cover),
            "reveal": self.distance(hidden.revealed, secrets),
            "mosaic_recovery": squared(recovered, mosaic),
            "latent": z_mosaic.square().mean() + z_embed.square().mean(),
        }
        readable = self.readable_mosaic * max(0.0, 1 - progress / max(self.readable_until, 1e-9))
        if readable:
            height, width = mosaic.shape[-2:]
            small = small_pictures(secrets[..., :height, :width], self.rows, self.cols)
            measured["readable_mosaic"] = squared(mosaic, small)
        return weighted(measured, {**vars(self), "readable_mosaic": readable})


class LatticeObjective(Objective):
    """SMILENet-L's objective. It covers only the secrets, because the lattice fixes the stego's error.

        L = ls rho(revealed - secrets) + lo |max(|A x| - 1, 0)|^2

    The second term keeps small pictures within the range of the companding. Both are means per value.

    Arguments (weights, dimensionless):
        reveal     ls
        distance   rho: l1, l2 or charbonnier
        overshoot  lo
    """

    def __init__(self, reveal: float = 1.0, distance: str = "l2", overshoot: float = 10.0):
        super().__init__()
        self.reveal, self.distance, self.overshoot = reveal, distance_called(distance), overshoot

    def forward(self, hidden: Hidden, cover: Tensor, secrets: Tensor, progress: float) -> Losses:
        measured = {
            "reveal": self.distance(hidden.revealed, secrets),
            "overshoot": hidden.parts["overshoot"],
        }
        return weighted(measured, vars(self))
