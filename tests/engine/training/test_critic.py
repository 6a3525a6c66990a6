"""A method with a critic, trained under a channel: its optimiser, its turns, its weights, its resume."""

import json

import pytest
import torch

from engine.build import build_network, build_objectives, build_training
from engine.checkpoint import deployed_size, deployed_state, fingerprint, load_model, save_weights
from engine.states import load_state
from engine.testing.tester import run_tests
from engine.training.optimizers import critic_parameters
from engine.training.trainer import Trainer
from models import build_model
from options import OptionsError, load_test, load_train
from tests.common import ROOT, group, shaken
from tests.toy import TOYS

CHANNEL = [{"type": "none"}, {"type": "noise", "sigma": [1, 3]}, {"type": "jpeg", "quality": [70, 95]}]
TOY = {"type": "toy"}


@pytest.fixture
def run(trainer):
    """A run of 6 steps under a channel, with a checkpoint every 2; run(method="toy", **as of trainer)."""

    def build(method="toy", **given):
        return trainer(**dict(network={"type": method}, steps=6, channel=CHANNEL) | given)

    return build


def copied(state: dict) -> dict:
    return {name: value.clone() for name, value in state.items()}


def record(trained) -> list[tuple[set[str], bool, bool]]:
    """For each step: the names of its terms, whether the method moved, whether the critic did."""
    seen, step = [], trained._train_step

    def recorded(batch):
        before = copied(dict(trained.model.named_parameters()))
        step(batch)
        moved = {n for n, p in trained.model.named_parameters() if not torch.equal(p, before[n])}
        critic = {n for n in moved if n.startswith("critic.")}
        seen.append((set(trained.waiting[-1][2]), bool(moved - critic), bool(critic)))

    trained._train_step = recorded
    return seen


@pytest.mark.parametrize("optimizer", ["adam", "muon"])
@pytest.mark.parametrize("method", TOYS)
def test_every_parameter_moves_and_is_in_one_optimiser_of_its_player(run, method, optimizer):
    trained = run(method, optimizer=optimizer)
    before = copied(dict(trained.model.named_parameters()))
    step, critic = trained.one_step, {id(p) for p in critic_parameters(trained.model)}
    method_has = [id(p) for p in step.method.parameters]
    assert step.critic is not None and sorted(id(p) for p in step.critic.parameters) == sorted(critic)
    everything = {id(p) for p in trained.model.parameters()}
    assert len(method_has) == len(set(method_has)) and set(method_has) == everything - critic
    trained.fit()
    assert trained.step == 6 and trained.skipped == 0
    still = [n for n, p in trained.model.named_parameters() if torch.equal(p, before[n])]
    assert not still


def test_from_its_option_files_to_its_scores(tmp_path):
    trained = Trainer(load_train(ROOT / "tests/options/train/toy.yml"), tmp_path, resume=False)
    trained.fit()
    trained.close()
    run_tests(load_test(ROOT / "tests/options/test/toy.yml"), tmp_path)
    scores = json.loads((tmp_path / "toy/results/samples/metrics.json").read_text())
    assert scores["method"] == "toy" and scores["secret_revealed"]["psnr_rgb"] > 10
    assert scores["params"] == deployed_size(build_model("toy", width=12))


def test_an_objective_that_forgets_the_critic_is_told(run):
    trained = run()
    forward = trained.objectives[0].forward

    def forgetful(*given):
        losses = forward(*given)
        losses.critic = None
        return losses

    trained.objectives[0].forward = forgetful
    with pytest.raises(AssertionError, match="Losses.critic is for a method's critic"):
        trained.fit()


def test_terms_of_the_critic_are_in_the_log(run, tmp_path):
    run().fit()
    log = (tmp_path / "runs/tiny/train.log").read_text()
    assert "unseen" in log and "critic/hits" in log and "critic/gradient_norm" in log


def test_a_critic_trained_in_every_second_step(run):
    trained = run(overrides=["critic={every: 2}"])
    seen = record(trained)
    trained.fit()
    assert [method for _, method, _ in seen] == [True] * 6
    assert [critic for _, _, critic in seen] == [True, False] * 3
    assert ["critic/total" in terms for terms, _, _ in seen] == [True, False] * 3


def test_settings_of_the_critic(run):
    trained = run(overrides=["critic={lr: 0.5, betas: [0.1, 0.2]}"], schedule="halving", halve_every=1)
    trained.fit()
    (adam, _), *others = trained.one_step.critic.optimizers
    (group_,) = adam.param_groups
    assert not others and group_["betas"] == (0.1, 0.2) and group_["lr"] == pytest.approx(0.5 / 2**5)


def same(a, b) -> bool:
    """Whether two states hold the same: tensors bit for bit, inside dicts and lists too."""
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


@pytest.mark.parametrize("every", [1, 2])
@pytest.mark.parametrize("method", TOYS)
def test_a_resumed_run_ends_in_the_same_state(run, tmp_path, method, every):
    """Killed in step 5, resumed from the checkpoint of step 4: last.state is that of an unstopped run."""
    overrides = [f"critic={{every: {every}}}"]
    whole = run(method, name="whole", overrides=overrides)
    whole.fit()
    killed = run(method, name="killed", overrides=overrides)
    step = killed._train_step

    def until_killed(batch):
        if killed.step == 5:
            raise MemoryError
        step(batch)

    killed._train_step = until_killed
    with pytest.raises(MemoryError):
        killed.fit()
    killed.close()
    rest = run(method, name="killed", overrides=overrides, resume=True)
    assert rest.step == 4
    rest.fit()
    states = [load_state(tmp_path / f"runs/{name}/checkpoints/last.state") for name in ("whole", "killed")]
    for state in states:
        for about in ("seconds", "options", "git_commit"):  # the time, and the run's name
            state.pop(about)
    assert any(name.startswith("critic.") for name in states[0]["model"])
    assert len(states[0]["optimizers"]) == 2 and same(*states)


def test_the_weights_lack_a_critic_that_the_sender_does_not_need(run):
    for method, there in (("toy", False), ("guided_toy", True)):
        trained = run(method)
        trained.fit()
        model, about = load_model(trained.best_weights())
        trained.close()
        names = set(deployed_state(model))
        assert any(name.startswith("critic.") for name in names) == there
        assert about["fingerprint"] == fingerprint(model).hex()
        restored = load_state(trained.best_weights().with_suffix(".state"))["model"]
        assert all(torch.equal(value, restored[name]) for name, value in deployed_state(model).items())


@pytest.mark.parametrize("method", TOYS)
def test_weights_hide_and_reveal_as_the_network_that_was_saved(method, tmp_path):
    net = shaken(method)
    save_weights(tmp_path / "x.safetensors", net)
    torch.manual_seed(1)
    loaded, _ = load_model(tmp_path / "x.safetensors")
    cover, secrets = group(net)
    stego = net.hide(cover, secrets)
    assert torch.equal(loaded.hide(cover, secrets), stego)
    assert torch.equal(loaded.reveal(stego), net.reveal(stego))


@pytest.mark.parametrize("method, with_critic", [("toy", False), ("guided_toy", True)])
def test_the_parameters_that_a_test_reports_are_those_that_are_used(method, with_critic):
    net = build_model(method)
    critic = sum(p.numel() for p in critic_parameters(net))
    everything = sum(p.numel() for p in net.parameters())
    assert critic > 0 and deployed_size(net) == everything - (0 if with_critic else critic)


@pytest.mark.parametrize("method, depends", [("toy", False), ("guided_toy", True)])
def test_the_fingerprint_knows_what_the_sender_needs(method, depends):
    net = build_model(method)
    before = fingerprint(net)
    with torch.no_grad():
        net.critic.layers[0].bias.add_(1.0)
    assert (fingerprint(net) != before) == depends
    before = fingerprint(net)
    with torch.no_grad():
        net.hiding[0].bias.add_(1.0)
    assert fingerprint(net) != before


def test_start_from_weights_without_a_critic(run):
    first = run(name="first")
    first.fit()
    second = run(name="second", overrides=["train.start_from=first"])
    best, now = load_model(first.best_weights())[0], second.model
    assert all(torch.equal(value, now.state_dict()[n]) for n, value in deployed_state(best).items())


@pytest.mark.parametrize("optimizer", ["adam", "muon"])
def test_a_phase_may_freeze_the_critic_or_all_but_the_critic_but_not_the_method(run, train_file, optimizer):
    phases = [{"name": "alone", "share": 0.5, "freeze": ["critic"]}, {"name": "both", "share": 0.5}]
    trained = run(phases=phases, optimizer=optimizer)
    seen = record(trained)
    trained.fit()
    assert trained.skipped == 0
    assert [critic for _, _, critic in seen] == [False] * 3 + [True] * 3
    file = train_file(network=TOY, phases=[{"name": "x", "share": 1, "freeze": ["hiding", "revealing"]}])
    with pytest.raises(OptionsError, match="freeze: nothing is left to train"):
        build_training(load_train(file))


# --- mistakes -------------------------------------------------------------------------------------


def line_of(file, word: str) -> int:
    return next(k for k, text in enumerate(file.read_text().splitlines(), 1) if text.startswith(word))


def test_a_critic_section_for_a_method_without_one(train_file):
    file = train_file()
    file.write_text(file.read_text() + "critic:\n  every: 2\n")
    place = f"tiny.yml:{line_of(file, 'critic:')}: critic: this 'smilenet' network has no critic"
    with pytest.raises(OptionsError, match=place):
        build_network(load_train(file))


@pytest.mark.parametrize(
    "wrong, message",
    [
        ("every: 0", "critic.every: expected .* at least 1, got 0"),
        ("lr: 0.0", "critic.lr: expected a number above 0.0, got 0.0"),
        ("lr: -1.0", "critic.lr: expected a number above 0.0, got -1.0"),
        ("betas: [0.5]", "critic.betas: "),
        ("betas: [0.5, 1.0]", "critic.betas: expected a list of 2 numbers below 1.0"),
        ("evry: 2", "critic.evry: unknown.* 'every'"),
    ],
)
def test_mistakes_in_the_critic_section(train_file, wrong, message):
    file = train_file(network=TOY)
    file.write_text(file.read_text() + f"critic:\n  {wrong}\n")
    place = f"tiny.yml:{line_of(file, 'critic:') + 1}: "
    with pytest.raises(OptionsError, match=place + message):
        load_train(file)


@pytest.mark.parametrize(
    "wrong, message",
    [
        ("unsen: 0.1", "loss.unsen: unknown.* 'unseen'"),
        ("unseen: much", "loss.unseen: expected a number, got 'much'"),
    ],
)
def test_an_unknown_term_of_the_objective(train_file, wrong, message):
    file = train_file(network=TOY)
    file.write_text(file.read_text().replace("loss: {}", f"loss:\n  {wrong}"))
    place = f"tiny.yml:{line_of(file, 'loss:') + 1}: "
    options = load_train(file)
    with pytest.raises(OptionsError, match=place + message):
        build_objectives(options, build_network(options))


def test_a_strength_out_of_range(train_file):
    file = train_file(network=TOY, channel=[{"type": "noise", "sigma": [1, 1000]}])
    with pytest.raises(OptionsError, match=r"tiny.yml:\d+: train.channel.0.sigma: expected .* got 1000"):
        build_training(load_train(file))


def test_a_step_that_only_the_critic_spoiled_says_so(run, tmp_path):
    trained = run(log_every=1)
    forward = trained.objectives[0].forward

    def spoiled(*given):
        losses = forward(*given)
        if trained.step == 2:
            losses.critic.total = losses.critic.total * torch.nan
        return losses

    trained.objectives[0].forward = spoiled
    trained.fit()
    log = (tmp_path / "runs/tiny/train.log").read_text()
    assert trained.skipped == 1 and "step 2: critic/total nan, critic/gradient_norm nan: skipped" in log
