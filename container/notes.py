"""The note beside the secrets of a keyed stego. With it, reveal.py restores their sizes and names."""

import os
import struct
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

from errors import UserError

FITS = {0: "own", 1: "stretch", 2: "pad"}
RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{k}" for port in ("com", "lpt") for k in range(10))}
LONGEST_NAME = 200  # bytes of UTF-8; file systems take 255, and a suffix is added


class Album(NamedTuple):
    """The place of a stego among several that were written together.

    mark: 8 random bytes, the same in all stegos. place: of this stego, from 0. names: those of the secrets in
    each stego.
    """

    mark: bytes
    place: int
    names: list[list[str]]


class Note(NamedTuple):
    """What hide.py stores about the secrets.

    fit: how they were brought to the cover's size: "stretch" or "pad", or "own" if not at all. sizes: the
    (height, width) that each secret had, or empty. names: the file name of each secret, or empty. album: set
    if the stego is one of several.
    """

    fit: str
    sizes: list[tuple[int, int]]
    names: list[str]
    album: Album | None = None


def pack_note(note: Note) -> bytes:
    """Pack a note into bytes.

    The bytes are: fit (1 byte), number of sizes and number of names (1 byte each), sizes (2 x 2 bytes each),
    and names (length, UTF-8). For an album, these follow: its mark (8 bytes), the place and the number of
    stegos (2 bytes each), and for each stego the number of its names (1 byte) and these names.

    Raises UserError for a side above 65535 pixels.
    """
    codes = {name: code for code, name in FITS.items()}
    content = struct.pack(">BBB", codes[note.fit], len(note.sizes), len(note.names))
    for height, width in note.sizes:
        if max(height, width) > 65535:
            raise UserError(f"a secret has {width}x{height} pixels; a side may have at most 65535")
        content += struct.pack(">HH", height, width)
    content += _packed_names(note.names)
    if note.album is not None:
        mark, place, names = note.album
        content += struct.pack(">8sHH", mark, place, len(names))
        content += b"".join(struct.pack(">B", len(some)) + _packed_names(some) for some in names)
    return content


def _packed_names(names: list[str]) -> bytes:
    texts = [shortened(name).encode(errors="replace") for name in names]
    return b"".join(struct.pack(">B", len(text)) + text for text in texts)


def shortened(name: str) -> str:
    """Shorten a file name to LONGEST_NAME bytes of UTF-8: whole letters, and a suffix of up to 8 letters."""
    stem, dot, suffix = name.rpartition(".")
    stem, end = (stem, dot + suffix) if stem and len(suffix) <= 8 else (name, "")
    room = LONGEST_NAME - len(end.encode(errors="replace"))
    return stem.encode(errors="replace")[:room].decode(errors="ignore") + end


def unpack_note(content: bytes, count: int) -> Note:
    """Invert `pack_note`, for a stego with `count` secrets.

    Returns Note("own", [], []), without sizes and names, for a note that another program wrote. The names are
    returned as the note has them, which is not safe: see `file_names`.
    """
    foreign = Note("own", [], [])
    try:
        fit, sizes, names = struct.unpack_from(">BBB", content)
        found = Note(FITS[fit], [], [])
        at = 3
        for _ in range(sizes):
            found.sizes.append(struct.unpack_from(">HH", content, at))
            at += 4
        own, at = _unpacked_names(content, at, names)
        found = found._replace(names=own)
        if at < len(content):
            mark, place, stegos = struct.unpack_from(">8sHH", content, at)
            at += 12
            all_names = []
            for _ in range(stegos):
                some, at = _unpacked_names(content, at + 1, content[at])
                all_names.append(some)
            if place >= stegos:
                return foreign
            found = found._replace(album=Album(mark, place, all_names))
    except (struct.error, KeyError, IndexError):
        return foreign
    whole = at == len(content) and {sizes, names} <= {0, count} and all(h * w for h, w in found.sizes)
    return found if whole and (fit == 0 or sizes) else foreign


def _unpacked_names(content: bytes, at: int, count: int) -> tuple[list[str], int]:
    """Return `count` names from position `at` on, and the position where they end."""
    names = []
    for _ in range(count):
        length = content[at]
        names.append(content[at + 1 : at + 1 + length].decode(errors="ignore"))
        at += 1 + length
    return names, at


def file_names(names: list[str], count: int, files: Sequence[str] = ()) -> list[str]:
    """Return names to write secrets to: `count` PNG files, then those of `files`, which keep their suffix.

    The names are those of the note if there are any, and otherwise secret_01.png and so on. A stranger may
    have chosen them. So anything that could lead out of the folder, hide a file, or mean something to a shell
    or terminal is removed. No two names are the same on any file system.
    """
    stems = [_harmless(_stem(names[k])) if k < len(names) else "" for k in range(count)]
    wanted = [(stem, ".png") for stem in stems]
    wanted += [(_harmless(_stem(name)), _suffix(name)) for name in files]
    full = [(stem or numbered(k)) + suffix for k, (stem, suffix) in enumerate(wanted)]
    return distinct(full, set())


def distinct(names: list[str], taken: set[str]) -> list[str]:
    """Return the names, with _2 and so on if they are `taken`, in upper or lower case. Adds to `taken`."""
    chosen = []
    for name in names:
        stem, suffix = os.path.splitext(name)
        candidate, number = name, 1
        while candidate.casefold() in taken:
            number += 1
            candidate = f"{stem}_{number}{suffix}"
        taken.add(candidate.casefold())
        chosen.append(candidate)
    return chosen


def numbered(k: int) -> str:
    """Return the name of secret k, counted from 0, if it has no name: secret_01 and so on."""
    return f"secret_{k + 1:02d}"


def _stem(name: str) -> str:
    """Return the last part of a path without its suffix."""
    last = name.replace("\\", "/").rpartition("/")[2]
    return last.rpartition(".")[0] or last


def _suffix(name: str) -> str:
    """Return the suffix of a path's last part with its dot; "" if there is none or no stem before it."""
    stem, dot, suffix = name.replace("\\", "/").rpartition("/")[2].rpartition(".")
    suffix = _harmless(suffix)
    return dot + suffix if stem and suffix else ""


def _harmless(text: str) -> str:
    """Return a stem or suffix without anything that is no part of a plain name; "" if nothing is left."""
    kept = (
        c for c in unicodedata.normalize("NFC", text) if unicodedata.category(c)[0] not in "CZ" or c == " "
    )
    stem = "".join("_" if c in '<>:"|?*$`' else c for c in kept)
    stem = stem.encode(errors="ignore")[:LONGEST_NAME].decode(errors="ignore").strip(" .-~")
    return "" if stem.casefold() in RESERVED else stem
