"""A passphrase from a terminal or a file: the options that hide.py and reveal.py share."""

import argparse
import getpass
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from errors import UserError

if TYPE_CHECKING:
    from container.keys import Key


def add_passphrase(parser: argparse.ArgumentParser) -> None:
    """Add --passphrase and --passphrase-file. There is no option with the passphrase itself: a command line
    is seen by all users of a machine, and kept in the shell's history."""
    ways = parser.add_mutually_exclusive_group()
    ways.add_argument(
        "--passphrase",
        action="store_true",
        help="ask for a passphrase, without showing it (methods with a key: SMILENet-L, codec_lsb)",
    )
    ways.add_argument(
        "--passphrase-file", type=Path, metavar="FILE", help="take the first line of a file as passphrase"
    )


def asked_key(arguments: argparse.Namespace, twice: bool) -> "Key":
    """The key that the options ask for; the public one without them. twice: ask again, to catch a slip.

    Raises UserError for an empty passphrase, two that differ, a file that is not text, no terminal.
    """
    from container.keys import PUBLIC, Key  # here: the options need not wait for torch

    if arguments.passphrase_file is not None:
        return Key(_first_line(arguments.passphrase_file))
    if not arguments.passphrase:
        return PUBLIC
    passphrase = _ask("passphrase: ")
    if twice and _ask("the same again: ") != passphrase:
        raise UserError("the two passphrases differ; nothing was written")
    return Key(passphrase)


def _first_line(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{path}: not a text file in UTF-8") from None
    line = text.split("\n", 1)[0]  # splitlines() would also cut at U+2028 and the like, which one can type
    if not line:
        raise UserError(f"{path}: the first line is empty, expected the passphrase there")
    return line


def _ask(prompt: str) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("error", getpass.GetPassWarning)  # it would show what is typed
        try:
            return getpass.getpass(prompt)
        except (getpass.GetPassWarning, EOFError):
            raise UserError(
                "--passphrase asks at a terminal, and there is none; use --passphrase-file"
            ) from None
