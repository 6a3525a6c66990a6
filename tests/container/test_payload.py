"""Payloads: what was packed comes back, and a foreign one does no harm."""

import struct
import zlib

import numpy as np
import pytest
from skimage.data import astronaut, chelsea, coffee

from container.codecs import CODECS, RUNGS, encode
from container.header import ContainerError
from container.payload import File, Picture, pack, unpack

PHOTOS = [photo() for photo in (astronaut, chelsea, coffee)]


def coded(codec="webp", count=3, rung=5):
    """Small photographs, (40,50,3), as entries that are revealed at their own size."""
    found = [encode(PHOTOS[k][:40, :50], codec, rung) for k in range(count)]
    return [Picture(codec, one.content, 40, 50) for one in found], found


def forged(rows, descriptions, rest=b""):
    """A payload of these rows (type, bytes of description, of head, of the rest)."""
    front = struct.pack(">H", len(rows)) + b"".join(struct.pack(">BHHI", *row) for row in rows) + descriptions
    front = zlib.compress(front)
    return struct.pack(">I", len(front)) + front + rest


@pytest.mark.parametrize("codec", CODECS)
def test_pictures_and_a_note(codec):
    entries, found = coded(codec, rung=RUNGS[codec] - 2)
    entries[2] = Picture(codec, found[2].content, 80, 100)  # coded smaller than it is revealed
    content = pack(b"note", entries)
    back = unpack(content)
    assert back.note == b"note" and not back.files and not back.unknown
    assert [p.shape for p in back.pictures] == [(40, 50, 3), (40, 50, 3), (80, 100, 3)]
    errors = [one.squared_error for one in found[:2]]
    assert np.mean((back.pictures[0] - PHOTOS[0][:40, :50].astype(float)) ** 2) == pytest.approx(errors[0])
    if codec == "avif":  # heads stand together, deflated: less than the files
        assert len(content) < sum(len(one.content) for one in found) - 300


def test_files_stand_beside_pictures():
    entries, _ = coded(count=1)
    files = [File("Grüße, 世界.txt", b"words"), File("empty", b"")]
    back = unpack(pack(b"", [files[0], *entries, files[1]]))
    assert back.files == files and len(back.pictures) == 1 and back.note == b""


def test_an_entry_of_an_unknown_type_is_counted_and_passed_over():
    content = forged([(0, 0, 4, 0), (9, 3, 2, 5), (2, 1, 0, 2)], b"abc" + b"n" + b"note" + b"hh", b"12345ok")
    back = unpack(content)
    assert back.unknown == 1 and back.note == b"note" and back.files == [File("n", b"ok")]


def test_foreign_payloads():
    """Without a passphrase anybody can write one: nothing but ContainerError comes of it."""
    whole = pack(b"", coded(count=1)[0])
    generator = np.random.default_rng(0)
    cases = [b"", b"1", bytes(100), whole[:-10], forged([(1, 9, 0, 0)], bytes([1] + [255] * 8))]
    for _ in range(200):
        broken = bytearray(whole)
        broken[generator.integers(len(whole))] ^= 1 << generator.integers(8)
        cases.append(bytes(broken))
    refused = 0
    for case in cases:
        try:
            unpack(case)
        except ContainerError:
            refused += 1
    assert refused >= 5


def test_a_forged_payload_cannot_ask_for_more_memory_than_there_is():
    """255 pictures of 100 megapixels by a payload of some bytes: refused before anything is decoded."""
    content = forged([(1, 9, 0, 0)] * 255, struct.pack(">BII", 2, 10000, 10000) * 255)
    with pytest.raises(ContainerError, match="25500000000 pixels in all"):
        unpack(content)


def test_no_picture_is_decoded_that_is_larger_than_its_entry_says():
    (picture,), _ = coded(count=1)
    small = Picture(picture.codec, picture.content, 39, 50)
    with pytest.raises(ContainerError, match="the webp picture has 50x40 pixels; at most 1950 are allowed"):
        unpack(pack(b"", [small]))


def test_too_little_memory_is_told(monkeypatch):
    def fail(*_):
        raise MemoryError

    monkeypatch.setattr("container.payload.resized", fail)
    with pytest.raises(ContainerError, match="too little memory"):
        unpack(pack(b"", coded(count=1)[0]))
