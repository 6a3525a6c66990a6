"""What the tests do to a run, and how they compare weights."""

import math

import torch

from models.losses import Losses


def weights(trainer) -> dict[str, torch.Tensor]:
    return trainer.model.state_dict()


def same(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def stop_after(run, steps: int) -> None:
    """Make the run behave as if Ctrl-C were pressed during its step number `steps`."""
    import signal

    step = run._train_step

    def counted(batch):
        terms = step(batch)
        if run.step + 1 == steps:
            signal.raise_signal(signal.SIGINT)
        return terms

    run._train_step = counted


def spoil(run, at: set[int]) -> None:
    """Make the loss NaN at these steps, the first time each is reached."""
    left = set(at)
    forward = run.objectives[0].forward

    def spoiled(*arguments):
        if run.step in left:
            left.remove(run.step)
            return nan_losses(run)
        return forward(*arguments)

    run.objectives[0].forward = spoiled


def nan_losses(run) -> Losses:
    total = sum(p.sum() for p in run.model.parameters()) * math.nan
    return Losses(total, {"total": total})


def record_losses(run) -> list[float]:
    losses, step = [], run._train_step

    def recorded(batch):
        step(batch)
        losses.append(run.waiting[-1].terms["total"].item())

    run._train_step = recorded
    return losses
