"""Reed-Solomon: what is corrected, what is not, and how long a code is."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from container.reed_solomon import (
    LONGEST,
    code_length,
    content_that_fits,
    decode,
    encode,
    words_needed,
)


def changed(code: bytes, places) -> bytes:
    wrong = bytearray(code)
    for k in places:
        wrong[k] ^= 0x55
    return bytes(wrong)


@settings(deadline=None, max_examples=20)
@given(st.binary(min_size=1, max_size=900), st.integers(1, 40).map(lambda half: 2 * half))
def test_half_the_parity_of_each_word_may_be_wrong(content, parity):
    code, words = encode(content, parity), words_needed(len(content), parity)
    assert len(code) == code_length(len(content), parity)
    places = [k for word in range(words) for k in range(word, len(code), words)[: parity // 2]]
    corrected = decode(changed(code, places), len(content), parity)
    assert corrected.content == content and corrected.lost == 0
    assert corrected.wrong == [min(parity // 2, len(range(word, len(code), words))) for word in range(words)]


def test_a_word_with_more_errors_is_counted_as_lost():
    content = bytes(range(256)) * 2
    code = encode(content, 30)
    assert words_needed(512, 30) == 3
    corrected = decode(changed(code, range(1, 3 * 60, 3)), 512, 30)
    assert [wrong < 0 for wrong in corrected.wrong] == [False, True, False] and corrected.lost == 1
    assert corrected.content[0::3] == content[0::3] and corrected.content[2::3] == content[2::3]


def test_bytes_of_little_trust_are_worth_twice_as_much():
    content = bytes(range(180))
    code = encode(content, 40)
    places = list(range(0, 200, 10)) + list(range(5, 55, 10))  # 25 are wrong, 20 can be corrected
    trust = np.ones(len(code))
    assert decode(changed(code, places), 180, 40, trust).lost == 1
    trust[places] = 0.1
    assert decode(changed(code, places), 180, 40, trust).content == content


@given(st.integers(0, 3000), st.integers(1, 127).map(lambda half: 2 * half))
def test_content_that_fits(room, parity):
    length = content_that_fits(room, parity)
    assert length == 0 or code_length(length, parity) <= room
    assert length >= room - parity * -(-room // LONGEST)


def test_neighbours_are_in_different_words():
    content = bytes(500)
    code = encode(content, 64)
    assert words_needed(500, 64) == 3
    assert decode(changed(code, range(100, 190)), 500, 64).wrong == [30, 30, 30]


@pytest.mark.parametrize("parity", [0, 255])
def test_a_parity_that_leaves_nothing(parity):
    with pytest.raises(AssertionError):
        encode(b"x", parity)
