"""Base-M digits: every byte comes back, at nearly full rate, by the nearest value."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from container.digits import (
    block_sizes,
    bytes_that_fit,
    digits_needed,
    from_digits,
    nearest_congruent,
    to_digits,
)


@pytest.mark.parametrize("modulus", range(2, 33))
def test_digits_bring_every_byte_back_at_nearly_full_rate(modulus):
    per_block, bits = block_sizes(modulus)
    assert 2**bits <= modulus**per_block and bits <= 63
    assert bits / per_block > (1 - 0.0076) * math.log2(modulus)
    for length in (0, 1, 7, 100, 1001):
        content = np.random.default_rng(length).bytes(length)
        digits = to_digits(content, modulus)
        assert len(digits) == digits_needed(length, modulus)
        assert not length or (digits.min() >= 0 and digits.max() < modulus)
        assert from_digits(digits, modulus, length) == content
        assert bytes_that_fit(len(digits), modulus) >= length
        assert digits_needed(bytes_that_fit(length, modulus), modulus) <= length
    assert bytes_that_fit(-5, modulus) == 0


@settings(max_examples=300, deadline=None)
@given(st.integers(2, 32), st.integers(0, 255), st.data())
def test_the_nearest_congruent_value(modulus, sample, data):
    digit, up = data.draw(st.integers(0, modulus - 1)), data.draw(st.booleans())
    (value,) = nearest_congruent(np.array([sample], np.uint8), np.array([digit]), modulus, np.array([up]))
    distances = [abs(v - sample) for v in range(256) if v % modulus == digit]
    assert value % modulus == digit and abs(int(value) - sample) == min(distances)
