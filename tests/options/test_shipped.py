"""Every option file that is shipped says what can be built."""

from pathlib import Path

import pytest

from engine.build import build_attacks, build_objectives, method_arguments, set_name
from models import MODELS
from options import load_test, load_train
from tests.common import ROOT

TRAIN = sorted((ROOT / "options/train").glob("*.yml"))
TEST = sorted((ROOT / "options/test").glob("*.yml"))


@pytest.mark.parametrize("file", TRAIN, ids=lambda p: p.name)
def test_train_file(file):
    options = load_train(file)
    assert options.name == file.stem
    method, arguments = method_arguments(options, options.network)
    model = MODELS[method](**arguments)
    assert len(build_objectives(options, model)) == len(options.train.phases)
    for multiple in model.patch_multiple:
        assert options.data.train.crop % multiple == 0
    text = file.read_text()
    assert f"python train.py -opt options/train/{file.name}" in text


@pytest.mark.parametrize("file", TEST, ids=lambda p: p.name)
def test_test_file(file):
    options = load_test(file)
    assert options.name == file.stem
    tested = file.stem.removesuffix("_attacks")
    assert options.weights == (tested if _trained(file) else options.network.type)
    assert bool(build_attacks(options)) == file.stem.endswith("_attacks")
    if options.network is not None:
        method, arguments = method_arguments(options, options.network)
        MODELS[method](**arguments)
    names = [set_name(pictures) for pictures in options.data.test]
    assert len(set(names)) == len(names)
    assert f"python test.py -opt options/test/{file.name}" in file.read_text()


def test_each_training_file_has_its_test_file():
    tested = [p.name for p in TEST if _trained(p) and not p.stem.endswith("_attacks")]
    assert [p.name for p in TRAIN] == tested and len(TRAIN) >= 7


def test_each_method_without_training_has_a_test_file():
    there = {load_test(p).network.type for p in TEST if not _trained(p)}
    assert there == {name for name, method in MODELS.items() if not method.trainable}


def _trained(file: Path) -> bool:
    network = load_test(file).network
    return network is None or MODELS[network.type].trainable
