"""Where each option was written, and what is wrong there."""

from dataclasses import dataclass, field
from typing import NamedTuple

from errors import UserError


class OptionsError(UserError):
    """The mistakes in the options, one on each line: `file:line: key: what was expected`."""


class Place(NamedTuple):
    """Where an option was written: a line number to sort by, and a text for people."""

    line: int
    text: str


class Mistake(NamedTuple):
    """One mistake in an option file; str() gives the line that reports it."""

    place: Place
    key: str
    message: str

    def __str__(self) -> str:
        return ": ".join(part for part in (self.place.text, self.key, self.message) if part)


@dataclass
class Source:
    """Where every option of an options object was written.

    path: the option file, as the user named it.
    places: dotted key -> its place, `file:line` or `--set key=value`.
    mistakes: mistakes in the text itself, such as a key that is given twice.
    """

    # Two sources always compare equal, so that options with the same values are equal.
    path: str = field(default="options", compare=False)
    places: dict[str, Place] = field(default_factory=dict, compare=False)
    mistakes: list[Mistake] = field(default_factory=list, compare=False)

    def mistake(self, key: str, message: str) -> Mistake:
        """A mistake at `key`, placed at the key or at the nearest enclosing section that was written."""
        written = key
        while written and written not in self.places:
            written = written.rpartition(".")[0]
        return Mistake(self.places.get(written, Place(1, f"{self.path}:1")), key, message)
