"""Pictures that could not be read in training: counted over all loader processes, the latest one named."""

import multiprocessing
from typing import Any

LONGEST = 400  # bytes of the text that is kept


class BrokenPictures:
    """Shared by the process that trains and those that load for it."""

    def __init__(self) -> None:
        self._count = multiprocessing.Value("q", 0)
        self._text: Any = multiprocessing.Array("c", LONGEST)  # typeshed does not know its `value`

    def add(self, text: str) -> None:
        """text: begins with the picture's path."""
        with self._count.get_lock():
            self._count.value += 1
            self._text.value = text.encode(errors="replace")[: LONGEST - 1]

    def read(self) -> tuple[int, str]:
        """(how many so far, the text of the latest)."""
        with self._count.get_lock():
            return self._count.value, self._text.value.decode(errors="replace")
