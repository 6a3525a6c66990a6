"""Pure functions for a run's position in its schedule, its phase and its learning rate."""

import math

from options import Train


def position(train: Train, step: int, seconds: float) -> int:
    """The run's place in schedule and phases [steps]: its step, or its elapsed time if that is further along.

    seconds: duration of the run so far. It counts only if `train.minutes` is set.
    """
    if train.minutes is None:
        return step
    elapsed = int(seconds / (60 * train.minutes) * train.steps)
    return min(max(step, elapsed), train.steps)


def phase_at(train: Train, place: int) -> int:
    """The index of the phase at a place [steps]."""
    end = 0.0
    for k, phase in enumerate(train.phases):
        end += phase.share
        if place < round(end * train.steps):
            return k
    return len(train.phases) - 1


def rate_at(train: Train, step: int, place: int) -> float:
    """Adam's learning rate at a place [steps]. The warm-up follows `step`, whatever the elapsed time."""
    rate = train.lr * train.phases[phase_at(train, place)].lr_scale
    if step < train.warmup:
        return rate * (step + 1) / train.warmup
    if train.schedule == "halving":
        return rate * 0.5 ** (place // train.halve_every)
    if train.schedule == "cosine":
        done = max(0, place - train.warmup) / max(1, train.steps - train.warmup)
        return rate * (train.final_lr + (1 - train.final_lr) * (1 + math.cos(math.pi * done)) / 2)
    return rate
