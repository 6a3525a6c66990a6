"""Replace a results folder as a whole, with one writer at a time, and never lose results on the way."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from data.files import locked
from errors import UserError

# What a test writes (engine/testing/results.py). All other files in a results folder stay untouched.
WRITTEN = re.compile(
    r"(metrics\.json|(per_image|attacks|groups)\.csv|report\.html"
    r"|figures/(psnr|group_\d{4,})\.png"
    r"|pictures/(cover|stego)/\d{4,}\.png|pictures/(secret|revealed)/\d{4,}_\d{2,}\.png)"
)


@contextmanager
def replaced_folder(out: Path) -> Iterator[Path]:
    """Yield a folder beside `out` to write to. At the end it replaces the results in `out`.

    If the writing fails or is interrupted, the results in `out` stay as they were. Files in `out` that no
    test wrote (a security.json, cached features) stay too. If the replacement itself is cut off, the old and
    the new results both exist beside `out`, and the next start finishes it.
    Raises UserError if another process is writing results there, or if `out` is a file.
    """
    out = out.resolve()  # so that a symbolic link stays one
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: is a file; expected a folder")
    part = _beside(out, "part")
    with locked(out, "another test is writing results there; wait until it ends or choose another name"):
        _take_place(out)
        shutil.rmtree(part, ignore_errors=True)
        try:
            part.mkdir(parents=True)
            yield part
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
        part.rename(_beside(out, "new"))  # from here on the results are complete, and are never deleted
        _take_place(out)


def _take_place(out: Path) -> None:
    """Move complete results from `.NAME.new` to `out`, from whichever step an earlier run reached.

    The old results stay in `.NAME.old` until the new ones are in place and the files that no test wrote
    have been moved over.
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
            where = (
                f"; the new results are complete in {new}, and the next start moves them"
                if new.exists()
                else ""
            )
            reason = error.strerror or error
            raise OSError(f"{out}: cannot replace the results ({reason}){where}") from error
        raise


def _take_over(old: Path, out: Path) -> None:
    """Move files that no test wrote from `old` to `out`, unless a newer one has the name; delete `old`."""
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
