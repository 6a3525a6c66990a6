"""Scoring of a model, shared by validation and test.py: every number comes from 8-bit pictures."""

import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from channel.attacks import Attack, label, send
from container.keys import repeatable_nonces
from data.groups import write_groups
from data.images import read_picture, to_array, to_tensor, write_picture
from data.loader import EvaluationGroups
from engine.checkpoint import deployed_size
from engine.testing.figures import group_figure
from engine.testing.results import Attacked, HiddenGroup, mean_finite, write_results
from engine.testing.results_folder import replaced_folder
from errors import UserError
from metrics.image import psnr
from models import HidingModel


def validate(model: HidingModel, groups: EvaluationGroups) -> tuple[dict[str, float], np.ndarray]:
    """Mean PSNR (RGB, dB) through 8 bit: ({cover_stego, secret_revealed}, a figure of the first group).

    Keyed methods draw their nonces from a seed here, so that the same weights have the same scores. uint8
    arrays stand in for the file: a PNG keeps them exactly (test.py goes through the file all the same).
    """
    with repeatable_nonces(seed=0):
        return _validated(model, groups)


def _validated(model: HidingModel, groups: EvaluationGroups) -> tuple[dict[str, float], np.ndarray]:
    stego_scores, revealed_scores = [], []
    for index in range(len(groups)):
        item = groups[index]
        cover, secrets = item["cover"], item["secrets"]
        stego = model.hide(cover[None], secrets[None])
        revealed = model.reveal(stego)[0]
        stego_scores.append(psnr(to_array(cover), to_array(stego[0])))
        pairs = zip(_arrays(secrets), _arrays(revealed), strict=True)
        revealed_scores += [psnr(a, b) for a, b in pairs]
        if index == 0:
            pictures = to_array(cover), to_array(stego[0]), _arrays(secrets), _arrays(revealed)
            figure = group_figure(*pictures, cols=model.figure_columns)
    return {
        "cover_stego": mean_finite(stego_scores)[0],
        "secret_revealed": mean_finite(revealed_scores)[0],
    }, figure


def evaluate(
    model: HidingModel,
    groups: EvaluationGroups,
    out: Path,
    summary: dict,
    save_images: int = 4,
    capacity: bool = True,
    attacks: Sequence[Attack] = (),
    seed: int = 0,
) -> dict:
    """Test a model on a data set by the protocol of docs/evaluation.md, and write the results to `out`.

    hide -> stego.png on disk -> a fresh read of that file -> reveal; and once more from the stego
    after each attack (its random choices from `seed` and the group's number). Writes groups.csv and what
    engine/testing/results.py tells of, and returns the metrics. All appears together at the end, in place
    of earlier results: a test that fails leaves those as they were. Files of others stay in the folder.
    """
    with replaced_folder(out) as new:
        write_groups(new / "groups.csv", groups.groups)
        params = deployed_size(model)
        hidden = _through_png(model, groups, attacks, seed)
        return write_results(
            new, hidden, {**summary, "params": params}, save_images, capacity, model.figure_columns
        )


def _through_png(
    model: HidingModel, groups: EvaluationGroups, attacks: Sequence[Attack], seed: int
) -> Iterator[HiddenGroup]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "stego.png"
        for index in tqdm(range(len(groups)), desc="test", unit="group"):
            item = groups[index]
            cover, secrets = item["cover"], item["secrets"]
            stego, seconds_hide = _timed(model.hide, model.device, cover[None], secrets[None])
            write_picture(file, to_array(stego[0]))
            received = read_picture(file)
            revealed, seconds_reveal = _timed(model.reveal, model.device, to_tensor(received)[None])
            yield HiddenGroup(
                index,
                to_array(cover),
                received,
                _arrays(secrets),
                _arrays(revealed[0]),
                seconds_hide,
                seconds_reveal,
                (_attacked(model, received, attack, seed + index) for attack in attacks),
            )


def _attacked(model: HidingModel, stego: np.ndarray, attack: Attack, seed: int) -> Attacked:
    damaged = send(stego, attack, seed)
    try:
        revealed = _arrays(model.reveal(to_tensor(damaged)[None])[0])
    except UserError:  # a method that checks what it reads: nothing is revealed from this stego
        return Attacked(label(attack), damaged, None)
    return Attacked(label(attack), damaged, revealed)


def _timed(function, device: torch.device, *arguments: Tensor) -> tuple[Tensor, float]:
    start = time.perf_counter()
    result = function(*arguments)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return result, time.perf_counter() - start


def _arrays(pictures: Tensor) -> list[np.ndarray]:
    """(N,3,H,W) uint8 tensor -> N arrays (H,W,3) uint8."""
    return [to_array(picture) for picture in pictures]
