"""options/schema.json: held current, true of every option file, and strict where the loader is."""

import json

import pytest
from jsonschema import Draft7Validator

from channel.attacks import ATTACKS
from engine.option_schema import HINT, argument_notes, option_page, option_schema
from models import MODELS
from options.load import _read
from options.mistakes import Place, Source
from tests.common import ROOT

FILES = sorted((ROOT / "options").glob("*/*.yml"))
SHIPPED = json.loads((ROOT / "options" / "schema.json").read_text())


def values(text: str):
    """As the loader reads it: 1e-4 is a number."""
    return _read(text, lambda line: Place(line, str(line)), "", Source())


def mistakes(values) -> list[str]:
    return [error.message for error in Draft7Validator(SHIPPED).iter_errors(values)]


def test_it_is_current(monkeypatch):
    from models import MODELS

    for name in [name for name, method in MODELS.items() if method.__module__.startswith("tests")]:
        monkeypatch.delitem(MODELS, name)
    assert option_schema() == SHIPPED, "run scripts/make_schema.py"
    assert option_page() == (ROOT / "docs" / "options.md").read_text(), "run scripts/make_schema.py"
    Draft7Validator.check_schema(SHIPPED)


@pytest.mark.parametrize("file", FILES, ids=lambda p: f"{p.parent.name}/{p.name}")
def test_every_option_file(file):
    text = file.read_text()
    assert text.splitlines()[0] == f"{HINT}../schema.json"
    assert (
        file.parent / text.splitlines()[0].partition("=")[2]
    ).resolve() == ROOT / "options" / "schema.json"
    assert mistakes(values(text)) == []


TRAIN = values((ROOT / "options/train/smilenet_4_nano.yml").read_text())
TEST = values((ROOT / "options/test/lsb_1.yml").read_text())


@pytest.mark.parametrize(
    "base, change",
    [
        (TRAIN, {"batch_sise": 3}),
        (TRAIN, {"network": {"type": "smilenett"}}),
        (TRAIN, {"network": {"type": "smilenet", "rowz": 2}}),
        (TRAIN, {"network": {"type": "smilenet", "rows": "two"}}),
        (TRAIN, {"network": {"rows": 2}}),
        (TRAIN, {"loss": {"imperceptible": 1.0}}),
        (TRAIN, {"loss": {"reveal": "much"}}),
        (TRAIN, {"train": {"steps": 10, "phases": [{"name": "a", "share": 1.0, "loss": {"unknown": 1}}]}}),
        (TRAIN, {"train": {"steps": 0}}),
        (TRAIN, {"train": {"steps": 10, "betas": [0.9]}}),
        (TRAIN, {"train": {"steps": 10, "channel": [{"type": "jpeg", "quality": [70, 80, 90]}]}}),
        (TEST, {"attacks": [{"type": "jpeg", "quality": [70, 90]}]}),
        (TEST, {"attacks": [[{"type": "jpeg"}, {"type": "jpg"}]]}),
        (TEST, {"network": {"type": "lsb", "bits": 4, "rows": 2}}),
        (TEST, {"train": {"steps": 10}}),
        (TEST, {"data": {"test": []}}),
    ],
)
def test_what_the_loader_refuses_the_schema_refuses(base, change):
    assert mistakes(base) == []
    assert mistakes({**base, **change})


@pytest.mark.parametrize(
    "base, change",
    [
        (TRAIN, {"loss": {"reveal": 2, "distance": "l1"}}),
        (TRAIN, {"train": {"steps": 10, "channel": [{"type": "jpeg", "quality": [70, 90], "weight": 2}]}}),
        (TRAIN, {"train": {"steps": 10, "channel": [[{"type": "jpeg"}, {"type": "noise", "sigma": 1}]]}}),
        (TEST, {"attacks": [{"type": "jpeg", "quality": 75}, [{"type": "jpeg"}, {"type": "none"}]]}),
        (TEST, {"network": None}),
    ],
)
def test_what_the_loader_takes_the_schema_takes(base, change):
    assert mistakes({**base, **change}) == []


@pytest.mark.parametrize("name", [n for n, one in MODELS.items() if one.__module__.startswith("models.")])
def test_every_argument_says_what_it_means(name):
    from inspect import signature

    method = MODELS[name]
    for constructor in (method, method.Objective) if method.trainable else (method,):
        takes = [n for n, p in signature(constructor).parameters.items() if p.kind is not p.POSITIONAL_ONLY]
        assert set(takes) <= set(argument_notes(constructor)), constructor.__name__


def test_every_attack_is_in_it():
    text = (ROOT / "docs" / "options.md").read_text()
    for name in ATTACKS:
        assert f"| `{name}" in text
