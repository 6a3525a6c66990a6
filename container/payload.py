"""A payload is a list of entries, each of a type. docs/container.md has every byte."""

import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from container.codecs import LARGEST, Coded, decode, resized
from container.header import ContainerError
from container.notes import shortened
from errors import UserError

MOST_PIXELS = 2**29  # in all pictures of a payload, 1.5 GB decoded; a forged one can claim more
LARGEST_FRONT = 2**24  # bytes after inflating

NOTE, PICTURE, FILE = 0, 1, 2  # the types

_COUNT = struct.Struct(">H")
_ROW = struct.Struct(">BHHI")  # type; bytes of the description, the head and the rest
_PICTURE = struct.Struct(">BII")  # codec, height, width
_CODES = {1: "avif", 2: "webp"}


@dataclass(frozen=True)
class Picture:
    """A coded picture. Its height and width [px] are those at which it is revealed."""

    codec: str
    content: bytes
    height: int
    width: int


@dataclass(frozen=True)
class File:
    """A file, byte for byte. A stranger may have chosen its name: see `file_names` in container/notes.py."""

    name: str
    content: bytes


@dataclass(frozen=True)
class Payload:
    """What `unpack` found: note, pictures (h,w,3) uint8, files, and how many entries have unknown types."""

    note: bytes
    pictures: list[np.ndarray]
    files: list[File]
    unknown: int


def check_sizes(sizes: Iterable[tuple[int, int]]) -> None:
    """Raise UserError if pictures of these sizes (height, width) are too large, alone or together."""
    sizes = list(sizes)
    for height, width in sizes:
        if height * width > LARGEST:
            raise UserError(f"a secret of {width}x{height} pixels is too large; expected at most {LARGEST}")
    if (pixels := sum(height * width for height, width in sizes)) > MOST_PIXELS:
        raise UserError(f"the secrets have {pixels} pixels in all; expected at most {MOST_PIXELS}")


def pack(note: bytes, entries: Iterable[Picture | File]) -> bytes:
    """Pack a note and entries into one payload.

    All AVIF files begin with nearly the same 280 bytes of boxes. These heads are stored together and
    deflated.
    """
    return b"".join(_parts(note, entries))


def packed_length(note: bytes, entries: Iterable[Picture | File]) -> int:
    """Return how many bytes `pack` makes, without copying the files, which may be large."""
    return sum(map(len, _parts(note, entries)))


def head_length(coded: Picture | Coded) -> int:
    """Return how many bytes the head of a coded picture has. It is nearly the same in many pictures."""
    return coded.content.find(b"mdat") + 4 if coded.codec == "avif" else 0


def _parts(note: bytes, entries: Iterable[Picture | File]) -> list[bytes]:
    """Return the parts of a payload in order: length of the front, the front, the rest of each entry."""
    rows, descriptions, heads, rests = [], [], [], []

    def add(kind: int, description: bytes, head: bytes, rest: bytes) -> None:
        rows.append(_ROW.pack(kind, len(description), len(head), len(rest)))
        descriptions.append(description)
        heads.append(head)
        rests.append(rest)

    codes = {name: code for code, name in _CODES.items()}
    add(NOTE, b"", note, b"")
    for one in entries:
        if isinstance(one, Picture):
            split = head_length(one)
            description = _PICTURE.pack(codes[one.codec], one.height, one.width)
            add(PICTURE, description, one.content[:split], one.content[split:])
        else:
            add(FILE, shortened(one.name).encode(errors="replace"), b"", one.content)
    front = zlib.compress(b"".join((_COUNT.pack(len(rows)), *rows, *descriptions, *heads)), 9)
    return [struct.pack(">I", len(front)), front, *rests]


def unpack(content: bytes) -> Payload:
    """Invert `pack`, and decode the pictures.

    Entries of a type that this program does not know are skipped and counted. Raises ContainerError for
    anything that `pack` does not write, because anyone can write a payload without a key. A picture that is
    larger than its entry says is not decoded.
    """
    try:
        (length,) = struct.unpack_from(">I", content)
        inflater = zlib.decompressobj()
        front = inflater.decompress(content[4 : 4 + length], LARGEST_FRONT)
        (count,) = _COUNT.unpack_from(front)
        rows = [_ROW.unpack_from(front, _COUNT.size + k * _ROW.size) for k in range(count)]
        at = _COUNT.size + count * _ROW.size
        descriptions, at = _cut(front, at, [row[1] for row in rows])
        heads, at = _cut(front, at, [row[2] for row in rows])
        rests, _ = _cut(content, 4 + length, [row[3] for row in rows])
        found = Payload(b"".join(heads[k] for k in range(count) if rows[k][0] == NOTE), [], [], 0)
        entries = list(zip((row[0] for row in rows), descriptions, heads, rests, strict=True))
        pictures = [_PICTURE.unpack(about) for kind, about, _, _ in entries if kind == PICTURE]
        pixels = [height * width for _, height, width in pictures]
        if min(pixels, default=1) < 1 or sum(pixels) > MOST_PIXELS:
            raise UserError(f"its pictures have {sum(pixels)} pixels in all")
        unknown = 0
        for kind, about, head, rest in entries:
            if kind == PICTURE:
                code, height, width = _PICTURE.unpack(about)
                picture = decode(_CODES[code], head + rest, most_pixels=height * width)
                found.pictures.append(resized(picture, height, width))
            elif kind == FILE:
                found.files.append(File(about.decode(errors="replace"), rest))
            elif kind != NOTE:
                unknown += 1
        return Payload(found.note, found.pictures, found.files, unknown)
    except (UserError, KeyError, struct.error, zlib.error) as error:
        raise ContainerError(
            f"the key opens the stego, but the payload is not what this program writes ({error})"
        ) from error
    except MemoryError as error:
        raise ContainerError(
            "the key opens the stego, but there is too little memory for the contents that the payload claims"
        ) from error


def _cut(content: bytes, at: int, lengths: list[int]) -> tuple[list[bytes], int]:
    """Cut consecutive parts of these lengths, from position `at` on; return them and where they end.

    Raises UserError if they reach beyond the content.
    """
    parts = []
    for length in lengths:
        parts.append(content[at : at + length])
        at += length
    if at > len(content):
        raise UserError("an entry reaches beyond the end of the payload")
    return parts, at
