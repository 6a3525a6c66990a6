"""Prepare all parts of a run on its device, before anything is written."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from channel.training import Channel
from data.loader import EvaluationGroups, TrainingGroups
from engine.build import build_training, choose_device
from engine.checkpoint import start_from
from engine.precision import choose
from engine.training.parallel import check_batch, synchronised
from errors import UserError
from models import Hidden, HidingModel
from models.losses import Objective
from options import TrainOptions


@dataclass
class Prepared:
    """The parts of a run, checked and on its device.

    network: the model, compiled if the options ask for it.
    objectives, channels: one for each phase; a channel of None leaves the stego unchanged.
    half: the floating-point type inside the network; None for float32.
    started: a log line about the weights that the run starts from; None for fresh weights.
    """

    device: torch.device
    model: HidingModel
    network: Callable[..., Hidden]
    objectives: list[Objective]
    channels: list[Channel | None]
    groups: TrainingGroups
    validation: EvaluationGroups | None
    half: torch.dtype | None
    started: str | None


def prepare(options: TrainOptions, experiments: Path, resume: bool) -> Prepared:
    """Build and check everything that can be the user's mistake.

    experiments: the folder that holds the runs, for train.start_from. resume: leave train.start_from alone.
    Raises UserError, with the file, key and value, for a mistake in the options.
    """
    train = options.train
    device = choose_device(options.device)
    if train.threads:
        torch.set_num_threads(train.threads)
    check_batch(options)
    parts = build_training(options)
    model = parts.model
    started = None
    if train.start_from and not resume:
        try:
            started = start_from(model, train.start_from, experiments)
        except UserError as error:
            raise options.error("train.start_from", str(error)) from error
    try:
        half = choose(train.precision, device)
    except UserError as error:
        raise options.error("train.precision", str(error)) from error
    model.to(device).train()
    for objective in parts.objectives:
        objective.to(device)
    if train.channels_last:
        model.to(memory_format=torch.channels_last)
    return Prepared(
        device, model, model, parts.objectives, parts.channels, parts.groups, parts.validation, half, started
    )


def on_all(prepared: Prepared, compiled: bool) -> Prepared:
    """Give all processes the same weights, and compile the network if asked. All processes must call it."""
    model = synchronised(prepared.model)
    if prepared.device.type == "cuda":
        torch.backends.cudnn.benchmark = True  # patches have one size, so the search for algorithms pays off
    # On a GPU, CUDA graphs record the kernels of a pass once and then launch them together.
    mode = "reduce-overhead" if prepared.device.type == "cuda" else None
    prepared.network = torch.compile(model, mode=mode) if compiled else model
    return prepared
