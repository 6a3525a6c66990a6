"""Ctrl-C and SIGTERM as a request: the run first finishes and saves the current step."""

import signal

from engine import processes


class StopRequest:
    """A context that only notes the first SIGINT or SIGTERM; a second signal interrupts at once.

    Under torchrun a second signal is only noted too: torchrun passes on each signal that the whole process
    group already got.
    """

    def __init__(self) -> None:
        self.number = 0  # the signal; 0: none yet

    @property
    def asked(self) -> str:
        """The signal's name, such as "SIGINT"; empty if there was none."""
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
