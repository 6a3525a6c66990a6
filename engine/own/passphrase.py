"""Passphrases and key files: the options that hide.py and reveal.py share."""

import argparse
import getpass
import os
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from errors import UserError

if TYPE_CHECKING:
    from container.keys import Key

STRONG = 3  # zxcvbn's scores of 0 to 4 count as strong from here on: at least 10^8 guesses
LONGEST_JUDGED = 72  # characters; zxcvbn takes no more, and that many are strong unless they repeat


def add_passphrase(parser: argparse.ArgumentParser) -> None:
    """Add --passphrase, --passphrase-file, --passphrase-env and --keyfile.

    No option takes the passphrase itself: all users of a machine can see a command line, and the shell keeps
    it in its history.
    """
    ways = parser.add_mutually_exclusive_group()
    ways.add_argument(
        "--passphrase",
        action="store_true",
        help="ask for a passphrase and do not show what you type (smilenet_l, codec_lsb, codec_dct)",
    )
    ways.add_argument(
        "--passphrase-file",
        type=Path,
        metavar="FILE",
        help="read the passphrase from the first line of a file; - means standard input",
    )
    ways.add_argument(
        "--passphrase-env", metavar="NAME", help="read the passphrase from this environment variable"
    )
    parser.add_argument(
        "--keyfile",
        type=Path,
        metavar="FILE",
        help="any file that both sides have. Revealing then needs it, alone or together with a passphrase. "
        "Every byte of it counts, and if you lose it, you lose the secrets",
    )


def has_key(arguments: argparse.Namespace) -> bool:
    """Say whether the options name a passphrase or a key file."""
    return bool(arguments.passphrase or arguments.keyfile or _elsewhere(arguments))


def _elsewhere(arguments: argparse.Namespace) -> bool:
    return arguments.passphrase_file is not None or arguments.passphrase_env is not None


def asked_key(arguments: argparse.Namespace, twice: bool) -> "Key":
    """Return the key that the options name, or the public key if they name none.

    twice: set for hiding. Asks a second time to catch typing errors, and warns on stderr of a passphrase that
    is easy to guess. Raises UserError for an empty passphrase, two that differ, a file that is not text, and
    if there is no terminal to ask at; OSError for a file that cannot be read.
    """
    from container.keys import Key  # imported here, so that --help does not wait for torch

    passphrase = None
    if arguments.passphrase or _elsewhere(arguments):
        passphrase = read_passphrase(
            "passphrase", arguments.passphrase_file, arguments.passphrase_env, twice, strong=twice
        )
    keyfile = None if arguments.keyfile is None else arguments.keyfile.read_bytes()
    return Key(passphrase, keyfile)


def read_passphrase(what: str, file: Path | None, variable: str | None, twice: bool, strong: bool) -> str:
    """Return a passphrase from a file, from an environment variable, or else from the terminal.

    what: its name in prompts and warnings. twice: ask a second time at the terminal. strong: warn on stderr
    if it is weak. Raises UserError as `asked_key`.
    """
    if file is not None:
        found = _first_line(file)
    elif variable is not None:
        found = os.environ.get(variable, "")
        if not found:
            raise UserError(
                f"the environment variable {variable} is empty or not set; it must hold the passphrase"
            )
    else:
        found = _ask(f"{what}: ")
        if twice and _ask("again: ") != found:
            raise UserError("the two passphrases differ; nothing was written")
    warning = weakness(found) if strong and found else None
    if warning:
        print(f"warning: {what}: {warning}", file=sys.stderr)
    return found


def weakness(passphrase: str) -> str | None:
    """Say why a passphrase is easy to guess; None if it is strong.

    Uses zxcvbn (D. L. Wheeler, USENIX Security 2016).
    """
    from zxcvbn import zxcvbn  # imported here: its word lists take a tenth of a second

    found = zxcvbn(passphrase[:LONGEST_JUDGED])
    if found["score"] >= STRONG:
        return None
    why = found["feedback"]["warning"].rstrip(".") or "short and regular"
    guesses = f"10^{max(0, round(float(found['guesses_log10'])))}"
    return f"weak, found after about {guesses} guesses ({why}); six random words are safe"


def _first_line(path: Path) -> str:
    name = "standard input" if str(path) == "-" else str(path)
    try:
        text = sys.stdin.readline() if str(path) == "-" else path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{name}: not a text file in UTF-8") from None
    line = text.split("\n", 1)[0]  # splitlines() also cuts at characters such as U+2028, which can be typed
    if not line:
        raise UserError(f"{name}: the first line is empty; it must hold the passphrase")
    return line


def _ask(prompt: str) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("error", getpass.GetPassWarning)  # after this warning, typing would show
        try:
            return getpass.getpass(prompt)
        except (getpass.GetPassWarning, EOFError):
            raise UserError(
                "--passphrase asks at a terminal, but there is none; use --passphrase-file"
            ) from None
