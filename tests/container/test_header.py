"""The header: what comes back, what is noticed, and what is said of it."""

import hmac
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from container import header
from container.header import (
    NO_WEIGHTS,
    ContainerError,
    Damaged,
    NoPayload,
    OtherWeights,
    WrongKey,
    header_samples,
    read_header,
    write_header,
)
from container.keys import PUBLIC, Key, decrypt, encrypt, keystream, new_nonce, repeatable_nonces

SIZE = (24, 40)
NOTE = b"three pictures"
HEADER = header_samples(len(NOTE))


def picture(size=SIZE, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def sealed(key=PUBLIC, cover=None, method="codec_lsb", weights=NO_WEIGHTS, note=NOTE, marked=True):
    cover = picture() if cover is None else cover
    samples, nonce = cover.copy().reshape(-1), new_nonce()
    keys = key.derive(nonce)
    write_header(samples, cover.shape[:2], keys, nonce, method, weights, note, marked)
    return samples


def opened(samples, key=PUBLIC, size=SIZE, method="codec_lsb", weights=NO_WEIGHTS, damaged_ok=False):
    return read_header(samples, size, key, method, weights, damaged_ok)


STEGO = sealed()


def test_a_container_of_another_version_says_so_before_any_passphrase_is_tried(monkeypatch):
    monkeypatch.setattr(header, "VERSION", 4)
    samples = sealed(Key("right"))
    monkeypatch.undo()
    monkeypatch.setattr(Key, "derive", lambda *_: pytest.fail("a key was derived"))
    for key in (PUBLIC, Key("right")):
        with pytest.raises(
            ContainerError, match="container of version 4, but this program reads version 3: .* newer program"
        ):
            opened(samples, key)


def test_a_container_of_version_2():
    """Its mark was another, and no byte in clear said the version."""
    samples, nonce = sealed(), new_nonce()
    old = nonce + hmac.digest(b"smilenet-framework container mark", nonce, "sha256")[:4]
    bits = np.unpackbits(np.frombuffer(old, np.uint8))
    samples[: len(bits)] = samples[: len(bits)] & 0xFE | bits
    with pytest.raises(ContainerError, match="container of version 1 or 2, .* earlier program that hid it"):
        opened(samples)


def test_the_version_looks_random_and_a_changed_pixel_is_not_another_version():
    stegos = [sealed() for _ in range(64)]
    codes = {np.packbits(stego[160:168] & 1).item() for stego in stegos}
    assert len(codes) > 40
    for flips in ([160], [163, 164], [165, 167], [160, 161, 162]):
        changed = STEGO.copy()
        changed[flips] ^= 1
        with pytest.raises(Damaged, match="changed after hiding"):
            opened(changed)


@pytest.mark.parametrize("shaping", [0, 8, 64, 256])
def test_the_methods_shaping_comes_back(shaping):
    samples, nonce = picture().reshape(-1), new_nonce()
    write_header(samples, SIZE, PUBLIC.derive(nonce), nonce, "codec_lsb", NO_WEIGHTS, shaping=shaping)
    assert opened(samples).shaping == shaping


def test_a_shaping_that_this_program_does_not_know(monkeypatch):
    monkeypatch.setattr(header, "SHAPINGS", (*header.SHAPINGS, 1024))
    samples, nonce = picture().reshape(-1), new_nonce()
    write_header(samples, SIZE, PUBLIC.derive(nonce), nonce, "codec_lsb", NO_WEIGHTS, shaping=1024)
    with pytest.raises(ContainerError, match="a shaping .code 10. that this program does not know"):
        opened(samples)


def test_correcting_takes_no_time_that_a_stranger_chooses():
    """A long note with one changed bit is not corrected: trying all changes would take seconds."""
    samples = sealed(cover=picture((300, 300)), note=bytes(20_000))
    samples[HEADER + 8 * 10_000] ^= 1
    started = time.perf_counter()
    with pytest.raises(Damaged, match="the header's note cannot be read"):
        opened(samples, size=(300, 300))
    assert time.perf_counter() - started < 0.5


@pytest.mark.parametrize("passphrase", [None, "Grüße, 世界"])
@pytest.mark.parametrize("marked", [True, False])
@pytest.mark.parametrize("note", [b"", b"x", bytes(range(256))])
def test_round_trip(passphrase, marked, note):
    key, cover = Key(passphrase), picture()
    samples = sealed(key, cover, note=note, marked=marked)
    header = opened(samples, key)
    assert header.note == note and not header.changed and header.samples == header_samples(len(note))
    flat = cover.reshape(-1)
    assert np.array_equal(samples[header.samples :], flat[header.samples :])
    assert np.array_equal(samples[: header.samples] >> 1, flat[: header.samples] >> 1)
    nonce = np.packbits(samples[:128] & 1).tobytes()
    assert header.keys == key.derive(nonce)


def test_a_full_picture_and_one_sample_less():
    note = bytes(SIZE[0] * SIZE[1] * 3 // 8 - header_samples(1) // 8 + 1)
    assert header_samples(len(note)) == SIZE[0] * SIZE[1] * 3
    assert opened(sealed(note=note)).note == note
    with pytest.raises(
        ValueError, match="40x24 pixels is too small: the header takes 2888 samples, but the picture has 2880"
    ):
        sealed(note=note + b"x")
    with pytest.raises(ValueError, match="the note has 65536 bytes; the header holds at most 65535"):
        sealed(cover=picture((500, 500)), note=bytes(65536))


@settings(max_examples=150, deadline=None)
@given(
    position=st.one_of(st.integers(0, HEADER - 1), st.integers(0, STEGO.size - 1)),
    change=st.integers(1, 255),
)
def test_any_changed_sample_is_noticed(position, change):
    changed = STEGO.copy()
    changed[position] = (int(changed[position]) + change) % 256
    with pytest.raises(Damaged, match="changed after hiding"):
        opened(changed)
    found = opened(changed, damaged_ok=True)
    assert found.note == NOTE and found.changed


@settings(max_examples=60, deadline=None)
@given(pixel=st.integers(0, STEGO.size // 3 - 1), colour=st.tuples(*[st.integers(0, 255)] * 3))
def test_a_painted_pixel_is_told_from_a_wrong_key(pixel, colour):
    changed = STEGO.copy()
    changed[3 * pixel : 3 * pixel + 3] = colour
    if not np.array_equal(changed, STEGO):
        with pytest.raises(Damaged, match="changed after hiding"):
            opened(changed)


def test_a_changed_sample_is_noticed_without_the_mark_too():
    stego = sealed(marked=False)
    for position in range(0, STEGO.size, 31):
        changed = stego.copy()
        changed[position] ^= 1
        expected = NoPayload if position < 168 else Damaged  # without a mark the nonce cannot be corrected
        with pytest.raises(expected):
            opened(changed)


def test_wrong_keys():
    secret = sealed(Key("right"))
    with pytest.raises(WrongKey, match="hidden under another key .*sender's --passphrase, --keyfile or both"):
        opened(secret, Key("wrong"))
    with pytest.raises(WrongKey, match="hidden under a key .*sender's --passphrase, --keyfile or both"):
        opened(secret)
    with pytest.raises(WrongKey, match="hidden without a key: reveal it without --passphrase and --keyfile"):
        opened(STEGO, Key("any"))


def test_unmarked_looks_like_nothing():
    secret = sealed(Key("right"), marked=False)
    assert opened(secret, Key("right")).note == NOTE
    with pytest.raises(NoPayload, match="unmarked and needs another --passphrase or --keyfile"):
        opened(secret, Key("wrong"))
    with pytest.raises(NoPayload):
        opened(secret)
    with pytest.raises(WrongKey, match="hidden without a key"):
        opened(sealed(marked=False), Key("any"))


@pytest.mark.parametrize(
    "cover", [picture(), np.zeros((24, 40, 3), np.uint8), picture((3, 3)), picture((8, 30))]
)
def test_a_picture_without_a_payload(cover):
    for key in (Key(), Key("any")):
        with pytest.raises(NoPayload, match="nothing is hidden here"):
            opened(cover.reshape(-1), key, cover.shape[:2])


def test_cut_pictures():
    stego = sealed(cover=picture((24, 300))).reshape(24, 300, 3)
    for part in (stego[:12], stego[:, :260]):  # the header's first part fits into the first row
        for damaged_ok in (False, True):
            with pytest.raises(Damaged, match="cut or resized after hiding, from 300x24 to"):
                opened(part.reshape(-1), size=part.shape[:2], damaged_ok=damaged_ok)
    with pytest.raises(NoPayload, match="cut at the top or left"):
        opened(stego[12:].reshape(-1), size=(12, 300))


def test_a_header_beyond_correction():
    changed = STEGO.copy()
    changed[200:400:10] ^= 1
    with pytest.raises(WrongKey, match="first rows were changed"):
        opened(changed, damaged_ok=True)
    changed = STEGO.copy()
    changed[HEADER - 100 : HEADER : 10] ^= 1
    with pytest.raises(Damaged, match="note cannot be read"):
        opened(changed, damaged_ok=True)


def test_other_weights():
    ours, theirs = b"12345678", b"abcdefgh"
    samples = sealed(method="smilenet", weights=ours)
    with pytest.raises(OtherWeights, match="with 'smilenet' .3132333435363738.*'smilenet' .6162636465666768"):
        opened(samples, method="smilenet", weights=theirs)
    with pytest.raises(
        OtherWeights, match="with 'smilenet' .3132333435363738., but this model is 'codec_lsb':"
    ):
        opened(samples)
    assert opened(samples, method="smilenet", weights=ours).note == NOTE


def test_errors_are_values_of_the_user_and_of_one_line():
    for kind in (NoPayload, WrongKey, OtherWeights, Damaged):
        assert issubclass(kind, ContainerError) and issubclass(kind, ValueError)


def test_two_seals_share_nothing():
    one, two = (sealed(Key("same")) for _ in range(2))
    a, b = (opened(x, Key("same")).keys for x in (one, two))
    assert not np.array_equal(one[:128] & 1, two[:128] & 1)
    streams = [keystream(key, 64).tobytes() for k in (a, b) for key in (k.header, k.payload, k.dither)]
    assert len(set(streams)) == 6


def test_header_bits_look_random():
    """Every bit of the header is set in about half of all seals, the mark and the version included."""
    share = np.mean([sealed() & 1 for _ in range(400)], axis=0)[:HEADER]
    assert np.abs(share - 0.5).max() < 0.5 * 6 / 20  # six deviations of a fair coin, 400 times thrown


def test_passphrases():
    nonce = bytes(16)
    assert Key("\u00e9").derive(nonce) == Key("e\u0301").derive(nonce) != Key("e").derive(nonce)
    assert Key("public key").derive(nonce) != Key().derive(nonce)
    for wrong, message in (("", "empty passphrase"), ("a\udcff", "not valid text")):
        with pytest.raises(ValueError, match=message):
            Key(wrong)
    assert "hush" not in repr(Key("hush")) + str(Key("hush"))
    assert Key("hush").derive(nonce).header.hex()[:8] not in repr(Key("hush").derive(nonce))


def test_encryption_and_keystream():
    key, other = bytes(32), bytes([1] * 32)
    content = encrypt(key, "payload", b"pictures", also=b"head")
    assert len(content) == len(b"pictures") + 16
    assert decrypt(key, "payload", content, also=b"head") == b"pictures"
    for wrong in (
        (other, "payload", content, b"head"),
        (key, "note", content, b"head"),
        (key, "payload", content),
    ):
        assert decrypt(*wrong) is None
    stream = keystream(key, 100000)
    # RFC 8439, appendix A.1, test vector 1: key, counter and nonce zero
    assert stream[:8].tobytes().hex() == "76b8e0ada0f13d90" and stream.dtype == np.uint8
    assert np.array_equal(keystream(key, 10), stream[:10]) and abs(stream.mean() - 127.5) < 1


def test_nonces_repeat_in_a_validation_only():
    with repeatable_nonces(seed=0):
        seeded = [new_nonce(), new_nonce()]
    with repeatable_nonces(seed=0):
        assert [new_nonce(), new_nonce()] == seeded
    assert len({new_nonce() for _ in range(3)} | set(seeded)) == 5
