"""Files that outlive a run: weights (safetensors) and the state that a run resumes from.

Weights are data, never code: safetensors, or torch.load(weights_only=True). Every file is written
beside its place and renamed, so that a crash or a full disk leaves the old one whole.
"""

import hashlib
import inspect
import io
import json
import os
import random
import shutil
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open

from container.header import FINGERPRINT
from data.files import replaced_at_once, sha256, write_beside
from engine.log import EXPERIMENTS
from errors import NotFinite, UserError
from models import MODELS, HidingModel, KeyedMethod, build_model

FORMAT = "2"
PREVIOUS = "previous.state"  # the state before last.state
SENDERS = ("modulus", "shaping")  # arguments that no weights depend on: the sender chooses, the stego says
UNTRAINED = [name for name, method in MODELS.items() if not method.trainable]  # their name is all they need


# --- weights ------------------------------------------------------------------------------------


def save_weights(path: Path, model: HidingModel, half: bool = False, **about) -> None:
    """Write a model's weights, with all that is needed to build it again in the file's metadata.

    The model is one that `build_model` made: it knows its method and all its arguments. half: store floats in
    half precision; the fingerprint stays the same. Raises NotFinite where a weight is NaN or infinite; a file
    that stood there stays as it was.
    """
    write_beside(path, weights_file(model, half, **about))


def weights_file(model: HidingModel, half: bool = False, **about) -> bytes:
    """The bytes that `save_weights` writes."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in deployed_state(model).items()}
    if half:
        tensors = {name: _halved(value) for name, value in tensors.items()}
    for name, value in tensors.items():
        if not torch.isfinite(value).all():
            raise NotFinite(f"weights of '{model.method}' are not saved: {name} holds NaN or infinite values")
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
    """8 bytes that tell a network's weights from others, whatever file they are in.

    The start of the SHA-256 of the method's name, of the arguments that differ from their defaults (but for
    SENDERS), and of each tensor's name, type, shape and bytes, with floats in half precision. So it stays the
    same when the weights are saved again, with other metadata, in half precision, or after the method has got
    new arguments.
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
    """The tensors that sender and receiver need: all but the critic's, unless the sender needs that too."""
    state = model.state_dict()
    if model.critic is None or model.critic_hides:
        return state
    return {name: value for name, value in state.items() if not name.startswith("critic.")}


def deployed_size(model: HidingModel) -> int:
    """How many parameters sender and receiver need."""
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
    """Build the network that a weights file describes: (model in eval mode, the file's metadata).

    weights: a file, or a name (see `find_weights`), or a method that has no weights: then its arguments
    are those expected. expect: (method, arguments) that the file must have, but for SENDERS. Raises
    UserError for a missing, truncated or foreign file, a pickle, another method or other arguments,
    naming what it is and what was expected.
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
        raise UserError(f"{path}: weights of '{method}', a method unknown here: {', '.join(MODELS)}")
    try:
        model = build_model(method, **arguments)
        # A critic that only training needs is not in the file, and stays as it is.
        tensors = safetensors.torch.load_file(path)
        trained_only = model.state_dict().keys() - deployed_state(model).keys()
        model.load_state_dict({n: v for n, v in model.state_dict().items() if n in trained_only} | tensors)
    except (SafetensorError, RuntimeError, TypeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"{path}: the weights do not fit '{method}' {arguments}: {reason}") from error
    if (found := fingerprint(model)).hex() != metadata["fingerprint"]:
        raise UserError(
            f"{path}: not the weights that were written here (fingerprint {found.hex()} instead of "
            f"{metadata['fingerprint']}); get the file again"
        )
    if isinstance(model, KeyedMethod):
        model.fingerprint = found
    model.trained_channel = trained_channel(path, metadata)
    metadata["path"] = str(path)
    metadata["sha256"] = sha256(path)
    return model.to(device).eval(), metadata


def start_from(model: HidingModel, weights: str | Path, experiments: Path = EXPERIMENTS) -> str:
    """Copy the tensors of a weights file into a fresh network that may have more: a line on what was done.

    Raises UserError for weights of another method, for another mosaic (rows, cols), or with a tensor that
    this network lacks or has in another shape. Other arguments may differ; the line says which.
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
            raise UserError(f"{path}: it has {name} ({there}), which this network lacks")
        if tensor.shape != new[name].shape:
            here = "x".join(map(str, new[name].shape))
            raise UserError(f"{path}: {name} is {there} there and {here} in this network")
    model.load_state_dict(new | old)
    others = f"; {', '.join(differing)}" if differing else ""
    fresh = len(new) - len(old)
    return f"started from {path} ({metadata['fingerprint']}): {len(old)} tensors taken, {fresh} fresh{others}"


def _untrained(
    method: str, device: torch.device | str, expect: tuple[str, dict] | None
) -> tuple[HidingModel, dict[str, str]]:
    if expect is not None and expect[0] != method:
        raise UserError(f"'{method}' is a method without weights, expected weights of '{expect[0]}'")
    model = build_model(method, **(expect[1] if expect else {}))
    about = {"method": method, "num_secrets": str(model.num_secrets), "path": method, "sha256": ""}
    return model.to(device).eval(), about


def read_metadata(path: Path) -> dict[str, str]:
    """The metadata of a weights file of this project. Nothing in it is executed."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
    except SafetensorError as error:
        raise UserError(
            f"{path}: not a whole safetensors file ({error}). Weights are data here, pickles are not "
            "opened; a truncated copy must be copied again"
        ) from error
    if not {"format", "method", "arguments"} <= metadata.keys():
        raise UserError(f"{path}: a safetensors file, but not weights that this project wrote")
    if metadata["format"] == "1":
        raise UserError(
            f"{path}: weights of format 1, which an earlier version wrote; bring them over with: "
            f"python scripts/convert_weights.py --from format1 {path} --out FOLDER"
        )
    if metadata["format"] != FORMAT or "fingerprint" not in metadata:
        raise UserError(f"{path}: weights of format {metadata['format']}, this version reads {FORMAT}")
    return metadata


def read_arguments(path: Path, metadata: dict[str, str]) -> dict:
    """The arguments of the network's constructor, as a weights file has them."""
    try:
        arguments = json.loads(metadata["arguments"])
    except json.JSONDecodeError as error:
        raise UserError(f"{path}: its arguments are not JSON ({error}); get the file again") from error
    if not isinstance(arguments, dict):
        raise UserError(f"{path}: its arguments are not a mapping; get the file again")
    return arguments


def trained_channel(path: Path, metadata: dict[str, str]) -> list[list[dict]]:
    """The attacks that a network was trained for, by a weights file: chains as in an option file.

    Those of the last phase count, without {type: none} and without their weights in the draw. Empty for
    weights that say nothing of their training.
    """
    try:
        train = json.loads(metadata.get("options", "{}")).get("train", {})
    except (json.JSONDecodeError, AttributeError) as error:
        raise UserError(f"{path}: its options are not those of a training; get the file again") from error
    last = (train.get("phases") or [{}])[-1].get("channel")
    channel = train.get("channel", []) if last is None else last
    chains = [entry if isinstance(entry, list) else [entry] for entry in channel]
    chains = [
        [{k: v for k, v in link.items() if k != "weight" and v is not None} for link in chain]
        for chain in chains
    ]
    return [chain for chain in chains if chain != [{"type": "none"}]]


def find_weights(name: str | Path, experiments: Path = EXPERIMENTS) -> Path:
    """A file; or a run of `experiments`, or RUN/last.safetensors of it; or a name in experiments/pretrained/.

    A run comes before shipped weights of its name: what was trained here is what is meant here.
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
    """The networks of experiments/pretrained/: {name: weights file}."""
    files = sorted(experiments.glob("pretrained/*/*.safetensors"))
    return {path.parent.name: path for path in files}


def weights_that_hid(method: str, wanted: bytes, experiments: Path = EXPERIMENTS) -> str:
    """The file with this fingerprint, shipped or of a run; the method's name where it has no weights.

    Only the files' metadata are read. Raises UserError where there is none.
    """
    if method in UNTRAINED:
        return method
    for path in (*shipped(experiments).values(), *sorted(experiments.glob("*/checkpoints/*.safetensors"))):
        try:
            metadata = read_metadata(path)
        except UserError:  # some other file: not the one that is looked for
            continue
        if metadata["fingerprint"] == wanted.hex():
            return str(path)
    raise UserError(
        f"hidden with weights of '{method}' (fingerprint {wanted.hex()}) that are not in {experiments}; "
        "say where they are with --weights"
    )


def keep_used(path: str | Path, model: HidingModel) -> None:
    """Keep a run's weights under the name of their fingerprint, once something has been hidden with them.

    A run that trains on replaces its best and last weights; what was hidden with the earlier ones needs
    those. A link is enough, since weights are always written to a new file.
    """
    path = Path(path)
    kept = path.with_name(f"used_{fingerprint(model).hex()}.safetensors")
    if isinstance(model, KeyedMethod) and path.parent.name == "checkpoints" and not kept.exists():
        try:
            os.link(path, kept)
        except OSError:  # a file system without links
            write_beside(kept, path.read_bytes())


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


# --- the state that a run resumes from ----------------------------------------------------------


def save_state(path: Path, state: dict, keep_previous: bool = False) -> None:
    """Write tensors, numbers, texts, lists and dicts; through memory, so that a full disk is an OSError.

    keep_previous: the state that is replaced stays beside it as previous.state.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced_at_once(path) as part:
        part.write_bytes(buffer.getvalue())
        if keep_previous and path.exists():  # only now: where the disk is full, both stay as they were
            _keep_as(path, path.with_name(PREVIOUS))


def _keep_as(path: Path, kept: Path) -> None:
    """Give a file a second name, which stays when the first gets a new file."""
    with replaced_at_once(kept) as part:
        try:
            os.link(path, part)
        except OSError:  # a file system without links
            shutil.copyfile(path, part)


def load_newest(path: Path) -> tuple[dict, str | None]:
    """The state at `path` and None; or where it is damaged, the one before it and a line that says so."""
    previous = path.with_name(PREVIOUS)
    try:
        return load_state(path), None
    except UserError as error:
        if not previous.exists():
            raise
        state = load_state(previous)
        return state, f"{error}; went on with the one before it, {PREVIOUS}, of step {state['step']}"


def load_state(path: Path) -> dict:
    """Read what `save_state` wrote. A file that is missing, truncated or holds code is a UserError."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"{path}: nothing to resume from; start without --resume") from None
    except Exception as error:  # torch raises a dozen kinds, from zipfile's to pickle's
        reason = str(error).splitlines()[0][:120]
        raise UserError(
            f"{path}: not a whole training state, or not only data ({reason}); it was not executed"
        ) from error


def random_state() -> dict:
    """The state of every random generator that training may use, as plain data."""
    kind, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)
    return {
        "python": random.getstate(),
        "numpy": [kind, np.asarray(keys).tolist(), int(position), int(has_gauss), float(gauss)],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_random_state(state: dict) -> None:
    random.setstate(state["python"])
    kind, keys, *rest = state["numpy"]
    np.random.set_state((kind, np.array(keys, dtype=np.uint32), *rest))
    torch.set_rng_state(state["torch"])
    if state["cuda"] and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
