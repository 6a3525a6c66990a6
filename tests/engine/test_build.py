"""From options to objects: what does not fit is reported at its line of the file."""

from pathlib import Path
from typing import get_args

import pytest
import yaml

from channel.attacks import ATTACKS, Chain, Gaussian, Jpeg, Mean, Noise, Nothing, Webp
from engine.build import (
    build_attacks,
    build_channels,
    build_network,
    build_objectives,
    build_training,
    choose_device,
    evaluation_groups,
    method_arguments,
    training_groups,
)
from options import OptionsError, TrainOptions, dump, load_test, load_train
from options.schema import Attack


@pytest.mark.parametrize(
    "override, message",
    [
        ("network.type=smilnet", r"network.type: unknown method 'smilnet'; the methods are: smilenet"),
        ("network.grwth=3", r"network.grwth: unknown key, did you mean 'growth'"),
        ("network.rows=two", r"network.rows: expected an integer, got 'two'"),
        ("network.growth=0", r"network: growth: must be at least 1, got 0"),
        ("loss.revael=1", r"loss.revael: unknown key, did you mean 'reveal'"),
        ("loss.distance=l3", r"loss: distance: 'l3' is not one of"),
        ("data.train.crop=17", r"data.train.crop: 17 is not a multiple of 2"),
        ("data.train.crop=2", r"data.train.crop: expected at least 8 px"),
        ("data.train.crop=null", r"data.train.crop: missing"),
        ("data.train.crop=300", r"data.train: .*64x64 pixels, smaller than the crop of 300"),
        ("data.train.folder=/no/such", r"data.train.folder: /no/such: no such folder; put the pictures"),
        ("data.train.dataset=div3k", r"data.train.dataset: 'div3k' is not one of div2k"),
        ("network.rows=[]", r"network.rows: expected an integer"),
        ("data.validate.crop=4", r"data.validate.crop: expected at least 11 px"),
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
    with pytest.raises(
        OptionsError, match="data.train: .*1 cover . 16 secrets = 17 pictures, but there are 9"
    ):
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


GREY = {"type": "srisnet", "width": 4, "grey": True, "levels": 1, "depth": 1, "critic": "none"}


def test_a_grey_network_needs_grey_pictures(train_file):
    file = train_file(network=GREY)
    for grey in ("train", "validate"):
        with pytest.raises(OptionsError) as caught:
            build_training(load_train(file, [f"data.{grey}.grey=true"]))
        other = {"train": "validate", "validate": "train"}[grey]
        assert f"data.{other}.grey: this network hides grey pictures in grey ones: write true" in str(
            caught.value
        )
    training = build_training(load_train(file, ["data.train.grey=true", "data.validate.grey=true"]))
    for pictures in (*training.groups[0].values(), *training.validation[0].values()):
        assert (pictures == pictures[..., :1, :, :]).all()


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
            "attacks.0.quality: expected a whole number, 1 to 95, got 0",
        ),
        ("{type: jpeg, quality: high}", "attacks.0.quality: expected an integer, got 'high'"),
        (
            "{type: flip, axis: up}",
            "attacks.0.axis: expected 'horizontal' or 'vertical', got 'up'",
        ),
        ("jpeg", "attacks.0: expected a section, got 'jpeg'"),
        ("{type: jpeg, quality: [70, 95]}", r"attacks.0.quality: expected an integer, got \[70, 95\]"),
        ("{type: jpeg, weight: 2}", "attacks.0.weight: unknown key"),
        ("[]", r"attacks.0: expected a list of sections that is not empty, got \[\]"),
        ("[{type: jpeg}, {type: wepb}]", "attacks.0.1.type: expected .* got 'wepb', did you mean 'webp'"),
        ("[{type: jpeg}, {type: webp, quality: 101}]", "attacks.0.1.quality: .* 0 to 100, got 101"),
        ("[{type: jpeg}, [{type: webp}]]", "attacks.0.1: expected a section, got"),
        ("[{type: mean, sise: 3}]", "attacks.0.0.sise: unknown key, did you mean 'size'"),
        ("{type: none, quality: 3}", "attacks.0.quality: unknown key"),
    ],
)
def test_mistakes_in_attacks(attacked, attack, message):
    with pytest.raises(OptionsError, match=f"test.yml:7: {message}"):
        build_attacks(attacked(attack))


def test_attacks_from_options(attacked):
    assert build_attacks(attacked("{type: mean}", "{type: noise, sigma: 3}")) == [Mean(), Noise(3.0)]
    assert build_attacks(attacked("[{type: mean}, {type: noise}]", "[{type: mean}]", "{type: none}")) == [
        Chain((Mean(), Noise())),
        Mean(),
        Nothing(),
    ]
    with pytest.raises(OptionsError, match="test.yml:8: attacks.1: 'mean size=3' is listed twice"):
        build_attacks(attacked("{type: mean}", "{type: mean, size: 3}"))


def test_a_mistake_has_the_line_of_its_key(attacked):
    """Also in a mapping of several lines, and in a chain."""
    text = "- type: gaussian\n      sigma: 60\n    - type: mean"
    with pytest.raises(OptionsError, match="test.yml:8: attacks.0.0.sigma: expected .* at most 50, got 60"):
        build_attacks(attacked(text))


class Halved:
    """An attack that gives half the picture."""

    type = "jpeg"
    __dataclass_fields__: dict = {}

    def __call__(self, picture, seed=0):
        return picture[: len(picture) // 2]


def test_an_attack_that_changes_the_size(attacked, train_file, monkeypatch):
    monkeypatch.setitem(ATTACKS, "jpeg", Halved)
    with pytest.raises(OptionsError, match="test.yml:8: attacks.1: 'jpeg' changes the picture's size"):
        build_attacks(attacked("{type: mean}", "[{type: mean}, {type: jpeg}]"))
    options = load_train(train_file(channel=[[{"type": "jpeg"}, {"type": "mean"}]]))
    with pytest.raises(OptionsError, match="train.channel.0: 'jpeg' changes the picture's size"):
        build_channels(options)


@pytest.mark.parametrize(
    "channel, message",
    [
        ("[{type: jpg}]", "train.channel.0.type: expected .* got 'jpg', did you mean 'jpeg'"),
        ("{type: jpeg}", "train.channel: expected a list of attacks and of chains"),
        ("[{type: jpeg, quality: [70, 99]}]", "train.channel.0.quality: .* whole number, 1 to 95, got 99"),
        ("[{type: jpeg, quality: [0, 95]}]", "train.channel.0.quality: .* whole number, 1 to 95, got 0"),
        ("[{type: jpeg, quality: [95, 70]}]", "train.channel.0.quality: .* range .* the lower number first"),
        ("[{type: jpeg, quality: [70]}]", r"train.channel.0.quality: expected one value or a range .*\[70\]"),
        ("[{type: jpeg, quality: [70.5, 95]}]", "train.channel.0.quality: expected an integer, got 70.5"),
        ("[{type: flip, axis: [horizontal, vertical]}]", "train.channel.0.axis: expected one value or"),
        ("[{type: mean, size: [3, 6]}]", "train.channel.0.size: expected an odd number from 3 to 401, got 6"),
        (
            "[{type: mean}, {type: jpeg, weight: 0}]",
            ".*channel.1.weight: expected a number above 0.0, got 0",
        ),
        ("[{type: jpeg, weight: -1}]", "train.channel.0.weight: expected a number above 0.0, got -1"),
        ("[[{type: mean}, {type: jpeg, weight: 2}]]", "train.channel.0.1.weight: a chain's weight belongs"),
        ("[[]]", "train.channel.0: expected a list of sections that is not empty"),
        ("[[{type: mean}, {type: jpeg, quality: 0}]]", "train.channel.0.1.quality: .*1 to 95, got 0"),
    ],
)
def test_mistakes_in_channels(train_file, channel, message):
    file = train_file(channel="HERE")
    file.write_text(file.read_text().replace("HERE", channel))
    line = next(k for k, text in enumerate(file.read_text().splitlines(), 1) if "channel:" in text)
    with pytest.raises(OptionsError, match=f"tiny.yml:{line}: {message}"):
        build_channels(load_train(file))


def test_a_channel_for_each_phase(train_file):
    jpeg = {"type": "jpeg", "quality": [70, 90], "weight": 3}
    phases = [
        {"name": "clean", "share": 0.25, "channel": []},
        {"name": "common", "share": 0.5},
        {"name": "own", "share": 0.25, "channel": [[{"type": "mean"}, {"type": "webp"}]]},
    ]
    options = load_train(train_file(channel=[{"type": "none"}, jpeg], phases=phases))
    clean, common, own = build_channels(options)
    assert clean is None
    assert [(entry.weight, entry.at_end(1)) for entry in common.entries] == [(1, Nothing()), (3, Jpeg(90))]
    assert [entry.at_end(0) for entry in own.entries] == [Chain((Mean(), Webp()))]
    assert build_training(options).channels[2].drawn(0, 5) == own.drawn(0, 5)
    assert build_channels(load_train(train_file())) == [None]


def test_the_channel_of_the_page(train_file):
    """The option file in docs/channel.md, and what the page says about it."""
    page = (Path(__file__).parents[2] / "docs" / "channel.md").read_text()
    written = yaml.safe_load(page.partition("```yaml\n")[2].partition("```")[0])["train"]
    clean, channel = build_channels(load_train(train_file(**written)))
    assert clean is None and [entry.weight for entry in channel.entries] == [2, 1, 1, 1]
    assert channel.entries[1].at_end(1) == Jpeg(95) and channel.entries[2].at_end(0) == Noise(0.5)
    assert channel.entries[3].at_end(0) == Chain((Gaussian(0.8, 3), Webp(80)))


def test_a_channel_in_a_dumped_file(train_file, tmp_path):
    """What a run keeps of its options loads again to the same channel."""
    chain = [{"type": "gaussian", "sigma": [0.5, 1.0], "weight": 2}, {"type": "jpeg", "quality": 80}]
    options = load_train(train_file(channel=[chain, {"type": "none"}]))
    (tmp_path / "again.yml").write_text(dump(options))
    again = load_train(tmp_path / "again.yml")
    assert again == options
    assert [x.drawn(3, 4) for x in build_channels(again)] == [x.drawn(3, 4) for x in build_channels(options)]


def test_channel_mistakes_are_told_with_the_others(train_file):
    overrides = ["network.grwth=3", "train.channel=[{type: jpeg, quality: 0}]"]
    with pytest.raises(OptionsError) as error:
        build_training(load_train(train_file(), overrides))
    lines = str(error.value).splitlines()
    assert len(lines) == 2 and "train.channel.0.quality" in lines[1]


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
