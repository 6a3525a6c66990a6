"""A trace of some training steps, for chrome://tracing or https://ui.perfetto.dev."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile, schedule

UNTRACED = 2  # steps before the trace; the first ones allocate memory and choose algorithms


@contextmanager
def profiled(folder: Path, steps: int, device: torch.device) -> Iterator[Callable[[], None]]:
    """Yield a function that the block must call after each step.

    folder/trace.json.gz is written after UNTRACED + `steps` calls.
    steps: number of steps to trace; 0 traces nothing and writes nothing.
    """
    if not steps:
        yield lambda: None
        return
    activities = [ProfilerActivity.CPU]
    if device.type == "cuda":
        activities.append(ProfilerActivity.CUDA)

    def write(traced: profile) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        traced.export_chrome_trace(str(folder / "trace.json.gz"))

    plan = schedule(wait=UNTRACED - 1, warmup=1, active=steps, repeat=1)
    with profile(activities=activities, schedule=plan, on_trace_ready=write) as profiler:
        yield profiler.step
