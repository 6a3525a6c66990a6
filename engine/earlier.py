"""Read weights that an earlier version of this project wrote (format 1)."""

import json
from pathlib import Path

import safetensors.torch
from safetensors import SafetensorError, safe_open

from engine.checkpoint import read_arguments
from errors import UserError
from models import HidingModel, build_model

IN_THE_MOSAIC = ("transform.", "encoder.", "sis.", "icdm.", "sde.")  # parts of the MosaicNetwork
LATTICE_LACKS = ("embedding", "condition", "headroom", "imse_blocks", "imse_clamp")
IMSE_LACKS = ("embedding", "modulus")


def read_format1(path: Path) -> tuple[HidingModel, dict[str, str]]:
    """Read a file of format 1: the network, with today's names, and the rest of its metadata.

    SMILENet with `embedding: lattice` is now the method smilenet_l. Raises UserError for any other file.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        tensors = safetensors.torch.load_file(path)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: not a whole safetensors file ({error})") from error
    if metadata.get("format") != "1":
        raise UserError(f"{path}: not weights of format 1")
    method, arguments = renamed(metadata["method"], read_arguments(path, metadata))
    about = {k: v for k, v in metadata.items() if k not in ("format", "method", "arguments", "num_secrets")}
    if "options" in about:
        about["options"] = json.dumps(todays_options(json.loads(about["options"])))
    model = build_model(method, **arguments)
    model.load_state_dict({todays_name(method, name): value for name, value in tensors.items()})
    return model.eval(), about


def renamed(method: str, arguments: dict) -> tuple[str, dict]:
    """Return (method, arguments) of a network section under today's names."""
    if method != "smilenet":
        return method, arguments
    lattice = arguments.get("embedding") == "lattice"
    lacks = LATTICE_LACKS if lattice else IMSE_LACKS
    return "smilenet_l" if lattice else method, {k: v for k, v in arguments.items() if k not in lacks}


def todays_name(method: str, name: str) -> str:
    """Return today's name of a tensor."""
    if method in ("smilenet", "smilenet_l") and name.startswith(IN_THE_MOSAIC):
        return f"mosaic.{name}"
    return f"network.{name}" if method == "hinet" else name


def todays_options(options: dict) -> dict:
    """Return the options of a training run, with network section and frozen parts under today's names."""
    network = dict(options["network"])
    method, arguments = renamed(network.pop("type"), network)
    parts = [part.rstrip(".") for part in IN_THE_MOSAIC]
    train = dict(options["train"])
    train["phases"] = [
        phase | {"freeze": [f"mosaic.{p}" if p in parts else p for p in phase["freeze"]]}
        for phase in train["phases"]
    ]
    return options | {"network": {"type": method, **arguments}, "train": train}
