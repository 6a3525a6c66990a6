"""The container's header, in the lowest bit of the stego's first samples. docs/container.md has every byte.

    nonce, mark, version               21 bytes, in clear; random to look at
    method, size, digest, ..           63 bytes, encrypted and authenticated (ChaCha20-Poly1305)
    note                               any bytes of the sender's program, the same

Samples are taken in raster order (row, column, colour); their other bits belong to the method. The digest
covers every sample of the stego, so that one changed grey level anywhere is noticed. All keys come from the
passphrase and the nonce, hence two stegos never share one.
"""

import hashlib
import hmac
import os
import struct
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from container.keys import NAME, NONCE, PUBLIC, STRETCHING, TAG, VERSION, Key, Subkeys, decrypt, encrypt
from container.trellis import SHAPINGS
from errors import UserError

MARK, DIGEST, FINGERPRINT = 4, 16, 8  # bytes
LONGEST_NOTE = 2**16 - 1  # bytes
LONGEST_MENDED = 512  # bytes of a note: trying all changes to a longer one takes too long
NO_WEIGHTS = bytes(FINGERPRINT)  # the fingerprint of a method without weights

_SHAPING_CODES = {max(0, states.bit_length() - 1): states for states in SHAPINGS}  # log2: states

_FIXED = struct.Struct(f">12s{FINGERPRINT}sII{DIGEST}sHB")
_CLEAR_BYTES, _FIXED_BYTES = NONCE + MARK + 1, _FIXED.size + TAG


class ContainerError(UserError):
    """A stego that does not open, or should not be trusted. Its subclasses say why."""


class NoPayload(ContainerError):
    """Nothing is hidden here, as far as this key can tell."""


class WrongKey(ContainerError):
    """Something is hidden here, but not under this key."""


class OtherWeights(ContainerError):
    """It opens, but was hidden by another method or with other weights."""


class Damaged(ContainerError):
    """It opens, but the picture was changed after hiding."""


class Resized(Damaged):
    """It opens, but the picture was cut or resized after hiding."""


# --- the header -----------------------------------------------------------------------------------


class Header(NamedTuple):
    """What `read_header` found.

    samples: the header's length; shaping: states of the trellis that shaped the changes, 0 for none;
    changed: the picture is not the one that was written (only where `damaged_ok`).
    """

    note: bytes
    keys: Subkeys
    samples: int
    shaping: int
    changed: bool


def header_samples(note_length: int) -> int:
    """How many samples the header takes with a note of so many bytes: one a bit."""
    return 8 * (_CLEAR_BYTES + _FIXED_BYTES + _note_bytes(note_length))


def write_header(
    samples: np.ndarray,
    size: tuple[int, int],
    keys: Subkeys,
    nonce: bytes,
    method: str,
    fingerprint: bytes,
    note: bytes = b"",
    marked: bool = True,
    shaping: int = 0,
) -> None:
    """Write the header into the lowest bit of the first samples, in place; the upper 7 bits stay.

    samples: (H*W*3,) uint8, the stego in raster order, all else in it as it will be sent: this comes last.
    size: (H, W). keys: `Key.derive(nonce)`. marked: whether everybody may see that something is hidden.
    shaping: one of SHAPINGS, see `Header`.
    Raises UserError for a note that is too long and a picture that is too small for the header.
    """
    assert samples.dtype == np.uint8 and samples.shape == (size[0] * size[1] * 3,)
    assert len(fingerprint) == FINGERPRINT and len(method.encode()) <= 12 and shaping in SHAPINGS
    if len(note) > LONGEST_NOTE:
        raise UserError(f"a note of {len(note)} bytes, at most {LONGEST_NOTE} can be kept")
    count = header_samples(len(note))
    if len(samples) < count:
        raise UserError(
            f"a picture of {size[1]}x{size[0]} pixels is too small: the header takes {count} samples, "
            f"it has {len(samples)}"
        )
    clear = nonce + (_mark(nonce, VERSION) if marked else os.urandom(MARK + 1))
    digest = _digest(samples, count)
    code = max(0, shaping.bit_length() - 1)
    fixed = _FIXED.pack(method.encode(), fingerprint, *size, digest, len(note), code)
    content = clear + encrypt(keys.header, "header", fixed, also=clear)
    if note:
        content += encrypt(keys.header, "note", note)
    bits = np.unpackbits(np.frombuffer(content, np.uint8))
    samples[:count] = samples[:count] & 0xFE | bits


def read_header(
    samples: np.ndarray,
    size: tuple[int, int],
    key: Key,
    method: str,
    fingerprint: bytes,
    damaged_ok: bool = False,
) -> Header:
    """Read and check what `write_header` wrote; arguments as there.

    A change to one pixel of the header itself is mended, to tell it from a wrong passphrase. It still
    counts as damage. With `damaged_ok` damage is returned as `changed` instead of raised, unless the
    size is another or the header beyond reading.

    Raises NoPayload, WrongKey, OtherWeights, Damaged, or ContainerError for a shaping that is not known.
    """
    fixed, keys, content, changed = _read_fixed(samples, size, key)
    found, weights, height, width, digest, note_length, code = fixed
    if (found, weights) != (method, fingerprint):
        raise OtherWeights(
            f"hidden with {_weights(found, weights)}, these are {_weights(method, fingerprint)}: "
            "reveal needs the weights that hid"
        )
    if (height, width) != tuple(size):
        raise Resized(
            f"cut or resized after hiding, from {width}x{height} to {size[1]}x{size[0]} pixels: "
            "what was hidden cannot be revealed"
        )
    if code not in _SHAPING_CODES:
        raise ContainerError(
            f"its changes were shaped in a way (code {code}) that this program does not know: reveal it with "
            "the program that hid it"
        )
    count = header_samples(note_length)
    changed |= digest != _digest(samples, count)
    note = content[_CLEAR_BYTES + _FIXED_BYTES :][: _note_bytes(note_length)]
    if note:
        opened = _mended(note, lambda x: decrypt(keys.header, "note", x), LONGEST_MENDED)
        if opened is None:
            raise Damaged("changed after hiding, in its first rows: the header's note cannot be read")
        note, mended = opened
        changed |= mended
    if changed and not damaged_ok:
        raise Damaged("changed after hiding: at least one sample of the picture is not what was written")
    return Header(note, keys, count, _SHAPING_CODES[code], changed)


def hidden_with(samples: np.ndarray, size: tuple[int, int], key: Key) -> tuple[str, bytes]:
    """(method, fingerprint of the weights) that a stego was hidden with; arguments as for `read_header`.

    Raises NoPayload or WrongKey."""
    fixed, *_ = _read_fixed(samples, size, key)
    return fixed[0], fixed[1]


def _read_fixed(samples: np.ndarray, size: tuple[int, int], key: Key) -> tuple[tuple, Subkeys, bytes, bool]:
    """(method, fingerprint, height, width, digest, note's length, shaping), keys, all bytes, if mended."""
    assert samples.dtype == np.uint8 and samples.shape == (size[0] * size[1] * 3,)
    content = np.packbits(samples[: header_samples(LONGEST_NOTE)] & 1).tobytes()
    clear, rest = content[:_CLEAR_BYTES], content[_CLEAR_BYTES : _CLEAR_BYTES + _FIXED_BYTES]
    if len(rest) < _FIXED_BYTES:
        raise NoPayload(f"nothing is hidden here: {size[1]}x{size[0]} pixels do not even hold a header")

    _check_version(clear)
    marked = _mended(clear, lambda x: x if _version(x) in STRETCHING else None)
    clear, changed = marked or (clear, False)
    keys, opened = _open(key, clear, rest)
    if opened is None:
        if not key.is_public and _open(PUBLIC, clear, rest)[1] is not None:
            raise WrongKey("hidden without a passphrase: reveal it without one")
        raise _unopened(marked is not None, key)
    method, *others = _FIXED.unpack(opened[0])
    method = method.rstrip(b"\0").decode(errors="replace")
    return (method, *others), keys, content, changed or opened[1]


def _unopened(marked: bool, key: Key) -> ContainerError:
    """Why a header does not open. A wrong key and damaged ciphertext look alike: both are named."""
    if not marked:
        lost = "it was lost (recompressed, resized, cut at the top or left)"
        unmarked = "" if key.is_public else ", or it was hidden unmarked under another passphrase"
        return NoPayload(f"nothing is hidden here, or {lost}{unmarked}")
    if key.is_public:
        return WrongKey(
            "hidden under a passphrase: it is needed to reveal (or the first rows were changed or cut)"
        )
    return WrongKey("another passphrase than this one opens it (or the first rows were changed or cut)")


def _open(key: Key, clear: bytes, rest: bytes) -> tuple[Subkeys, tuple[bytes, bool] | None]:
    keys = key.derive(clear[:NONCE])
    return keys, _mended(rest, lambda x: decrypt(keys.header, "header", x, also=clear))


def _mended(
    content: bytes, accept: Callable[[bytes], bytes | None], longest: int | None = None
) -> tuple[bytes, bool] | None:
    """(what `accept` makes of the content, whether it had to be mended), or None if nothing helps.

    Mended: bits within three neighbouring ones flipped, as a changed pixel does. All are tried, which takes
    milliseconds; a tag of 32 bits or more is not met by chance in so few. Content of more than `longest`
    bytes is not mended.
    """
    if (found := accept(content)) is not None:
        return found, False
    if longest is not None and len(content) > longest:
        return None
    value, bits = int.from_bytes(content), 8 * len(content)
    for shift in range(bits):
        for pattern in (1, 3, 5, 7):
            flips = pattern << shift
            if flips >> bits == 0:
                found = accept((value ^ flips).to_bytes(len(content)))
                if found is not None:
                    return found, True
    return None


def _mark(nonce: bytes, version: int) -> bytes:
    """Says "something is hidden here", and in which version, to whoever knows this program; looks random to
    others.

    4 bytes of mark, and the version as both halves of a byte, masked. Damage to one pixel flips bits within
    three neighbouring ones, which never turns one such byte into another.
    """
    stream = hmac.digest(NAME + b" public mark", nonce, "sha256")
    return stream[:MARK] + bytes([stream[MARK] ^ 0x11 * version])


def _version(clear: bytes) -> int | None:
    """The version that marked clear bytes name; None if they are not marked, or damaged."""
    mark = _mark(clear[:NONCE], 0)
    code = clear[-1] ^ mark[-1]
    marked = hmac.compare_digest(mark[:MARK], clear[NONCE : NONCE + MARK]) and code >> 4 == code & 15
    return code & 15 if marked else None


def _check_version(clear: bytes) -> None:
    """Raises ContainerError for a marked stego of another version, before any key is derived."""
    version = _version(clear)
    old = hmac.digest(NAME + b" mark", clear[:NONCE], "sha256")[:MARK]
    if version is None and hmac.compare_digest(old, clear[NONCE : NONCE + MARK]):
        version = 2
    if version is not None and version not in STRETCHING:
        which = "version 1 or 2" if version == 2 else f"version {version}"
        raise ContainerError(
            f"hidden in a container of {which}, this program reads version {VERSION}: reveal it with the "
            f"{'earlier' if version < VERSION else 'newer'} program that hid it"
        )


def _digest(samples: np.ndarray, count: int) -> bytes:
    """Of the upper 7 bits of the header's `count` samples, then of all others whole."""
    content = hashlib.sha256((samples[:count] >> 1).tobytes())
    content.update(samples[count:].tobytes())
    return content.digest()[:DIGEST]


def _note_bytes(note_length: int) -> int:
    return note_length + TAG if note_length else 0


def _weights(method: str, fingerprint: bytes) -> str:
    return f"'{method}'" + (f" ({fingerprint.hex()})" if fingerprint != NO_WEIGHTS else "")
