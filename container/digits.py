"""Write bytes as base-M digits, and make each sample carry one digit."""

import math

import numpy as np


def block_sizes(modulus: int) -> tuple[int, int]:
    """Return (digits, bits): how many base-M digits a block has, and how many whole bits they hold.

    bits is at most 63. Of all such pairs, the one that wastes least is taken. Of the log2 M bits of a digit,
    it wastes nothing if M is a power of two, and otherwise 0.01 % (M = 26) to 0.76 % (M = 31). For M = 12, a
    block has 12 digits and 43 bits, and the waste is 0.05 %.
    """
    most = int(63 / math.log2(modulus)) + 1
    pairs = [(digits, (modulus**digits).bit_length() - 1) for digits in range(1, most + 1)]
    fitting = [(digits, bits) for digits, bits in pairs if bits <= 63]
    return max(fitting, key=lambda pair: (pair[1] / pair[0], -pair[0]))


def bytes_that_fit(samples: int, modulus: int) -> int:
    """Return how many whole bytes fit into a number of samples that carry one base-M digit each."""
    digits, bits = block_sizes(modulus)
    return max(samples, 0) // digits * bits // 8


def to_digits(content: bytes, modulus: int) -> np.ndarray:
    """Write bytes as base-M digits (count,) int64. Zero bits fill up the last block (see `block_sizes`)."""
    digits, bits = block_sizes(modulus)
    flat = np.unpackbits(np.frombuffer(content, np.uint8))
    stream = np.pad(flat, (0, -len(flat) % bits)).reshape(-1, bits)
    values = np.zeros(len(stream), np.int64)
    for column in stream.T:  # the first bit is the highest
        values = values << 1 | column
    powers = modulus ** np.arange(digits, dtype=np.int64)  # the lowest digit first
    return (values[:, None] // powers % modulus).reshape(-1)


def from_digits(digits: np.ndarray, modulus: int, length: int) -> bytes:
    """Invert `to_digits` for content of `length` bytes. Digits out of range give other bytes."""
    per_block, bits = block_sizes(modulus)
    values = digits.reshape(-1, per_block) @ modulus ** np.arange(per_block, dtype=np.int64)
    stream = values[:, None] >> np.arange(bits - 1, -1, -1, dtype=np.int64) & 1
    return np.packbits(stream.astype(np.uint8).reshape(-1)[: 8 * length]).tobytes()


def digits_needed(length: int, modulus: int) -> int:
    """Return how many digits `to_digits` makes from `length` bytes."""
    digits, bits = block_sizes(modulus)
    return -(-8 * length // bits) * digits


def nearest_congruent(
    samples: np.ndarray, digits: np.ndarray, modulus: int, upward: np.ndarray
) -> np.ndarray:
    """Move each sample to the nearest value in 0..255 that is congruent to its digit modulo M, 2 to 32.

    samples (count,) uint8, digits (count,) in 0..M-1, upward (count,) bool -> (count,) uint8. If M is even,
    two values can be equally near. Then the upper one is taken where `upward` is set. It should be random, so
    that the mean does not move. The mean squared error for uniform digits, away from 0 and 255, is (M^2 -
    1)/12 for odd M and (M^2 + 2)/12 for even M. If M is a power of two, this is LSB substitution with optimal
    pixel adjustment (Chan & Cheng, "Hiding data in images by simple LSB substitution", Pattern Recognition
    37(3), 2004).
    """
    samples = samples.astype(np.int64)
    step = (digits - samples) % modulus  # 0 to M-1, upwards
    down = (2 * step > modulus) | ((2 * step == modulus) & ~upward)
    moved = samples + step - modulus * down
    moved = moved + modulus * (moved < 0)
    return (moved - modulus * (moved > 255)).astype(np.uint8)
