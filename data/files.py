"""Write files atomically (under another name, then renamed), and let only one process write at a time."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from errors import UserError


def sha256(path: str | Path) -> str:
    """Return the SHA-256 of a file's bytes as 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def locked(path: Path, refusal: str) -> Iterator[None]:
    """Be the only process that writes at `path`, a file or a folder, until the block ends.

    The lock is a file beside `path`, so that a locked folder can be renamed. It ends with the process, even
    if the process is killed. Forked data loaders can outlive a killed run by seconds, but do not hold the
    lock, because filelock closes it in them. The process that holds the lock may take it again.

    refusal: what the UserError says about `path` if another process holds the lock.
    """
    place = path.resolve()
    lock = FileLock(place.with_name(f".{place.name}.lock"), is_singleton=True, thread_local=False)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        raise UserError(f"{path}: {refusal}") from None
    try:
        yield
    finally:
        if lock.lock_counter == 1:
            with suppress(OSError):  # Windows does not delete an open file; the file left over locks nothing
                os.unlink(lock.lock_file)
        lock.release()


@contextmanager
def replaced_at_once(path: str | Path) -> Iterator[Path]:
    """Yield the name of a file beside `path` to write to, and rename that file to `path` at the end.

    If the writing fails or is interrupted, an old file at `path` stays as it was and nothing else is left.
    Raises UserError if the folder is missing or may not be written to, and OSError with the path if the file
    cannot be written, such as on a full disk.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise UserError(f"{path}: the folder {path.parent} does not exist")
    if path.is_dir():
        raise UserError(f"{path}: a folder; expected a file name")
    # A short hash, because the path's own name with a suffix could be too long for the file system.
    mark = hashlib.sha256(path.name.encode(errors="surrogateescape")).hexdigest()[:12]
    part = path.with_name(f".{os.getpid()}.{mark}.part")
    try:
        yield part
        with open(part, "rb+") as file:  # sync before renaming, or a crash could leave an empty file
            os.fsync(file.fileno())
        os.replace(part, path)
    except PermissionError as error:
        raise UserError(f"{path}: no permission to write there") from error
    except OSError as error:  # errors of Pillow and torch do not name the file
        kept = "; the old file is kept" if path.exists() else ""
        raise OSError(f"{path}: could not be written ({error.strerror or error}){kept}") from error
    finally:
        part.unlink(missing_ok=True)


def write_beside(path: Path, content: bytes) -> None:
    """Write a file atomically: `path` is always the whole old file or the whole new one. Makes its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced_at_once(path) as part:
        part.write_bytes(content)
