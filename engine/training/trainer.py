"""One training run: a loop that is read from top to bottom."""

import json
import math
import time
from contextlib import ExitStack, closing
from pathlib import Path

import torch
from torch.utils.data import DataLoader
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

from data.images import write_picture
from data.loader import EvaluationGroups, training_loader
from engine.build import build_training, choose_device, has_fast_bf16, left_out
from engine.checkpoint import (
    load_state,
    random_state,
    save_state,
    save_weights,
    set_random_state,
    start_from,
)
from engine.interrupt import StopRequest
from engine.log import close_log, environment, failures_logged, git_commit, log_to, logger
from engine.testing.evaluate import validate
from engine.training.board import Board
from engine.training.optimizers import build_optimizers
from engine.training.run_folder import changes, open_run, record_validation
from engine.training.trend import CALM, EXPLODED, Trend
from errors import NotFinite, UserError
from models.losses import Objective, losses_of
from options import TrainOptions, dump

GIVE_UP_AFTER = 8  # returns to a checkpoint without a finished run


class Trainer:
    """Trains a network as an option file says, in experiments/<name>/.

    Everything that the weights depend on is a function of the options, the weights of `start_from` and
    the step, or is in the saved state; so an interrupted run, resumed, ends with the same weights (on a
    CPU bit for bit). Not so with `train.minutes`: then the schedule and the end depend on how fast the
    machine is.
    """

    def __init__(self, options: TrainOptions, experiments: Path, resume: bool = False):
        self.options, self.train = options, options.train
        self.run = experiments / options.name
        # All that can be the user's mistake comes first, before anything is written.
        self.device = choose_device(options.device)
        if self.train.threads:
            torch.set_num_threads(self.train.threads)
        parts = build_training(options)
        self.model, self.objectives = parts.model, parts.objectives
        self.groups, self.validation = parts.groups, parts.validation
        started = None
        if self.train.start_from and not resume:
            try:
                started = start_from(self.model, self.train.start_from, experiments)
            except UserError as error:
                raise options.error("train.start_from", str(error)) from error
        self.model.to(self.device).train()
        for objective in self.objectives:
            objective.to(self.device)
        if self.train.channels_last:
            self.model.to(memory_format=torch.channels_last)
        self.network = torch.compile(self.model) if self.train.compile else self.model
        self.half = self.train.precision == "bf16" or (
            self.train.precision == "auto" and has_fast_bf16(self.device)
        )
        self.optimizers = build_optimizers(self.model, self.train)
        self.step = 0
        self.seconds = 0.0  # that the run has taken, validations and earlier sittings included
        self.lr_factor = 1.0  # halved each time the run goes back after a divergence
        self.best = -math.inf  # stego plus revealed PSNR of the best validation, dB
        self.bad_in_row = self.skipped = self.returns = 0
        self.trend = Trend()
        self.phase: int | None = None
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
        window: list[dict[str, float]] = []
        started = time.monotonic() - self.seconds
        with closing(board), progress, logging_redirect_tqdm([logger]):
            while not self.finished() and not stop.asked:
                for batch in self._batches():
                    terms = self._train_step(batch)
                    self.step += 1
                    self.seconds = time.monotonic() - started
                    if terms is not None:
                        window.append(terms)
                        progress.set_postfix(loss=f"{terms['total']:.3g}", refresh=False)
                    progress.update()
                    if self.bad_in_row >= self.train.max_bad_steps or self.trend.rise > EXPLODED:
                        self._go_back()
                        window = []  # its steps are taken again
                        progress.n = self.step
                        progress.refresh()
                        break
                    if self._due(self.train.log_every):
                        self._log(board, window)
                        window = []
                    # Before the checkpoint, which says how good the best was.
                    if self.validation is not None and self._due(self.train.validate_every):
                        self._validate(board, self.validation)
                    # Never amid bad steps: the checkpoint is what a diverged run goes back to.
                    if self._due(self.train.checkpoint_every) and not self.bad_in_row:
                        self._save("last")
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

    def _train_step(self, batch: dict[str, torch.Tensor]) -> dict[str, float] | None:
        """One optimiser step; None where loss or gradient was not finite and the step was skipped."""
        objective = self._enter_phase()
        cover = batch["cover"].to(self.device, non_blocking=True).float() / 255
        secrets = batch["secrets"].to(self.device, non_blocking=True).float() / 255
        for optimizer, share in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.learning_rate() * share
            optimizer.zero_grad(set_to_none=True)
        buffers = [buffer.clone() for buffer in self.model.buffers()]
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            progress = self._position() / self.train.steps
            losses = losses_of(self.network, objective, cover, secrets, progress)
        losses.total.backward()
        limit = self.train.grad_clip or math.inf
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), limit)
        if not torch.isfinite(losses.total + norm):
            for buffer, before in zip(self.model.buffers(), buffers, strict=True):
                buffer.copy_(before)  # the forward pass has already moved batch normalisation's means
            self.bad_in_row += 1
            self.skipped += 1
            logger.info(
                f"step {self.step}: loss {losses.total.item()}, gradient norm {norm.item()}: "
                f"skipped ({self.skipped} so far, {self.bad_in_row} in a row)"
            )
            return None
        self.bad_in_row = 0
        for optimizer, _ in self.optimizers:
            optimizer.step()
        terms = {name: value.item() for name, value in losses.terms.items()}
        self.trend.add(terms, losses.weights)
        return {"total": losses.total.item(), **terms, "gradient_norm": norm.item()}

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
        if self.trend.phase != k:
            self.trend = Trend(k)
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

    def _log(self, board: Board, window: list[dict[str, float]]) -> None:
        if not window:
            return
        names = dict.fromkeys(name for terms in window for name in terms)
        means = {}
        for name in names:
            values = [terms[name] for terms in window if name in terms]
            means[name] = sum(values) / len(values)
            board.scalar(f"train/{name}", means[name], self.step)
        board.scalar("train/learning_rate", self.learning_rate(), self.step)
        board.scalar("train/skipped_steps", self.skipped, self.step)
        text = "  ".join(f"{name} {value:.3g}" for name, value in means.items())
        logger.info(f"step {self.step}: {text}  lr {self.learning_rate():.2e}")

    def _validate(self, board: Board, groups: EvaluationGroups) -> None:
        try:
            scores, figure = validate(self.model, groups)
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
        better = quality > self.best
        logger.info(
            f"step {self.step}: validation PSNR (RGB, 8 bit): stego {stego:.2f} dB, "
            f"revealed {revealed:.2f} dB{', best so far' if better else ''}"
        )
        if better:
            self.best = quality
            self._save("best")

    def _save(self, name: str) -> None:
        """Write NAME.state, all that a run continues from, and NAME.safetensors, its weights for use.

        The state holds the weights too, so that the two files cannot disagree after a crash between
        their writing; --resume reads last.state and nothing else. Raises NotFinite for weights that are not,
        and leaves both files as they were.
        """
        folder = self.run / "checkpoints"
        save_weights(
            folder / f"{name}.safetensors",
            self.model,
            step=self.step,
            run=self.options.name,
            git_commit=git_commit(),
            options=json.dumps(self.options.model_dump(mode="json", by_alias=True)),
        )
        save_state(folder / f"{name}.state", self._state())

    def _state(self) -> dict:
        return {
            "seconds": self.seconds,
            "step": self.step,  # the sampler's state too: batch k of a run is a function of k alone
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer, _ in self.optimizers],
            "lr_factor": self.lr_factor,
            "best": self.best,
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
            for (optimizer, _), state in zip(self.optimizers, saved["optimizers"], strict=True):
                optimizer.load_state_dict(state)
            self.step, self.best = saved["step"], saved["best"]
            # A return to a checkpoint gives no time back; states of earlier versions do not know theirs.
            self.seconds = max(self.seconds, saved.get("seconds", 0.0))
            self.lr_factor, self.returns = saved["lr_factor"], saved["returns"]
            self.bad_in_row, self.skipped = saved["bad_in_row"], saved["skipped"]
            self.trend = Trend()
            self.trend.restore(saved.get("trend", {}))
            set_random_state(saved["random"])
        except (KeyError, RuntimeError, ValueError, TypeError) as error:
            reason = " ".join(str(error).split())[:300]
            raise UserError(f"{file}: the state of another network or version: {reason}") from error

    def _go_back(self) -> None:
        """After a divergence: back to the last checkpoint with a calm loss, with half the learning rate."""
        returns, lr_factor, skipped, best = self.returns + 1, self.lr_factor / 2, self.skipped, self.best
        if returns > GIVE_UP_AFTER:
            raise RuntimeError(f"gave up: {returns} returns to a checkpoint, and still diverging")
        why = f"the loss is {math.exp(self.trend.rise):.0f} times what it was" if not self.bad_in_row else ""
        file = self.run / "checkpoints" / "last.state"
        self._restore(load_state(file), file)
        calm = file.with_name("best.state")
        if self.trend.rise > CALM and calm.exists():  # the last was saved while the loss was rising
            self._restore(load_state(calm), calm)
        # Counted on from here, not from the checkpoint: a second divergence must halve once more.
        self.returns, self.lr_factor, self.skipped, self.best = returns, lr_factor, skipped, best
        self.bad_in_row = 0
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
            f"{count / 1e6:.2f} M parameters, {self.device}, {'bf16' if self.half else 'fp32'}, "
            f"{len(self.groups.pictures)} training pictures, from step {self.step} of {self.train.steps}"
            f"{limit}"
        )
