"""Scores of a model, for validation and for test.py. Every number comes from 8-bit pictures."""

import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from channel.attacks import Attack, label, send
from container.keys import repeatable_nonces
from data.groups import write_groups
from data.images import read_picture, to_array, to_tensor, write_picture
from data.loader import EvaluationGroups
from engine import processes
from engine.checkpoint import deployed_size
from engine.testing.figures import group_figure
from engine.testing.results import mean_finite, write_results
from engine.testing.results_folder import replaced_folder
from engine.testing.scoring import Attacked, Elsewhere, HiddenGroup, score_groups
from errors import NotFinite, UserError
from metrics.image import psnr
from models import HidingModel


def validate(model: HidingModel, groups: EvaluationGroups) -> tuple[dict[str, float], np.ndarray]:
    """Return the mean PSNR (RGB, dB) as {cover_stego, secret_revealed}, and a figure of the first group.

    All pictures are rounded to 8 bits, as in a PNG file, but no file is written. (test.py writes one.)
    Keyed methods draw their nonces from a fixed seed, so that the same weights get the same scores. The
    groups are shared among the processes of the run. All processes must call this, and all get the means.
    Raises NotFinite if the network gives NaN or infinite values.
    """
    failure, scored = None, []
    try:
        scored = [
            _validated(model, groups, k) for k in range(processes.rank(), len(groups), processes.size())
        ]
    except NotFinite as error:
        failure = str(error)
    told = processes.gathered((failure, scored))
    if failures := [failure for failure, _ in told if failure is not None]:
        raise NotFinite(failures[0])
    # Sorted by group, so that the sum does not depend on the number of processes.
    in_order = [one for _, some in told for one in some]
    in_order.sort(key=lambda one: one.number)
    assert in_order[0].figure is not None
    return {
        "cover_stego": mean_finite([one.stego for one in in_order])[0],
        "secret_revealed": mean_finite([score for one in in_order for score in one.revealed])[0],
    }, in_order[0].figure


class _Validated(NamedTuple):
    """The PSNR of a group's stego and of each revealed secret, and a figure if it is the first group."""

    number: int
    stego: float
    revealed: list[float]
    figure: np.ndarray | None


def _validated(model: HidingModel, groups: EvaluationGroups, index: int) -> _Validated:
    item = groups[index]
    cover, secrets = item["cover"], item["secrets"]
    with repeatable_nonces(seed=index):
        stego = model.hide(cover[None], secrets[None])
    revealed = model.reveal(stego)[0]
    pairs = zip(_arrays(secrets), _arrays(revealed), strict=True)
    figure = None
    if index == 0:
        pictures = to_array(cover), to_array(stego[0]), _arrays(secrets), _arrays(revealed)
        figure = group_figure(*pictures, cols=model.figure_columns)
    return _Validated(
        index, psnr(to_array(cover), to_array(stego[0])), [psnr(a, b) for a, b in pairs], figure
    )


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

    Each group goes hide -> stego.png on disk -> a fresh read of that file -> reveal. After each attack,
    reveal runs again on the attacked stego; `seed` and the group's number fix the attack's random choices.
    Writes groups.csv and the files of `write_results`, and returns the metrics. All files appear together at
    the end and replace earlier results. If the test fails, earlier results stay. Other files in the folder
    stay too. Under torchrun the processes share the groups, and the first process writes the results of all.
    """
    hidden = _through_png(model, groups, attacks, seed, save_images)
    if not processes.is_first():
        score_groups(hidden, capacity)
        return processes.from_first({})
    with replaced_folder(out) as new:
        write_groups(new / "groups.csv", groups.groups)
        summary = {**summary, "params": deployed_size(model)}
        metrics = write_results(new, hidden, summary, save_images, capacity, model.figure_columns)
    return processes.from_first(metrics)


def _through_png(
    model: HidingModel, groups: EvaluationGroups, attacks: Sequence[Attack], seed: int, save_images: int
) -> Iterator[HiddenGroup | Elsewhere]:
    """Yield this process's share of the groups, hidden and revealed.

    The first process takes all groups whose pictures it keeps. It also reads the pictures of the other
    processes, for the checksum.
    """
    rank, size = processes.rank(), processes.size()
    mine = {k for k in range(len(groups)) if (0 if k < save_images else k % size) == rank}
    read = [k for k in range(len(groups)) if rank == 0 or k in mine]
    bar = tqdm(total=len(mine), desc="test", unit="group", disable=rank > 0)
    with tempfile.TemporaryDirectory() as folder, bar:
        file = Path(folder) / "stego.png"
        for index, item in zip(read, _read_ahead(groups, read), strict=True):
            cover, secrets = item["cover"], item["secrets"]
            if index not in mine:
                yield Elsewhere(to_array(cover), _arrays(secrets))
                continue
            stego, seconds_hide = _timed(model.hide, model.device, cover[None], secrets[None])
            write_picture(file, to_array(stego[0]))
            received = read_picture(file)
            revealed, seconds_reveal = _timed(model.reveal, model.device, to_tensor(received)[None])
            bar.update()
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


def _read_ahead(groups: EvaluationGroups, indices: list[int]) -> Iterator[dict[str, Tensor]]:
    """Yield these groups. A thread reads the next one while the caller works on the current one."""
    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(groups.__getitem__, indices[0]) if indices else None
        for following in [*indices[1:], None]:
            if coming is None:
                return
            item = coming.result()
            coming = None if following is None else reader.submit(groups.__getitem__, following)
            yield item


def _attacked(model: HidingModel, stego: np.ndarray, attack: Attack, seed: int) -> Attacked:
    damaged = send(stego, attack, seed)
    try:
        revealed = _arrays(model.reveal(to_tensor(damaged)[None])[0])
    except UserError:  # the method checks what it reads, and refuses this stego
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
