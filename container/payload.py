"""A payload: a list of entries, each of a type. docs/container.md has every byte."""

import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from container.codecs import LARGEST, Coded, decode, resized
from container.header import ContainerError
from container.notes import shortened
from errors import UserError

MOST_PIXELS = 2**29  # of all pictures of a payload, 1.5 GB decoded: anybody can write one that says more
LARGEST_FRONT = 2**24  # bytes, inflated

NOTE, PICTURE, FILE = 0, 1, 2  # the types

_COUNT = struct.Struct(">H")
_ROW = struct.Struct(">BHHI")  # type, bytes of its description, of its head, of the rest
_PICTURE = struct.Struct(">BII")  # codec, height, width
_CODES = {1: "avif", 2: "webp"}


@dataclass(frozen=True)
class Picture:
    """A coded picture; height and width [px] are those that it has when it is revealed."""

    codec: str
    content: bytes
    height: int
    width: int


@dataclass(frozen=True)
class File:
    """A file, byte for byte. Its name comes from whoever hid it: see `file_names` in container/notes.py."""

    name: str
    content: bytes


@dataclass(frozen=True)
class Payload:
    """What `unpack` found: note, pictures (h,w,3) uint8, files, and how many entries it does not know."""

    note: bytes
    pictures: list[np.ndarray]
    files: list[File]
    unknown: int


def check_sizes(sizes: Iterable[tuple[int, int]]) -> None:
    """Raises UserError for pictures (height, width) that are too large, alone or together."""
    sizes = list(sizes)
    for height, width in sizes:
        if height * width > LARGEST:
            raise UserError(f"a secret of {width}x{height} pixels is too large, {LARGEST} are the most")
    if (pixels := sum(height * width for height, width in sizes)) > MOST_PIXELS:
        raise UserError(f"the secrets have {pixels} pixels in all, {MOST_PIXELS} are the most")


def pack(note: bytes, entries: Iterable[Picture | File]) -> bytes:
    """Note and entries as one payload.

    All AVIF files begin alike, with 280 bytes of boxes: these heads stand together, deflated.
    """
    return b"".join(_parts(note, entries))


def packed_length(note: bytes, entries: Iterable[Picture | File]) -> int:
    """How many bytes `pack` makes, without copying what may be large files."""
    return sum(map(len, _parts(note, entries)))


def head_length(coded: Picture | Coded) -> int:
    """How many bytes a coded picture's head has, which those of many pictures share, nearly."""
    return coded.content.find(b"mdat") + 4 if coded.codec == "avif" else 0


def _parts(note: bytes, entries: Iterable[Picture | File]) -> list[bytes]:
    """The parts of a payload in order: length of the front, the front, the rest of each entry."""
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
    """The inverse of `pack`, with the pictures decoded.

    Entries of a type that this program does not know are counted and passed over. Raises ContainerError for
    what `pack` does not write: without a passphrase anybody can write a payload. No picture is decoded that
    is larger than its entry says.
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
            raise UserError(f"pictures of {sum(pixels)} pixels in all")
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
            f"it opens, but the payload is not what this program writes ({error})"
        ) from error
    except MemoryError as error:
        raise ContainerError("it opens, but there is too little memory for what it says it holds") from error


def _cut(content: bytes, at: int, lengths: list[int]) -> tuple[list[bytes], int]:
    """Consecutive parts of these lengths from `at` on, and where they end. Raises UserError beyond it."""
    parts = []
    for length in lengths:
        parts.append(content[at : at + length])
        at += length
    if at > len(content):
        raise UserError("an entry reaches beyond its end")
    return parts, at
