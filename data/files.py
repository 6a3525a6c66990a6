"""Files that are whole at any time, written beside their place and then renamed; and one writer at a time."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from errors import UserError


def sha256(path: str | Path) -> str:
    """The SHA-256 of a file's bytes, 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def locked(path: Path, refusal: str) -> Iterator[None]:
    """Be the only process that writes at `path`, a file or a folder, until the block ends.

    The lock is a file beside `path`, so that a folder can be renamed under it. It ends with the process,
    however that ends: forked data loaders, which outlive a killed run for seconds, do not hold it (filelock
    closes it in them). The process that holds it may take it again.
    refusal: what the UserError says of `path` where another process holds the lock.
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
            with suppress(OSError):  # Windows keeps a file that is open; what is left holds nothing
                os.unlink(lock.lock_file)
        lock.release()


@contextmanager
def replaced_at_once(path: str | Path) -> Iterator[Path]:
    """Yield a name beside `path` to write to; at the end it is renamed to `path`.

    If the writing fails or is interrupted, an old file at `path` stays as it was and nothing else
    is left. Raises UserError where the folder is missing or may not be written to, OSError with
    the path where the disk is full.
    """
    path = Path(path)
    if not path.parent.is_dir():
        raise UserError(f"{path}: the folder {path.parent} does not exist")
    if path.is_dir():
        raise UserError(f"{path}: is a folder, a file is to be written there")
    # A short name of its own: one made from the path's would be too long where that is nearly so.
    mark = hashlib.sha256(path.name.encode(errors="surrogateescape")).hexdigest()[:12]
    part = path.with_name(f".{os.getpid()}.{mark}.part")
    try:
        yield part
        with open(part, "rb+") as file:  # on the disk before the name: a crash must not leave it empty
            os.fsync(file.fileno())
        os.replace(part, path)
    except PermissionError as error:
        raise UserError(f"{path}: no permission to write there") from error
    except OSError as error:  # Pillow's and torch's own errors do not say which file
        kept = "; the one that is there is kept" if path.exists() else ""
        raise OSError(f"{path}: could not be written ({error.strerror or error}){kept}") from error
    finally:
        part.unlink(missing_ok=True)


def write_beside(path: Path, content: bytes) -> None:
    """Write a file so that `path` is at any time the old one or the new one, whole; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replaced_at_once(path) as part:
        part.write_bytes(content)
