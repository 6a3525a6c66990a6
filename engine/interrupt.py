"""Ctrl-C and SIGTERM as a wish: the step in hand is finished and saved first."""

import signal


class StopRequest:
    """While it is entered, the first SIGINT or SIGTERM sets `asked`; a second Ctrl-C interrupts at once."""

    def __init__(self) -> None:
        self.asked = ""

    def __enter__(self) -> "StopRequest":
        self._before = {s: signal.signal(s, self._ask) for s in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *error) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, frame) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = signal.Signals(number).name
