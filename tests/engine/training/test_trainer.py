"""The trainer: resume to the bit, phases, and never destroying an earlier run."""

import gzip
import json
import re
import shutil

import numpy as np
import pytest
import torch

from engine.checkpoint import load_model
from engine.states import load_state, save_state
from engine.training.board import Board
from engine.training.trainer import Trainer
from options import OptionsError, load_train
from tests.engine.training.runs import record_losses, same, stop_after, weights

# Loss of the tiny run of conftest.py, 20 steps, float32 on a CPU. It must not move unless the
# network, the objective, the data order or the optimiser is changed on purpose.
# fmt: off
GOLDEN = [
    0.05455, 0.299877, 0.171732, 0.314696, 0.202436, 0.13884, 0.166192, 0.085641, 0.205741, 0.188657,
    0.092586, 0.12233, 0.123026, 0.065464, 0.10069, 0.031418, 0.120637, 0.078058, 0.138648, 0.117093,
]
# fmt: on


FIGURE = np.zeros((8, 8, 3), np.uint8)


@pytest.mark.parametrize("optimizer", ["adam", "muon"])
def test_resumed_run_ends_with_the_same_weights(trainer, optimizer):
    overrides = [f"train.optimizer={optimizer}"]
    whole = trainer(name="whole", overrides=overrides)
    whole.fit()
    # Stop after step 2, as Ctrl-C would, and continue in a new trainer.
    half = trainer(name="half", overrides=overrides)
    stop_after(half, 2)
    half.fit()
    assert half.step == 2 and not same(weights(half), weights(whole))
    half.close()
    rest = trainer(name="half", overrides=overrides, resume=True)
    assert rest.step == 2
    rest.fit()
    assert rest.step == 4 and same(weights(rest), weights(whole))
    for ours, theirs in zip(rest._optimizers(), whole._optimizers(), strict=True):
        ours, theirs = ours.state_dict()["state"], theirs.state_dict()["state"]
        assert theirs and all(same(ours[key], theirs[key]) for key in theirs)


@pytest.mark.parametrize("workers", [0, 2])
def test_workers_do_not_change_the_weights(trainer, workers):
    one, other = trainer(name="one", steps=3), None
    one.fit()
    other = trainer(name="other", steps=3, overrides=[f"data.train.workers={workers}"])
    other.fit()
    assert same(weights(one), weights(other))


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_resumed_run_has_the_same_running_mean_and_scale(trainer, monkeypatch, tmp_path, precision):
    monkeypatch.setattr("engine.precision.has", lambda device, precision: True)
    overrides = ["train.ema=0.8", f"train.precision={precision}"]
    whole = trainer(name="whole", overrides=overrides)
    whole.fit()
    half = trainer(name="half", overrides=overrides)
    stop_after(half, 2)
    half.fit()
    half.close()
    rest = trainer(name="half", overrides=overrides, resume=True)
    rest.fit()
    assert same(weights(rest), weights(whole))
    assert same(rest.result.state_dict(), whole.result.state_dict())
    assert not same(whole.result.state_dict(), weights(whole))
    assert rest.one_step.scaler.state_dict() == whole.one_step.scaler.state_dict()
    assert bool(whole.one_step.scaler.state_dict()) == (precision == "fp16")
    for name in ("best", "last"):  # the running mean is what is kept for use
        files = [tmp_path / "runs" / run / f"checkpoints/{name}.safetensors" for run in ("whole", "half")]
        kept = [load_model(file)[0].state_dict() for file in files]
        assert same(*kept)
    assert same(kept[0], whole.result.state_dict())


def test_the_running_mean_is_what_is_validated(trainer, monkeypatch):
    seen = []
    monkeypatch.setattr(
        "engine.training.trainer.validate",
        lambda model, groups: seen.append(model) or ({"cover_stego": 1.0, "secret_revealed": 1.0}, FIGURE),
    )
    run = trainer(overrides=["train.ema=0.8"])
    run.fit()
    assert seen == [run.one_step.average.model] * 2


def test_a_run_that_gets_a_running_mean_when_it_is_resumed(trainer):
    trainer(steps=2).fit()
    run = trainer(resume=True, overrides=["train.ema=0.8"])
    assert same(run.result.state_dict(), weights(run)) and run.result is not run.model
    run.fit()
    assert not same(run.result.state_dict(), weights(run))


def test_blocks_that_are_computed_again_give_the_same_weights(trainer):
    runs = []
    for again in ("false", "true"):
        run = trainer(
            name=f"again_{again}", steps=20, validate_every=20, overrides=[f"train.checkpoint_blocks={again}"]
        )
        run.fit()
        runs.append(run)
    assert same(*map(weights, runs))


@pytest.mark.parametrize(
    "overrides, message",
    [
        (
            ["train.batch_size=3", "train.accumulate=2"],
            "accumulate: batch_size 3 cannot be split into 2",
        ),
        (["train.accumulate=2"], "accumulate: batch_size 1 cannot be split into 2"),
        (["train.precision=bf16"], "train.precision: bf16: this cpu device would only emulate it"),
        (["train.precision=fp16"], "train.precision: fp16: this cpu device would only emulate it"),
        (["train.ema=1.0"], "train.ema: expected a number below 1"),
    ],
)
def test_settings_that_do_not_go_together(trainer, monkeypatch, overrides, message):
    monkeypatch.setattr("engine.precision.has", lambda device, precision: precision == "fp32")
    with pytest.raises(OptionsError, match=message):
        trainer(overrides=overrides)
    assert trainer(overrides=["train.precision=auto"]).half is None


def test_a_method_without_blocks_cannot_compute_them_again(trainer):
    with pytest.raises(OptionsError, match="train.checkpoint_blocks: 'baluja' is not made of blocks"):
        trainer(network={"type": "baluja", "width": 4}, overrides=["train.checkpoint_blocks=true"])


def test_speed_and_memory_are_in_the_log(trainer, tmp_path):
    run = trainer()
    scalars = {}
    real = Board.scalar
    run_scalar = lambda board, name, value, step: (  # noqa: E731
        scalars.setdefault(name, []).append(value),
        real(board, name, value, step),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Board, "scalar", run_scalar)
        run.fit()
    lines = [line for line in (tmp_path / "runs/tiny/train.log").read_text().splitlines() if "lr " in line]
    assert len(lines) == 2
    for line in lines:
        assert re.search(r"  [0-9.e+]+ groups/s, waiting [0-9]+%, peak memory [0-9.]+ GiB$", line)
    assert all(value > 0 for value in scalars["speed/groups_per_second"])
    assert all(0 <= value <= 1 for value in scalars["speed/waiting_share"])
    assert all(0.05 < value < 64 for value in scalars["speed/peak_memory_gib"])


def test_a_trace_of_two_steps(train_file, tmp_path):
    run = Trainer(load_train(train_file(), []), tmp_path / "runs", profile=2)
    try:
        run.fit()
    finally:
        run.close()
    with gzip.open(tmp_path / "runs/tiny/profile/trace.json.gz") as file:
        events = json.load(file)["traceEvents"]
    steps = {event["name"] for event in events if str(event.get("name", "")).startswith("ProfilerStep")}
    assert len(steps) == 2 and any("convolution" in str(event.get("name")) for event in events)


def test_golden_losses(trainer):
    run = trainer(steps=20, log_every=100)
    losses = record_losses(run)
    run.fit()
    assert losses == pytest.approx(GOLDEN, rel=2e-3)


def part_of(name: str) -> str:
    return name.removeprefix("mosaic.").split(".")[0]


def test_phases_freeze_and_thaw(trainer):
    phases = [
        {"name": "first", "share": 0.5, "freeze": ["mosaic.sis", "mosaic.sde"]},
        {"name": "second", "share": 0.5},
    ]
    run = trainer(steps=8, phases=phases)
    fresh = {k: v.clone() for k, v in weights(run).items()}
    stop_after(run, 4)
    run.fit()
    moved = {part_of(k) for k, v in weights(run).items() if not torch.equal(v, fresh[k])}
    assert moved == {"transform", "encoder", "icdm", "imse"}
    run.close()
    run = trainer(steps=8, phases=phases, resume=True)
    run.fit()
    moved = {part_of(k) for k, v in weights(run).items() if not torch.equal(v, fresh[k])}
    assert moved == {"transform", "encoder", "icdm", "imse", "sis", "sde"}


def test_a_phase_may_change_the_loss(trainer):
    run = trainer(
        phases=[
            {"name": "a", "share": 0.5, "loss": {"reveal": 3.0}},
            {"name": "b", "share": 0.5, "loss": {"latent": 7.0}},
        ]
    )
    assert [(c.reveal, c.latent) for c in run.objectives] == [(3.0, 0.01), (1.0, 7.0)]


@pytest.mark.parametrize(
    "train, expected",
    [
        (dict(schedule="constant"), [1e-3] * 4),
        (dict(schedule="halving", halve_every=2), [1e-3, 1e-3, 5e-4, 5e-4]),
        (dict(schedule="cosine", final_lr=0.0), [1e-3, 8.5355e-4, 5e-4, 1.4645e-4]),
        (dict(schedule="constant", warmup=2), [5e-4, 1e-3, 1e-3, 1e-3]),
    ],
)
def test_learning_rate(trainer, train, expected):
    run = trainer(**train)
    rates = []
    for run.step in range(4):
        rates.append(run.learning_rate())
    assert rates == pytest.approx(expected, rel=1e-4)


def test_files_of_a_run(trainer, tmp_path):
    run = trainer()
    run.fit()
    folder = tmp_path / "runs/tiny"
    names = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    wanted = {
        "options.yml",
        "env.json",
        "train.log",
        "checkpoints/last.safetensors",
        "checkpoints/best.safetensors",
        "checkpoints/last.state",
        "images/step_0000002.png",
    }
    assert wanted <= names and any(name.startswith("tb/events") for name in names)
    model, about = load_model(folder / "checkpoints/last.safetensors")
    assert about["step"] == "4" and same(model.state_dict(), weights(run))


def test_an_earlier_run_is_kept(trainer, tmp_path):
    first = trainer()
    first.fit()
    first.close()
    trainer(steps=2).fit()
    (archived,) = (tmp_path / "runs").glob("tiny_archived_*")
    assert load_state(archived / "checkpoints/last.state")["step"] == 4
    assert load_state(tmp_path / "runs/tiny/checkpoints/last.state")["step"] == 2


def test_resume_without_a_run(trainer, tmp_path):
    with pytest.raises(ValueError, match="nothing to resume from"):
        trainer(resume=True)
    assert not (tmp_path / "runs").exists()


def test_resume_with_another_network_lists_the_differences(trainer):
    trainer().fit()
    with pytest.raises(ValueError, match="state of another network") as refused:
        trainer(resume=True, overrides=["network.growth=8", "network.sis_blocks=0"])
    assert "network.growth: " in str(refused.value) and " -> 8" in str(refused.value)
    assert "network.sis_blocks: " in str(refused.value) and " -> 0" in str(refused.value)


def test_a_refused_resume_changes_nothing(trainer, tmp_path):
    trainer().fit()
    before = {p: p.read_bytes() for p in (tmp_path / "runs/tiny").glob("*.*")}
    with pytest.raises(ValueError, match="state of another network"):
        trainer(resume=True, overrides=["network.growth=8"])
    assert {p: p.read_bytes() for p in before} == before


def test_resume_reports_changed_options(trainer, tmp_path):
    trainer().fit()
    again = trainer(resume=True, steps=6)
    again.fit()
    assert again.step == 6
    assert "resumed with another train.steps: 4 -> 6" in (tmp_path / "runs/tiny/train.log").read_text()


def test_start_from_a_run(trainer, tmp_path):
    first = trainer(name="first")
    first.fit()
    overrides = ["train.start_from=first", "network.sde_blocks=2"]
    second = trainer(name="second", overrides=overrides)
    best = load_model(first.best_weights())[0].state_dict()
    assert second.step == 0 and all(torch.equal(weights(second)[name], best[name]) for name in best)
    assert "started from" in (tmp_path / "runs/second/train.log").read_text()
    second.fit()
    moved = {name: value.clone() for name, value in weights(second).items()}
    second.close()
    first.close()
    shutil.rmtree(tmp_path / "runs/first")  # a resumed run no longer needs it
    again = trainer(name="second", overrides=overrides, resume=True)
    assert same(weights(again), moved)


def test_start_from_nothing(trainer, tmp_path):
    with pytest.raises(OptionsError, match=r"train.start_from: weights 'frist': no such file, run"):
        trainer(overrides=["train.start_from=frist"])
    assert not (tmp_path / "runs").exists()


def test_without_sis_a_phase_may_still_freeze_it(trainer, tmp_path):
    phases = [
        {"name": "first", "share": 0.5, "freeze": ["mosaic.sis", "mosaic.sde"]},
        {"name": "second", "share": 0.5},
    ]
    run = trainer(phases=phases, overrides=["network.sis_blocks=0"])
    run.fit()
    assert run.step == 4 and run.model.mosaic.sis is None
    assert "'first', frozen: mosaic.sde\n" in (tmp_path / "runs/tiny/train.log").read_text()


def test_the_last_steps_of_a_phase_do_not_count_in_the_next(trainer):
    phases = [{"name": "first", "share": 0.5}, {"name": "second", "share": 0.5}]
    run = trainer(steps=8, log_every=8, checkpoint_every=8, validate_every=8, phases=phases)
    run.fit()
    assert run.trend.phase == 1 and run.trend.count == 4


def test_resume_from_a_state_before_the_fused_optimiser(trainer, tmp_path):
    trainer().fit()
    file = tmp_path / "runs/tiny/checkpoints/last.state"
    state = load_state(file)
    for optimizer in state["optimizers"]:
        for group in optimizer["param_groups"]:
            group["fused"] = None
    save_state(file, state)
    run = trainer(resume=True, steps=6)
    run.fit()
    assert run.step == 6 and run.skipped == 0


@pytest.mark.parametrize(
    "setting",
    [
        "train.precision=bf16",
        "train.precision=fp16",
        "train.channels_last=true",
        pytest.param("train.compile=true", marks=pytest.mark.slow),
    ],
)
def test_two_steps_with(trainer, monkeypatch, setting):
    """In another arithmetic or layout the losses are nearly those of the plain run, and the weights move."""
    monkeypatch.setattr("engine.precision.has", lambda device, precision: True)
    plain = trainer(name="plain", steps=2)
    expected = record_losses(plain)
    plain.fit()
    run = trainer(name="other", steps=2, overrides=[setting])
    fresh = {name: value.clone() for name, value in weights(run).items()}
    losses = record_losses(run)
    run.fit()
    assert run.step == 2 and run.skipped == 0
    assert losses == pytest.approx(expected, rel=0.05 if "precision" in setting else 1e-3)
    assert not same(weights(run), fresh)
    kernels = [p for p in run.model.parameters() if p.dim() == 4 and p.shape[1] > 1 and p.shape[2] > 1]
    wide = [p.is_contiguous(memory_format=torch.channels_last) for p in kernels]
    assert kernels and set(wide) == {"channels_last" in setting}
    halves = {"train.precision=bf16": torch.bfloat16, "train.precision=fp16": torch.float16}
    assert run.half == halves.get(setting) and (run.network is run.model) == ("compile" not in setting)


@pytest.mark.gpu
def test_on_cuda(trainer):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    run = trainer(overrides=["device=cuda", "train.precision=bf16", "train.channels_last=true"])
    run.fit()
    assert run.step == 4 and all(torch.isfinite(v).all() for v in weights(run).values())
