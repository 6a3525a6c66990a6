"""From options to objects: what does not fit is reported at its line of the file."""

from typing import get_args

import pytest

from channel.attacks import ATTACKS, Mean, Noise
from engine.build import (
    build_attacks,
    build_network,
    build_objectives,
    build_training,
    choose_device,
    evaluation_groups,
    method_arguments,
    training_groups,
)
from options import OptionsError, TrainOptions, load_test, load_train
from options.schema import Attack


@pytest.mark.parametrize(
    "override, message",
    [
        ("network.type=smilnet", r"network.type: no method is called 'smilnet'; there are: smilenet"),
        ("network.grwth=3", r"network.grwth: unknown key, did you mean 'growth'"),
        ("network.rows=two", r"network.rows: expected an integer, got 'two'"),
        ("network.growth=0", r"network: growth: must be at least 1, got 0"),
        ("loss.revael=1", r"loss.revael: unknown key, did you mean 'reveal'"),
        ("loss.distance=l3", r"loss: distance: 'l3' is none of"),
        ("data.train.crop=17", r"data.train.crop: 17 is not a multiple of 2"),
        ("data.train.crop=2", r"data.train.crop: at least 8 pixels"),
        ("data.train.crop=null", r"data.train.crop: missing"),
        ("data.train.crop=300", r"data.train: .*64x64 pixels, smaller than the crop of 300"),
        ("data.train.folder=/no/such", r"data.train.folder: /no/such: no such folder; put the pictures"),
        ("data.train.dataset=div3k", r"data.train.dataset: 'div3k' is none of div2k"),
        ("network.rows=[]", r"network.rows: expected an integer"),
        ("data.validate.crop=4", r"data.validate.crop: at least 11 pixels"),
        ("data.validate.groups_file=/no.csv", r"data.validate: .*no.csv"),
    ],
)
def test_mistakes_name_their_place(train_file, override, message):
    file = train_file()
    options = load_train(file, [override])
    with pytest.raises(OptionsError, match=message):
        model = build_network(options)
        build_objectives(options, model)
        training_groups(options, model)
        evaluation_groups(options, "data.validate", options.data.validation, model)


def test_too_few_pictures(train_file):
    options = load_train(train_file(), ["network.rows=4", "network.cols=4"])
    with pytest.raises(OptionsError, match="data.train: .*1 cover . 16 secrets = 17 pictures, there are 9"):
        training_groups(options, build_network(options))


def test_all_mistakes_at_once(train_file):
    overrides = ["network.grwth=3", "loss.revael=1", "data.train.folder=/a", "data.validate.folder=/b"]
    with pytest.raises(OptionsError) as error:
        build_training(load_train(train_file(), overrides))
    lines = str(error.value).splitlines()
    assert len(lines) == 4 and all(o.split("=")[0] in line for o, line in zip(overrides, lines, strict=True))


def test_a_phase_must_leave_something_to_train(train_file):
    everything = ["mosaic", "imse"]
    options = load_train(train_file(phases=[{"name": "a", "share": 1.0, "freeze": everything}]))
    with pytest.raises(OptionsError, match="phases.0.freeze: nothing is left to train"):
        build_training(options)


def test_null_overrides_a_preset(train_file):
    for override, expected in (("data.validate.resize=null", None), ("data.validate.resize=300", 300)):
        options = load_train(
            train_file(), ["data.validate.dataset=imagenet", "data.validate.crop=32", override]
        )
        model = build_network(options)
        assert evaluation_groups(options, "data.validate", options.data.validation, model).resize == expected


def test_unknown_part_in_a_phase(train_file):
    options = load_train(train_file(phases=[{"name": "a", "share": 1.0, "freeze": ["sid"]}]))
    with pytest.raises(OptionsError, match="phases.0.freeze: the network has no part 'sid'; it has: .*sis"):
        build_objectives(options, build_network(options))


def test_weights_depend_on_the_seed_alone(train_file):
    one, two = (build_network(load_train(train_file())) for _ in range(2))
    other = build_network(load_train(train_file(), ["seed=1"]))
    first = [next(net.imse.parameters()) for net in (one, two, other)]
    assert first[0].equal(first[1]) and not first[0].equal(first[2])


def test_devices():
    assert choose_device("cpu").type == "cpu"
    assert choose_device("auto").type in ("cpu", "cuda")
    with pytest.raises(ValueError, match="device 'cuda:99'"):
        choose_device("cuda:99")
    with pytest.raises(ValueError, match="device 'gpu': expected auto, cpu, cuda"):
        choose_device("gpu")


@pytest.fixture
def attacked(tmp_path):
    """Test options with one attack: attacked("{type: jpeg, quality: 90}")."""

    def load(*attacks: str):
        file = tmp_path / "test.yml"
        lines = ["name: a", "weights: a", "data:", "  test:", "    - {folder: x}", "attacks:"]
        file.write_text("\n".join([*lines, *(f"  - {one}" for one in attacks)]))
        return load_test(file)

    return load


@pytest.mark.parametrize(
    "attack, message",
    [
        ("{type: jpg}", "attacks.0.type: expected .* got 'jpg', did you mean 'jpeg'"),
        ("{quality: 90}", "attacks.0.type: missing"),
        ("{type: jpeg, qualty: 90}", "attacks.0.qualty: unknown key, did you mean 'quality'"),
        (
            "{type: jpeg, quality: 0}",
            "attacks.0: quality: expected a whole number, 1 to 95, got 0",
        ),
        ("{type: jpeg, quality: high}", "attacks.0.quality: expected an integer, got 'high'"),
        (
            "{type: flip, axis: up}",
            "attacks.0.axis: expected 'horizontal' or 'vertical', got 'up'",
        ),
        ("jpeg", "attacks.0: expected a section, got 'jpeg'"),
    ],
)
def test_mistakes_in_attacks(attacked, attack, message):
    with pytest.raises(OptionsError, match=f"test.yml:7: {message}"):
        build_attacks(attacked(attack))


def test_attacks_from_options(attacked):
    assert build_attacks(attacked("{type: mean}", "{type: noise, sigma: 3}")) == [Mean(), Noise(3.0)]
    with pytest.raises(OptionsError, match="test.yml:8: attacks.1: 'mean size=3' a second time"):
        build_attacks(attacked("{type: mean}", "{type: mean, size: 3}"))


def test_the_schema_knows_every_attack():
    assert set(get_args(Attack.model_fields["type"].annotation)) == set(ATTACKS)


@pytest.mark.parametrize(
    "method, message", [("hinet", "'hinet' always hides 1 in one cover"), ("smilenet", "N = rows x cols")]
)
def test_a_number_of_secrets_that_a_method_does_not_take(method, message):
    options = TrainOptions(
        name="x",
        network={"type": method, "num_secrets": 2},
        data={"train": {"folder": "samples:train", "crop": 48}},
        train={"steps": 1},
    )
    with pytest.raises(OptionsError, match=message):
        method_arguments(options, options.network)
