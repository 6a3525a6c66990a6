"""From options to objects: the one place where option files, pictures and networks meet."""

from pathlib import Path

import torch
from torch import nn

from data.groups import make_groups, read_groups
from data.images import list_pictures
from data.loader import EvaluationGroups, TrainingGroups
from data.presets import PRESETS
from data.transforms import usable_pictures
from engine.log import logger
from models import MODELS, HidingModel, build_model
from options import GroupPictures, Network, Pictures, TestOptions, TrainOptions, check_arguments


def choose_device(name: str) -> torch.device:
    """auto: CUDA where there is one, else the CPU. Raises ValueError for a device that is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise ValueError(f"device '{name}': no CUDA device was found; use auto or cpu")
        if (device.index or 0) >= torch.cuda.device_count():
            raise ValueError(f"device '{name}': there are {torch.cuda.device_count()} CUDA devices")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ValueError("device 'mps': not available on this machine; use auto or cpu")
    return device


def has_fast_bf16(device: torch.device) -> bool:
    """Whether bfloat16 convolutions run in hardware (on a CPU: AVX512-BF16 or AMX)."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return False


def method_arguments(options: TrainOptions | TestOptions, network: Network) -> tuple[str, dict]:
    """The network section as (method, arguments), checked against the constructor."""
    if network.type not in MODELS:
        raise options.error(
            "network.type", f"no method is called '{network.type}'; there are: {', '.join(MODELS)}"
        )
    constructor = MODELS[network.type]
    return network.type, check_arguments(options, "network", constructor, network.arguments)


def build_network(options: TrainOptions) -> HidingModel:
    """The network of a training file, with fresh weights drawn from its seed."""
    method, arguments = method_arguments(options, options.network)
    torch.manual_seed(options.seed)
    try:
        return build_model(method, **arguments)
    except ValueError as error:
        raise options.error("network", str(error)) from error


def build_criteria(options: TrainOptions, model: HidingModel) -> list[nn.Module]:
    """One criterion a phase: the loss section, with the phase's own overrides."""
    parts = {name for name, _ in model.named_modules() if name}
    criteria = []
    for k, phase in enumerate(options.train.phases):
        for name in phase.freeze:
            if name not in parts:
                known = ", ".join(name for name, _ in model.named_children())
                raise options.error(
                    f"train.phases.{k}.freeze", f"the network has no part '{name}'; it has: {known}"
                )
        check_arguments(options, f"train.phases.{k}.loss", model.Criterion, dict(phase.loss))
        weights = check_arguments(options, "loss", model.Criterion, dict(options.loss))
        try:
            criteria.append(model.Criterion(**{**weights, **phase.loss}))
        except ValueError as error:
            raise options.error("loss", str(error)) from error
    return criteria


def training_groups(options: TrainOptions, model: HidingModel) -> TrainingGroups:
    """The training pictures as groups of random patches; its items depend on the seed alone."""
    pictures, train = options.data.train, options.train
    found, crop, resize, small = _pictures(options, "data.train", pictures, "train_folder")
    if crop is None:
        raise options.error("data.train.crop", "missing (an integer: side of the patches [px])")
    _check_patch(options, "data.train.crop", crop, model)
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
        )
    except ValueError as error:
        raise options.error("data.train", str(error)) from error


def evaluation_groups(
    options: TrainOptions | TestOptions, key: str, pictures: GroupPictures, model: HidingModel
) -> EvaluationGroups:
    """The fixed groups of a validation or test set. `key` is its place in the option file."""
    found, crop, resize, small = _pictures(options, key, pictures, "test_folder")
    if crop is not None and (crop < model.smallest[0] or crop < model.smallest[1]):
        raise options.error(f"{key}.crop", f"at least {max(model.smallest)} pixels are needed")
    try:
        if pictures.groups_file:
            groups = read_groups(pictures.groups_file, model.num_secrets)[: pictures.groups]
        else:
            usable = usable_pictures(found, crop, resize, small)
            if len(usable) < len(found):
                logger.info(f"{len(found) - len(usable)} pictures smaller than {crop} px left out")
            groups = make_groups(
                usable,
                model.num_secrets,
                count=pictures.groups,
                seed=pictures.seed,
                grouping=pictures.grouping,
                stride=pictures.stride,
            )
        return EvaluationGroups(groups, crop, resize, small)
    except ValueError as error:
        raise options.error(key, str(error)) from error


def set_name(pictures: GroupPictures) -> str:
    """The name of a data set's results folder."""
    return pictures.name or pictures.dataset or Path(pictures.folders[0].replace(":", "_")).name


def _pictures(
    options: TrainOptions | TestOptions, key: str, pictures: Pictures, preset_folder: str
) -> tuple[list[Path], int | None, int | None, str]:
    """(files, crop, resize, small) of a data section, its preset filled in."""
    crop, resize, folders = pictures.crop, pictures.resize, pictures.folders
    small: str | None = pictures.small
    if pictures.dataset is not None:
        if pictures.dataset not in PRESETS:
            raise options.error(f"{key}.dataset", f"'{pictures.dataset}' is none of {', '.join(PRESETS)}")
        preset = PRESETS[pictures.dataset]
        folders = folders or [getattr(preset, preset_folder)]
        crop, resize = crop or preset.crop, resize or preset.resize
        small = small or preset.small
    try:
        found = list_pictures(folders)
    except ValueError as error:
        place = f"{key}.folder" if pictures.folders else f"{key}.dataset"
        hint = f"; put the pictures there (docs/datasets.md) or say where they are: --set {key}.folder=DIR"
        raise options.error(place, str(error) + hint) from error
    return found, crop, resize, small or "error"


def _check_patch(options: TrainOptions | TestOptions, key: str, crop: int, model: HidingModel) -> None:
    for multiple, direction in zip(model.patch_multiple, ("rows", "cols"), strict=True):
        if crop % multiple:
            below = crop // multiple * multiple
            raise options.error(
                key,
                f"{crop} is not a multiple of {multiple}, as {direction} of this network ask; "
                f"the nearest are {below} and {below + multiple}",
            )
    if crop < max(model.smallest):
        raise options.error(key, f"at least {max(model.smallest)} pixels are needed, got {crop}")
