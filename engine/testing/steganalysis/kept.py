"""Save trained detectors as files with data and no code: what they learned, from what, with which seed."""

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from data.images import read_picture
from engine.testing.steganalysis.cnn import network_scores
from errors import UserError
from metrics.steganalysis.cnn import NETWORKS
from metrics.steganalysis.ica import Machine, ica_features
from metrics.steganalysis.rich import Ensemble, rich_features

NAMES = ("detector.npz", "detector.safetensors")


@dataclass
class Kept:
    """A trained detector.

    about: detector and its settings, seed, the names of the covers it learned from and was tested on.
    scores: a function that scores picture files: (N,), above 0 means stego.
    """

    about: dict
    scores: Callable[[list[Path]], np.ndarray]


def network_file(network: nn.Module, about: dict) -> tuple[str, bytes]:
    """Return (name, content) of the file for a network."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    return NAMES[1], safetensors.torch.save(tensors, {"about": json.dumps(about)})


def arrays_file(arrays: dict[str, np.ndarray], about: dict) -> tuple[str, bytes]:
    """Return (name, content) of the file for a detector that consists of arrays."""
    content = io.BytesIO()
    np.savez_compressed(content, about=np.array(json.dumps(about)), **arrays)  # type: ignore[arg-type]
    return NAMES[0], content.getvalue()


def load_detector(path: Path, device: torch.device) -> Kept:
    """Load a detector. Raises UserError if the file is missing, damaged, or not a detector."""
    if not path.is_file():
        raise UserError(f"{path}: no such file; expected a {' or '.join(NAMES)}")
    if path.suffix not in (".npz", ".safetensors"):
        raise UserError(f"{path}: expected a {' or '.join(NAMES)}")
    try:
        return _load_network(path, device) if path.suffix == ".safetensors" else _load_arrays(path)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise UserError(f"{path}: not a detector saved by steganalysis.py ({error})") from error


def _load_network(path: Path, device: torch.device) -> Kept:
    with safe_open(path, framework="pt") as file:
        about = json.loads(file.metadata()["about"])
    if about["network"] not in NETWORKS:
        raise ValueError(f"its network is '{about['network']}', which reads secrets and detects nothing")
    network = NETWORKS[about["network"]]()
    network.load_state_dict(safetensors.torch.load_file(path))
    network.to(device).eval()
    return Kept(about, lambda paths: network_scores(network, paths, device))


def _load_arrays(path: Path) -> Kept:
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    about = json.loads(str(arrays.pop("about")))
    learned: Ensemble | Machine
    if about["detector"] == "ica":
        learned, chosen = Machine(arrays), tuple(about["components"])

        def features(picture: np.ndarray) -> np.ndarray:
            return ica_features(picture, chosen)
    else:
        learned = Ensemble(arrays)

        def features(picture: np.ndarray) -> np.ndarray:
            return rich_features(picture, about["features"], about["channel"])

    def scores(paths: list[Path]) -> np.ndarray:
        return learned.scores(np.stack([features(read_picture(path)) for path in paths]))

    return Kept(about, scores)
