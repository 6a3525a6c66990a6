"""How every command of this project starts and ends.

The exit code is 0 for success, 2 for the user's mistake, and 1 for anything else.
"""

import argparse
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn

from errors import UserError


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that reports a wrong command line in one line, with exit code 2."""

    def __init__(self, prog: str, **settings):
        super().__init__(prog=prog, formatter_class=argparse.RawDescriptionHelpFormatter, **settings)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see --help)\n")


def at_least(least: int) -> Callable[[str], int]:
    """Return the type of an option that is a whole number of at least `least`."""

    def parse(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"'{text}': expected a whole number of at least {least}")
        return int(text)

    return parse


MISTAKES = (UserError, OSError)  # what the user can fix: options, pictures, weights, paths, a full disk


def run_command(parser: argparse.ArgumentParser, main: Callable[[argparse.Namespace], None]) -> int:
    """Parse the command line, run `main`, and return the exit code.

    The user can fix a UserError or an OSError: their message goes to stderr, without a traceback (`--debug`
    shows it), and the exit code is 2. Any other exception is a bug and is not caught: Python prints the
    traceback and exits with 1. `engine.log.failures_logged` writes both kinds to a run's log.
    """
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    arguments = parser.parse_args()
    try:
        main(arguments)
    except MISTAKES as error:
        if arguments.debug:
            traceback.print_exc()
        print(f"{parser.prog}: {one_line(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"{parser.prog}: interrupted", file=sys.stderr)
        return 1
    return 0


def one_line(error: BaseException) -> str:
    """Return the error's message for the user.

    A data loader's worker wraps an error in its own traceback; only the last line is the error. Errors in
    options list one mistake per line and keep their lines.
    """
    text = str(error).strip() or type(error).__name__
    if "Original Traceback" in text:
        last = text.splitlines()[-1]
        return last.partition(": ")[2] or last
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    return text
