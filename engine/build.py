"""Build networks, losses, channels and groups of pictures from options, and check them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from channel.attacks import ATTACKS, Attack, Chain, StrengthError, label, send
from channel.entry import end_of
from data.groups import make_groups, read_groups
from data.images import list_pictures, picture_size
from data.loader import EvaluationGroups, TrainingGroups
from data.presets import PRESETS
from data.transforms import usable_pictures
from engine import processes
from engine.log import logger
from errors import UserError
from models import MODELS, HidingModel, build_model
from models.layers.recompute import recompute_blocks
from models.losses import Objective
from options import (
    GroupPictures,
    Network,
    OptionsError,
    Pictures,
    TestOptions,
    TrainOptions,
    check_arguments,
)
from options.schema import Attack as AttackOptions
from options.schema import TestEntry, TrainEntry

if TYPE_CHECKING:
    from channel.training import Channel

SMALLEST_SCORED = 11  # smallest side of a picture that can be scored [px]: the window of SSIM


def choose_device(name: str) -> torch.device:
    """The device of this name; "auto" is CUDA if there is a GPU, otherwise the CPU.

    With "auto" or "cuda", each process that torchrun starts on a machine gets its own GPU. Raises UserError
    for a device that this machine does not have.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and (local := processes.local_rank()) is not None:
        name = f"cuda:{local}"
    if not re.fullmatch("cpu|mps|cuda(:[0-9]+)?", name):
        raise UserError(f"device '{name}': expected auto, cpu, cuda, cuda:N or mps")
    device = torch.device(name)
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise UserError(f"device '{name}': no CUDA device was found; use auto or cpu")
        if (device.index or 0) >= torch.cuda.device_count():
            raise UserError(
                f"device '{name}': this machine has {torch.cuda.device_count()} CUDA devices, counted from 0 "
                "(with torchrun, start at most one process for each)"
            )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UserError("device 'mps': not available on this machine; use auto or cpu")
    return device


def method_arguments(options: TrainOptions | TestOptions, network: Network) -> tuple[str, dict]:
    """The network section as (method, arguments), checked against the method's constructor."""
    if network.type not in MODELS:
        raise options.error(
            "network.type", f"unknown method '{network.type}'; the methods are: {', '.join(MODELS)}"
        )
    constructor = MODELS[network.type]
    if network.type == "smilenet" and network.arguments.get("embedding") == "lattice":
        raise options.error(
            "network.embedding",
            "SMILENet-L is now a separate method: write type: smilenet_l (smilenet hides by IMSE) and remove "
            "embedding, condition, headroom and imse_*",
        )
    if "num_secrets" in network.arguments and "num_secrets" not in signature(constructor).parameters:
        fixed = getattr(constructor, "num_secrets", None)
        how = (
            f"always hides {fixed} in one cover" if fixed else "takes it from rows and cols: N = rows x cols"
        )
        raise options.error("network.num_secrets", f"'{network.type}' {how}; remove this key")
    return network.type, check_arguments(options, "network", constructor, network.arguments)


def build_network(options: TrainOptions) -> HidingModel:
    """The network of a training file, with initial weights drawn from the file's seed."""
    method = options.network.type
    if method in MODELS and not MODELS[method].trainable:
        raise options.error(
            "network.type",
            f"'{method}' has nothing to train: hide with python hide.py --weights {method}, or test it with "
            f"python test.py and weights: {method} (options/test/)",
        )
    method, arguments = method_arguments(options, options.network)
    torch.manual_seed(options.seed)
    try:
        model = build_model(method, **arguments)
    except UserError as error:
        raise options.error("network", str(error)) from error
    if not recompute_blocks(model, options.train.checkpoint_blocks) and options.train.checkpoint_blocks:
        raise options.error(
            "train.checkpoint_blocks", f"'{method}' is not made of blocks that can be recomputed"
        )
    if options.critic is not None and model.critic is None:
        raise options.error("critic", f"this '{method}' network has no critic; remove this section")
    return model


def build_objectives(options: TrainOptions, model: HidingModel) -> list[Objective]:
    """One objective for each phase: the loss section with the phase's own overrides."""
    parts = {name for name, _ in model.named_modules() if name}
    objectives: list[Objective] = []
    weights = check_arguments(options, "loss", model.Objective, dict(options.loss))
    for k, phase in enumerate(options.train.phases):
        key = f"train.phases.{k}"
        for name in phase.freeze:
            if name not in parts and not left_out(model, name):
                known = ", ".join(name for name, _ in model.named_modules() if 0 < len(name) < 20)
                raise options.error(f"{key}.freeze", f"the network has no part '{name}'; it has: {known}")
        prefixes = tuple(f"{name}." for name in phase.freeze)
        prefixes += ("critic.",)  # a phase must train more than the critic
        if all(name.startswith(prefixes) for name, _ in model.named_parameters()):
            raise options.error(f"{key}.freeze", "nothing is left to train")
        own = check_arguments(options, f"{key}.loss", model.Objective, dict(phase.loss))
        try:
            objectives.append(model.Objective(*model.geometry, **{**weights, **own}))
        except UserError as error:
            raise options.error(f"{key}.loss" if own else "loss", str(error)) from error
    return objectives


def left_out(model: HidingModel, name: str) -> bool:
    """Whether the method has a part of this name but this network omits it, as with sis_blocks: 0."""
    parent, _, child = name.rpartition(".")
    try:
        there = vars(model.get_submodule(parent))
    except AttributeError:
        return False
    return child in there and there[child] is None


@dataclass
class Training:
    """The parts of a run, checked."""

    model: HidingModel
    objectives: list[Objective]  # one for each phase
    channels: "list[Channel | None]"  # one for each phase
    groups: TrainingGroups
    validation: EvaluationGroups | None


def build_training(options: TrainOptions) -> Training:
    """Build what a training file asks for. Raises one OptionsError with all mistakes of the file."""
    mistakes = _Mistakes()
    model = objectives = channels = groups = validation = None
    data = options.data
    with mistakes:
        model = build_network(options)
    with mistakes:
        channels = build_channels(options)
    if model is None:  # check what can be checked without a network
        if options.network.type in MODELS and MODELS[options.network.type].trainable:
            with mistakes:
                check_arguments(options, "loss", MODELS[options.network.type].Objective, dict(options.loss))
        with mistakes:
            _pictures(options, "data.train", data.train, "train_folder")
        if data.validation is not None:
            with mistakes:
                _pictures(options, "data.validate", data.validation, "test_folder")
        raise mistakes.error()
    with mistakes:
        objectives = build_objectives(options, model)
    with mistakes:
        groups = training_groups(options, model)
    if data.validation is not None:
        with mistakes:
            validation = evaluation_groups(options, "data.validate", data.validation, model)
    if objectives is None or channels is None or groups is None or mistakes.found:
        raise mistakes.error()
    return Training(model, objectives, channels, groups, validation)


class _Mistakes:
    """Collects the OptionsErrors of several checks, each run as `with mistakes: check()`."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind, error, trace) -> bool:
        if isinstance(error, OptionsError):
            self.found.append(str(error))
        return isinstance(error, OptionsError)

    def error(self) -> OptionsError:
        return OptionsError("\n".join(self.found))


def training_groups(options: TrainOptions, model: HidingModel) -> TrainingGroups:
    """The training pictures as groups of random patches, which depend only on the seed."""
    pictures, train = options.data.train, options.train
    found, crop, resize, small = _pictures(options, "data.train", pictures, "train_folder")
    if crop is None:
        raise options.error("data.train.crop", "missing (an integer: side of a patch [px])")
    _check_patch(options, "data.train.crop", crop, model)
    _check_grey(options, "data.train", pictures, model)
    try:
        return TrainingGroups(
            found,
            model.num_secrets,
            crop,
            seed=options.seed,
            length=train.steps * train.batch_size,
            flip=pictures.flip,
            rotate=pictures.rotate,
            resize=resize,
            small=small,
            cache=pictures.cache,
            grey=pictures.grey,
        )
    except UserError as error:
        raise options.error("data.train", str(error)) from error


def evaluation_groups(
    options: TrainOptions | TestOptions, key: str, pictures: GroupPictures, model: HidingModel
) -> EvaluationGroups:
    """The fixed groups of a validation or test set. `key` is its dotted key in the option file."""
    least = max(*model.smallest, SMALLEST_SCORED)
    _check_grey(options, key, pictures, model)
    try:
        if pictures.groups_file:
            _, crop, resize, small = _sizes(options, key, pictures, "test_folder")
            groups = read_groups(pictures.groups_file, model.num_secrets)[: pictures.groups]
        else:
            found, crop, resize, small = _pictures(options, key, pictures, "test_folder")
            usable = usable_pictures(found, crop, resize, small)
            if len(usable) < len(found):
                logger.info(f"left out {len(found) - len(usable)} pictures smaller than {crop} px")
            groups = make_groups(
                usable,
                model.num_secrets,
                count=pictures.groups,
                seed=pictures.seed,
                grouping=pictures.grouping,
                stride=pictures.stride,
            )
        if crop is not None and crop < least:
            raise options.error(f"{key}.crop", f"expected at least {least} px, got {crop}")
        for group in groups if crop is None and resize is None else ():
            if min(picture_size(group.cover)) < least:
                raise UserError(
                    f"{group.cover}: this cover is too small; each side needs at least {least} px"
                )
        return EvaluationGroups(groups, crop, resize, small, pictures.grey)
    except OptionsError:
        raise
    except UserError as error:
        raise options.error(key, str(error)) from error


def build_attacks(options: TestOptions) -> list[Attack]:
    """The attacks of a test file, with their strengths checked. Raises OptionsError for a repeated attack."""
    attacks: list[Attack] = []
    for k, entry in enumerate(options.attacks):
        key = f"attacks.{k}"
        links = tuple(_attack(options, place, link) for place, link in _links(key, entry))
        attack = links[0] if len(links) == 1 else Chain(links)
        _check_size(options, key, attack)
        if attack in attacks:
            raise options.error(key, f"'{label(attack)}' is listed twice")
        attacks.append(attack)
    return attacks


def build_channels(options: TrainOptions) -> "list[Channel | None]":
    """One channel for each phase: its own, otherwise that of the train section. None means no channel."""
    common = _channel(options, "train.channel", options.train.channel)
    return [
        common if phase.channel is None else _channel(options, f"train.phases.{k}.channel", phase.channel)
        for k, phase in enumerate(options.train.phases)
    ]


def _channel(options: TrainOptions, key: str, entries: Sequence[TrainEntry]) -> "Channel | None":
    for k, entry in enumerate(entries):
        for j, (place, link) in enumerate(_links(f"{key}.{k}", entry)):
            if j and link.weight is not None:
                raise options.error(f"{place}.weight", "a chain's weight belongs in its first attack")
            for end in (0, 1):
                _attack(options, place, link, end)
    if not entries:
        return None
    from channel.training import Channel  # only training pays for what this import loads

    channel = Channel([[link.model_dump(exclude_none=True) for _, link in _links(key, e)] for e in entries])
    for k, attack in enumerate(entry.at_end(0) for entry in channel.entries):
        _check_size(options, f"{key}.{k}", attack)
    return channel


def _links(key: str, entry: TestEntry | TrainEntry) -> list[tuple[str, Any]]:
    """(key, attack) for each attack of a chain; a single attack is a chain of one."""
    if not isinstance(entry, list):
        return [(key, entry)]
    return [(f"{key}.{j}", link) for j, link in enumerate(entry)]


def _attack(
    options: TrainOptions | TestOptions, key: str, asked: AttackOptions, end: int | None = None
) -> Attack:
    """The attack at `key`. With `end`, strengths may be ranges: 0 takes their low ends, 1 their high ends."""
    strengths = asked.arguments
    try:
        if end is not None:
            strengths = {name: end_of(name, value, end) for name, value in strengths.items()}
        return ATTACKS[asked.type](**check_arguments(options, key, ATTACKS[asked.type], strengths))
    except StrengthError as error:
        raise options.error(f"{key}.{error.strength}", error.words) from error


def _check_size(options: TrainOptions | TestOptions, key: str, attack: Attack) -> None:
    try:
        send(np.zeros((40, 56, 3), np.uint8), attack)
    except UserError as error:
        raise options.error(key, str(error)) from error


def set_name(pictures: GroupPictures) -> str:
    """The name of a data set's results folder: its name, its preset, or its first folder's name."""
    return pictures.name or pictures.dataset or Path(pictures.folders[0].replace(":", "_")).name


def _pictures(
    options: TrainOptions | TestOptions, key: str, pictures: Pictures, preset_folder: str
) -> tuple[list[Path], int | None, int | None, str]:
    """(files, crop, resize, small) of a data section, completed by its preset."""
    folders, crop, resize, small = _sizes(options, key, pictures, preset_folder)
    try:
        return list_pictures(folders), crop, resize, small
    except UserError as error:
        place = f"{key}.folder" if pictures.folders else f"{key}.dataset"
        hint = f"; put the pictures there (docs/datasets.md) or name their folder: --set {key}.folder=DIR"
        raise options.error(place, str(error) + hint) from error


def _sizes(
    options: TrainOptions | TestOptions, key: str, pictures: Pictures, preset_folder: str
) -> tuple[list[str], int | None, int | None, str]:
    """(folders, crop, resize, small) from the file, otherwise from its preset. A null in the file counts."""
    if pictures.dataset is None:
        return pictures.folders, pictures.crop, pictures.resize, pictures.small or "error"
    if pictures.dataset not in PRESETS:
        raise options.error(f"{key}.dataset", f"'{pictures.dataset}' is not one of {', '.join(PRESETS)}")
    preset, said = PRESETS[pictures.dataset], pictures.model_fields_set
    return (
        pictures.folders or [getattr(preset, preset_folder)],
        pictures.crop if "crop" in said else preset.crop,
        pictures.resize if "resize" in said else preset.resize,
        pictures.small or preset.small,
    )


def _check_grey(
    options: TrainOptions | TestOptions, key: str, pictures: Pictures, model: HidingModel
) -> None:
    if model.grey and not pictures.grey:
        raise options.error(
            f"{key}.grey",
            "this network hides grey pictures in grey ones: write true, which turns all pictures grey",
        )


def _check_patch(options: TrainOptions | TestOptions, key: str, crop: int, model: HidingModel) -> None:
    for multiple, direction in zip(model.patch_multiple, ("height", "width"), strict=True):
        if crop % multiple:
            near = [x for x in (crop // multiple * multiple, (crop // multiple + 1) * multiple) if x]
            raise options.error(
                key,
                f"{crop} is not a multiple of {multiple}, which this network needs for the {direction}; "
                f"nearest: {' or '.join(map(str, near))}",
            )
    if crop < max(model.smallest):
        raise options.error(key, f"expected at least {max(model.smallest)} px, got {crop}")
