"""`train.minutes`: the end of a run, its schedule and its phases by the clock."""

import math

import pytest

from engine.states import load_state
from tests.engine.training.runs import stop_after


@pytest.fixture
def clock(monkeypatch):
    """A time that goes on by 10 seconds whenever the trainer looks at it."""
    now = [1000.0]

    def monotonic():
        now[0] += 10
        return now[0]

    monkeypatch.setattr("engine.training.trainer.time.monotonic", monotonic)


LONG = dict(
    steps=1000, minutes=1.0, schedule="cosine", final_lr=0.0, checkpoint_every=1000, validate_every=1000
)


def test_minutes_end_a_run_and_its_schedule(trainer, clock, tmp_path):
    run = trainer(**LONG)
    rates = []
    step = run._train_step
    run._train_step = lambda batch: (rates.append(run.learning_rate()), step(batch))[1]
    run.fit()
    assert run.step == 6 and run.finished()
    assert rates == pytest.approx([(1 + math.cos(math.pi * k / 6)) / 2 * 1e-3 for k in range(6)], rel=1e-2)
    log = (tmp_path / "runs/tiny/train.log").read_text()
    assert "step 6: validation" in log and "finished: 6 steps" in log
    assert load_state(tmp_path / "runs/tiny/checkpoints/last.state")["step"] == 6


def test_minutes_of_a_run_that_was_interrupted_go_on(trainer, clock):
    run = trainer(**LONG)
    stop_after(run, 2)
    run.fit()
    assert not run.finished() and run.seconds == 20
    run.close()
    run = trainer(**LONG, resume=True)
    run.fit()
    assert run.step == 6 and run.seconds == 60


def test_phases_follow_the_minutes(trainer, clock):
    phases = [{"name": "first", "share": 0.5}, {"name": "second", "share": 0.5}]
    run = trainer(**LONG, phases=phases)
    seen = []
    step = run._train_step
    run._train_step = lambda batch: (step(batch), seen.append(run.phase))[0]
    run.fit()
    assert seen == [0, 0, 0, 1, 1, 1]


def test_steps_end_a_run_before_its_minutes(trainer, clock):
    run = trainer(steps=3, minutes=1.0)
    run.fit()
    assert run.step == 3 and run.finished()
