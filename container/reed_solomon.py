"""Bytes that come back although some were changed: Reed-Solomon code words, interleaved.

The content is dealt out to as few code words of at most 255 bytes as hold it, all of nearly the same length,
each with the same number of parity bytes. A word with p parity bytes comes back with e wrong bytes, of which
it is known where E others are lost, as long as 2 e + E <= p. Byte i of the code belongs to word i modulo the
number of words: neighbours in the code are in different words.
"""

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import reedsolo

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
    """The length of the longest content whose code fits into `room` bytes; 0 if none does."""
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
    words = [code[k::count] for k in range(count)]
    lost: list[list[int]] = [[] for _ in words]
    mended = _mended(words, lost, parity)
    for erased in (parity // 2, parity * 2 // 3):
        again = [k for k, word in enumerate(mended) if word is None]
        if trust is None or parity - erased < SURE or not again:
            break
        for k in again:
            lost[k] = np.argsort(trust[k::count], kind="stable")[:erased].tolist()
        second = _mended([words[k] for k in again], [lost[k] for k in again], parity)
        for k, word in zip(again, second, strict=True):
            mended[k] = word
    content, wrong = bytearray(length), []
    for k, (word, better) in enumerate(zip(words, mended, strict=True)):
        content[k::count] = (better or word)[: len(word) - parity]
        wrong.append(-1 if better is None else sum(a != b for a, b in zip(word, better, strict=True)))
    return Mended(bytes(content), wrong)


def _mended(words: list[bytes], lost: list[list[int]], parity: int) -> list[bytes | None]:
    """Each word mended, None if it cannot be. lost: the places of each word whose bytes do not count.

    As reedsolo.rs_correct_msg, but for the syndromes of all words at once, which took nearly all of its time.
    """
    received = [bytearray(word) for word in words]
    for word, places in zip(received, lost, strict=True):
        for place in places:
            word[place] = 0
    found: list[bytes | None] = []
    for word, places, syndromes in zip(received, lost, _syndromes(received, parity), strict=True):
        found.append(_corrected(word, places, syndromes.tolist()) if syndromes.any() else bytes(word))
    # With too many errors something that is no code word may have come out.
    left = _syndromes([one or word for one, word in zip(found, words, strict=True)], parity)
    return [None if wrong.any() else one for one, wrong in zip(found, left, strict=True)]


def _corrected(word: bytearray, lost: list[int], syndromes: list[int]) -> bytes | None:
    """The word with errors and losses mended, by Berlekamp-Massey and Forney; None if it has too many."""
    after, parity = [0, *syndromes], len(syndromes)
    try:
        errors_alone = reedsolo.rs_forney_syndromes(after, lost, len(word))
        locator = reedsolo.rs_find_error_locator(errors_alone, parity, erase_count=len(lost))
        places = reedsolo.rs_find_errors(locator[::-1], len(word))
        return bytes(reedsolo.rs_correct_errata(word, after, lost + places))
    except reedsolo.ReedSolomonError:
        return None


def _syndromes(words: Sequence[bytes | bytearray], parity: int) -> np.ndarray:
    """(words,parity) uint8: each word as a polynomial at 2^0, 2^1, ..; all 0 for a code word. By Horner."""
    times = _multiples(parity)
    longest = max(map(len, words))
    padded = np.stack([np.frombuffer(bytes(word).rjust(longest, b"\0"), np.uint8) for word in words])
    syndromes, columns = np.zeros((len(words), parity), np.uint8), np.arange(parity)
    for place in range(longest):
        syndromes = times[columns, syndromes] ^ padded[:, place, None]
    return syndromes


@cache
def _multiples(parity: int) -> np.ndarray:
    """(parity,256) uint8: in row i the products of 2^i and all bytes, in reedsolo's field."""
    reedsolo.init_tables()
    return np.array(
        [[reedsolo.gf_mul(reedsolo.gf_pow(2, i), x) for x in range(256)] for i in range(parity)], np.uint8
    )


@cache
def _codec(parity: int) -> reedsolo.RSCodec:
    return reedsolo.RSCodec(parity)
