"""Weights files (safetensors): writing, reading and finding them.

They hold data, never code. Every file is first written under a temporary name and then renamed, so that a
crash or a full disk leaves the old file intact. engine/states.py has what a run resumes from.
"""

import hashlib
import inspect
import json
import os
from pathlib import Path

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open

from container.header import FINGERPRINT
from data.files import sha256, write_beside
from engine.log import EXPERIMENTS
from errors import NotFinite, UserError
from models import MODELS, HidingModel, KeyedMethod, build_model

FORMAT = "2"
SENDERS = ("modulus", "shaping")  # the weights do not depend on these: the sender chooses, the stego tells
UNTRAINED = [name for name, method in MODELS.items() if not method.trainable]  # their name stands for weights


# --- weights ------------------------------------------------------------------------------------


def save_weights(path: Path, model: HidingModel, half: bool = False, **about) -> None:
    """Write a model's weights. The file's metadata hold everything needed to build the model again.

    model: made by `build_model`, so that it knows its method and all its arguments.
    half: store floats in half precision; the fingerprint stays the same.
    about: more entries for the metadata.
    Raises NotFinite if a weight is NaN or infinite; an existing file then stays as it is.
    """
    write_beside(path, weights_file(model, half, **about))


def weights_file(model: HidingModel, half: bool = False, **about) -> bytes:
    """The bytes of the file that `save_weights` writes. Arguments and errors as there."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in deployed_state(model).items()}
    if half:
        tensors = {name: _halved(value) for name, value in tensors.items()}
    for name, value in tensors.items():
        if not torch.isfinite(value).all():
            raise NotFinite(
                f"weights of '{model.method}' are not saved: {name} holds NaN or infinite values; lower "
                "train.lr and resume"
            )
    metadata = {
        **{key: str(value) for key, value in about.items()},
        "format": FORMAT,
        "method": model.method,
        "arguments": json.dumps(model.arguments),
        "num_secrets": str(model.num_secrets),
        "fingerprint": fingerprint(model).hex(),
    }
    return safetensors.torch.save(tensors, metadata)


def fingerprint(model: HidingModel) -> bytes:
    """8 bytes that identify a network's weights, whatever file holds them.

    They are the start of the SHA-256 of the method's name, of the arguments that differ from their defaults
    (without SENDERS), and of each tensor's name, type, shape and bytes, with floats in half precision. The
    fingerprint therefore stays the same if the weights are saved again, with other metadata or in half
    precision, or if the method gets new arguments.
    """
    defaults = inspect.signature(MODELS[model.method]).parameters
    arguments = {
        name: value
        for name, value in sorted(model.arguments.items())
        if name not in SENDERS and value != defaults[name].default
    }
    digest = hashlib.sha256(json.dumps([model.method, arguments]).encode())
    for name, value in sorted(deployed_state(model).items()):
        tensor = _halved(value.detach().cpu()).contiguous()
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(tensor.numpy().tobytes())
    return digest.digest()[:FINGERPRINT]


def deployed_state(model: HidingModel) -> dict[str, torch.Tensor]:
    """The tensors that sender and receiver need: all except the critic's, unless hiding needs the critic."""
    state = model.state_dict()
    if model.critic is None or model.critic_hides:
        return state
    return {name: value for name, value in state.items() if not name.startswith("critic.")}


def deployed_size(model: HidingModel) -> int:
    """The number of parameters that sender and receiver need."""
    needed = deployed_state(model)
    return sum(p.numel() for name, p in model.named_parameters() if name in needed)


def _halved(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.half() if tensor.is_floating_point() else tensor


def load_model(
    weights: str | Path,
    device: torch.device | str = "cpu",
    experiments: Path = EXPERIMENTS,
    expect: tuple[str, dict] | None = None,
) -> tuple[HidingModel, dict[str, str]]:
    """Build the network that a weights file describes; return it in eval mode, with the file's metadata.

    weights: a file, a name (see `find_weights`), or a method without weights, which takes its arguments from
    `expect`.
    expect: (method, arguments) that the file must have; SENDERS may differ and override those of the file.
    The metadata also get the entries "path" and "sha256".
    Raises UserError for a missing, truncated or foreign file, a pickle, another method or other arguments.
    The message says what the file is and what was expected.
    """
    try:
        path = find_weights(weights, experiments)
    except UserError:
        if str(weights) in UNTRAINED:
            return _untrained(str(weights), device, expect)
        raise
    metadata = read_metadata(path)
    method, arguments = metadata["method"], read_arguments(path, metadata)
    if expect is not None:
        _check_expected(path, method, arguments, *expect)
        arguments |= {key: value for key, value in expect[1].items() if key in SENDERS}
    if method not in MODELS:
        raise UserError(
            f"{path}: weights of '{method}', an unknown method; the methods are: {', '.join(MODELS)}"
        )
    try:
        model = build_model(method, **arguments)
        # The file does not hold a critic that only training needs; its fresh weights stay.
        tensors = safetensors.torch.load_file(path)
        trained_only = model.state_dict().keys() - deployed_state(model).keys()
        if missing := deployed_state(model).keys() - tensors.keys():
            raise UserError(_lacking(path, method, missing))
        model.load_state_dict({n: v for n, v in model.state_dict().items() if n in trained_only} | tensors)
    except (SafetensorError, RuntimeError, TypeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"{path}: the weights do not fit '{method}' {arguments}: {reason}") from error
    if (found := fingerprint(model)).hex() != metadata["fingerprint"]:
        raise UserError(
            f"{path}: not the weights that were originally written (fingerprint {found.hex()} instead of "
            f"{metadata['fingerprint']}); get the file again"
        )
    if isinstance(model, KeyedMethod):
        model.fingerprint = found
    model.trained_channel = trained_channel(path, metadata)
    metadata["path"] = str(path)
    metadata["sha256"] = sha256(path)
    return model.to(device).eval(), metadata


def start_from(model: HidingModel, weights: str | Path, experiments: Path = EXPERIMENTS) -> str:
    """Copy the tensors of a weights file into a fresh network, which may have more; return a log line.

    Arguments may differ, and the line lists the differences. Raises UserError for weights of another method,
    of another mosaic (rows, cols), or with a tensor that this network lacks or has in another shape.
    """
    path = find_weights(weights, experiments)
    metadata = read_metadata(path)
    if metadata["method"] != model.method:
        raise UserError(
            f"{path}: weights of '{metadata['method']}'; start_from needs weights of '{model.method}'"
        )
    arguments = read_arguments(path, metadata)
    differing = [
        f"{key}: {arguments.get(key)} -> {value}"
        for key, value in model.arguments.items()
        if arguments.get(key) != value
    ]
    if tiling := [change for change in differing if change.startswith(("rows:", "cols:"))]:
        raise UserError(f"{path}: weights of another mosaic ({', '.join(tiling)})")
    old, new = safetensors.torch.load_file(path), model.state_dict()
    for name, tensor in old.items():
        there = "x".join(map(str, tensor.shape))
        if name not in new:
            raise UserError(f"{path}: contains {name} ({there}), which this network lacks")
        if tensor.shape != new[name].shape:
            here = "x".join(map(str, new[name].shape))
            raise UserError(f"{path}: {name} is {there}, but {here} in this network")
    model.load_state_dict(new | old)
    others = f"; {', '.join(differing)}" if differing else ""
    fresh = len(new) - len(old)
    return (
        f"started from {path} ({metadata['fingerprint']}): {len(old)} tensors copied, {fresh} fresh{others}"
    )


def _untrained(
    method: str, device: torch.device | str, expect: tuple[str, dict] | None
) -> tuple[HidingModel, dict[str, str]]:
    if expect is not None and expect[0] != method:
        raise UserError(f"'{method}' is a method without weights, expected weights of '{expect[0]}'")
    model = build_model(method, **(expect[1] if expect else {}))
    about = {"method": method, "num_secrets": str(model.num_secrets), "path": method, "sha256": ""}
    return model.to(device).eval(), about


def read_metadata(path: Path) -> dict[str, str]:
    """The metadata of a weights file of this project; executes nothing in the file.

    Raises UserError for a file that is not whole, not from this project, or of another format.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except SafetensorError as error:
        raise UserError(
            f"{path}: not a whole safetensors file ({error}). Weights must be data, so pickles are not "
            "opened; copy a truncated file again"
        ) from error
    if not {"format", "method", "arguments"} <= metadata.keys():
        raise UserError(f"{path}: a safetensors file, but not weights that this project wrote")
    if metadata["format"] == "1":
        raise UserError(
            f"{path}: weights of format 1, which an earlier version wrote; convert them with: "
            f"python scripts/convert_weights.py --from format1 {path} --out FOLDER"
        )
    if metadata["format"] != FORMAT or "fingerprint" not in metadata:
        raise UserError(
            f"{path}: weights of format {metadata['format']}; this version reads format {FORMAT}; use "
            "the version of this project that wrote them"
        )
    return metadata


def read_arguments(path: Path, metadata: dict[str, str]) -> dict:
    """The arguments of the network's constructor, from the metadata of a weights file."""
    try:
        arguments = json.loads(metadata["arguments"])
    except json.JSONDecodeError as error:
        raise UserError(f"{path}: its arguments are not JSON ({error}); get the file again") from error
    if not isinstance(arguments, dict):
        raise UserError(f"{path}: its arguments are not a mapping; get the file again")
    return arguments


def trained_channel(path: Path, metadata: dict[str, str]) -> list[list[dict]]:
    """The attacks that a network was trained for, as chains, from the metadata of its weights.

    Chains are written as in an option file. Only the last phase counts; {type: none} and the weights of the
    draw are left out. The list is empty if the file says nothing about the training.
    """
    try:
        train = json.loads(metadata.get("options", "{}")).get("train", {})
    except (json.JSONDecodeError, AttributeError) as error:
        raise UserError(f"{path}: its options are not training options; get the file again") from error
    last = (train.get("phases") or [{}])[-1].get("channel")
    channel = train.get("channel", []) if last is None else last
    chains = [entry if isinstance(entry, list) else [entry] for entry in channel]
    chains = [
        [{k: v for k, v in link.items() if k != "weight" and v is not None} for link in chain]
        for chain in chains
    ]
    return [chain for chain in chains if chain != [{"type": "none"}]]


def find_weights(name: str | Path, experiments: Path = EXPERIMENTS) -> Path:
    """The weights file that a name stands for.

    name: a file, a run in `experiments`, RUN/last.safetensors, or a name in experiments/pretrained/. A run
    comes before shipped weights of the same name, because users mean what they trained themselves.
    Raises UserError if there is no such file; the message lists the known names.
    """
    if Path(name).is_file():
        return Path(name)
    run, pretrained = experiments / name / "checkpoints", experiments / "pretrained" / name
    candidates = [run / "best.safetensors", run / "last.safetensors"]
    candidates += sorted(pretrained.glob("*.safetensors"))
    candidates.append(experiments / Path(name).parent / "checkpoints" / Path(name).name)
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    if Path(name).suffix or len(Path(name).parts) > 1:
        raise UserError(f"{name}: no such weights file")
    runs = sorted({p.parents[1].name for p in experiments.glob("*/checkpoints/*.safetensors")})
    known = (
        ", ".join(dict.fromkeys(runs + list(shipped(experiments))))
        or "none yet; train one with: make quickstart"
    )
    raise UserError(
        f"weights '{name}': no such file, run or pretrained network; there are: {known}; "
        f"without weights: {', '.join(UNTRAINED)}"
    )


def shipped(experiments: Path = EXPERIMENTS) -> dict[str, Path]:
    """The weights files in experiments/pretrained/, by name."""
    files = sorted(experiments.glob("pretrained/*/*.safetensors"))
    return {path.parent.name: path for path in files}


def weights_that_hid(method: str, wanted: bytes, experiments: Path = EXPERIMENTS) -> str:
    """The weights file with the fingerprint `wanted`, shipped or from a run.

    For a method without weights, its name. Reads only the metadata of the files. Raises UserError if no file
    has this fingerprint.
    """
    if method in UNTRAINED:
        return method
    for path in (*shipped(experiments).values(), *sorted(experiments.glob("*/checkpoints/*.safetensors"))):
        try:
            metadata = read_metadata(path)
        except UserError:  # some other kind of file
            continue
        if metadata["fingerprint"] == wanted.hex():
            return str(path)
    raise UserError(
        f"hidden with weights of '{method}' (fingerprint {wanted.hex()}) that are not in {experiments}; "
        "name their file with --weights"
    )


def keep_used(path: str | Path, model: HidingModel) -> None:
    """Keep a run's weights under the name of their fingerprint, because a stego now depends on them.

    A run that trains on replaces its best and last weights, but revealing needs the weights that hid. A link
    is enough, because weights are always written to a new file. Does nothing if the method has no key or the
    weights are not in a run's folder.
    """
    path = Path(path)
    kept = path.with_name(f"used_{fingerprint(model).hex()}.safetensors")
    if isinstance(model, KeyedMethod) and path.parent.name == "checkpoints" and not kept.exists():
        try:
            os.link(path, kept)
        except OSError:  # a file system without links
            write_beside(kept, path.read_bytes())


def _lacking(path: Path, method: str, missing: set[str]) -> str:
    """Say what a weights file lacks, by the names of its missing tensors."""
    if any(name.startswith("critic.") for name in missing):
        return f"{path}: lacks the critic, whose score map this sender needs (network.critic: gate)"
    first, more = min(missing), len(missing) - 1
    return f"{path}: lacks '{first}'" + (f" and {more} more" if more else "") + f" of '{method}'"


def _check_expected(path: Path, method: str, arguments: dict, wanted: str, details: dict) -> None:
    if method != wanted:
        raise UserError(f"{path}: these are weights of '{method}', expected '{wanted}'")
    differing = [
        f"{key}={arguments.get(key, 'default')} instead of {value}"
        for key, value in details.items()
        if key not in SENDERS and arguments.get(key) != value
    ]
    if differing:
        raise UserError(f"{path}: weights of another '{method}': {', '.join(differing)}")
