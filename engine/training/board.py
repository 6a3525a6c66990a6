"""The part of TensorBoard that a run needs."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from torch.utils.tensorboard import SummaryWriter


class Board:
    """A writer of scalars and pictures for TensorBoard that reports write failures as plain errors.

    TensorBoard's own writer works in a thread. If the disk is full, that thread dies with a traceback and a
    later call reports it. Every method here raises one OSError instead, which names the folder.

    folder: None writes nothing, as in every process of a run except the first.
    step: the step that the run starts from; TensorBoard hides earlier entries of that step and later ones.
    """

    def __init__(self, folder: Path | None, step: int):
        self.folder = folder
        self._writer: SummaryWriter | None = None
        self._hook, threading.excepthook = threading.excepthook, self._quiet
        if folder is not None:
            with self._plain_errors():
                self._writer = SummaryWriter(str(folder), purge_step=step)

    def scalar(self, name: str, value: float, step: int) -> None:
        """Add a value to the curve `name`."""
        if self._writer is not None:
            with self._plain_errors():
                self._writer.add_scalar(name, value, step)

    def picture(self, name: str, picture: np.ndarray, step: int) -> None:
        """Add a picture, (H,W,3) uint8."""
        if self._writer is not None:
            with self._plain_errors():
                self._writer.add_image(name, picture, step, dataformats="HWC")

    def close(self) -> None:
        """Write what is left and restore the hook for uncaught errors in threads."""
        try:
            if self._writer is not None:
                with self._plain_errors():
                    self._writer.close()
        finally:
            threading.excepthook = self._hook

    @contextmanager
    def _plain_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = error.strerror or error
            raise OSError(f"{self.folder}: could not be written ({reason}); checkpoints are kept") from error

    def _quiet(self, failure) -> None:
        if not isinstance(failure.exc_value, OSError):
            self._hook(failure)
