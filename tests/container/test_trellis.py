"""Trellis-coded embedding: exact, as good as the tables say, and silent about what it carries."""

import itertools
import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2, kstest

from container import trellis
from container.trellis import (
    CODES,
    ROW,
    check_code,
    embed_digits,
    embed_values,
    extract_digits,
    extract_values,
)
from errors import UserError
from models.layers import lattice

BITS = {8: 3, 64: 6, 256: 8}  # of a state
PLAIN, TABLE = 12.17, {8: 9.353, 64: 8.992, 256: 8.832}  # squared error of uniform digits at M = 12
VALUES_TABLE = {8: 9.44, 64: 9.11}  # the same of values: 1/12 of it is rounding
BOUND = 8.43


def generator(seed=0):
    return np.random.default_rng(seed)


def uniform_cover(count, seed=0, low=0, high=256):
    return generator(seed).integers(low, high, count, dtype=np.uint8)


def coins(count, random):
    return random.integers(0, 256, count, dtype=np.uint8)


def hidden_digits(cover, modulus, states, seed=1):
    """(stego, digits), digits uniform."""
    random = generator(seed)
    digits = random.integers(0, modulus, len(cover))
    return embed_digits(cover, digits, modulus, states, coins(len(cover), random)), digits


def hidden_values(cover, values, modulus, states, seed=1, bits=True):
    """(stego, dither, syndromes), uniform; syndromes of zero without `bits`."""
    random = generator(seed)
    dither = random.uniform(0, modulus, len(cover))
    syndromes = random.integers(0, 2, len(cover)) * bits
    return embed_values(cover, values, dither, syndromes, modulus, states), dither, syndromes


def values_for(count, modulus, seed=2):
    margin = lattice.margin(modulus)
    return generator(seed).uniform(margin, 1 - margin, count)


def squared_error(stego, cover):
    return np.square(stego.astype(float) - cover).mean()


def covers(count):
    """Noise of all grey levels, black, white, and noise with long runs of both."""
    noise = uniform_cover(count)
    runs = np.repeat(generator(3).choice([0, 255, 7, 250], -(-count // 5)), 5)[:count].astype(np.uint8)
    return noise, np.zeros_like(noise), np.full_like(noise, 255), runs


# --- exact ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("states", CODES)
@pytest.mark.parametrize("modulus", [*range(2, 65, 2), 128])
def test_round_trip(modulus, states):
    """Every even M, in rows of 1, 2, 3 and 200 samples, at both ends of the scale too."""
    for count in (1, 2, 3, 200):
        for cover in covers(count) if count == 200 else covers(count)[:1]:
            stego, digits = hidden_digits(cover, modulus, states)
            assert stego.dtype == np.uint8
            assert np.array_equal(extract_digits(stego, modulus, states), digits)
            assert np.abs(stego.astype(int) - cover).max() < 2 * modulus

            values = values_for(count, modulus)
            stego, *key = hidden_values(cover, values, modulus, states)
            error = extract_values(stego, *key, modulus, states) - values
            assert np.abs(error).max() <= 0.5 / modulus + 1e-9
            assert np.abs(stego.astype(int) - cover).max() <= 2 * modulus


@settings(max_examples=30, deadline=None)
@given(
    height=st.integers(1, 41),
    width=st.integers(1, 41),
    start=st.integers(0, 900),
    end=st.integers(0, 5043),
    half=st.integers(1, 32),
    states=st.sampled_from([8, 64]),
    seed=st.integers(0, 99),
)
def test_any_part_of_a_picture(height, width, start, end, half, states, seed):
    """As a payload after a header: from any sample to any other, an empty part included."""
    stego = uniform_cover(height * width * 3, seed)
    part = slice(start, max(start, end))
    stego[part], digits = hidden_digits(stego[part], 2 * half, states, seed)
    assert np.array_equal(extract_digits(stego[part], 2 * half, states), digits)


def test_blocks_are_joined_in_order(monkeypatch):
    cover, values = uniform_cover(5 * ROW + 100), values_for(5 * ROW + 100, 12)
    whole, digits = hidden_digits(cover, 12, 8)
    whole_values, *key = hidden_values(cover, values, 12, 8)
    monkeypatch.setattr(trellis, "_MOST_ROWS", 2)
    monkeypatch.setattr(trellis, "_THREADS", 3)
    assert np.array_equal(hidden_digits(cover, 12, 8)[0], whole)
    assert np.array_equal(extract_digits(whole, 12, 8), digits)
    assert np.array_equal(hidden_values(cover, values, 12, 8)[0], whole_values)
    assert np.abs(extract_values(whole_values, *key, 12, 8) - values).max() <= 0.5 / 12 + 1e-9


def spelled(labels, states):
    """The syndromes of words (words, steps), written down from their definition."""
    result = np.zeros_like(labels)
    for t in range(labels.shape[1]):
        for i in range(min(t, BITS[states]) + 1):
            for bit, h in enumerate(CODES[states]):
                result[:, t] ^= (h >> i & 1) * (labels[:, t - i] >> bit & 1)
    return result


@pytest.mark.parametrize("states", CODES)
def test_the_receiver_filters_the_labels(states):
    stego = uniform_cover(2 * ROW)
    labels = (stego.astype(int) // 6 % 4).reshape(2, ROW)
    assert np.array_equal(
        extract_digits(stego, 12, states), 2 * (stego % 6) + spelled(labels, states).reshape(-1)
    )


@pytest.mark.parametrize("states", CODES)
@pytest.mark.parametrize("cover", [[128] * 6, [0] * 6, [255] * 6, [3, 252, 1, 200, 255, 9]])
@pytest.mark.parametrize("modulus", [2, 12, 64])
def test_no_other_word_is_nearer(modulus, cover, states):
    """All 4^6 words are tried, each sample at the nearest value in 0..255 with its residue and label."""
    cover = np.array(cover, np.uint8)
    words = np.array(list(itertools.product(range(4), repeat=6)))
    k = modulus // 2
    for seed in range(5):
        random = generator(seed)
        digits, tosses = random.integers(0, modulus, 6), coins(6, random)
        stego = embed_digits(cover, digits, modulus, states, tosses)
        target = cover + (tosses / 127.5 - 1) / 64  # ties are broken
        base = digits // 2 + k * words
        values = base[..., None] + 4 * k * np.arange(256 // (4 * k) + 1)
        errors = np.where(values <= 255, np.square(values - target[:, None]), np.inf).min(-1).sum(-1)
        best = errors[(spelled(words, states) == digits % 2).all(-1)].min()
        assert np.square(stego - target).sum() == pytest.approx(best, abs=1e-6)


# --- how little it changes --------------------------------------------------------------------------


@pytest.mark.parametrize("states", CODES)
def test_squared_error_of_digits(states):
    cover = uniform_cover(256 * ROW, low=64, high=192)
    error = squared_error(hidden_digits(cover, 12, states)[0], cover)
    assert error == pytest.approx(TABLE[states], rel=0.02)
    assert BOUND < error < PLAIN


@pytest.mark.parametrize("states", VALUES_TABLE)
def test_squared_error_of_values(states):
    cover = uniform_cover(256 * ROW, low=64, high=192)
    stego, *_ = hidden_values(cover, values_for(len(cover), 12), 12, states)
    assert squared_error(stego, cover) == pytest.approx(VALUES_TABLE[states], rel=0.02)


@pytest.mark.parametrize("level", [126, 127])
def test_coins_keep_the_mean(level):
    """Where a cover is flat, ties are many, above all at M = 2: the same coin everywhere moves the mean."""
    cover = np.full(256 * ROW, level, np.uint8)
    stego, digits = hidden_digits(cover, 2, 64)
    assert abs(stego.mean() - level) < 0.01
    same = embed_digits(cover, digits, 2, 64, np.full_like(cover, 255))
    assert abs(same.mean() - level) > 0.02


# --- what it tells ----------------------------------------------------------------------------------


def pairs_differ(first, second, period, i, j):
    """Chi-square of two stegos' residue pairs: p-value of sample i and sample j of all rows of STEPS."""
    counts = []
    for stego in (first, second):
        residues = stego.reshape(-1, STEPS).astype(int) % period
        counts.append(np.bincount(residues[:, i] * period + residues[:, j], minlength=period**2))
    table = np.array(counts, float)
    table = table[:, table.sum(0) > 20]
    expected = table.sum(0) * table.sum(1, keepdims=True) / table.sum()
    return chi2.sf((np.square(table - expected) / expected).sum(), table.shape[1] - 1)


STEPS = 8  # a row's first samples, where few words are possible yet, would tell most


@pytest.fixture
def short_rows(monkeypatch):
    monkeypatch.setattr(trellis, "ROW", STEPS)
    return np.full(60_000 * STEPS, 128, np.uint8)


def test_values_are_masked_by_dither_and_syndromes(short_rows):
    def stego(value, seed, bits):
        return hidden_values(short_rows, np.full(len(short_rows), value), 4, 64, seed, bits)[0]

    pairs = list(itertools.combinations(range(STEPS), 2))
    masked = stego(0.25, 1, bits=True), stego(0.75, 2, bits=True)
    assert min(pairs_differ(*masked, 8, i, j) for i, j in pairs) > 1e-4
    # without the key's bits, dither alone: the two mosaics are told apart
    dithered = stego(0.25, 1, bits=False), stego(0.75, 2, bits=False)
    assert pairs_differ(*dithered, 8, 0, 2) < 1e-6


def test_digits_are_masked_by_key_digits(short_rows):
    def stego(message, seed, bits):
        random = generator(seed)
        key = random.integers(0, 12, len(short_rows))
        # without bits the key masks the residue modulo k only
        digits = (message + (key if bits else key // 2 * 2)) % 12
        return embed_digits(short_rows, digits, 12, 8, coins(len(short_rows), random))

    pairs = list(itertools.combinations(range(STEPS), 2))
    masked = stego(0, 1, bits=True), stego(7, 2, bits=True)
    assert min(pairs_differ(*masked, 24, i, j) for i, j in pairs) > 1e-4
    assert pairs_differ(stego(0, 1, bits=False), stego(7, 2, bits=False), 24, 0, 1) < 1e-6


@pytest.mark.parametrize("embedded", ["digits", "values"])
def test_residues_are_uniform(embedded):
    """Whatever is hidden, pairs of neighbouring residues are uniform where the cover's are."""
    cover = uniform_cover(512 * ROW, low=64, high=208)
    if embedded == "digits":
        key = generator(1).integers(0, 12, len(cover))
        stego = embed_digits(cover, (5 + key) % 12, 12, 64, coins(len(cover), generator(2)))
    else:
        stego, *_ = hidden_values(cover, np.full(len(cover), 0.3), 12, 64)
    pairs = stego.astype(int)[::2] % 12 * 12 + stego[1::2] % 12
    counts = np.bincount(pairs, minlength=144)
    expected = len(pairs) / 144
    assert chi2.sf((np.square(counts - expected) / expected).sum(), 143) > 1e-4


@pytest.mark.parametrize("states", CODES)
def test_the_error_of_values_is_independent(states):
    """Uniform within half a grey level, no wrong decision, the same for any value and any cover."""
    cover = uniform_cover(128 * ROW)
    values = values_for(len(cover), 12)
    stego, *key = hidden_values(cover, values, 12, states)
    error = (extract_values(stego, *key, 12, states) - values) * 12
    assert np.abs(error).max() <= 0.5 + 1e-9
    assert error.var() == pytest.approx(1 / 12, rel=0.02)
    assert kstest(error, "uniform", (-0.5, 1)).pvalue > 1e-4
    for other in (values, np.square(values - 0.5), cover, stego):
        assert abs(np.corrcoef(error, other)[0, 1]) < 5 / np.sqrt(len(cover))
    assert abs(np.corrcoef(error[1:], error[:-1])[0, 1]) < 5 / np.sqrt(len(cover))


# --- what damage costs ------------------------------------------------------------------------------


def plain_errors(cover, values, change):
    """Of plain modulo 12 under the same damage, in grey levels, around the circle of M."""
    dither = torch.from_numpy(generator(1).uniform(0, 12, len(cover)))
    stego = lattice.embed(torch.from_numpy(cover), torch.from_numpy(values), dither, 12).numpy() + change
    read = lattice.extract(torch.from_numpy(stego), dither, 12).numpy()
    return around((read - values) * 12)


def shaped_errors(cover, values, change, states=64):
    stego, *key = hidden_values(cover, values, 12, states)
    return around((extract_values((stego + change).astype(np.uint8), *key, 12, states) - values) * 12)


def around(error):
    return (error + 6) % 12 - 6


def test_one_changed_sample_can_cost_the_rest_of_its_row():
    """One grey level in one sample loses 1 to 10 % of rows, about half of their rest; plain loses nothing."""
    cover = uniform_cover(1000 * ROW, low=64, high=192)
    change = np.zeros((1000, ROW), int)
    change[:, 50] = 1
    values = values_for(len(cover), 12)
    wrong = np.abs(shaped_errors(cover, values, change.reshape(-1)).reshape(1000, ROW)) > 2
    assert not wrong[:, :50].any()
    derailed = wrong[:, 51:].any(axis=1)
    assert 0.01 < derailed.mean() < 0.1
    assert 0.2 < wrong[derailed, 51:].mean() < 0.8
    assert (np.abs(plain_errors(cover, values, change.reshape(-1))) <= 1.5 + 1e-9).all()


def test_noise_everywhere_leaves_nothing_of_values():
    """Rounded noise of deviation 1/2: shaped values are gone, plain ones blurred."""
    cover = uniform_cover(64 * ROW, low=64, high=192)
    change = np.rint(generator(9).normal(0, 0.5, len(cover))).astype(int)
    values = values_for(len(cover), 12)
    shaped = np.square(shaped_errors(cover, values, change)).mean() ** 0.5
    plain = np.square(plain_errors(cover, values, change)).mean() ** 0.5
    assert shaped > 3 and plain < 1  # of at most 12 / sqrt(12) = 3.5 around the circle


@pytest.mark.parametrize("states", CODES)
def test_a_changed_sample_costs_few_digits(states):
    cover = uniform_cover(2 * ROW)
    stego, digits = hidden_digits(cover, 12, states)
    stego[300] ^= 16
    wrong = np.flatnonzero(extract_digits(stego, 12, states) != digits)
    assert len(wrong) and 300 <= wrong.min() <= wrong.max() <= 300 + BITS[states]


# --- limits -----------------------------------------------------------------------------------------


def test_memory_does_not_grow_with_the_picture(monkeypatch):
    """The search of half a megapixel at once would keep 100 MB of decisions alone."""
    monkeypatch.setattr(trellis, "_THREADS", 1)
    cover, digits = uniform_cover(1_600_000), uniform_cover(1_600_000, 1, 0, 12)
    tracemalloc.start()
    embed_digits(cover, digits, 12, 64, digits)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 60e6


@pytest.mark.parametrize(
    "modulus, states, text",
    [
        (11, 64, "shaping: needs an even modulus from 2 to 128, got 11"),
        (0, 64, "even modulus from 2 to 128, got 0"),
        (130, 8, "even modulus from 2 to 128, got 130"),
        (12, 16, "shaping: must be one of 0, 8, 64, 256 states, got 16"),
    ],
)
def test_what_there_is_no_code_for(modulus, states, text):
    cover = uniform_cover(9)
    with pytest.raises(UserError, match=text):
        check_code(modulus, states)
    with pytest.raises(UserError, match=text):
        embed_digits(cover, cover % 2, modulus, states, cover)
    with pytest.raises(UserError, match=text):
        extract_digits(cover, modulus, states)
    with pytest.raises(UserError, match=text):
        embed_values(cover, cover / 255, cover / 255, cover % 2, modulus, states)
    with pytest.raises(UserError, match=text):
        extract_values(cover, cover / 255, cover % 2, modulus, states)
