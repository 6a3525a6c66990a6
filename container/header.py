"""The container's header, in the lowest bit of the stego's first samples. docs/container.md has every byte.

    nonce, mark, version               21 bytes, not encrypted; they look random
    method, size, digest, ..           63 bytes, encrypted and authenticated (ChaCha20-Poly1305)
    note                               any bytes of the sender's program, encrypted in the same way

Samples are taken in raster order (row, column, colour). Their other bits belong to the method. The digest
covers every sample of the stego, so a change of one grey level anywhere is detected. All keys are derived
from the nonce and from the passphrase, the key file or both. So two stegos never share a key.
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
LONGEST_CORRECTED = 512  # bytes of a note; trying all changes of a longer one takes too long
SAME_KEY = "reveal it with the sender's --passphrase, --keyfile or both"
NO_KEY = "hidden without a key: reveal it without --passphrase and --keyfile"
NO_WEIGHTS = bytes(FINGERPRINT)  # the fingerprint of a method without weights

_SHAPING_CODES = {max(0, states.bit_length() - 1): states for states in SHAPINGS}  # by the states' log2

_FIXED = struct.Struct(f">12s{FINGERPRINT}sII{DIGEST}sHB")
_CLEAR_BYTES, _FIXED_BYTES = NONCE + MARK + 1, _FIXED.size + TAG


class ContainerError(UserError):
    """A stego that cannot be opened or should not be trusted. The subclasses say why."""


class NoPayload(ContainerError):
    """Nothing is hidden in the picture, as far as this key can tell."""


class WrongKey(ContainerError):
    """Something is hidden in the picture, but not under this key."""


class OtherWeights(ContainerError):
    """The key opens the stego, but another method or other weights hid it."""


class Damaged(ContainerError):
    """The key opens the stego, but the picture was changed after hiding."""


class Resized(Damaged):
    """The key opens the stego, but the picture was cut or resized after hiding."""


# --- the header -----------------------------------------------------------------------------------


class Header(NamedTuple):
    """What `read_header` found.

    note: the sender's bytes. keys: the stego's keys. samples: the header's length. shaping: the states of the
    trellis that shaped the changes; 0: no trellis. changed: whether the picture was changed after hiding
    (only with `damaged_ok`).
    """

    note: bytes
    keys: Subkeys
    samples: int
    shaping: int
    changed: bool


def header_samples(note_length: int) -> int:
    """Return how many samples the header takes with a note of `note_length` bytes: one for each bit."""
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
    """Write the header into the lowest bit of the first samples, in place. The upper 7 bits stay.

    samples: (H*W*3,) uint8, the stego in raster order. The digest covers all of it, so everything else must
    be written before the header. size: (H, W). keys: `Key.derive(nonce)`. marked: whether anyone can see that
    something is hidden. shaping: one of SHAPINGS, see `Header`. Raises UserError for a note that is too long,
    and for a picture that is too small for the header.
    """
    assert samples.dtype == np.uint8 and samples.shape == (size[0] * size[1] * 3,)
    assert len(fingerprint) == FINGERPRINT and len(method.encode()) <= 12 and shaping in SHAPINGS
    if len(note) > LONGEST_NOTE:
        raise UserError(f"the note has {len(note)} bytes; the header holds at most {LONGEST_NOTE}")
    count = header_samples(len(note))
    if len(samples) < count:
        raise UserError(
            f"a picture of {size[1]}x{size[0]} pixels is too small: the header takes {count} samples, "
            f"but the picture has {len(samples)}"
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
    """Read and check what `write_header` wrote. The arguments have the same meaning.

    A changed pixel in the header itself is corrected, so that it does not look like a wrong key. It still
    counts as damage. With `damaged_ok`, damage is not raised, but returned as `changed`. It is raised all the
    same if the picture has another size, or if the header cannot be read.

    Raises NoPayload, WrongKey, OtherWeights or Damaged, or ContainerError for an unknown version or shaping.
    """
    fixed, keys, content, changed = _read_fixed(samples, size, key)
    found, weights, height, width, digest, note_length, code = fixed
    if (found, weights) != (method, fingerprint):
        raise OtherWeights(
            f"hidden with {_weights(found, weights)}, but this model is {_weights(method, fingerprint)}: "
            "use the weights that hid the secrets"
        )
    if (height, width) != tuple(size):
        raise Resized(
            f"cut or resized after hiding, from {width}x{height} to {size[1]}x{size[0]} pixels: "
            "what was hidden cannot be revealed"
        )
    if code not in _SHAPING_CODES:
        raise ContainerError(
            f"hidden with a shaping (code {code}) that this program does not know: reveal it with the "
            "program that hid it"
        )
    count = header_samples(note_length)
    changed |= digest != _digest(samples, count)
    note = content[_CLEAR_BYTES + _FIXED_BYTES :][: _note_bytes(note_length)]
    if note:
        opened = _corrected(note, lambda x: decrypt(keys.header, "note", x), LONGEST_CORRECTED)
        if opened is None:
            raise Damaged("changed after hiding, in the first rows: the header's note cannot be read")
        note, corrected = opened
        changed |= corrected
    if changed and not damaged_ok:
        raise Damaged("changed after hiding: at least one sample of the picture is not what was written")
    return Header(note, keys, count, _SHAPING_CODES[code], changed)


def hidden_with(samples: np.ndarray, size: tuple[int, int], key: Key) -> tuple[str, bytes]:
    """Return (method, fingerprint of the weights) that hid a stego; the arguments as in `read_header`.

    Raises NoPayload or WrongKey, or ContainerError for another version.
    """
    fixed, *_ = _read_fixed(samples, size, key)
    return fixed[0], fixed[1]


def _read_fixed(samples: np.ndarray, size: tuple[int, int], key: Key) -> tuple[tuple, Subkeys, bytes, bool]:
    """Return the header's fixed part, the keys, all bytes, and whether a change was corrected.

    The fixed part: (method, fingerprint, height, width, digest, length of the note, code of the shaping).
    """
    assert samples.dtype == np.uint8 and samples.shape == (size[0] * size[1] * 3,)
    content = np.packbits(samples[: header_samples(LONGEST_NOTE)] & 1).tobytes()
    clear, rest = content[:_CLEAR_BYTES], content[_CLEAR_BYTES : _CLEAR_BYTES + _FIXED_BYTES]
    if len(rest) < _FIXED_BYTES:
        raise NoPayload(f"nothing is hidden here: {size[1]}x{size[0]} pixels are too few for a header")

    _check_version(clear)
    marked = _corrected(clear, lambda x: x if _version(x) in STRETCHING else None)
    clear, changed = marked or (clear, False)
    keys, opened = _open(key, clear, rest)
    if opened is None:
        if not key.is_public and _open(PUBLIC, clear, rest)[1] is not None:
            raise WrongKey(NO_KEY)
        raise _unopened(marked is not None, key)
    method, *others = _FIXED.unpack(opened[0])
    method = method.rstrip(b"\0").decode(errors="replace")
    return (method, *others), keys, content, changed or opened[1]


def if_unmarked(key: Key) -> str:
    """Say what a stego needs that looks empty because it has no mark and `key` does not open it."""
    return f"it is unmarked and needs {'a' if key.is_public else 'another'} --passphrase or --keyfile"


def _unopened(marked: bool, key: Key) -> ContainerError:
    """Return the error for a header that the key does not open.

    A wrong key and damage look alike, so the message names both.
    """
    if not marked:
        lost = "the hidden data was lost (recompressed, resized, or cut at the top or left)"
        return NoPayload(f"nothing is hidden here, or {lost}, or {if_unmarked(key)}")
    wanted = "a key" if key.is_public else "another key"
    return WrongKey(f"hidden under {wanted} (or the first rows were changed or cut): {SAME_KEY}")


def _open(key: Key, clear: bytes, rest: bytes) -> tuple[Subkeys, tuple[bytes, bool] | None]:
    keys = key.derive(clear[:NONCE])
    return keys, _corrected(rest, lambda x: decrypt(keys.header, "header", x, also=clear))


def _corrected(
    content: bytes, accept: Callable[[bytes], bytes | None], longest: int | None = None
) -> tuple[bytes, bool] | None:
    """Return (what `accept` makes of the content, whether it was corrected), or None if nothing helps.

    A changed pixel flips bits within three neighbouring ones. So all such flips are tried, which takes
    milliseconds. These are too few tries to match a tag of 32 bits or more by chance. Content of more than
    `longest` bytes is not corrected.
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
    """Return the bytes that say "something is hidden here", and in which version.

    Anyone who knows this program can read them. To others they look random. The mark has 4 bytes. A masked
    byte with the version in both halves follows. Damage to one pixel flips bits within three neighbouring
    ones, which never turns one version into another.
    """
    stream = hmac.digest(NAME + b" public mark", nonce, "sha256")
    return stream[:MARK] + bytes([stream[MARK] ^ 0x11 * version])


def _version(clear: bytes) -> int | None:
    """Return the version that the first bytes name; None if they have no mark or are damaged."""
    mark = _mark(clear[:NONCE], 0)
    code = clear[-1] ^ mark[-1]
    marked = hmac.compare_digest(mark[:MARK], clear[NONCE : NONCE + MARK]) and code >> 4 == code & 15
    return code & 15 if marked else None


def _check_version(clear: bytes) -> None:
    """Raise ContainerError for a marked stego of another version, before any key is derived."""
    version = _version(clear)
    old = hmac.digest(NAME + b" mark", clear[:NONCE], "sha256")[:MARK]
    if version is None and hmac.compare_digest(old, clear[NONCE : NONCE + MARK]):
        version = 2
    if version is not None and version not in STRETCHING:
        which = "version 1 or 2" if version == 2 else f"version {version}"
        raise ContainerError(
            f"hidden in a container of {which}, but this program reads version {VERSION}: reveal it with the "
            f"{'earlier' if version < VERSION else 'newer'} program that hid it"
        )


def _digest(samples: np.ndarray, count: int) -> bytes:
    """Return the digest of the header's `count` samples without their lowest bits, then of all others."""
    content = hashlib.sha256((samples[:count] >> 1).tobytes())
    content.update(samples[count:].tobytes())
    return content.digest()[:DIGEST]


def _note_bytes(note_length: int) -> int:
    return note_length + TAG if note_length else 0


def _weights(method: str, fingerprint: bytes) -> str:
    return f"'{method}'" + (f" ({fingerprint.hex()})" if fingerprint != NO_WEIGHTS else "")
