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

STRONG = 3  # of zxcvbn's scores, 0 to 4: from 10^8 guesses on
LONGEST_JUDGED = 72  # letters: zxcvbn takes no more, and so many are strong unless they repeat


def add_passphrase(parser: argparse.ArgumentParser) -> None:
    """Add --passphrase, --passphrase-file, --passphrase-env and --keyfile.

    There is no option with the passphrase itself: a command line is seen by all users of a machine, and kept
    in the shell's history.
    """
    ways = parser.add_mutually_exclusive_group()
    ways.add_argument(
        "--passphrase",
        action="store_true",
        help="ask for a passphrase, without showing it (for smilenet_l, codec_lsb, codec_dct)",
    )
    ways.add_argument(
        "--passphrase-file",
        type=Path,
        metavar="FILE",
        help="take the first line of a file as passphrase; - stands for standard input",
    )
    ways.add_argument("--passphrase-env", metavar="NAME", help="take it from this environment variable")
    parser.add_argument(
        "--keyfile",
        type=Path,
        metavar="FILE",
        help="a file that both sides have, any file: it is needed to reveal, besides a passphrase or alone. "
        "Every byte of it counts, and whoever loses it loses the secrets",
    )


def has_key(arguments: argparse.Namespace) -> bool:
    """Whether the options name a passphrase or a key file."""
    return bool(arguments.passphrase or arguments.keyfile or _elsewhere(arguments))


def _elsewhere(arguments: argparse.Namespace) -> bool:
    return arguments.passphrase_file is not None or arguments.passphrase_env is not None


def asked_key(arguments: argparse.Namespace, twice: bool) -> "Key":
    """The key that the options ask for; the public one without them.

    twice: for hiding: ask again, to catch a slip, and warn on stderr of a passphrase that is soon guessed.
    Raises UserError for an empty passphrase, two that differ, a file that is not text, no terminal.
    """
    from container.keys import Key  # here: the options need not wait for torch

    passphrase = None
    if arguments.passphrase or _elsewhere(arguments):
        passphrase = read_passphrase(
            "passphrase", arguments.passphrase_file, arguments.passphrase_env, twice, strong=twice
        )
    keyfile = None if arguments.keyfile is None else arguments.keyfile.read_bytes()
    return Key(passphrase, keyfile)


def read_passphrase(what: str, file: Path | None, variable: str | None, twice: bool, strong: bool) -> str:
    """A passphrase from a file, an environment variable, or a terminal, where neither is named.

    what: what it is called when it is asked for. strong: warn on stderr if it is weak.
    """
    if file is not None:
        found = _first_line(file)
    elif variable is not None:
        found = os.environ.get(variable, "")
        if not found:
            raise UserError(
                f"the environment variable {variable} is empty or not set, expected the passphrase"
            )
    else:
        found = _ask(f"{what}: ")
        if twice and _ask("the same again: ") != found:
            raise UserError("the two passphrases differ; nothing was written")
    warning = weakness(found) if strong and found else None
    if warning:
        print(f"warning: {what}: {warning}", file=sys.stderr)
    return found


def weakness(passphrase: str) -> str | None:
    """What is wrong with a passphrase that is soon guessed (zxcvbn: D. L. Wheeler, USENIX Security 2016)."""
    from zxcvbn import zxcvbn  # here: its word lists take a tenth of a second

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
    line = text.split("\n", 1)[0]  # splitlines() would also cut at U+2028 and the like, which one can type
    if not line:
        raise UserError(f"{name}: the first line is empty, expected the passphrase there")
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
