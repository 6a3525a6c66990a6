"""Typed option files: read YAML into frozen options and report every mistake with its file and line."""

from options.load import check_arguments, describe, dotted, dump, load_test, load_train
from options.mistakes import OptionsError
from options.schema import (
    Critic,
    GroupPictures,
    Network,
    Phase,
    Pictures,
    TestOptions,
    Train,
    TrainOptions,
    TrainPictures,
)

__all__ = [
    "Critic",
    "GroupPictures",
    "Network",
    "OptionsError",
    "Phase",
    "Pictures",
    "TestOptions",
    "Train",
    "TrainOptions",
    "TrainPictures",
    "check_arguments",
    "describe",
    "dotted",
    "dump",
    "load_test",
    "load_train",
]
