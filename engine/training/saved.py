"""What a run continues from: everything that its weights will depend on, as tensors, numbers and texts."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from torch.optim import Adam

from data.files import write_beside
from engine import processes
from engine.checkpoint import weights_file
from engine.log import git_commit
from engine.states import load_newest, save_state
from engine.training.parallel import random_states, restore_random
from engine.training.run_folder import changes
from engine.training.trend import Trend
from errors import UserError
from options import dump

if TYPE_CHECKING:
    from engine.training.trainer import Trainer


def save(run: "Trainer", name: str) -> None:
    """Write NAME.state, all that a run continues from, and NAME.safetensors, its weights for use.

    The state holds the weights too, so that the two files cannot disagree after a crash between their
    writing; --resume reads last.state and nothing else. The first process writes, all must call it. Raises
    NotFinite for weights that are not finite; both files then stay as they were.
    """
    state = state_of(run)
    with processes.together():
        if processes.is_first():
            weights = weights_file(  # first: what is not finite is refused before anything is written
                run.result,
                step=run.step,
                run=run.options.name,
                git_commit=git_commit(),
                options=json.dumps(run.options.model_dump(mode="json", by_alias=True)),
            )
            folder = run.run / "checkpoints"
            save_state(folder / f"{name}.state", state, keep_previous=name == "last")
            write_beside(folder / f"{name}.safetensors", weights)


def restore_from(run: "Trainer", file: Path) -> list[str]:
    """Go on from a saved state, which the first process reads for all of them.

    Returns lines for the log: what is not as it was when it was saved.
    """
    saved: dict = {}
    fallen_back = None
    with processes.together():
        if processes.is_first():
            saved, fallen_back = load_newest(file)
    saved = processes.from_first(saved)
    changed = list(changes(saved["options"], dump(run.options)))
    with processes.together():
        refuse_another_network(changed, file)
        restore(run, saved, file)
    lines = [] if fallen_back is None else [fallen_back]
    for change in changed:
        unused = " (not used: the run has begun)" if change.startswith("train.start_from:") else ""
        lines.append(f"resumed with another {change}{unused}")
    before = 1 + len(saved.get("random_others", []))
    if before != processes.size():
        lines.append(f"resumed with another number of processes: {before} -> {processes.size()}")
    return lines


def refuse_another_network(changed: list[str], file: Path) -> None:
    """Raise UserError, which lists the differences, if an option of the network is not what it was."""
    other = [change for change in changed if change.startswith("network.")]
    if other:
        raise UserError(
            f"{file}: the state of another network: {'; '.join(other)}. "
            "Put these options back, or start a new run without --resume"
        )


def state_of(run: "Trainer") -> dict:
    """All that a run continues from, of all its processes. All must call it."""
    return {
        "seconds": run.seconds,
        "step": run.step,  # the sampler's state too: batch k of a run is a function of k alone
        "model": run.model.state_dict(),
        "average": run.result.state_dict() if run.one_step.average else None,
        "scaler": run.one_step.scaler.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in run._optimizers()],
        "lr_factor": run.lr_factor,
        "best": run.best,
        "best_phase": run.best_phase,
        "bad_in_row": run.bad_in_row,
        "skipped": run.skipped,
        "returns": run.returns,
        "trend": run.trend.state(),
        **random_states(),
        "options": dump(run.options),
        "git_commit": git_commit(),
    }


def restore(run: "Trainer", saved: dict, file: Path) -> None:
    """Go on from what `state_of` gave. Raises UserError, with the file, for the state of something else."""
    try:
        run.model.load_state_dict(saved["model"])
        if run.one_step.average:  # a state without one: the mean begins with the weights
            run.result.load_state_dict(saved.get("average") or saved["model"])
        if saved.get("scaler") and run.one_step.scaler.is_enabled():
            run.one_step.scaler.load_state_dict(saved["scaler"])
        for optimizer, state in zip(run._optimizers(), saved["optimizers"], strict=True):
            # Only a fused Adam leaves out bad steps; states of earlier versions are of one that is not.
            fused = {"fused": True} if isinstance(optimizer, Adam) else {}
            groups = [group | fused for group in state["param_groups"]]
            optimizer.load_state_dict(state | {"param_groups": groups})
        run.step, run.best = saved["step"], saved["best"]
        run.best_phase = saved.get("best_phase", 0)
        # A return to a checkpoint gives no time back; states of earlier versions do not know theirs.
        run.seconds = max(run.seconds, saved.get("seconds", 0.0))
        run.lr_factor, run.returns = saved["lr_factor"], saved["returns"]
        run._count_from(saved["bad_in_row"], saved["skipped"])
        run.trend = Trend()
        run.trend.restore(saved.get("trend", {}))
        restore_random(saved, run.options.seed)
    except (KeyError, RuntimeError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"{file}: the state of another network or version: {reason}") from error
