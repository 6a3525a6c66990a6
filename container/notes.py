"""What hide.py writes beside the secrets of a keyed stego, so that reveal.py gives them back as they were."""

import struct
import unicodedata
from typing import NamedTuple

from errors import UserError

FITS = {0: "own", 1: "stretch", 2: "pad"}
RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{k}" for port in ("com", "lpt") for k in range(10))}
LONGEST_NAME = 200  # bytes of UTF-8: file systems take 255, and a suffix is added


class Note(NamedTuple):
    """How the secrets were brought to size ("own": not at all, "stretch" or "pad"), and of each, where known,
    the (height, width) that it had and its file's name."""

    fit: str
    sizes: list[tuple[int, int]]
    names: list[str]


def pack_note(note: Note) -> bytes:
    """fit (1 byte), number of sizes, of names (1 byte each), sizes (2 x 2 bytes each), names (length, UTF-8).

    Raises UserError for a side above 65535 pixels.
    """
    codes = {name: code for code, name in FITS.items()}
    content = struct.pack(">BBB", codes[note.fit], len(note.sizes), len(note.names))
    for height, width in note.sizes:
        if max(height, width) > 65535:
            raise UserError(f"a secret of {width}x{height} pixels: at most 65535 a side can be brought back")
        content += struct.pack(">HH", height, width)
    for name in note.names:
        text = shortened(name).encode(errors="replace")
        content += struct.pack(">B", len(text)) + text
    return content


def shortened(name: str) -> str:
    """A file's name of at most LONGEST_NAME bytes of UTF-8: whole letters of its stem, and its suffix."""
    stem, dot, suffix = name.rpartition(".")
    stem, end = (stem, dot + suffix) if stem and len(suffix) <= 8 else (name, "")
    room = LONGEST_NAME - len(end.encode(errors="replace"))
    return stem.encode(errors="replace")[:room].decode(errors="ignore") + end


def unpack_note(content: bytes, count: int) -> Note:
    """The inverse of `pack_note`, for a stego with `count` secrets.

    A note that another program wrote says nothing of sizes or names: Note("own", [], []). Names come back as
    they stand in the note: see `file_names`.
    """
    foreign = Note("own", [], [])
    try:
        fit, sizes, names = struct.unpack_from(">BBB", content)
        found = Note(FITS[fit], [], [])
        at = 3
        for _ in range(sizes):
            found.sizes.append(struct.unpack_from(">HH", content, at))
            at += 4
        for _ in range(names):
            length = content[at]
            found.names.append(content[at + 1 : at + 1 + length].decode(errors="ignore"))
            at += 1 + length
    except (struct.error, KeyError, IndexError):
        return foreign
    whole = at == len(content) and {sizes, names} <= {0, count} and all(h * w for h, w in found.sizes)
    return found if whole and (fit == 0 or sizes) else foreign


def file_names(names: list[str], count: int) -> list[str]:
    """`count` names of PNG files: those of the note, where they can be had, else secret_01.png and so on.

    Whoever hid the pictures chose the names: what could lead out of the folder, hide a file, or mean
    something to a shell or terminal is taken out, and no two are the same on any file system.
    """
    chosen: list[str] = []
    taken: set[str] = set()
    for k in range(count):
        stem = _harmless(names[k]) if k < len(names) else ""
        stem = stem or numbered(k)
        candidate, number = stem, 1
        while candidate.casefold() in taken:
            number += 1
            candidate = f"{stem}_{number}"
        taken.add(candidate.casefold())
        chosen.append(f"{candidate}.png")
    return chosen


def numbered(k: int) -> str:
    """The name of secret k, counted from 0, where it has none: secret_01 and so on."""
    return f"secret_{k + 1:02d}"


def _harmless(name: str) -> str:
    """The stem of a file name without anything that is not a plain name; "" where nothing is left."""
    stem = unicodedata.normalize("NFC", name.replace("\\", "/").rpartition("/")[2])
    stem = stem.rpartition(".")[0] or stem
    kept = (c for c in stem if unicodedata.category(c)[0] not in "CZ" or c == " ")
    stem = "".join("_" if c in '<>:"|?*$`' else c for c in kept)
    stem = stem.encode(errors="ignore")[:LONGEST_NAME].decode(errors="ignore").strip(" .-~")
    return "" if stem.casefold() in RESERVED else stem
