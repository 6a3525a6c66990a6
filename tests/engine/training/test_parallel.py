"""Several processes under torchrun are one training: same losses, same weights, one set of files."""

import json
import os
import shutil
import signal
import time
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from engine.log import ROOT
from engine.states import load_state


def losses(run: Path) -> dict[str, list[float]]:
    """What the board has of each step: {term: its values}."""
    board = EventAccumulator(str(run / "tb")).Reload()
    names = [name for name in board.Tags()["scalars"] if name.startswith("train/")]
    return {name: [event.value for event in board.Scalars(name)] for name in names}


def workers_of(process) -> list[int]:
    """The processes that torchrun has started."""
    return [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


def wait_for_step(state: Path, step: int, process) -> None:
    deadline = time.monotonic() + 400
    while not (state.exists() and load_state(state)["step"] >= step):
        assert process.poll() is None, process.communicate()[1][-3000:]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def close(ours: dict, theirs: dict) -> bool:
    return ours.keys() == theirs.keys() and all(
        torch.allclose(ours[name].double(), value.double(), rtol=1e-4, atol=1e-5)
        for name, value in theirs.items()
    )


SETTINGS = dict(steps=6, batch_size=4, accumulate=2, checkpoint_every=2, validate_every=3, log_every=1)


@pytest.mark.slow
def test_two_processes_train_as_one_does(torchrun, command, train_file, tmp_path):
    one = command("train.py", "-opt", train_file(name="one", **SETTINGS))
    assert one.returncode == 0, one.stderr
    two = torchrun("train.py", "-opt", train_file(name="two", **SETTINGS))
    assert two.returncode == 0, two.err
    runs = [tmp_path / "runs" / name for name in ("one", "two")]
    first, second = map(losses, runs)
    assert first.keys() == second.keys() and len(first["train/total"]) == 6
    for name, values in first.items():
        assert second[name] == pytest.approx(values, rel=1e-5, abs=1e-9), name
    states = [load_state(run / "checkpoints/last.state") for run in runs]
    assert states[0]["step"] == states[1]["step"] == 6 and close(states[1]["model"], states[0]["model"])
    assert len(states[1]["random_others"]) == 1
    other = states[1]["random_others"][0]["torch"]
    assert not torch.equal(other, states[1]["random"]["torch"]), "two processes with the same noise"
    history = [
        [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()] for run in runs
    ]
    for ours, theirs in zip(*history, strict=True):
        assert ours["step"] == theirs["step"]
        assert ours["cover_stego"] == pytest.approx(theirs["cover_stego"], abs=1e-3)
    assert two.out.count("finished: 6 steps") == 1 and "cpu x 2 processes" in two.out

    # Another number of processes goes on with it, and says so.
    three = dict(SETTINGS, steps=8, batch_size=6)
    more = torchrun("train.py", "-opt", train_file(name="two", **three), "--resume", processes=3)
    assert more.returncode == 0, more.err
    assert "resumed with another number of processes: 2 -> 3" in more.out
    assert load_state(runs[1] / "checkpoints/last.state")["step"] == 8


@pytest.mark.slow
def test_a_killed_process_comes_back_and_the_weights_are_the_same(torchrun, train_file, tmp_path):
    settings = dict(SETTINGS, steps=40, validate_every=100)
    whole = torchrun("train.py", "-opt", train_file(name="whole", **settings))
    assert whole.returncode == 0, whole.err
    process = torchrun(
        "train.py",
        "-opt",
        train_file(name="killed", **settings),
        launcher=["--max-restarts=1"],
        background=True,
    )
    state = tmp_path / "runs/killed/checkpoints/last.state"
    wait_for_step(state, 4, process)
    victims = workers_of(process)
    assert len(victims) == 2
    os.kill(victims[1], signal.SIGKILL)
    out, err = process.communicate(timeout=540)
    assert process.returncode == 0, err
    ours, theirs = load_state(state), load_state(tmp_path / "runs/whole/checkpoints/last.state")
    assert ours["step"] == theirs["step"] == 40
    assert all(torch.equal(ours["model"][name], value) for name, value in theirs["model"].items())
    assert not list((tmp_path / "runs").glob("killed_archived_*"))
    log = (tmp_path / "runs/killed/train.log").read_text()
    assert log.count("from step 0 of 40") == 1 and log.count(" of 40\n") == 2


@pytest.mark.slow
def test_a_signal_to_the_whole_group_saves_once(torchrun, train_file, tmp_path):
    file = train_file(**dict(SETTINGS, steps=100000, validate_every=100000, log_every=1000))
    process = torchrun("train.py", "-opt", file, "--set", "data.train.workers=1", background=True)
    state = tmp_path / "runs/tiny/checkpoints/last.state"
    wait_for_step(state, 2, process)
    os.killpg(process.pid, signal.SIGTERM)
    out, _ = process.communicate(timeout=120)
    assert f"SIGTERM: saved at step {load_state(state)['step']} of 100000" in out


@pytest.mark.slow
def test_a_batch_that_the_processes_do_not_divide(torchrun, train_file, tmp_path):
    done = torchrun("train.py", "-opt", train_file(**dict(SETTINGS, batch_size=2, accumulate=2)))
    assert done.returncode != 0 and not (tmp_path / "runs/tiny").exists()
    told = [line for line in done.err.splitlines() if line.startswith("train.py: ")]
    assert len(told) == 1
    assert "train.batch_size: 2 groups cannot be divided equally among 2 processes x 2 passes" in told[0]
    assert told[0].endswith("nearest: 4")


# Runs train.py, but process 1 dies when torchrun starts it for the first time.
DIES_AT_START = """
import os, runpy, signal, sys
if os.environ["RANK"] == "1" and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
    os.kill(os.getpid(), signal.SIGKILL)
sys.argv = sys.argv[1:]
sys.path.insert(0, os.path.dirname(sys.argv[0]))
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.slow
def test_a_process_that_dies_at_start(torchrun, train_file, tmp_path):
    """Without restarts the run ends with a failure and nothing is left waiting; with one it trains."""
    program = tmp_path / "dies.py"
    program.write_text(DIES_AT_START)
    words = (program, ROOT / "train.py", "-opt", train_file(**SETTINGS))
    started = time.monotonic()
    once = torchrun(*words)
    assert once.returncode == 1 and "exitcode  : -9" in once.err
    assert time.monotonic() - started < 120, "process 0 waited for one that was gone"
    assert not (tmp_path / "runs/tiny").exists()
    again = torchrun(*words, launcher=["--max-restarts=1"])
    assert again.returncode == 0, again.err
    assert load_state(tmp_path / "runs/tiny/checkpoints/last.state")["step"] == SETTINGS["steps"]


@pytest.mark.slow
def test_a_picture_that_breaks_is_named_by_the_first_process(torchrun, train_file, pictures, tmp_path):
    own = tmp_path / "own"
    shutil.copytree(pictures, own)
    settings = dict(SETTINGS, steps=100000, validate_every=100000, checkpoint_every=20)
    file = train_file(**settings)
    process = torchrun(
        "train.py",
        "-opt",
        file,
        "--set",
        f"data.train.folder={own}",
        "--set",
        "train.minutes=1",
        background=True,
    )
    wait_for_step(tmp_path / "runs/tiny/checkpoints/last.state", 20, process)
    broken = sorted(own.glob("*.png"))[0]
    broken.write_bytes(b"broken")
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    log = (tmp_path / "runs/tiny/train.log").read_text()
    assert f"could not be read and were left out: {broken}" in log
