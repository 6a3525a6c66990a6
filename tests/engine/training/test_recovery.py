"""Divergence: bad steps are skipped, explosions noticed and undone, and a run gives up if that fails."""

import math

import numpy as np
import pytest
import torch

from engine.checkpoint import read_metadata
from engine.states import load_state
from errors import NotFinite
from models.losses import Losses
from tests.engine.training.runs import nan_losses, same, spoil, weights


def test_a_bad_step_is_skipped_and_counted(trainer):
    run = trainer(steps=6)
    spoil(run, at={1})
    run.fit()
    assert run.step == 6 and run.skipped == 1 and run.returns == 0
    assert all(torch.isfinite(v).all() for v in weights(run).values())


def test_a_skipped_step_leaves_batch_normalisation_as_it_was(trainer):
    network = {"type": "hidden_image", "width": 4, "encoder_blocks": 1, "decoder_blocks": 1}
    run = trainer(network=network)
    batch = next(iter(run._batches()))
    fresh = weights(run)
    before = {name: value.clone() for name, value in fresh.items()}
    run.model.register_forward_pre_hook(lambda _, given: (given[0] * math.nan, *given[1:]))
    run._train_step(batch)
    assert not run._diverged() and run.skipped == run.bad_in_row == 1
    assert any("running_mean" in name for name in before) and same(weights(run), before)


def test_after_bad_steps_in_a_row_the_run_goes_back_at_half_the_rate(trainer, tmp_path):
    run = trainer(steps=10, checkpoint_every=4, schedule="constant")
    spoil(run, at={5, 6, 7})
    run.fit()
    assert run.step == 10 and run.returns == 1 and run.skipped == 3
    assert run.learning_rate() == pytest.approx(5e-4)
    log = (tmp_path / "runs/tiny/train.log").read_text()
    assert "diverged: back to step 4, learning rate x 0.5" in log
    assert load_state(tmp_path / "runs/tiny/checkpoints/last.state")["lr_factor"] == 0.5


def test_a_finite_explosion_is_noticed_and_undone(trainer, tmp_path):
    run = trainer(steps=120, checkpoint_every=60, validate_every=1000, log_every=10, schedule="constant")
    step = run._train_step

    def blown_up(batch):
        if run.step >= 70 and not run.returns:
            with torch.no_grad():
                for p in run.model.imse.parameters():
                    p.mul_(1.1)
        return step(batch)

    run._train_step = blown_up
    run.fit()
    log = (tmp_path / "runs/tiny/train.log").read_text()
    assert "times what it was): back to step 60, learning rate x 0.5" in log
    assert run.step == 120 and run.returns == 1 and run.skipped == 0


def test_a_checkpoint_of_a_rising_loss_is_not_what_a_run_goes_back_to(trainer, tmp_path):
    run = trainer(steps=110, checkpoint_every=85, validate_every=60, log_every=10, schedule="constant")
    forward = run.objectives[0].forward

    def blown_up(*inputs):
        losses = forward(*inputs)
        if run.step < 75 or run.returns:
            return losses
        return Losses(losses.total * 1000, {name: x * 1000 for name, x in losses.terms.items()})

    run.objectives[0].forward = blown_up
    run.fit()
    log = (tmp_path / "runs/tiny/train.log").read_text()
    assert "times what it was): back to step 60, learning rate x 0.5" in log  # not to 85
    last = load_state(tmp_path / "runs/tiny/checkpoints/last.state")
    assert run.step == 110 and run.returns == 1 and last["returns"] == 1 and last["lr_factor"] == 0.5


def test_neither_a_rising_weight_nor_a_negative_term_is_an_explosion(trainer):
    run = trainer(steps=120, checkpoint_every=200, validate_every=200, log_every=200)
    objective = run.objectives[0]
    forward = objective.forward

    def with_critic(*inputs):
        objective.reveal *= 1.05
        losses = forward(*inputs)
        critic = losses.total.detach() - 10
        return Losses(losses.total + critic, {**losses.terms, "critic": critic}, losses.weights)

    objective.forward = with_critic
    run.fit()
    assert objective.reveal > 300 and run.step == 120 and run.returns == 0


def test_a_phase_is_compared_with_its_own_past_alone(trainer):
    """Its boundary lies between two lines of the log, when steps of both phases wait to be read."""
    phases = [
        {"name": "first", "share": 0.5, "loss": {"reveal": 0.0}},
        {"name": "second", "share": 0.5},
    ]
    run = trainer(steps=12, log_every=8, validate_every=100, checkpoint_every=100, phases=phases)
    run.fit()
    assert run.trend.phase == 1 and run.trend.count == 6 and run.trend.weights["reveal"] == 1.0


@pytest.mark.parametrize("resumed", [False, True])
def test_the_best_of_a_phase_without_a_channel_gives_way_to_one_with_it(trainer, monkeypatch, resumed):
    """A stego that survives is worse where nothing attacks; the best is the best of what was trained for."""
    scores = iter([70.0, 60.0, 50.0, 55.0])
    monkeypatch.setattr(
        "engine.training.trainer.validate",
        lambda *_: ({"cover_stego": next(scores), "secret_revealed": 0.0}, np.zeros((8, 8, 3), np.uint8)),
    )
    phases = [
        {"name": "clean", "share": 0.5, "channel": []},
        {"name": "channel", "share": 0.5, "channel": [{"type": "mean"}]},
    ]
    run = trainer(steps=8, phases=phases)
    if resumed:  # at the border: the second phase begins in a new process
        run.finished = lambda: run.step >= 4
        run.fit()
        run.close()
        run = trainer(steps=8, phases=phases, resume=True)
    run.fit()
    assert (run.best, run.best_phase) == (55.0, 1)
    assert read_metadata(run.best_weights())["step"] == "8"


def test_validation_of_a_broken_network_does_not_end_the_run(trainer, tmp_path):
    run = trainer()
    with torch.no_grad():
        run.model.imse.blocks[0].phi.conv1.bias.fill_(math.nan)
    run._validate(None, run.validation)
    assert run.best == -math.inf and run.model.training
    assert "validation: not possible: " in (tmp_path / "runs/tiny/train.log").read_text()


def test_weights_that_are_not_finite_never_replace_a_checkpoint(trainer, tmp_path):
    run = trainer()
    run._save("last")
    folder = tmp_path / "runs/tiny/checkpoints"
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    with torch.no_grad():
        run.model.imse.blocks[0].phi.conv1.bias.fill_(math.nan)
    with pytest.raises(NotFinite):
        run._save("last")
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


def test_a_run_that_never_recovers_gives_up(trainer):
    run = trainer(steps=6)
    run.objectives[0].forward = lambda *_: nan_losses(run)
    with pytest.raises(RuntimeError, match="gave up"):
        run.fit()
