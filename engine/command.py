"""How every command of this project ends: exit code 0, 2 for the user's mistake, 1 for anything else."""

import argparse
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn

from errors import UserError


class Parser(argparse.ArgumentParser):
    """An ArgumentParser that says what is wrong with a command line in one line."""

    def __init__(self, prog: str, **settings):
        super().__init__(prog=prog, formatter_class=argparse.RawDescriptionHelpFormatter, **settings)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (--help explains)\n")


MISTAKES = (UserError, OSError)  # what the user can mend: options, pictures, weights, paths, a full disk


def run_command(parser: argparse.ArgumentParser, main: Callable[[argparse.Namespace], None]) -> int:
    """Parse the command line and run `main`; errors become one line on stderr and an exit code.

    UserError and OSError are the user's to mend: their text, exit code 2, no traceback (`--debug`
    shows it). Anything else is ours and is not caught: Python prints the traceback and exits
    with 1. (engine.log.failures_logged writes both to a run's log.)
    """
    parser.add_argument("--debug", action="store_true", help="show where in the code an error arose")
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
    """The error's text for a person.

    A data loader's worker wraps an error in its own traceback, of which only the last line is the
    error. Options list one mistake a line, and keep their lines.
    """
    text = str(error).strip() or type(error).__name__
    if "Original Traceback" in text:
        last = text.splitlines()[-1]
        return last.partition(": ")[2] or last
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    return text
