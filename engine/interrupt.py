"""Ctrl-C and SIGTERM as a wish: the step in hand is finished and saved first."""

import signal

from engine import processes


class StopRequest:
    """While it is entered, the first SIGINT or SIGTERM is only noted; a second Ctrl-C interrupts at once.

    Not so under torchrun, which passes on each signal that the whole group has got already.
    """

    def __init__(self) -> None:
        self.number = 0  # of the signal; 0: none

    @property
    def asked(self) -> str:
        """The signal's name; empty where there was none."""
        return signal.Signals(self.number).name if self.number else ""

    def __enter__(self) -> "StopRequest":
        self._before = {s: signal.signal(s, self._ask) for s in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *error) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame) -> None:
        if self.number and processes.local_rank() is None:
            raise KeyboardInterrupt
        self.number = number
