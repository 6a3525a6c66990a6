"""The step asks the device for nothing, and one that is not finite leaves no trace."""

import math

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from channel.training import Channel
from engine.training.step import Step
from models import build_model
from models.losses import Losses
from options.schema import Critic, Train
from tests.common import group
from tests.models.test_methods import SMALL, TRAINABLE

NOISE = Channel([{"type": "noise", "sigma": [1, 3]}])


class Waits(TorchDispatchMode):
    """Collects the operations for which the host waits on a GPU: they need a value from its memory."""

    NAMES = ("_local_scalar_dense", "is_nonzero", "nonzero", "masked_select", "equal", "_unique2")

    def __init__(self):
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        indices = args[1] if name in ("index", "index_put", "index_put_", "_index_put_impl_") else ()
        by_mask = any(i is not None and i.dtype in (torch.bool, torch.uint8) for i in indices)
        if name in self.NAMES or by_mask:
            self.seen.append(name)
        return func(*args, **(kwargs or {}))


def made(method: str, optimizer: str = "adam", **about):
    """(step, its objective, a batch) of a small network with fresh weights."""
    torch.manual_seed(0)
    model = build_model(method, **SMALL[method]).train()
    train = Train(steps=10, optimizer=optimizer, lr=1e-3, grad_clip=1.0)
    step = Step(model, model, train, Critic(lr=1e-3), **about)
    return step, model.Objective(*model.geometry), group(model, 32, 48, batch=2)


def everything(step: Step) -> list[torch.Tensor]:
    """Copies of all that a step may change, but for its counters."""
    states = [
        state for player in step.players for one, _ in player.optimizers for state in one.state.values()
    ]
    tensors = [*step.model.parameters(), *step.model.buffers()]
    return [x.detach().clone() for x in (*tensors, *(x for state in states for x in state.values()))]


def same(a: list[torch.Tensor], b: list[torch.Tensor]) -> bool:
    return len(a) == len(b) and all(map(torch.equal, a, b))


def counts(step: Step) -> tuple[int, int, int]:
    return step.bad_in_row.item(), step.worst_in_row.item(), step.skipped.item()


# --- no waiting -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "method, optimizer, channel, half",
    [(method, "adam", None, False) for method in TRAINABLE]
    + [("smilenet", "muon", NOISE, False), ("hinet", "muon", None, True), ("toy", "muon", NOISE, False)],
)
def test_a_step_asks_the_device_for_nothing(method, optimizer, channel, half):
    step, objective, batch = made(method, optimizer, half=half)
    with Waits() as waits:
        for number in range(2):
            drawn = channel and channel.drawn(0, number)
            step(*batch, objective, 0.1, 1e-3, number, drawn)
    assert waits.seen == []
    assert counts(step) == (0, 0, 0)


def test_waiting_would_be_noticed():
    step, objective, batch = made("toy")
    with Waits() as waits:
        terms, _ = step(*batch, objective, 0.1, 1e-3)
        assert terms["total"].item() > 0 and bool(terms["total"] > 0)
        torch.ones(4)[torch.ones(4) > 0]
    assert waits.seen == ["_local_scalar_dense", "_local_scalar_dense", "index"]


# --- steps that are not finite ------------------------------------------------------------------------

PLAYERS = [("hidden_image", "adam"), ("hinet", "muon"), ("toy", "adam"), ("guided_toy", "muon")]
SPOILED = [(*player, False) for player in PLAYERS] + [(*player, True) for player in PLAYERS[2:]]


class Spoiled(torch.nn.Module):
    """An objective of whose losses one is not finite: the method's or the critic's."""

    forward_arguments: dict = {}

    def __init__(self, objective, critic: bool, value: float):
        super().__init__()
        self.objective, self.of_critic, self.value = objective, critic, value

    def forward(self, *given) -> Losses:
        losses = self.objective(*given)
        spoiled = losses.critic if self.of_critic else losses
        spoiled.total = spoiled.total * self.value
        return losses


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("method, optimizer, of_critic", SPOILED)
def test_a_step_that_is_not_finite_leaves_all_as_it_was(method, optimizer, of_critic, value):
    step, objective, batch = made(method, optimizer)
    step(*batch, objective, 0.1, 1e-3, 0)
    before = everything(step)
    terms, _ = step(*batch, Spoiled(objective, of_critic, value), 0.1, 1e-3, 1)
    assert not math.isfinite(terms["critic/total" if of_critic else "total"].item())
    assert same(everything(step), before) and counts(step) == (1, 1, 1)
    step(*batch, objective, 0.1, 1e-3, 2)
    assert not same(everything(step), before) and counts(step) == (0, 1, 1)


@pytest.mark.parametrize("method, optimizer", PLAYERS)
def test_a_run_that_begins_with_a_bad_step_goes_on_as_if_without(method, optimizer):
    ends = []
    for bad in (True, False):
        step, objective, batch = made(method, optimizer)
        if bad:
            step(*batch, Spoiled(objective, False, math.nan), 0.1, 1e-3, 0)
        for number in (2, 4):
            step(*batch, objective, 0.1, 1e-3, number)
        ends.append(everything(step))
    assert same(*ends)


def test_bad_steps_are_counted_in_a_row():
    step, objective, batch = made("toy")
    seen = []
    for bad in (True, True, False, True, False, False):
        step(*batch, Spoiled(objective, False, math.nan) if bad else objective, 0.1, 1e-3)
        seen.append(counts(step))
    assert seen == [(1, 1, 1), (2, 2, 2), (0, 2, 2), (1, 2, 3), (0, 2, 3), (0, 2, 3)]


def test_a_batch_that_is_not_finite():
    step, objective, (cover, secrets) = made("toy")
    before = everything(step)[: len(list(step.model.parameters())) + len(list(step.model.buffers()))]
    step(cover.float() * math.nan, secrets, objective, 0.1, 1e-3)
    assert same(everything(step)[: len(before)], before) and counts(step) == (1, 1, 1)
