"""One training step: forward pass, losses, backward pass, update. It never waits for the device."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from channel.training import Drawn
from engine.training.average import Average
from engine.training.optimizers import Player, critic_player, method_player
from engine.training.parallel import average_running_means, average_step
from models import Hidden, HidingModel
from models.losses import Objective, losses_of
from options import Critic, Train

TOTAL, NORM, CRITIC = "total", "gradient_norm", "critic/"  # names of terms; CRITIC is a prefix


class Step:
    """What the trainer does with each batch, and what scripts/benchmark.py times.

    A step whose loss or gradient is not finite changes nothing: weights, buffers, their running mean and the
    optimisers' state stay as they were. The device decides this and counts the steps in `bad_in_row`,
    `worst_in_row` and `skipped`. The host reads these when it likes and never has to wait. With several
    processes, each has a share of the batch, and the means over all of them decide, so that all processes
    take or skip the same steps.

    With float16 the loss is multiplied by a scale, so that small gradients do not become 0. A step that
    overflows is skipped; it does not count as bad in a row as long as a smaller scale can avoid the overflow.

    model: the network to train. network: the same network, possibly compiled.
    train, critic: sections of the option file; None stands for the critic's defaults.
    half: floating-point type inside the sub-networks, bfloat16 or float16; None for float32.
    """

    def __init__(
        self,
        model: HidingModel,
        network: Callable[..., Hidden],
        train: Train,
        critic: Critic | None = None,
        half: torch.dtype | None = None,
    ):
        self.model, self.network, self.half = model, network, half
        self.limit = train.grad_clip or math.inf
        self.passes = train.accumulate
        self.method = method_player(model, train)
        self.critic = critic_player(model, critic or Critic(), train)
        self.average = Average(model, train.ema) if train.ema is not None else None
        self.scaler = torch.amp.GradScaler(model.device.type, enabled=half == torch.float16)
        self.bad_in_row, self.worst_in_row, self.skipped = torch.zeros(
            3, dtype=torch.int64, device=model.device
        ).unbind()

    @property
    def players(self) -> list[Player]:
        """The method's parameters, then the critic's if there is one."""
        return [player for player in (self.method, self.critic) if player is not None]

    def __call__(
        self,
        cover: Tensor,
        secrets: Tensor,
        objective: Objective,
        progress: float,
        rate: float,
        number: int = 0,
        channel: Drawn | None = None,
    ) -> tuple[dict[str, Tensor], dict[str, float]]:
        """Train on one batch; return the loss terms and the weights of the method's terms.

        cover, secrets: (B,3,H,W) and (B,N,3,H,W), uint8 on the device.
        progress: share of the run that is done, 0 to 1.
        rate: the learning rate. number: the step in the run; it decides whether the critic is trained.
        channel: the attack on the stegos of this step; None for no attack.

        The terms are scalars on the device: the method's own, "total", "gradient_norm", and the critic's with
        the prefix "critic/". Each is the mean over the passes that the batch is split into.
        """
        for player in self.players:
            player.prepare(rate)
        buffers = [buffer.clone() for buffer in self.model.buffers()]
        its_turn = self.critic is not None and self.critic.has_its_turn(number)
        sums: dict[str, Tensor] = {}
        first = 0
        for some, theirs in zip(cover.chunk(self.passes), secrets.chunk(self.passes), strict=True):
            drawn = None if channel is None else channel.from_picture(first)
            terms, weights = self._gradients(some, theirs, objective, progress, drawn, its_turn)
            sums = {name: sums.get(name, 0) + value / self.passes for name, value in terms.items()}
            first += len(some)
        good = self._update(sums)
        average_running_means(self.model)
        with torch.no_grad():
            # The forward pass has already updated batch normalisation's means.
            for buffer, before in zip(self.model.buffers(), buffers, strict=True):
                buffer.copy_(torch.where(good, buffer, before))
        if self.average is not None:
            self.average.update(number, good)
        return sums, weights

    def _gradients(
        self,
        cover: Tensor,
        secrets: Tensor,
        objective: Objective,
        progress: float,
        channel: Drawn | None,
        its_turn: bool,
    ) -> tuple[dict[str, Tensor], dict[str, float]]:
        """Run one pass and add its share to each player's gradients; return terms and weights as __call__."""
        cover, secrets = cover.float() / 255, secrets.float() / 255
        if self.network is not self.model:
            torch.compiler.cudagraph_mark_step_begin()  # the last pass's outputs are no longer needed
        with torch.autocast(cover.device.type, self.half, enabled=self.half is not None):
            losses = losses_of(self.network, objective, cover, secrets, progress, channel)
        assert (losses.critic is None) == (self.model.critic is None), (
            "Losses.critic is for a method's critic"
        )
        # The method's loss passes through the critic; without `inputs` it would leave gradients there.
        self._backward(losses.total, self.method)
        terms = {TOTAL: losses.total, **losses.terms}
        if self.critic is not None and losses.critic is not None and its_turn:
            self._backward(losses.critic.total, self.critic)
            its = {TOTAL: losses.critic.total, **losses.critic.terms}
            terms |= {f"{CRITIC}{name}": value for name, value in its.items()}
        return {name: value.detach() for name, value in terms.items()}, losses.weights

    def _backward(self, loss: Tensor, player: Player) -> None:
        trained = [p for p in player.parameters if p.requires_grad]
        self.scaler.scale(loss / self.passes).backward(inputs=trained)

    def _update(self, terms: dict[str, Tensor]) -> Tensor:
        """Clip, decide, update, count; add gradient norms to `terms`. Returns whether the step was good."""
        playing = [(self.method, "")]
        if self.critic is not None and f"{CRITIC}{TOTAL}" in terms:
            playing.append((self.critic, CRITIC))
        average_step([player for player, _ in playing], terms)
        good = torch.ones((), dtype=torch.bool, device=self.model.device)
        finite = good
        for player, prefix in playing:
            for optimizer, _ in player.optimizers:
                self.scaler.unscale_(optimizer)
            terms[f"{prefix}{NORM}"] = norm = player.clipped(self.limit)
            finite = finite & torch.isfinite(terms[f"{prefix}{TOTAL}"])
            good = good & torch.isfinite(terms[f"{prefix}{TOTAL}"] + norm)
        for player, _ in reversed(playing):
            player.update(good)
        overflow: Tensor | bool = False
        if self.scaler.is_enabled():
            overflow = finite & ~good & (self.scaler.scale(torch.ones_like(norm)) > 1)
            self.scaler.update()
        self._count(good, overflow)
        return good

    def _count(self, good: Tensor, overflow: Tensor | bool) -> None:
        self.skipped += ~good
        self.bad_in_row += 1
        self.bad_in_row *= ~(good | overflow)
        torch.maximum(self.worst_in_row, self.bad_in_row, out=self.worst_in_row)
