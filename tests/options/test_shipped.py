"""Every option file that is shipped says what can be built."""

from pathlib import Path

import pytest

from engine.build import build_attacks, build_criteria, method_arguments, set_name
from models import MODELS
from options import load_test, load_train

ROOT = Path(__file__).resolve().parents[2]
TRAIN = sorted((ROOT / "options/train").glob("*.yml"))
TEST = sorted((ROOT / "options/test").glob("*.yml"))


@pytest.mark.parametrize("file", TRAIN, ids=lambda p: p.name)
def test_train_file(file):
    options = load_train(file)
    assert options.name == file.stem
    method, arguments = method_arguments(options, options.network)
    model = MODELS[method](**arguments)
    assert len(build_criteria(options, model)) == len(options.train.phases)
    for multiple in model.patch_multiple:
        assert options.data.train.crop % multiple == 0
    text = file.read_text()
    assert f"python train.py -opt options/train/{file.name}" in text


@pytest.mark.parametrize("file", TEST, ids=lambda p: p.name)
def test_test_file(file):
    options = load_test(file)
    assert options.name == file.stem and options.weights == file.stem.removesuffix("_attacks")
    assert bool(build_attacks(options)) == file.stem.endswith("_attacks")
    if options.network is not None:
        method_arguments(options, options.network)
    names = [set_name(pictures) for pictures in options.data.test]
    assert len(set(names)) == len(names)
    assert f"python test.py -opt options/test/{file.name}" in file.read_text()


def test_each_training_file_has_its_test_file():
    tested = [p.name for p in TEST if not p.stem.endswith("_attacks")]
    assert [p.name for p in TRAIN] == tested and len(TRAIN) >= 7 and len(TEST) > len(tested)
