"""TensorBoard, kept to what a run needs."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from torch.utils.tensorboard import SummaryWriter


class Board:
    """TensorBoard's writer for scalars and pictures, whose failures to write are plain errors.

    The writer works in a thread of its own, which dies with a traceback where the disk is full, and
    tells of it at a later call; here that is one OSError that names the folder.
    folder: None: nothing is written, as in all processes of a run but the first.
    """

    def __init__(self, folder: Path | None, step: int):
        self.folder = folder
        self._writer: SummaryWriter | None = None
        self._hook, threading.excepthook = threading.excepthook, self._quiet
        if folder is not None:
            with self._plain_errors():
                self._writer = SummaryWriter(str(folder), purge_step=step)

    def scalar(self, name: str, value: float, step: int) -> None:
        if self._writer is not None:
            with self._plain_errors():
                self._writer.add_scalar(name, value, step)

    def picture(self, name: str, picture: np.ndarray, step: int) -> None:
        """picture: (H,W,3) uint8."""
        if self._writer is not None:
            with self._plain_errors():
                self._writer.add_image(name, picture, step, dataformats="HWC")

    def close(self) -> None:
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
