"""Option files: what is read, and what each mistake is told."""

import json
import re
from dataclasses import dataclass
from typing import Literal

import pytest
import yaml

from options import OptionsError, check_arguments, describe, dump, load_test, load_train
from options.schema import TestOptions, TrainOptions

TRAIN = """\
name: nano
network:
  type: smilenet
  grid: [5, 5]
  blocks: 8
data:
  train:
    folder: pictures
    crop: 128
  validate:
    dataset: div2k
train:
  steps: 100
  lr: 3e-4
"""
TEST = """\
name: nano
weights: nano
data:
  test:
    - folder: [a, b]
    - dataset: div2k
"""


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes x.yml, and stands beside it, so that error lines begin with `x.yml`."""
    monkeypatch.chdir(tmp_path)

    def write(text):
        (tmp_path / "x.yml").write_bytes(text if isinstance(text, bytes) else text.encode())
        return "x.yml"

    return write


def lines(load, *arguments):
    with pytest.raises(OptionsError) as caught:
        load(*arguments)
    return str(caught.value).split("\n")


def test_values_and_defaults(write):
    options = load_train(write(TRAIN))
    assert options.train.lr == 3e-4
    assert options.train.betas == (0.9, 0.999)
    assert options.network.type == "smilenet"
    assert options.network.arguments == {"grid": [5, 5], "blocks": 8}
    assert options.data.train.folders == ["pictures"]
    assert options.data.validation.dataset == "div2k"
    assert options.data.validation.folders == []
    assert [phase.name for phase in options.train.phases] == ["all"]
    assert load_test(write(TEST)).data.test[0].folders == ["a", "b"]
    with pytest.raises(ValueError, match="frozen"):
        options.train.lr = 1.0


@pytest.mark.parametrize(
    ("written", "value"),
    [("3e-4", 3e-4), ("1e-3", 1e-3), ("1.5e3", 1500.0), ("1E3", 1000.0), (".5", 0.5), ("2", 2.0)]
    + [("1_0.5", 10.5), ("+1.", 1.0)],
)
def test_numbers_as_people_write_them(write, written, value):
    options = load_train(write(TRAIN.replace("3e-4", written)))
    assert options.train.lr == value and isinstance(options.train.lr, float)


def test_only_true_and_false_are_booleans(write):
    options = load_train(write(TRAIN + "loss: {a: on, b: no, c: true, d: 2024-01-01, off: 010}\n"))
    assert options.loss == {"a": "on", "b": "no", "c": True, "d": "2024-01-01", "off": 10}


MISTAKES = {  # (what to replace, by what) -> the one line that reports it
    ("  steps: 100", "  steps: 100\n  batch_sise: 2"): (
        "x.yml:14: train.batch_sise: unknown key, did you mean 'batch_size'?"
    ),
    ("    dataset: div2k", "    dataset: div2k\n    qqq: 1"): (
        "x.yml:12: data.validate.qqq: unknown key; known here: dataset, folder, crop, resize, "
        "small, grey, name, groups, grouping, stride, groups_file, seed"
    ),
    ("  steps: 100\n", ""): (
        "x.yml:12: train.steps: missing (an integer: how many optimiser steps the run takes [steps])"
    ),
    ("name: nano\n", ""): (
        "x.yml:1: name: missing (letters, digits, '.', '_' or '-': the run's name: "
        "it writes to experiments/<name>)"
    ),
    ("3e-4", "fast"): "x.yml:14: train.lr: expected a number, got 'fast'",
    ("3e-4", "true"): "x.yml:14: train.lr: expected a number, got true",
    ("3e-4", ".nan"): "x.yml:14: train.lr: expected a number, got '.nan'",
    ("3e-4", "1e999"): "x.yml:14: train.lr: expected a number, got inf",
    ("3e-4", "0"): "x.yml:14: train.lr: expected a number above 0.0, got 0",
    ("3e-4", ""): "x.yml:14: train.lr: expected a number, got null",
    ("steps: 100", "steps: '12'"): "x.yml:13: train.steps: expected an integer, got '12'",
    ("steps: 100", "steps: true"): "x.yml:13: train.steps: expected an integer, got true",
    ("steps: 100", "steps: 1.5"): "x.yml:13: train.steps: expected an integer, got 1.5",
    ("steps: 100", "steps: 0"): "x.yml:13: train.steps: expected an integer of at least 1, got 0",
    ("steps: 100", "steps: 1\n  compile: yes"): (
        "x.yml:14: train.compile: expected true or false, got 'yes'"
    ),
    ("steps: 100", "steps: 1\n  schedule: cosin"): (
        "x.yml:14: train.schedule: expected 'cosine', 'halving' or 'constant', got 'cosin', "
        "did you mean 'cosine'?"
    ),
    ("crop: 128", "small: skp"): (
        "x.yml:9: data.train.small: expected 'error', 'skip', 'enlarge' or null, got 'skp', "
        "did you mean 'skip'?"
    ),
    ("crop: 128", "crop: big"): ("x.yml:9: data.train.crop: expected an integer or null, got 'big'"),
    ("folder: pictures", "folder: 3"): (
        "x.yml:8: data.train.folder: expected a folder or a list of folders, got 3"
    ),
    ("folder: pictures", "folder: [a, 3, 4]"): (
        "x.yml:8: data.train.folder: expected a folder or a list of folders, got ['a', 3, 4]"
    ),
    ("folder: pictures", "folder: ''"): (
        "x.yml:8: data.train.folder: expected a folder or a list of folders, got ''"
    ),
    ("    folder: pictures\n", ""): (
        "x.yml:7: data.train: give dataset (a preset such as div2k), folder, or both"
    ),
    ("steps: 100", "steps: 1\n  betas: [0.9]"): (
        "x.yml:14: train.betas: expected a list of 2 numbers, got [0.9]"
    ),
    ("steps: 100", "steps: 1\n  betas: [1.5, high, 3]"): (
        "x.yml:14: train.betas: expected a list of 2 numbers, got [1.5, 'high', 3]"
    ),
    ("steps: 100", "steps: 1\n  betas: [0.9, 1.5]"): (
        "x.yml:14: train.betas: expected a list of 2 numbers below 1.0, got [0.9, 1.5]"
    ),
    ("steps: 100", "steps: 1\n  phases: [{name: a, share: 0.5}]"): (
        "x.yml:14: train.phases: the shares sum to 0.5, expected 1"
    ),
    ("steps: 100", "steps: 1\n  phases:\n    - name: a\n      share: 1\n      freeze: [1]"): (
        "x.yml:17: train.phases.0.freeze.0: expected a string, got 1"
    ),
    ("steps: 100", "steps: 1\n  phases:\n    - share: 1"): (
        "x.yml:15: train.phases.0.name: missing (a string: name in the log)"
    ),
    ("name: nano", "name: ../nano"): (
        "x.yml:1: name: expected letters, digits, '.', '_' or '-', got '../nano'"
    ),
    ("name: nano", "name: nano\ndevice: gpu"): (
        "x.yml:2: device: expected auto, cpu, cuda, cuda:N or mps, got 'gpu'"
    ),
    ("name: nano", "name: nano\nloss: 3"): "x.yml:2: loss: expected a section, got 3",
    ("  type: smilenet\n", ""): (
        "x.yml:2: network.type: missing (a string: the network's name in models.MODELS)"
    ),
    ("  lr: 3e-4", "  lr: 1\n  log_every: 5\n  lr: 2"): (
        "x.yml:16: train.lr: given twice (first on line 14)"
    ),
    ("grid: [5, 5]", "grid: {m: 5, m: 5}"): ("x.yml:4: network.grid.m: given twice (first on line 4)"),
}


@pytest.mark.parametrize(("change", "line"), MISTAKES.items(), ids=lambda value: str(value)[-40:])
def test_one_mistake_one_line(write, change, line):
    assert change[0] in TRAIN
    assert lines(load_train, write(TRAIN.replace(*change, 1))) == [line]


def test_all_mistakes_at_once_in_the_order_of_the_file(write):
    path = write(TRAIN.replace("lr: 3e-4", "lr: fast\n  lr: 1\n  stpes: 3").replace("128", "-1"))
    assert lines(load_train, path, ["train.compile=7"]) == [
        "x.yml:9: data.train.crop: expected an integer of at least 1, got -1",
        "x.yml:14: train.lr: expected a number, got 'fast'",
        "x.yml:15: train.lr: given twice (first on line 14)",
        "x.yml:16: train.stpes: unknown key, did you mean 'steps'?",
        "--set train.compile=7: train.compile: expected true or false, got 7",
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (b"", "x.yml:1: the file is empty"),
        (b"# nothing yet\n", "x.yml:1: the file is empty"),
        (b"- a\n", "x.yml:1: expected a section (key: value), got ['a']"),
        (b"a: 1\nb: \xe9\n", "x.yml:2: byte 0xe9 is not UTF-8; save the file as UTF-8"),
        (b"a: 1\nb: \x07\n", "x.yml:2: cannot be read: character '\\x07' is not allowed"),
        (
            b"a: 1\nb: !!python/object/apply:os.getcwd []\n",
            "x.yml:2: cannot be read: tag '!!python/object/apply:os.getcwd' is not allowed; "
            "option files hold plain values only",
        ),
        (
            b"a: &a [1]\nb: *a\n",
            "x.yml:2: cannot be read: alias '*a' is not allowed; write the value out",
        ),
        (b"? [a, b]\n: 1\n", "x.yml:1: cannot be read: a key must be a word"),
        (
            b"a: " + b"[" * 300 + b"]" * 300 + b"\n",
            "x.yml:1: recursion limit exceeded",
        ),
        (b"[" * 9999, "x.yml:1: cannot be read: brackets or lists are nested too deeply"),
        (
            b"a: 1\n\tb: 2\n",
            "x.yml:2: cannot be read: while scanning for the next token: "
            "found character '\\t' that cannot start any token",
        ),
        (
            b"a: [1\nb: 2\n",
            "x.yml:2: cannot be read: while parsing a flow sequence: expected ',' or ']', but got ':'",
        ),
    ],
)
def test_text_that_is_no_option_file(write, text, line):
    assert lines(load_train, write(text)) == [line]


def test_a_missing_file_names_its_neighbours(write):
    write(TRAIN)
    assert lines(load_train, "y.yml") == ["y.yml: no such file, did you mean 'x.yml'?"]
    assert lines(load_train, "smilenet") == ["smilenet: no such file; known here: x.yml"]
    assert lines(load_train, "none/x.yml") == ["none/x.yml: no such file"]
    assert lines(load_train, ".") == [".: cannot be read: Is a directory"]


def test_overrides(write):
    options = load_train(
        write(TRAIN),
        ["train.lr=1e-3", "train.batch_size=4", "network.blocks=2", "network.new.deep=[1]"]
        + ["loss.weight=0.5", "data.validate=null", "data.train.folder=[a, b]", "network.note=a=b"],
    )
    assert (options.train.lr, options.train.batch_size) == (1e-3, 4)
    assert options.network.arguments == {
        "grid": [5, 5],
        "blocks": 2,
        "new": {"deep": [1]},
        "note": "a=b",
    }
    assert options.loss == {"weight": 0.5}
    assert options.data.validation is None
    assert options.data.train.folders == ["a", "b"]
    test = load_test(write(TEST), ["data.test.1.folder=c", "data.test.0.folder.1=d"])
    assert [pictures.folders for pictures in test.data.test] == [["a", "d"], ["c"]]


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("train.lr=fast", "--set train.lr=fast: train.lr: expected a number, got 'fast'"),
        ("trian.lr=1", "--set trian.lr=1: trian: unknown key, did you mean 'train'?"),
        (
            "train.steps=1_0.5",
            "--set train.steps=1_0.5: train.steps: expected an integer, got 10.5",
        ),
        ("train.lr", "--set train.lr: expected key=value, such as train.lr=1e-4"),
        ("train..lr=1", "--set train..lr=1: expected key=value, such as train.lr=1e-4"),
        (
            "train.lr.x=1",
            "--set train.lr.x=1: train.lr: expected a section or a list, got 0.0003",
        ),
        (
            "network.grid.2=1",
            "--set network.grid.2=1: network.grid: no entry '2'; the list has 2 entries, counted from 0",
        ),
        (
            "network.grid=[1",
            "--set network.grid=[1: network.grid: cannot be read: while parsing a flow sequence: "
            "expected ',' or ']', but got '<stream end>'",
        ),
        (
            "train.phases=[{name: a}]",
            "--set train.phases=[{name: a}]: train.phases.0.share: missing "
            "(a number: length of the phase [fraction of train.steps])",
        ),
    ],
)
def test_mistakes_in_overrides(write, override, line):
    assert lines(load_train, write(TRAIN), [override]) == [line]


def test_test_options(write):
    path = write("name: a\nweights: ''\ndata:\n  test: []\nzzz: []\n")
    assert lines(load_test, path) == [
        "x.yml:2: weights: expected a string that is not empty, got ''",
        "x.yml:4: data.test: expected a list of sections that is not empty, got []",
        "x.yml:5: zzz: unknown key; known here: name, seed, device, weights, network, data, save_images, "
        "capacity, attacks",
    ]
    path = write(TEST.replace("dataset: div2k", "crop: 8"))
    assert lines(load_test, path) == [
        "x.yml:6: data.test.1: give dataset (a preset such as div2k), folder, or both"
    ]


def test_later_checks_find_the_line(write):
    options = load_train(write(TRAIN), ["train.lr=1e-3"])
    message = "128 is not a multiple of 6"
    for key, place in {
        "data.train.crop": "x.yml:9",
        "data.validate.crop": "x.yml:10",
        "train.lr": "--set train.lr=1e-3",
        "seed": "x.yml:1",
    }.items():
        assert str(options.error(key, message)) == f"{place}: {key}: {message}"


@pytest.mark.parametrize(("load", "text"), [(load_train, TRAIN), (load_test, TEST)])
def test_dump_loads_again_to_equal_options(write, load, text):
    texts = ["3e-4", "on", "", "null", "a: b", "12", "2024-01-01", "é\n", "[1"]
    options = load(write(text), ["network.type='3e-4'", f"network.x={json.dumps(texts)}"])
    dumped = dump(options)
    assert options.network.arguments["x"] == texts
    assert load(write(dumped)) == options
    assert load(write(dumped), ["seed=1"]) != options
    # A YAML 1.1 reader, too, finds every text to be a text.
    assert yaml.safe_load(dumped)["network"]["x"] == texts


class Net:
    def __init__(
        self,
        grid: "tuple[int, int]",
        blocks: int = 4,
        *,
        clamp: float | None = None,
        mode: Literal["sum", "mean"] = "sum",
        schema=None,
    ):
        pass


def test_arguments_that_fit(write):
    options = load_train(write(TRAIN), ["network.schema={a: [1]}", "network.clamp=1"])
    arguments = check_arguments(options, "network", Net, options.network.arguments)
    assert arguments == {"grid": (5, 5), "blocks": 8, "clamp": 1.0, "schema": {"a": [1]}}

    @dataclass
    class Loss:
        weight: float = 1.0

    def free(blocks: int, **others):
        pass

    assert check_arguments(options, "loss", Loss, {}) == {}
    arguments = check_arguments(options, "network", free, options.network.arguments)
    assert arguments == options.network.arguments


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (("blocks", "blokcs"), "x.yml:5: network.blokcs: unknown key, did you mean 'blocks'?"),
        (
            ("blocks", "self"),
            "x.yml:5: network.self: unknown key; known here: grid, blocks, clamp, mode, schema",
        ),
        (("8", "many"), "x.yml:5: network.blocks: expected an integer, got 'many'"),
        (("[5, 5]", "[5]"), "x.yml:4: network.grid: expected a list of 2 integers, got [5]"),
        (
            ("blocks: 8", "clamp: x"),
            "x.yml:5: network.clamp: expected a number or null, got 'x'",
        ),
        (
            ("blocks: 8", "mode: men"),
            "x.yml:5: network.mode: expected 'sum' or 'mean', got 'men', did you mean 'mean'?",
        ),
        (("  grid: [5, 5]\n", ""), "x.yml:2: network.grid: missing (a list of 2 integers)"),
    ],
)
def test_arguments_that_do_not_fit(write, change, line):
    options = load_train(write(TRAIN.replace(*change, 1)))
    assert lines(check_arguments, options, "network", Net, options.network.arguments) == [line]


@pytest.mark.parametrize("schema", [TrainOptions, TestOptions])
def test_the_table_of_options_is_complete(schema):
    header, *rows = (re.split(r"  +", line) for line in describe(schema).split("\n"))
    assert header == ["key", "type", "default", "meaning [unit]"]
    assert all(len(row) == 4 and row[3] for row in rows)
    expected = ["train.lr", "a number", "0.0002", "highest learning rate of Adam"]
    assert (expected in rows) == (schema is TrainOptions)
    assert ("data.test.0.folder" in [row[0] for row in rows]) == (schema is TestOptions)
