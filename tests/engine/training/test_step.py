"""The step asks the device for nothing, and one that is not finite leaves no trace."""

import math

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from channel.training import Channel
from engine.training.step import Step
from models import build_model
from models.layers.recompute import recompute_blocks
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


def made(method: str, optimizer: str = "adam", changes=None, **about):
    """(step, its objective, a batch) of a small network with fresh weights; changes: of the train section."""
    torch.manual_seed(0)
    model = build_model(method, **SMALL[method]).train()
    train = Train(**{"steps": 10, "optimizer": optimizer, "lr": 1e-3, "grad_clip": 1.0, **(changes or {})})
    recompute_blocks(model, train.checkpoint_blocks)
    step = Step(model, model, train, Critic(lr=1e-3), **about)
    return step, model.Objective(*model.geometry), group(model, 32, 48, batch=2)


def everything(step: Step) -> list[torch.Tensor]:
    """Copies of all that a step may change, but for its counters."""
    states = [
        state for player in step.players for one, _ in player.optimizers for state in one.state.values()
    ]
    tensors = [*step.model.parameters(), *step.model.buffers()]
    tensors += step.average.model.parameters() if step.average else ()
    return [x.detach().clone() for x in (*tensors, *(x for state in states for x in state.values()))]


def same(a: list[torch.Tensor], b: list[torch.Tensor]) -> bool:
    return len(a) == len(b) and all(map(torch.equal, a, b))


def counts(step: Step) -> tuple[int, int, int]:
    return step.bad_in_row.item(), step.worst_in_row.item(), step.skipped.item()


# --- no waiting -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "method, optimizer, channel, half",
    [(method, "adam", None, None) for method in TRAINABLE]
    + [
        ("smilenet", "muon", NOISE, None),
        ("hinet", "muon", None, torch.bfloat16),
        ("toy", "muon", NOISE, None),
    ]
    + [("hinet", "adam", None, torch.float16), ("toy", "muon", None, torch.float16)],
)
def test_a_step_asks_the_device_for_nothing(method, optimizer, channel, half):
    changes = dict(ema=0.9, batch_size=2, accumulate=2, checkpoint_blocks=True)
    step, objective, batch = made(method, optimizer, changes, half=half)
    with Waits() as waits:
        for number in range(2):
            drawn = channel and channel.drawn(0, number)
            step(*batch, objective, 0.1, 1e-3, number, drawn)
    assert waits.seen == []
    assert counts(step)[:2] == (0, 0)  # with float16, the first scale may be too large


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
    step, objective, batch = made(method, optimizer, {"ema": 0.9, "batch_size": 2, "accumulate": 2})
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


# --- passes, running mean, scale ----------------------------------------------------------------------


@pytest.mark.parametrize("method", ["smilenet", "toy"])
def test_a_batch_in_several_passes_trains_as_in_one(method):
    """With the same noise on the same pictures, and for the critic too."""
    ends = []
    for passes in (1, 2):
        step, objective, _ = made(method, changes={"batch_size": 4, "accumulate": passes})
        for part in step.model.modules():
            if isinstance(part, torch.nn.BatchNorm2d):
                part.eval()  # in training it sees the pass, not the batch
        batch = group(step.model, 32, 48, batch=4)
        terms, _ = step(*batch, objective, 0.1, 1e-3, 0, NOISE.drawn(0, 0))
        gradients = [p.grad for player in step.players for p in player.parameters]
        ends.append((terms, gradients))
    (whole, expected), (split, gradients) = ends
    assert whole.keys() == split.keys() and len(whole) > 3
    for name in whole:
        torch.testing.assert_close(split[name], whole[name], rtol=1e-4, atol=1e-6)
    for one, other in zip(gradients, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-6)


def test_the_running_mean_follows_its_equation():
    step, objective, batch = made("hinet", changes={"ema": 0.4})
    expected = [p.detach().clone() for p in step.model.parameters()]
    for number, decay in ((0, 1 / 10), (1, 2 / 11), (2, 3 / 12), (9, 0.4)):
        step(*batch, objective, 0.1, 1e-3, number)
        now = [p.detach() for p in step.model.parameters()]
        expected = [decay * mean + (1 - decay) * new for mean, new in zip(expected, now, strict=True)]
    means = list(step.average.model.parameters())
    for mean, value, new in zip(means, expected, now, strict=True):
        torch.testing.assert_close(mean, value)
        assert not torch.equal(mean, new) and not mean.requires_grad


def test_a_scale_that_is_too_large_is_halved_and_is_no_divergence():
    step, objective, batch = made("hinet", half=torch.float16)
    step.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**60)
    before = everything(step)
    step(*batch, objective, 0.1, 1e-3)
    assert step.scaler.get_scale() == 2.0**59
    assert counts(step) == (0, 0, 1) and same(everything(step)[: len(before)], before)
    step.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    step(*batch, objective, 0.1, 1e-3)
    assert counts(step) == (0, 0, 1) and not same(everything(step)[: len(before)], before)
    step(*batch, Spoiled(objective, False, math.nan), 0.1, 1e-3)
    assert counts(step) == (1, 1, 2)  # a loss that is not finite is not the scale's fault


def test_half_precision_has_nearly_the_gradients_of_single_precision():
    gradients = {}
    for half in (None, torch.float16, torch.bfloat16):
        step, objective, batch = made("smilenet", changes={"grad_clip": 0.0}, half=half)
        step(*batch, objective, 0.1, 1e-3)
        gradients[half] = torch.cat([p.grad.flatten() for p in step.model.parameters()])
    norm = gradients[None].norm()
    assert (gradients[torch.float16] - gradients[None]).norm() / norm < 0.02
    assert (gradients[torch.bfloat16] - gradients[None]).norm() / norm < 0.1
