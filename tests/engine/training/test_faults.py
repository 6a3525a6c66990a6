"""What long runs meet: kills at any moment, damaged states, dead loaders, NaN, explosions."""

import math
import os
import random
import signal
import time
from pathlib import Path

import pytest
import torch

from engine.states import load_state
from engine.training import trend
from models.losses import Losses

KILLS = 20


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def wait_for_step(state: Path, step: int, process) -> None:
    deadline = time.monotonic() + 120
    while not (state.exists() and load_state(state)["step"] >= step):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.slow
def test_killed_twenty_times_at_random_moments(command, train_file, tmp_path):
    """Never an unreadable state, and the weights of a run that nobody killed."""
    settings = dict(steps=400, checkpoint_every=3, validate_every=1000, log_every=100)
    assert command("train.py", "-opt", train_file(name="whole", **settings)).returncode == 0
    file = train_file(name="killed", **settings)
    state = tmp_path / "runs/killed/checkpoints/last.state"
    moments, step = random.Random(0), 0
    for _ in range(KILLS):
        resume = ["--resume"] if state.exists() else []
        process = command("train.py", "-opt", file, *resume, background=True)
        wait_for_step(state, step + 3, process)  # so that each start gets further
        time.sleep(moments.uniform(0, 0.3))
        process.kill()
        process.communicate()
        step = load_state(state)["step"]
    assert step < 400
    done = command("train.py", "-opt", file, "--resume")
    assert done.returncode == 0, done.stderr
    ours, theirs = load_state(state), load_state(tmp_path / "runs/whole/checkpoints/last.state")
    assert ours["step"] == theirs["step"] == 400
    assert all(torch.equal(ours["model"][name], value) for name, value in theirs["model"].items())


def test_a_damaged_state_falls_back_to_the_one_before(trainer, tmp_path):
    whole = trainer(name="whole", steps=8)
    whole.fit()
    run = trainer(name="cut", steps=8)
    run.finished = lambda: run.step >= 6
    run.fit()
    run.close()
    state = tmp_path / "runs/cut/checkpoints/last.state"
    assert load_state(state)["step"] == 6
    before = load_state(state.with_name("previous.state"))["step"]
    state.write_bytes(state.read_bytes()[: state.stat().st_size // 2])
    again = trainer(name="cut", steps=8, resume=True)
    assert again.step == before < 6
    log = (tmp_path / "runs/cut/train.log").read_text()
    assert "last.state: not a whole training state" in log
    assert f"continued from the one before it, previous.state, of step {before}" in log
    again.fit()
    ours, theirs = again.model.state_dict(), whole.model.state_dict()
    assert again.step == 8 and all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_full_disk_keeps_both_states(trainer, tmp_path, monkeypatch):
    run = trainer()
    run.fit()
    folder = tmp_path / "runs/tiny/checkpoints"
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    assert "previous.state" in before

    def full(path, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="last.state: could not be written .No space left on device"):
        run._save("last")
    assert {
        file.name: file.read_bytes() == before.get(file.name) for file in folder.iterdir()
    } == dict.fromkeys(before, True)


@pytest.mark.slow
def test_a_dead_loader_process_ends_the_run_and_nothing_hangs(command, train_file, tmp_path):
    file = train_file(steps=100000, validate_every=100000)
    process = command("train.py", "-opt", file, "--set", "data.train.workers=2", background=True)
    state = tmp_path / "runs/tiny/checkpoints/last.state"
    wait_for_step(state, 2, process)
    os.kill(children(process.pid)[0], signal.SIGKILL)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1 and "DataLoader worker" in err
    assert load_state(state)["step"] >= 2


@pytest.mark.slow
def test_pictures_that_are_all_broken_end_the_run_in_one_line(command, train_file, pictures, tmp_path):
    import shutil

    import yaml

    own = tmp_path / "own"
    shutil.copytree(pictures, own)
    file = train_file(steps=100000, validate_every=100000)
    options = yaml.safe_load(file.read_text())
    options["data"]["train"] |= {"folder": str(own), "workers": 2}
    file.write_text(yaml.safe_dump(options))
    process = command("train.py", "-opt", file, background=True)
    wait_for_step(tmp_path / "runs/tiny/checkpoints/last.state", 2, process)
    for picture in own.glob("*.png"):
        picture.write_bytes(b"broken")
    _, err = process.communicate(timeout=60)  # without an end to the loaders this would hang
    assert process.returncode == 2 and "Traceback" not in err
    assert "no readable picture was found in place of broken ones" in err.splitlines()[-1]


@pytest.mark.slow
def test_a_signal_to_the_whole_group_saves(command, train_file, tmp_path):
    file = train_file(steps=100000, validate_every=100000)
    words = ("train.py", "-opt", file, "--set", "data.train.workers=2")
    process = command(*words, background=True, preexec=os.setsid)
    state = tmp_path / "runs/tiny/checkpoints/last.state"
    wait_for_step(state, 2, process)
    os.killpg(process.pid, signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0 and "Traceback" not in err, err
    assert f"SIGTERM: saved at step {load_state(state)['step']} of 100000" in out


def test_nan_and_a_spike_leave_no_trace(trainer):
    """A loss that is NaN in one step, and gradients a hundredfold in another, do not end or bend a run."""
    run = trainer(steps=60, checkpoint_every=100, validate_every=100, log_every=20)
    forward = run.objectives[0].forward

    def injected(*inputs):
        losses = forward(*inputs)
        factor = {20: math.nan, 40: 100.0}.get(run.step, 1.0)
        return Losses(losses.total * factor, {name: term * factor for name, term in losses.terms.items()})

    run.objectives[0].forward = injected
    run.fit()
    assert run.step == 60 and run.skipped == 1 and run.returns == 0
    calm = trainer(name="calm", steps=60, checkpoint_every=100, validate_every=100, log_every=20)
    calm.fit()
    assert run.trend.mean < calm.trend.mean + math.log(1.5)


@pytest.mark.slow
def test_a_hinet_that_explodes_without_the_guard_completes_with_it(trainer, monkeypatch):
    network = {"type": "hinet", "num_blocks": 4, "growth": 8}
    settings = dict(
        network=network,
        steps=400,
        lr=0.003,
        grad_clip=0,
        schedule="constant",
        checkpoint_every=25,
        validate_every=25,
        log_every=10,
    )
    guarded = trainer(name="guarded", **settings)
    guarded.fit()
    assert guarded.step == 400 and guarded.returns >= 1 and math.isfinite(guarded.trend.mean)
    assert guarded.trend.rise < trend.EXPLODED
    monkeypatch.setattr("engine.training.trainer.EXPLODED", math.inf)
    bare = trainer(name="bare", **settings, max_bad_steps=10**6)
    bare.fit()
    assert bare.trend.rise > trend.EXPLODED or bare.skipped > 100
    assert all(torch.isfinite(value).all() for value in guarded.model.state_dict().values())
