"""One training run: a loop that is read from top to bottom."""

import json
import math
import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import NamedTuple

import torch
from torch.optim import Adam, Optimizer
from torch.utils.data import DataLoader
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from data.files import write_beside
from data.images import write_picture
from data.loader import EvaluationGroups, training_loader
from engine.build import build_training, choose_device, left_out
from engine.checkpoint import (
    load_state,
    random_state,
    save_state,
    set_random_state,
    start_from,
    weights_file,
)
from engine.interrupt import StopRequest
from engine.log import close_log, environment, failures_logged, git_commit, log_to, logger
from engine.precision import choose, name_of
from engine.testing.evaluate import validate
from engine.training.board import Board
from engine.training.pace import Pace
from engine.training.profiling import profiled
from engine.training.run_folder import changes, open_run, record_validation
from engine.training.step import CRITIC, NORM, TOTAL, Step
from engine.training.trend import CALM, EXPLODED, Trend
from errors import NotFinite, UserError
from models.losses import Objective
from options import TrainOptions, dump

GIVE_UP_AFTER = 8  # returns to a checkpoint without a finished run


class Waiting(NamedTuple):
    """What a step gave and nobody has read yet: its terms are still on the device."""

    step: int
    phase: int
    terms: dict[str, torch.Tensor]
    weights: dict[str, float]


class Trainer:
    """Trains a network as an option file says, in experiments/<name>/.

    Everything that the weights depend on is a function of the options, the weights of `start_from` and
    the step, or is in the saved state; so an interrupted run, resumed, ends with the same weights (on a
    CPU bit for bit). Not so with `train.minutes`: then the schedule and the end depend on how fast the
    machine is.

    profile: how many steps are traced into the run's folder, in profile/.
    """

    def __init__(self, options: TrainOptions, experiments: Path, resume: bool = False, profile: int = 0):
        self.options, self.train = options, options.train
        self.run = experiments / options.name
        # All that can be the user's mistake comes first, before anything is written.
        self.device = choose_device(options.device)
        if self.train.threads:
            torch.set_num_threads(self.train.threads)
        parts = build_training(options)
        self.model, self.objectives = parts.model, parts.objectives
        self.channels, self.groups, self.validation = parts.channels, parts.groups, parts.validation
        started = None
        if self.train.start_from and not resume:
            try:
                started = start_from(self.model, self.train.start_from, experiments)
            except UserError as error:
                raise options.error("train.start_from", str(error)) from error
        try:
            self.half = choose(self.train.precision, self.device)
        except UserError as error:
            raise options.error("train.precision", str(error)) from error
        self.model.to(self.device).train()
        for objective in self.objectives:
            objective.to(self.device)
        if self.train.channels_last:
            self.model.to(memory_format=torch.channels_last)
        if self.device.type == "cuda":
            torch.backends.cudnn.benchmark = True  # patches have one size, so the search pays
        # On a GPU the kernels of a pass are recorded once and then started together (CUDA graphs).
        mode = "reduce-overhead" if self.device.type == "cuda" else None
        self.network = torch.compile(self.model, mode=mode) if self.train.compile else self.model
        self.one_step = Step(self.model, self.network, self.train, options.critic, self.half)
        average = self.one_step.average
        self.result = average.model if average else self.model  # what is validated and kept for use
        self.pace, self.profile = Pace(self.device), profile
        self.step = 0
        self.seconds = 0.0  # that the run has taken, validations and earlier sittings included
        self.lr_factor = 1.0  # halved each time the run goes back after a divergence
        self.best = -math.inf  # stego plus revealed PSNR of the best validation, dB
        self.best_phase = 0  # in which that was
        self.bad_in_row = self.skipped = self.returns = 0  # as far as the device was asked
        self.trend = Trend()
        self.phase: int | None = None
        self.waiting: list[Waiting] = []
        self.window: list[dict[str, float]] = []  # of the good steps since the last line of the log
        self.lock = ExitStack()
        torch.manual_seed(options.seed)
        saved = None
        if resume:
            state_file = self.run / "checkpoints" / "last.state"
            saved = load_state(state_file)
            self._restore(saved, state_file)
        about = {
            "options.yml": dump(self.options),
            "env.json": json.dumps(environment(self.device), indent=2) + "\n",
        }
        self.lock, archived = open_run(self.run, about, resume)
        log_to(self.run / "train.log")
        if archived:
            logger.info(f"the earlier run of this name was kept as {archived}")
        if started:
            logger.info(started)
        if saved is not None:
            for change in changes(saved["options"], dump(self.options)):
                unused = " (not used: the run has begun)" if change.startswith("train.start_from:") else ""
                logger.info(f"resumed with another {change}{unused}")

    # --- the loop --------------------------------------------------------------------------------

    def fit(self) -> None:
        """Train to the last step, or until Ctrl-C or SIGTERM, which save first."""
        with failures_logged(), StopRequest() as stop:
            try:
                self._fit(stop)
            except RuntimeError as error:
                # A SIGTERM to all processes ends the data loaders, which torch raises amid a step:
                # what is in memory then is no state to save, the last checkpoint is.
                if not (stop.asked and "DataLoader worker" in str(error)):
                    raise
                logger.info(
                    f"{stop.asked}: the data loaders ended too; --resume continues from the checkpoint"
                )

    def _fit(self, stop: StopRequest) -> None:
        self._announce()
        if self.step == 0:
            self._save("last")
        board = Board(self.run / "tb", self.step)
        total = None if self.train.minutes else self.train.steps
        progress = tqdm(total=total, initial=self.step, unit="step", desc=self.options.name)
        started = time.monotonic() - self.seconds
        traced = profiled(self.run / "profile", self.profile, self.device)
        with closing(board), progress, logging_redirect_tqdm([logger]), traced as trace:
            self.pace.begin()
            while not self.finished() and not stop.asked:
                for batch in self.pace.watched(self._batches()):
                    self._train_step(batch)
                    trace()
                    self.step += 1
                    self.seconds = time.monotonic() - started
                    progress.update()
                    log, save = self._due(self.train.log_every), self._due(self.train.checkpoint_every)
                    look = self.validation is not None and self._due(self.train.validate_every)
                    if log or save or look or stop.asked or self.finished():
                        # Only here the device is asked how the steps since the last time went.
                        if self._diverged():
                            self._go_back()
                            progress.n = self.step
                            progress.refresh()
                            break
                    if log:
                        progress.set_postfix(loss=self._log(board), refresh=False)
                    # Before the checkpoint, which says how good the best was.
                    if look and self.validation is not None:
                        self._validate(board, self.validation)
                    # Never amid bad steps: the checkpoint is what a diverged run goes back to.
                    if save and not self.bad_in_row:
                        self._save("last")
                    if look or save:
                        self.pace.begin()  # which took time of its own
                    if stop.asked or self.finished():
                        break
            if stop.asked or self.bad_in_row:
                self._save("last")
        if not self.finished():
            logger.info(f"{stop.asked}: saved at step {self.step} of {self.train.steps}; --resume continues")
        else:
            minutes = (time.monotonic() - started) / 60
            logger.info(f"finished: {self.step} steps, {minutes:.1f} minutes")
            logger.info(f"weights: {self.best_weights()}")

    def best_weights(self) -> Path:
        best = self.run / "checkpoints" / "best.safetensors"
        return best if best.exists() else best.with_name("last.safetensors")

    def close(self) -> None:
        """Let go of the log and the folder's lock."""
        close_log()
        self.lock.close()

    # --- one step --------------------------------------------------------------------------------

    def _train_step(self, batch: dict[str, torch.Tensor]) -> None:
        """One optimiser step. What it gave waits on the device until `_diverged` asks for it."""
        objective = self._enter_phase()
        channel = self.channels[self._phase()]
        terms, weights = self.one_step(
            batch["cover"].to(self.device, non_blocking=True),
            batch["secrets"].to(self.device, non_blocking=True),
            objective,
            self._position() / self.train.steps,
            self.learning_rate(),
            self.step,
            None if channel is None else channel.drawn(self.options.seed, self.step),
        )
        self.waiting.append(Waiting(self.step, self._phase(), terms, weights))
        self.pace.groups += self.train.batch_size

    def _diverged(self) -> bool:
        """Read what the steps since the last time gave; whether the run must go back to a checkpoint."""
        values = [value.float() for one in self.waiting for value in one.terms.values()]
        counts = self.one_step
        values += [count.float() for count in (counts.bad_in_row, counts.worst_in_row, counts.skipped)]
        # One transfer, where the host waits.
        *read, bad_in_row, worst, skipped = torch.stack(values).tolist()
        waiting, self.waiting = self.waiting, []
        at = iter(read)
        for one in waiting:
            terms = {name: next(at) for name in one.terms}
            if self.trend.phase != one.phase:
                self.trend = Trend(one.phase)  # another loss: it is compared with its own past alone
            if all(map(math.isfinite, terms.values())):
                self.window.append(terms)
                own = (name for name in terms if name not in (TOTAL, NORM) and not name.startswith(CRITIC))
                self.trend.add({name: terms[name] for name in own}, one.weights)
            else:
                bad = (f"{name} {value}" for name, value in terms.items() if not math.isfinite(value))
                logger.info(f"step {one.step}: {', '.join(bad)}: skipped")
        self.bad_in_row, self.skipped = int(bad_in_row), int(skipped)
        counts.worst_in_row.copy_(counts.bad_in_row)
        return worst >= self.train.max_bad_steps or self.trend.rise > EXPLODED

    def learning_rate(self) -> float:
        """The rate of the current step: a pure function of the step, the phase and the returns so far.

        (And of the time, with `train.minutes`; the warm-up is always counted in steps.)
        """
        train, step = self.train, self._position()
        rate = train.lr * self.lr_factor * train.phases[self._phase()].lr_scale
        if self.step < train.warmup:
            return rate * (self.step + 1) / train.warmup
        if train.schedule == "halving":
            return rate * 0.5 ** (step // train.halve_every)
        if train.schedule == "cosine":
            done = max(0, step - train.warmup) / max(1, train.steps - train.warmup)
            return rate * (train.final_lr + (1 - train.final_lr) * (1 + math.cos(math.pi * done)) / 2)
        return rate

    def _position(self) -> int:
        """The place in schedule and phases, in steps: the step, or where the time is further, that."""
        if self.train.minutes is None:
            return self.step
        elapsed = int(self.seconds / (60 * self.train.minutes) * self.train.steps)
        return min(max(self.step, elapsed), self.train.steps)

    def finished(self) -> bool:
        return self._position() >= self.train.steps

    def _phase(self) -> int:
        position, end = self._position(), 0.0
        for k, phase in enumerate(self.train.phases):
            end += phase.share
            if position < round(end * self.train.steps):
                return k
        return len(self.train.phases) - 1

    def _enter_phase(self) -> Objective:
        """Freeze and thaw the parts that the current phase names; its objective."""
        k = self._phase()
        phase = self.train.phases[k]
        if k != self.phase:
            self.phase = k
            self.model.requires_grad_(True)
            freeze = [name for name in phase.freeze if not left_out(self.model, name)]
            for name in freeze:
                self.model.get_submodule(name).requires_grad_(False)
            frozen = f", frozen: {', '.join(freeze)}" if freeze else ""
            logger.info(f"step {self.step}: phase {k + 1} '{phase.name}'{frozen}")
        return self.objectives[k]

    def _batches(self) -> DataLoader:
        return training_loader(
            self.groups,
            self.train.batch_size,
            start_step=self.step,
            workers=self.options.data.train.workers,
            pin_memory=self.device.type == "cuda",
        )

    def _due(self, every: int) -> bool:
        return self.step % every == 0 or self.finished()

    # --- what is written ---------------------------------------------------------------------------

    def _log(self, board: Board) -> str:
        """Write the means of the steps since the last time; the loss, for the bar."""
        window, self.window = self.window, []
        pace = self.pace.read()
        if not window:
            return "none"
        means = {}
        for name in dict.fromkeys(name for terms in window for name in terms):
            values = [terms[name] for terms in window if name in terms]
            means[name] = sum(values) / len(values)
            board.scalar(f"train/{name}", means[name], self.step)
        board.scalar("train/learning_rate", self.learning_rate(), self.step)
        board.scalar("train/skipped_steps", self.skipped, self.step)
        board.scalar("speed/groups_per_second", pace.groups_per_second, self.step)
        board.scalar("speed/waiting_share", pace.waiting, self.step)
        if pace.peak_memory is not None:
            board.scalar("speed/peak_memory_gib", pace.peak_memory / 2**30, self.step)
        text = "  ".join(f"{name} {value:.3g}" for name, value in means.items())
        logger.info(f"step {self.step}: {text}  lr {self.learning_rate():.2e}  {pace}")
        return f"{means[TOTAL]:.3g}"

    def _validate(self, board: Board, groups: EvaluationGroups) -> None:
        try:
            scores, figure = validate(self.result, groups)
        except NotFinite as error:  # a divergence: the training steps tell whether the run must go back
            logger.info(f"step {self.step}: validation: not possible: {error}")
            return
        for name, value in scores.items():
            board.scalar(f"validate/{name}_psnr_rgb", value, self.step)
        record_validation(self.run, self.step, self.seconds, scores)
        board.picture("validate/group", figure, self.step)
        (self.run / "images").mkdir(exist_ok=True)
        write_picture(self.run / "images" / f"step_{self.step:07d}.png", figure)
        stego, revealed = scores["cover_stego"], scores["secret_revealed"]
        quality = stego + revealed if math.isfinite(stego + revealed) else -math.inf
        phase = self.phase or 0
        if self.channels[phase] is not self.channels[self.best_phase]:
            # What was best without a channel, or under another, is not what this phase is for.
            self.best = -math.inf
        better = quality > self.best
        logger.info(
            f"step {self.step}: validation PSNR (RGB, 8 bit): stego {stego:.2f} dB, "
            f"revealed {revealed:.2f} dB{', best so far' if better else ''}"
        )
        if better:
            self.best, self.best_phase = quality, phase
            self._save("best")

    def _save(self, name: str) -> None:
        """Write NAME.state, all that a run continues from, and NAME.safetensors, its weights for use.

        The state holds the weights too, so that the two files cannot disagree after a crash between
        their writing; --resume reads last.state and nothing else. Raises NotFinite for weights that are not,
        and leaves both files as they were.
        """
        folder = self.run / "checkpoints"
        weights = weights_file(  # made first: what is not finite is refused before anything is written
            self.result,
            step=self.step,
            run=self.options.name,
            git_commit=git_commit(),
            options=json.dumps(self.options.model_dump(mode="json", by_alias=True)),
        )
        save_state(folder / f"{name}.state", self._state())
        write_beside(folder / f"{name}.safetensors", weights)

    def _state(self) -> dict:
        return {
            "seconds": self.seconds,
            "step": self.step,  # the sampler's state too: batch k of a run is a function of k alone
            "model": self.model.state_dict(),
            "average": self.result.state_dict() if self.one_step.average else None,
            "scaler": self.one_step.scaler.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self._optimizers()],
            "lr_factor": self.lr_factor,
            "best": self.best,
            "best_phase": self.best_phase,
            "bad_in_row": self.bad_in_row,
            "skipped": self.skipped,
            "returns": self.returns,
            "trend": self.trend.state(),
            "random": random_state(),
            "options": dump(self.options),
            "git_commit": git_commit(),
        }

    def _restore(self, saved: dict, file: Path) -> None:
        try:
            self.model.load_state_dict(saved["model"])
            if self.one_step.average:  # a state without one: the mean begins with the weights
                self.result.load_state_dict(saved.get("average") or saved["model"])
            if saved.get("scaler") and self.one_step.scaler.is_enabled():
                self.one_step.scaler.load_state_dict(saved["scaler"])
            for optimizer, state in zip(self._optimizers(), saved["optimizers"], strict=True):
                # Only a fused Adam leaves out bad steps; states of earlier versions are of one that is not.
                fused = {"fused": True} if isinstance(optimizer, Adam) else {}
                groups = [group | fused for group in state["param_groups"]]
                optimizer.load_state_dict(state | {"param_groups": groups})
            self.step, self.best = saved["step"], saved["best"]
            self.best_phase = saved.get("best_phase", 0)
            # A return to a checkpoint gives no time back; states of earlier versions do not know theirs.
            self.seconds = max(self.seconds, saved.get("seconds", 0.0))
            self.lr_factor, self.returns = saved["lr_factor"], saved["returns"]
            self._count_from(saved["bad_in_row"], saved["skipped"])
            self.trend = Trend()
            self.trend.restore(saved.get("trend", {}))
            set_random_state(saved["random"])
        except (KeyError, RuntimeError, ValueError, TypeError) as error:
            reason = " ".join(str(error).split())[:300]
            raise UserError(f"{file}: the state of another network or version: {reason}") from error

    def _optimizers(self) -> list[Optimizer]:
        return [optimizer for player in self.one_step.players for optimizer, _ in player.optimizers]

    def _count_from(self, bad_in_row: int, skipped: int) -> None:
        """Bad steps, here and on the device; what waits to be read is forgotten."""
        self.bad_in_row, self.skipped = bad_in_row, skipped
        self.waiting, self.window = [], []
        self.one_step.bad_in_row.fill_(bad_in_row)
        self.one_step.worst_in_row.fill_(bad_in_row)
        self.one_step.skipped.fill_(skipped)

    def _go_back(self) -> None:
        """After a divergence: back to the last checkpoint with a calm loss, with half the learning rate."""
        returns, lr_factor, skipped = self.returns + 1, self.lr_factor / 2, self.skipped
        best = self.best, self.best_phase
        if returns > GIVE_UP_AFTER:
            raise RuntimeError(f"gave up: {returns} returns to a checkpoint, and still diverging")
        rise = self.trend.rise
        why = f"the loss is {math.exp(rise):.0f} times what it was" if rise > EXPLODED else ""
        file = self.run / "checkpoints" / "last.state"
        self._restore(load_state(file), file)
        calm = file.with_name("best.state")
        if self.trend.rise > CALM and calm.exists():  # the last was saved while the loss was rising
            self._restore(load_state(calm), calm)
        # Counted on from here, not from the checkpoint: a second divergence must halve once more.
        self.returns, self.lr_factor = returns, lr_factor
        self.best, self.best_phase = best
        self._count_from(0, skipped)
        self._save("last")  # else a run that is stopped now would be resumed where it exploded
        logger.info(
            f"diverged{f' ({why})' if why else ''}: back to step {self.step}, learning rate x {lr_factor:g} "
            f"(return {returns})"
        )

    def _announce(self) -> None:
        count = sum(p.numel() for p in self.model.parameters())
        limit = f" or {self.train.minutes:g} minutes" if self.train.minutes else ""
        logger.info(
            f"{self.options.name}: {self.options.network.type}, {self.model.num_secrets} secrets, "
            f"{count / 1e6:.2f} M parameters, {self.device}, {name_of(self.half)}, "
            f"{len(self.groups.pictures)} training pictures, from step {self.step} of {self.train.steps}"
            f"{limit}"
        )
