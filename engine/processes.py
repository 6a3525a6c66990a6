"""The processes of one run: torchrun starts them, and only this file knows torch.distributed.

Every function works in a process that is alone too, and then costs nothing.
"""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from engine.command import MISTAKES, one_line

PATIENCE = timedelta(minutes=10)  # how long a process waits for the others
TRIES = 4  # to connect, each with addresses of its own

Value = TypeVar("Value")


def rank() -> int:
    """The number of this process, from 0 on."""
    return dist.get_rank() if dist.is_initialized() else 0


def size() -> int:
    """How many processes there are."""
    return dist.get_world_size() if dist.is_initialized() else 1


def is_first() -> bool:
    """Whether this process writes the files, the log and the board."""
    return rank() == 0


def local_rank() -> int | None:
    """The number of this process on its machine; None where torchrun did not start it."""
    said = os.environ.get("LOCAL_RANK")
    return int(said) if said is not None and "WORLD_SIZE" in os.environ else None


def launch() -> tuple[str, int] | None:
    """(the name of this call of torchrun, how often it has started its processes again); None without it."""
    if local_rank() is None or "TORCHELASTIC_RUN_ID" not in os.environ:
        return None
    name = os.environ["TORCHELASTIC_RUN_ID"]
    if os.environ.get("GROUP_WORLD_SIZE", "1") == "1":
        name = f"{name}/{os.getppid()}"  # torchrun itself, which stays while its processes come and go
    return name, int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))


@contextmanager
def joined() -> Iterator[None]:
    """Within it the processes that torchrun started know each other: by NCCL on GPUs, by Gloo on CPUs."""
    local = local_rank()
    if local is None:
        yield
        return
    backend = "gloo"
    if torch.cuda.is_available() and dist.is_nccl_available():
        backend = "cpu:gloo,cuda:nccl"
        if local < torch.cuda.device_count():
            torch.cuda.set_device(local)
    _connect(backend)
    try:
        yield
    finally:
        dist.destroy_process_group()


def _connect(backend: str) -> None:
    """Join the others. All of them write their addresses into one store, which outlives a killed process.

    So the keys of each start, and of each try, are their own: nobody calls an address that is no longer
    there. A try has failed when any process says so.
    """
    number, count = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    again = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    store, _, _ = next(iter(dist.rendezvous("env://", number, count, timeout=PATIENCE)))
    for k in range(TRIES):
        place = dist.PrefixStore(f"start_{again}/try_{k}", store)
        failure = None
        try:
            group = dist.PrefixStore("group", place)
            dist.init_process_group(backend, store=group, rank=number, world_size=count, timeout=PATIENCE)
        except RuntimeError as error:  # a connection that was refused or cut
            failure = error
        place.set(f"done_{number}", "no" if failure else "yes")
        keys = [f"done_{other}" for other in range(count)]
        place.wait(keys, PATIENCE)
        if all(place.get(key) == b"yes" for key in keys):
            return
        if dist.is_initialized():
            dist.destroy_process_group()
        time.sleep(1 + k)
    why = "another process failed to connect" if failure is None else one_line(failure)
    raise ConnectionError(f"the {count} processes could not reach each other: {why}") from failure


# --- what is known together ------------------------------------------------------------------------


@contextmanager
def _connected() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise ConnectionError(
            f"process {rank()}: another process of this run has ended, and says why ({one_line(error)[:120]})"
        ) from error


def gathered(value: Value) -> list[Value]:
    """What each process gives, by rank. All must call it."""
    if size() == 1:
        return [value]
    found: list = [None] * size()
    with _connected():
        dist.all_gather_object(found, value)
    return found


def from_first(value: Value) -> Value:
    """What the first process gives. All must call it."""
    if size() == 1:
        return value
    box = [value]
    with _connected():
        dist.broadcast_object_list(box, src=0)
    return box[0]


def largest(*values: float) -> list[float]:
    """The largest of each value over all processes. All must call it; no device is asked."""
    if size() == 1:
        return list(values)
    tensor = torch.tensor(values, dtype=torch.float64)
    with _connected():
        dist.all_reduce(tensor, dist.ReduceOp.MAX)
    return tensor.tolist()


@torch.no_grad()
def average(tensors: Sequence[Tensor]) -> None:
    """Replace each tensor by its mean over all processes. One message; the tensors are of one device."""
    if size() == 1:
        return
    flat = torch.cat([tensor.detach().reshape(-1).float() for tensor in tensors])
    with _connected():
        dist.all_reduce(flat)
    flat /= size()
    parts = flat.split([tensor.numel() for tensor in tensors])
    for tensor, part in zip(tensors, parts, strict=True):
        tensor.copy_(part.view(tensor.shape))


@torch.no_grad()
def spread(tensors: Sequence[Tensor]) -> None:
    """Replace each tensor by that of the first process."""
    if size() == 1:
        return
    with _connected():
        for tensor in tensors:
            whole = tensor.contiguous()
            dist.broadcast(whole, src=0)
            tensor.copy_(whole)


@contextmanager
def together() -> Iterator[None]:
    """A mistake that ends the block in one process ends it in all; it is told once.

    All processes must come here. The first that met a mistake raises it, the others leave with exit code 2.
    """
    mistake: BaseException | None = None
    try:
        yield
    except MISTAKES as error:
        mistake = error
    told = gathered(mistake is not None)
    if not any(told):
        return
    if mistake is not None and told.index(True) == rank():
        raise mistake
    raise SystemExit(2)
