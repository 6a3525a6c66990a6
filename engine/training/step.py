"""One step of a training: forward, losses, backward, update. It asks the device for nothing."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from engine.training.optimizers import Player, critic_player, method_player
from models import Hidden, HidingModel
from models.layers.quantize import Channel
from models.losses import Objective, losses_of
from options import Critic, Train

TOTAL, NORM, CRITIC = "total", "gradient_norm", "critic/"  # names of terms; the last one is a prefix


class Step:
    """What the trainer does with a batch, and scripts/benchmark.py times.

    A step whose loss or gradient is not finite leaves no trace: weights, buffers and the optimisers' state
    stay as they were. That is decided on the device; `bad_in_row`, `worst_in_row` and `skipped` (steps) are
    counted there too, so that the host reads them when it wants to and never has to wait.

    model: is trained; network: the same, perhaps compiled. half: bfloat16 inside the sub-networks.
    """

    def __init__(
        self,
        model: HidingModel,
        network: Callable[..., Hidden],
        train: Train,
        critic: Critic | None = None,
        half: bool = False,
    ):
        self.model, self.network, self.half = model, network, half
        self.limit = train.grad_clip or math.inf
        self.method = method_player(model, train)
        self.critic = critic_player(model, critic or Critic(), train)
        self.bad_in_row, self.worst_in_row, self.skipped = torch.zeros(
            3, dtype=torch.int64, device=model.device
        ).unbind()

    @property
    def players(self) -> list[Player]:
        return [player for player in (self.method, self.critic) if player is not None]

    def __call__(
        self,
        cover: Tensor,
        secrets: Tensor,
        objective: Objective,
        progress: float,
        rate: float,
        number: int = 0,
        channel: Channel | None = None,
    ) -> tuple[dict[str, Tensor], dict[str, float]]:
        """cover (B,3,H,W), secrets (B,N,3,H,W), uint8 on the device -> (terms, the method's terms' weights).

        rate: the learning rate. number: of the step in the run, by which the critic's turn is known.
        Terms are scalars on the device: those of the method, "total", "gradient_norm", and the critic's as
        "critic/...".
        """
        cover, secrets = cover.float() / 255, secrets.float() / 255
        for player in self.players:
            player.prepare(rate)
        buffers = [buffer.clone() for buffer in self.model.buffers()]
        with torch.autocast(cover.device.type, torch.bfloat16, enabled=self.half):
            losses = losses_of(self.network, objective, cover, secrets, progress, channel)
        assert (losses.critic is None) == (self.model.critic is None), "Losses.critic: for a critic"
        losses.total.backward()
        norm = self.method.clipped(self.limit)
        good = torch.isfinite(losses.total + norm)
        terms = {TOTAL: losses.total, **losses.terms, NORM: norm}
        if self.critic is not None and losses.critic is not None and self.critic.has_its_turn(number):
            # The method's loss went through the critic and left gradients there.
            self.critic.prepare(rate)
            losses.critic.total.backward()
            norm = self.critic.clipped(self.limit)
            good = good & torch.isfinite(losses.critic.total + norm)
            its = {TOTAL: losses.critic.total, **losses.critic.terms, NORM: norm}
            terms |= {f"{CRITIC}{name}": value for name, value in its.items()}
            self.critic.update(good)
        self.method.update(good)
        with torch.no_grad():
            # The forward pass has moved batch normalisation's means.
            for buffer, before in zip(self.model.buffers(), buffers, strict=True):
                buffer.copy_(torch.where(good, buffer, before))
            self._count(good)
        return {name: value.detach() for name, value in terms.items()}, losses.weights

    def _count(self, good: Tensor) -> None:
        bad = (~good).to(self.skipped.dtype)
        self.skipped += bad
        self.bad_in_row += 1
        self.bad_in_row *= bad
        torch.maximum(self.worst_in_row, self.bad_in_row, out=self.worst_in_row)
