"""Count the pictures that cannot be read in training, over all loader processes, and name the latest."""

import multiprocessing
from typing import Any

LONGEST = 400  # bytes that are kept of the text


class BrokenPictures:
    """A counter that the training process shares with its loader processes."""

    def __init__(self) -> None:
        self._count = multiprocessing.Value("q", 0)
        self._text: Any = multiprocessing.Array("c", LONGEST)  # typeshed does not know its `value`

    def add(self, text: str) -> None:
        """Count one more picture. text: what is wrong; begins with the picture's path."""
        with self._count.get_lock():
            self._count.value += 1
            self._text.value = text.encode(errors="replace")[: LONGEST - 1]

    def read(self) -> tuple[int, str]:
        """Return (how many so far, the text of the latest)."""
        with self._count.get_lock():
            return self._count.value, self._text.value.decode(errors="replace")
