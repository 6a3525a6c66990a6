"""A results folder is replaced as a whole: one writer at a time, and no results are lost at any moment."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from data.files import locked
from errors import UserError

# What a test writes (engine/testing/results.py). All other files in a results folder are somebody else's.
WRITTEN = re.compile(
    r"(metrics\.json|(per_image|attacks|groups)\.csv|report\.html"
    r"|figures/(psnr|group_\d{4,})\.png"
    r"|pictures/(cover|stego)/\d{4,}\.png|pictures/(secret|revealed)/\d{4,}_\d{2,}\.png)"
)


@contextmanager
def replaced_folder(out: Path) -> Iterator[Path]:
    """Yield a folder beside `out` to write to; at the end it takes the place of the results in `out`.

    If the writing fails or is interrupted, the results at `out` stay as they were. Files in `out` that no
    test wrote (a security.json, features that were kept) stay too. If the replacement itself is cut off,
    old and new results both exist beside `out`, and the next start finishes it.
    Raises UserError where another process is writing results there.
    """
    out = out.resolve()  # a link stays one
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: is a file, a folder is to be written there")
    part = _beside(out, "part")
    with locked(out, "another test is writing results there; wait for its end or choose another name"):
        _take_place(out)
        shutil.rmtree(part, ignore_errors=True)
        try:
            part.mkdir(parents=True)
            yield part
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
        part.rename(_beside(out, "new"))  # from here on they are whole, and never deleted
        _take_place(out)


def _take_place(out: Path) -> None:
    """Put whole results that wait as `.NAME.new` in the place of `out`, from whatever step was the last.

    The old ones wait as `.NAME.old` until the new ones stand and have taken over what no test wrote.
    """
    new, old = _beside(out, "new"), _beside(out, "old")
    try:
        if new.exists():
            if out.exists():
                _take_over(old, out)
                out.rename(old)
            new.rename(out)
        elif old.exists() and not out.exists():
            old.rename(out)
        _take_over(old, out)
    except BaseException as error:
        if old.exists() and not out.exists():
            with suppress(OSError):
                old.rename(out)
        if isinstance(error, OSError):
            where = f"; the new results are whole in {new}, the next start moves them" if new.exists() else ""
            reason = error.strerror or error
            raise OSError(f"{out}: the results could not be replaced ({reason}){where}") from error
        raise


def _take_over(old: Path, out: Path) -> None:
    """Move what no test wrote from `old` to `out`, where no newer file has the name, and delete `old`."""
    if not old.exists():
        return
    for path in sorted(p for p in old.rglob("*") if p.is_symlink() or not p.is_dir()):
        name = path.relative_to(old)
        place = out / name
        if not WRITTEN.fullmatch(name.as_posix()) and not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            path.rename(place)
    shutil.rmtree(old)


def _beside(out: Path, what: str) -> Path:
    return out.with_name(f".{out.name}.{what}")
