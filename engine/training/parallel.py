"""Train one network with several processes: all have the same weights, each draws its own noise.

Each process works on its share of a step's groups. Before the update, gradients and loss terms are averaged
over all processes, so that all make the same decision and the same update.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from engine import processes
from engine.log import logger
from engine.states import random_state, set_random_state
from engine.training.optimizers import Player
from models import HidingModel
from options import TrainOptions

APART = 1_000_003  # difference between the seeds of two processes


def check_batch(options: TrainOptions) -> None:
    """Raise OptionsError unless a step's groups divide equally among the processes and then the passes."""
    train = options.train
    parts = processes.size() * train.accumulate
    if train.batch_size % parts:
        low = train.batch_size // parts * parts
        near = " or ".join(str(groups) for groups in (low, low + parts) if groups)
        raise options.error(
            "train.batch_size",
            f"{train.batch_size} groups cannot be divided equally among {processes.size()} processes x "
            f"{train.accumulate} passes (train.accumulate); nearest: {near}",
        )


def synchronised(model: HidingModel) -> HidingModel:
    """Give the model the same weights in all processes, and batch normalisation across them.

    torch synchronises batch normalisation only on GPUs. On CPUs each process normalises over its own share of
    the groups, and the running means are averaged after each step.
    """
    if processes.size() > 1:
        if model.device.type == "cuda":
            nn.SyncBatchNorm.convert_sync_batchnorm(model)
        elif any(isinstance(part, _BatchNorm) for part in model.modules()):
            logger.info(
                "batch normalisation: over each process's own groups (torch synchronises it on GPUs only)"
            )
    processes.spread(list(model.state_dict().values()))
    return model


def average_step(players: Sequence[Player], terms: dict[str, Tensor]) -> None:
    """Replace gradients and terms by their means over all processes; a NaN in one becomes a NaN in all."""
    if processes.size() > 1:
        gradients = [p.grad for player in players for p in player.parameters if p.grad is not None]
        terms.update({name: value.clone() for name, value in terms.items()})
        processes.average([*gradients, *terms.values()])


def average_running_means(model: HidingModel) -> None:
    """Average the running means of batch normalisation that the forward pass does not synchronise."""
    if processes.size() > 1:
        parts = [part for part in model.modules() if isinstance(part, _BatchNorm)]
        own = [part for part in parts if not isinstance(part, nn.SyncBatchNorm)]
        means = [mean for part in own for mean in (part.running_mean, part.running_var) if mean is not None]
        if means:
            processes.average(means)


def seed_process(seed: int, step: int = 0) -> None:
    """Seed this process's random numbers; the first process uses the run's seed itself."""
    torch.manual_seed(seed + APART * processes.rank() + 7 * step * (processes.rank() > 0))


def random_states() -> dict:
    """The states of all processes' random generators, for the saved state. All processes must call it."""
    first, *others = processes.gathered(random_state())
    return {"random": first, "random_others": others}


def restore_random(saved: dict, seed: int) -> None:
    """Restore this process's random generators; a process that did not exist at the time is seeded afresh."""
    states = [saved["random"], *saved.get("random_others", [])]
    if processes.rank() < len(states):
        set_random_state(states[processes.rank()])
    else:
        seed_process(seed, saved["step"])
