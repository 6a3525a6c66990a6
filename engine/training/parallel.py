"""How several processes train one network: the same weights in all, other noise in each.

Each process works on its share of a step's groups. Before the update the gradients, and the terms of the
loss, become their means over all processes; then all decide and update alike.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from engine import processes
from engine.checkpoint import random_state, set_random_state
from engine.log import logger
from engine.training.optimizers import Player
from models import HidingModel
from options import TrainOptions

APART = 1_000_003  # between the seeds of two processes


def check_batch(options: TrainOptions) -> None:
    """The groups of a step are shared out equally among the processes, and then among the passes."""
    train = options.train
    parts = processes.size() * train.accumulate
    if train.batch_size % parts:
        low = train.batch_size // parts * parts
        near = " or ".join(str(groups) for groups in (low, low + parts) if groups)
        raise options.error(
            "train.batch_size",
            f"{train.batch_size} groups cannot be shared out equally among {processes.size()} processes x "
            f"{train.accumulate} passes (train.accumulate); nearest: {near}",
        )


def synchronised(model: HidingModel) -> HidingModel:
    """The model with the same weights in all processes, and batch normalisation over all of them.

    torch has that for GPUs alone. On CPUs each process normalises by its own share of the groups, and the
    running means are averaged after each step.
    """
    if processes.size() > 1:
        if model.device.type == "cuda":
            nn.SyncBatchNorm.convert_sync_batchnorm(model)
        elif any(isinstance(part, _BatchNorm) for part in model.modules()):
            logger.info("batch normalisation: over the groups of each process, as torch has it on CPUs")
    processes.spread(list(model.state_dict().values()))
    return model


def average_step(players: Sequence[Player], terms: dict[str, Tensor]) -> None:
    """Gradients and terms become their means over all processes; a NaN anywhere is one everywhere."""
    if processes.size() > 1:
        gradients = [p.grad for player in players for p in player.parameters if p.grad is not None]
        terms.update({name: value.clone() for name, value in terms.items()})
        processes.average([*gradients, *terms.values()])


def average_running_means(model: HidingModel) -> None:
    """Of batch normalisation that is not synchronised in the forward pass."""
    if processes.size() > 1:
        parts = [part for part in model.modules() if isinstance(part, _BatchNorm)]
        own = [part for part in parts if not isinstance(part, nn.SyncBatchNorm)]
        means = [mean for part in own for mean in (part.running_mean, part.running_var) if mean is not None]
        if means:
            processes.average(means)


def seed_process(seed: int, step: int = 0) -> None:
    """Begin this process's random numbers; those of a process that is alone begin with the run's seed."""
    torch.manual_seed(seed + APART * processes.rank() + 7 * step * (processes.rank() > 0))


def random_states() -> dict:
    """The random generators of all processes, for the saved state. All must call it."""
    first, *others = processes.gathered(random_state())
    return {"random": first, "random_others": others}


def restore_random(saved: dict, seed: int) -> None:
    """Go on where this process was. One that was not there then begins anew."""
    states = [saved["random"], *saved.get("random_others", [])]
    if processes.rank() < len(states):
        set_random_state(states[processes.rank()])
    else:
        seed_process(seed, saved["step"])
