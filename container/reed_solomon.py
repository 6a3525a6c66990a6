"""Bytes that come back although some were changed: Reed-Solomon code words, interleaved.

The content is dealt out to as few code words of at most 255 bytes as hold it, all of nearly the same length,
each with the same number of parity bytes. A word with p parity bytes comes back with e wrong bytes, of which
it is known where E others are lost, as long as 2 e + E <= p. Byte i of the code belongs to word i modulo the
number of words: neighbours in the code are in different words.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
from reedsolo import ReedSolomonError, RSCodec

LONGEST = 255  # bytes, of a code word
SURE = 16  # parity bytes that erasures must leave: with 4 left, noise is taken for a code word half the time


class Mended(NamedTuple):
    """What `decode` gives: the content; of all words, how many bytes were wrong in the worst, or -1 for a
    word that could not be mended (its content is what was received)."""

    content: bytes
    wrong: list[int]

    @property
    def lost(self) -> int:
        """How many code words could not be mended."""
        return self.wrong.count(-1)


def words_needed(length: int, parity: int) -> int:
    """How many code words hold a content of so many bytes."""
    assert 1 <= parity < LONGEST and length >= 1
    return -(-length // (LONGEST - parity))


def code_length(length: int, parity: int) -> int:
    """How many bytes `encode` makes of a content of so many bytes."""
    return length + parity * words_needed(length, parity)


def content_that_fits(room: int, parity: int) -> int:
    """The length of the longest content whose code fits into `room` bytes; 0 where none does."""
    return max(0, room - parity * -(-room // LONGEST))


def encode(content: bytes, parity: int) -> bytes:
    """The code of a content: `code_length` bytes."""
    count = words_needed(len(content), parity)
    code = bytearray(code_length(len(content), parity))
    for k in range(count):
        code[k::count] = _codec(parity).encode(content[k::count])
    return bytes(code)


def decode(code: bytes, length: int, parity: int, trust: np.ndarray | None = None) -> Mended:
    """The inverse of `encode` for a code whose bytes may have changed.

    length: of the content. trust: for each byte of the code how likely it is right, any scale. Words that do
    not come back as they are are tried again with the bytes of the least trust counted as lost.
    """
    assert len(code) == code_length(length, parity)
    count = words_needed(length, parity)
    content, wrong = bytearray(length), []
    for k in range(count):
        word = code[k::count]
        mended = _decoded(word, parity, [])
        if mended is None and trust is not None:
            order = np.argsort(trust[k::count], kind="stable")
            for erased in (parity // 2, parity * 2 // 3):
                if parity - erased < SURE:
                    break
                mended = mended or _decoded(word, parity, order[:erased].tolist())
        content[k::count] = word[: len(word) - parity] if mended is None else mended[: len(word) - parity]
        wrong.append(-1 if mended is None else sum(a != b for a, b in zip(word, mended, strict=True)))
    return Mended(bytes(content), wrong)


def _decoded(word: bytes, parity: int, erased: list[int]) -> bytes | None:
    try:
        return bytes(_codec(parity).decode(word, erase_pos=erased)[1])
    except ReedSolomonError:
        return None


@cache
def _codec(parity: int) -> RSCodec:
    return RSCodec(parity)
