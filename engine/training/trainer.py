"""One training run: a loop that is read from top to bottom."""

import json
import math
import signal
import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import NamedTuple

import torch
from torch.optim import Optimizer
from torch.utils.data import DataLoader
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from data.images import write_picture
from data.loader import EvaluationGroups, training_loader
from engine import processes
from engine.build import left_out
from engine.interrupt import StopRequest
from engine.log import close_log, environment, failures_logged, log_to, logger, silence
from engine.precision import name_of
from engine.testing.evaluate import validate
from engine.training.board import Board
from engine.training.pace import Pace
from engine.training.parallel import seed_process
from engine.training.prepare import on_all, prepare
from engine.training.profiling import profiled
from engine.training.run_folder import open_run, record_validation, started_by
from engine.training.saved import restore_from, save
from engine.training.schedule import phase_at, position, rate_at
from engine.training.step import CRITIC, NORM, TOTAL, Step
from engine.training.trend import CALM, EXPLODED, Trend
from errors import NotFinite
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

    Under torchrun all processes train one network together (engine/processes.py). Everything that the
    weights depend on is a function of the options, the number of processes, the weights of `start_from` and
    the step, or is in the saved state; so an interrupted run, resumed, ends with the same weights (on a
    CPU bit for bit). Not so with `train.minutes`: then the schedule and the end depend on how fast the
    machine is.

    options: a training option file, checked. experiments: the folder that holds the runs. resume: continue
    the run instead of starting it. profile: how many steps are traced into the run's folder, in profile/.
    Raises UserError for a mistake in the options, with nothing written. `fit` raises RuntimeError if the loss
    still explodes after GIVE_UP_AFTER returns to a checkpoint.
    """

    def __init__(self, options: TrainOptions, experiments: Path, resume: bool = False, profile: int = 0):
        self.options, self.train = options, options.train
        self.run = experiments / options.name
        resume = processes.from_first(resume or started_by(self.run, processes.launch()))
        # All that can be the user's mistake comes first, before anything is written.
        with processes.together():
            parts = prepare(options, experiments, resume)
        parts = on_all(parts, options.train.compile)
        self.device, self.model, self.network, self.half = (
            parts.device,
            parts.model,
            parts.network,
            parts.half,
        )
        self.objectives, self.channels = parts.objectives, parts.channels
        self.groups, self.validation = parts.groups, parts.validation
        self.share = self.train.batch_size // processes.size()  # groups of a step that this process takes
        self.one_step = Step(self.model, self.network, self.train, options.critic, self.half)
        average = self.one_step.average
        self.result = average.model if average else self.model  # what is validated and kept for use
        self.pace, self.profile = Pace(self.device), profile
        self.step = 0
        self.seconds = 0.0  # time the run has taken [s], with validations and earlier sittings
        self.lr_factor = 1.0  # halved each time the run goes back after a divergence
        self.best = -math.inf  # stego plus revealed PSNR of the best validation, dB
        self.best_phase = 0  # the phase of that validation
        self.bad_in_row = self.skipped = self.returns = 0  # as far as the device was asked
        self.broken = 0  # pictures that could not be read, as far as was told
        self.trend = Trend()
        self.phase: int | None = None
        self.waiting: list[Waiting] = []
        self.window: list[dict[str, float]] = []  # terms of the good steps since the log's last line
        self.lock = ExitStack()
        seed_process(options.seed)
        lines = [parts.started] if parts.started else []
        if resume:
            lines += restore_from(self, self.run / "checkpoints" / "last.state")
        env = environment(self.device) | {"processes": processes.size(), "launch": processes.launch()}
        about = {"options.yml": dump(self.options), "env.json": json.dumps(env, indent=2) + "\n"}
        archived = None
        with processes.together():
            if processes.is_first():
                self.lock, archived = open_run(self.run, about, resume)
                log_to(self.run / "train.log")
            else:
                silence()
        if archived:
            logger.info(f"the earlier run of this name was kept as {archived}")
        for line in lines:
            logger.info(line)

    # --- the loop --------------------------------------------------------------------------------

    def fit(self) -> None:
        """Train to the last step, or until Ctrl-C or SIGTERM, which save first."""
        with failures_logged(), StopRequest() as stop:
            try:
                self._fit(stop)
            except (RuntimeError, ConnectionError) as error:
                # A SIGTERM to all processes may end the data loaders, or another process, amid a step:
                # what is in memory then is no state to save, the last checkpoint is.
                lost = isinstance(error, ConnectionError) or "DataLoader worker" in str(error)
                if not (stop.asked and lost):
                    raise
                logger.info(
                    f"{stop.asked}: the data loaders or another process ended too; --resume continues "
                    "from the checkpoint"
                )

    def _fit(self, stop: StopRequest) -> None:
        self._announce()
        if self.step == 0:
            self._save("last")
        first = processes.is_first()
        board = Board(self.run / "tb" if first else None, self.step)
        total = None if self.train.minutes else self.train.steps
        progress = tqdm(
            total=total, initial=self.step, unit="step", desc=self.options.name, disable=not first
        )
        started = time.monotonic() - self.seconds
        traced = profiled(self.run / "profile", self.profile if first else 0, self.device)
        asked = 0  # the number of the signal that any process got, which all know from the same step on
        with closing(board), progress, logging_redirect_tqdm([logger]), traced as trace:
            self.pace.begin()
            while not self.finished() and not asked:
                for batch in self.pace.watched(self._batches()):
                    self._train_step(batch)
                    trace()
                    self.step += 1
                    number, self.seconds = processes.largest(stop.number, time.monotonic() - started)
                    asked = int(number)
                    progress.update()
                    log, save = self._due(self.train.log_every), self._due(self.train.checkpoint_every)
                    look = self.validation is not None and self._due(self.train.validate_every)
                    if log or save or look or asked or self.finished():
                        # Only here do we ask the device how the steps since the last time went.
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
                        self.pace.begin()  # validating and saving do not count
                    if asked or self.finished():
                        break
            if asked or self.bad_in_row:
                self._save("last")
        if not self.finished():
            name = signal.Signals(int(asked)).name
            logger.info(f"{name}: saved at step {self.step} of {self.train.steps}; --resume continues")
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
        first = processes.rank() * self.share  # so that each picture of the step gets noise of its own
        terms, weights = self.one_step(
            batch["cover"].to(self.device, non_blocking=True),
            batch["secrets"].to(self.device, non_blocking=True),
            objective,
            self._position() / self.train.steps,
            self.learning_rate(),
            self.step,
            None if channel is None else channel.drawn(self.options.seed, self.step, first),
        )
        self.waiting.append(Waiting(self.step, self._phase(), terms, weights))
        self.pace.groups += self.train.batch_size

    def _diverged(self) -> bool:
        """Read what the steps since the last time gave; return whether to go back to a checkpoint."""
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

        (And of the time, with `train.minutes`.)
        """
        return self.lr_factor * rate_at(self.train, self.step, self._position())

    def _position(self) -> int:
        return position(self.train, self.step, self.seconds)

    def finished(self) -> bool:
        return self._position() >= self.train.steps

    def _phase(self) -> int:
        return phase_at(self.train, self._position())

    def _enter_phase(self) -> Objective:
        """Freeze and thaw the parts that the current phase names; return its objective."""
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
            self.share,
            start_step=self.step,
            workers=self.options.data.train.workers,
            pin_memory=self.device.type == "cuda",
            rank=processes.rank(),
            ranks=processes.size(),
        )

    def _due(self, every: int) -> bool:
        return self.step % every == 0 or self.finished()

    # --- what is written ---------------------------------------------------------------------------

    def _log(self, board: Board) -> str:
        """Write the means of the steps since the last time; return the loss, for the bar."""
        window, self.window = self.window, []
        self._tell_broken()
        pace = self.pace.read()
        (waiting,) = processes.largest(pace.waiting)  # the others wait for the process that waited longest
        pace = pace._replace(waiting=waiting)
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

    def _tell_broken(self) -> None:
        """Name the latest picture that could not be read, and count all, when there are more of them."""
        told = processes.gathered(self.groups.broken.read())
        count = sum(number for number, _ in told)
        if count > self.broken:
            self.broken = count
            latest = next(text for number, text in told if number)
            logger.info(f"step {self.step}: {count} pictures could not be read and were left out: {latest}")

    def _validate(self, board: Board, groups: EvaluationGroups) -> None:
        try:
            scores, figure = validate(self.result, groups)
        except NotFinite as error:  # a divergence: the training steps tell whether the run must go back
            logger.info(f"step {self.step}: validation: not possible: {error}")
            return
        for name, value in scores.items():
            board.scalar(f"validate/{name}_psnr_rgb", value, self.step)
        board.picture("validate/group", figure, self.step)
        with processes.together():
            if processes.is_first():
                record_validation(self.run, self.step, self.seconds, scores)
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
        save(self, name)

    def _optimizers(self) -> list[Optimizer]:
        return [optimizer for player in self.one_step.players for optimizer, _ in player.optimizers]

    def _count_from(self, bad_in_row: int, skipped: int) -> None:
        """Set the counts of bad steps, here and on the device, and forget what waits to be read."""
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
            raise RuntimeError(
                f"gave up: still diverging after {GIVE_UP_AFTER} returns to a checkpoint; "
                "try a lower train.lr or train.grad_clip"
            )
        rise = self.trend.rise
        why = f"the loss is {math.exp(rise):.0f} times what it was" if rise > EXPLODED else ""
        file = self.run / "checkpoints" / "last.state"
        restore_from(self, file)
        calm = file.with_name("best.state")
        # Where the last was saved while the loss was rising.
        if self.trend.rise > CALM and processes.from_first(calm.exists()):
            restore_from(self, calm)
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
        several = f" x {processes.size()} processes" if processes.size() > 1 else ""
        logger.info(
            f"{self.options.name}: {self.options.network.type}, {self.model.num_secrets} secrets, "
            f"{count / 1e6:.2f} M parameters, {self.device}{several}, {name_of(self.half)}, "
            f"{len(self.groups.pictures)} training pictures, from step {self.step} of {self.train.steps}"
            f"{limit}"
        )
