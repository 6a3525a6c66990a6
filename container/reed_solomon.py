"""Interleaved Reed-Solomon code words: bytes that can be restored although some of them were changed.

The content is spread over as few code words of at most 255 bytes as possible. All words have nearly the same
length and the same number of parity bytes. A word with p parity bytes can be corrected if 2 e + E <= p. Here
e bytes are wrong at unknown places, and E bytes are lost at known places. Byte i of the code belongs to word
i modulo the number of words, so neighbours in the code are in different words.
"""

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np
import reedsolo

LONGEST = 255  # bytes, of a code word
SURE = 16  # parity bytes that erasures must leave; with 4 left, noise passes for a code word half the time


class Corrected(NamedTuple):
    """The result of `decode`.

    content: the corrected bytes. wrong: for each code word, how many of its bytes were wrong, or -1 if it
    could not be corrected. The content of such a word is what was received.
    """

    content: bytes
    wrong: list[int]

    @property
    def lost(self) -> int:
        """How many code words could not be corrected."""
        return self.wrong.count(-1)


def words_needed(length: int, parity: int) -> int:
    """Return how many code words hold a content of `length` bytes."""
    assert 1 <= parity < LONGEST and length >= 1
    return -(-length // (LONGEST - parity))


def code_length(length: int, parity: int) -> int:
    """Return how many bytes `encode` makes from a content of `length` bytes."""
    return length + parity * words_needed(length, parity)


def content_that_fits(room: int, parity: int) -> int:
    """Return the length of the longest content whose code fits into `room` bytes; 0 if none does."""
    return max(0, room - parity * -(-room // LONGEST))


def encode(content: bytes, parity: int) -> bytes:
    """Return the code of a content, which has `code_length` bytes."""
    count = words_needed(len(content), parity)
    code = bytearray(code_length(len(content), parity))
    for k in range(count):
        code[k::count] = _codec(parity).encode(content[k::count])
    return bytes(code)


def decode(code: bytes, length: int, parity: int, trust: np.ndarray | None = None) -> Corrected:
    """Invert `encode` for a code whose bytes may have changed.

    length: of the content. trust: how likely each byte of the code is right, on any scale. If a word cannot
    be corrected directly, it is tried again, with its least trusted bytes counted as lost.
    """
    assert len(code) == code_length(length, parity)
    count = words_needed(length, parity)
    words = [code[k::count] for k in range(count)]
    lost: list[list[int]] = [[] for _ in words]
    corrected = _corrected(words, lost, parity)
    for erased in (parity // 2, parity * 2 // 3):
        again = [k for k, word in enumerate(corrected) if word is None]
        if trust is None or parity - erased < SURE or not again:
            break
        for k in again:
            lost[k] = np.argsort(trust[k::count], kind="stable")[:erased].tolist()
        second = _corrected([words[k] for k in again], [lost[k] for k in again], parity)
        for k, word in zip(again, second, strict=True):
            corrected[k] = word
    content, wrong = bytearray(length), []
    for k, (word, better) in enumerate(zip(words, corrected, strict=True)):
        content[k::count] = (better or word)[: len(word) - parity]
        wrong.append(-1 if better is None else sum(a != b for a, b in zip(word, better, strict=True)))
    return Corrected(bytes(content), wrong)


def _corrected(words: list[bytes], lost: list[list[int]], parity: int) -> list[bytes | None]:
    """Correct each word; None if that is impossible. lost: the places in each word whose bytes do not count.

    This follows reedsolo.rs_correct_msg, but computes the syndromes of all words at once. They took nearly
    all of its time.
    """
    received = [bytearray(word) for word in words]
    for word, places in zip(received, lost, strict=True):
        for place in places:
            word[place] = 0
    found: list[bytes | None] = []
    for word, places, syndromes in zip(received, lost, _syndromes(received, parity), strict=True):
        found.append(_corrected_word(word, places, syndromes.tolist()) if syndromes.any() else bytes(word))
    # With too many errors, the result may not be a code word.
    left = _syndromes([one or word for one, word in zip(found, words, strict=True)], parity)
    return [None if wrong.any() else one for one, wrong in zip(found, left, strict=True)]


def _corrected_word(word: bytearray, lost: list[int], syndromes: list[int]) -> bytes | None:
    """Correct errors and losses by Berlekamp-Massey and Forney; None if the word has too many."""
    after, parity = [0, *syndromes], len(syndromes)
    try:
        errors_alone = reedsolo.rs_forney_syndromes(after, lost, len(word))
        locator = reedsolo.rs_find_error_locator(errors_alone, parity, erase_count=len(lost))
        places = reedsolo.rs_find_errors(locator[::-1], len(word))
        return bytes(reedsolo.rs_correct_errata(word, after, lost + places))
    except reedsolo.ReedSolomonError:
        return None


def _syndromes(words: Sequence[bytes | bytearray], parity: int) -> np.ndarray:
    """Evaluate each word as a polynomial at 2^0, 2^1, ..: (words,parity) uint8; all 0 for a code word."""
    times = _multiples(parity)
    longest = max(map(len, words))
    padded = np.stack([np.frombuffer(bytes(word).rjust(longest, b"\0"), np.uint8) for word in words])
    syndromes, columns = np.zeros((len(words), parity), np.uint8), np.arange(parity)
    for place in range(longest):
        syndromes = times[columns, syndromes] ^ padded[:, place, None]
    return syndromes


@cache
def _multiples(parity: int) -> np.ndarray:
    """Return the products of 2^i and all bytes in reedsolo's field: (parity,256) uint8, row i for 2^i."""
    reedsolo.init_tables()
    return np.array(
        [[reedsolo.gf_mul(reedsolo.gf_pow(2, i), x) for x in range(256)] for i in range(parity)], np.uint8
    )


@cache
def _codec(parity: int) -> reedsolo.RSCodec:
    return reedsolo.RSCodec(parity)
