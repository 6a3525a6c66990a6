"""The container of keyed methods: keys from a passphrase, and a header in the stego's first samples.

A stego carries a header in the lowest bit of its first samples, in raster order (row, column, colour); all
other bits belong to the method. docs/container.md describes the format byte by byte.

    nonce, mark                        20 bytes, in clear; random to look at
    version, method, size, digest ..   63 bytes, encrypted and authenticated (ChaCha20-Poly1305)
    note                               any bytes of the sender's program, the same

The digest covers every sample of the stego, so that one changed grey level anywhere is noticed. All keys
come from the passphrase and the nonce, hence two stegos never share one.
"""

import hashlib
import hmac
import os
import struct
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from errors import UserError

VERSION = 2
NONCE, MARK, TAG, DIGEST, FINGERPRINT = 16, 4, 16, 16, 8  # bytes
LONGEST_NOTE = 2**16 - 1  # bytes
NO_WEIGHTS = bytes(FINGERPRINT)  # the fingerprint of a method without weights

_FIXED = struct.Struct(f">B12s{FINGERPRINT}sII{DIGEST}sH")
_CLEAR_BYTES, _FIXED_BYTES = NONCE + MARK, _FIXED.size + TAG
_NAME = b"smilenet-framework container"  # sets this project's keys and marks apart from all others
_NONCES = {name: bytes([k]) + bytes(11) for k, name in enumerate(("header", "note", "payload"))}


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


# --- keys -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Subkeys:
    """The keys of one stego, 32 bytes each: `header` and `payload` encrypt, `dither` masks samples."""

    header: bytes = field(repr=False)
    payload: bytes = field(repr=False)
    dither: bytes = field(repr=False)


@dataclass(frozen=True)
class Key:
    """What a person knows: a passphrase, or None for the fixed public key that everybody has.

    A passphrase is taken as UTF-8 of its Unicode normal form C, so that it opens whatever keyboard it was
    typed on. Raises UserError for an empty one.
    """

    passphrase: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.passphrase == "":
            raise UserError("an empty passphrase protects nothing: give one, or none at all")
        if any("\ud800" <= letter <= "\udfff" for letter in self.passphrase or ""):
            raise UserError("the passphrase is not valid text: it has half a Unicode character in it")

    @property
    def is_public(self) -> bool:
        return self.passphrase is None

    def derive(self, nonce: bytes) -> Subkeys:
        """The keys of the stego with this nonce (16 bytes): scrypt (n = 2^15, r = 8, p = 1; 32 MiB and
        about 0.1 s, so that guessing is slow), then HKDF-SHA256. The public key needs no scrypt."""
        assert len(nonce) == NONCE
        if self.passphrase is None:
            secret = b"public key"
        else:
            text = unicodedata.normalize("NFC", self.passphrase).encode()
            secret = Scrypt(salt=_NAME + nonce, length=32, n=2**15, r=8, p=1).derive(text)
        keys = HKDF(SHA256(), length=96, salt=nonce, info=_NAME + b" subkeys").derive(secret)
        return Subkeys(keys[:32], keys[32:64], keys[64:])


PUBLIC = Key()


def new_nonce() -> bytes:
    """16 random bytes. Each stego needs its own: a nonce that is used twice gives its secrets away."""
    return os.urandom(NONCE)


def keystream(key: bytes, count: int) -> np.ndarray:
    """`count` pseudo-random bytes (count,) uint8: ChaCha20 of a 32-byte key, its counter and nonce zero."""
    stream = Cipher(algorithms.ChaCha20(key, bytes(16)), mode=None).encryptor()
    return np.frombuffer(stream.update(bytes(count)), np.uint8)


def encrypt(key: bytes, what: str, content: bytes, also: bytes = b"") -> bytes:
    """Encrypt and authenticate: 16 bytes longer than `content`. what: "header", "note" or "payload";
    also: bytes that are authenticated with it. Once per key and `what`: a key belongs to one stego."""
    return ChaCha20Poly1305(key).encrypt(_NONCES[what], content, also)


def decrypt(key: bytes, what: str, content: bytes, also: bytes = b"") -> bytes | None:
    """The inverse of `encrypt`; None for another key or a changed `content` or `also`."""
    try:
        return ChaCha20Poly1305(key).decrypt(_NONCES[what], content, also)
    except InvalidTag:
        return None


# --- the header -----------------------------------------------------------------------------------


class Header(NamedTuple):
    """What `read_header` found. `samples` is the header's length; `changed`: the picture is not the one
    that was written (only where `damaged_ok`)."""

    note: bytes
    keys: Subkeys
    samples: int
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
) -> None:
    """Write the header into the lowest bit of the first samples, in place; the upper 7 bits stay.

    samples: (H*W*3,) uint8, the stego in raster order, all else in it as it will be sent: this comes last.
    size: (H, W). keys: `Key.derive(nonce)`. marked: whether everybody may see that something is hidden.
    Raises UserError for a note that is too long and a picture that is too small for the header.
    """
    assert samples.dtype == np.uint8 and samples.shape == (size[0] * size[1] * 3,)
    assert len(fingerprint) == FINGERPRINT and len(method.encode()) <= 12
    if len(note) > LONGEST_NOTE:
        raise UserError(f"a note of {len(note)} bytes, at most {LONGEST_NOTE} can be kept")
    count = header_samples(len(note))
    if len(samples) < count:
        raise UserError(
            f"a picture of {size[1]}x{size[0]} pixels is too small: the header takes {count} samples, "
            f"it has {len(samples)}"
        )
    clear = nonce + (_mark(nonce) if marked else os.urandom(MARK))
    fixed = _FIXED.pack(VERSION, method.encode(), fingerprint, *size, _digest(samples, count), len(note))
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

    A change to one pixel of the header itself is mended, to tell it from a wrong passphrase; it counts as
    damage all the same. With `damaged_ok` damage is returned as `changed` instead of raised, unless the
    size is another or the header beyond reading.

    Raises NoPayload, WrongKey, OtherWeights or Damaged.
    """
    fixed, keys, content, changed = _read_fixed(samples, size, key)
    _, found, weights, height, width, digest, note_length = fixed
    if (found, weights) != (method, fingerprint):
        raise OtherWeights(
            f"hidden with {_weights(found, weights)}, these are {_weights(method, fingerprint)}: "
            "reveal needs the weights that hid"
        )
    if (height, width) != tuple(size):
        raise Damaged(
            f"cut or resized after hiding, from {width}x{height} to {size[1]}x{size[0]} pixels: "
            "what was hidden cannot be revealed"
        )
    count = header_samples(note_length)
    changed |= digest != _digest(samples, count)
    note = content[_CLEAR_BYTES + _FIXED_BYTES :][: _note_bytes(note_length)]
    if note:
        opened = _mended(note, lambda x: decrypt(keys.header, "note", x))
        if opened is None:
            raise Damaged("changed after hiding, in its first rows: the header's note cannot be read")
        note, mended = opened
        changed |= mended
    if changed and not damaged_ok:
        raise Damaged("changed after hiding: at least one sample of the picture is not what was written")
    return Header(note, keys, count, changed)


def hidden_with(samples: np.ndarray, size: tuple[int, int], key: Key) -> tuple[str, bytes]:
    """(method, fingerprint of the weights) that a stego was hidden with; arguments as for `read_header`.

    Raises NoPayload or WrongKey."""
    fixed, *_ = _read_fixed(samples, size, key)
    return fixed[1], fixed[2]


def _read_fixed(samples: np.ndarray, size: tuple[int, int], key: Key) -> tuple[tuple, Subkeys, bytes, bool]:
    """(version, method, fingerprint, height, width, digest, note's length), keys, all bytes, if mended."""
    assert samples.dtype == np.uint8 and samples.shape == (size[0] * size[1] * 3,)
    content = np.packbits(samples[: header_samples(LONGEST_NOTE)] & 1).tobytes()
    clear, rest = content[:_CLEAR_BYTES], content[_CLEAR_BYTES : _CLEAR_BYTES + _FIXED_BYTES]
    if len(rest) < _FIXED_BYTES:
        raise NoPayload(f"nothing is hidden here: {size[1]}x{size[0]} pixels do not even hold a header")

    marked = _mended(clear, lambda x: x if hmac.compare_digest(_mark(x[:NONCE]), x[NONCE:]) else None)
    clear, changed = marked or (clear, False)
    keys, opened = _open(key, clear, rest)
    if opened is None:
        if not key.is_public and _open(PUBLIC, clear, rest)[1] is not None:
            raise WrongKey("hidden without a passphrase: reveal it without one")
        raise _unopened(marked is not None, key)
    version, method, *others = _FIXED.unpack(opened[0])
    if version != VERSION:
        raise ContainerError(f"a container of version {version}, this program reads version {VERSION}")
    method = method.rstrip(b"\0").decode(errors="replace")
    return (version, method, *others), keys, content, changed or opened[1]


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


def _mended(content: bytes, accept: Callable[[bytes], bytes | None]) -> tuple[bytes, bool] | None:
    """(what `accept` makes of the content, whether it had to be mended), or None where nothing helps.

    Mended: bits within three neighbouring ones flipped, as a changed pixel does. All are tried, which takes
    milliseconds; a tag of 32 bits or more is not met by chance in so few.
    """
    if (found := accept(content)) is not None:
        return found, False
    value, bits = int.from_bytes(content), 8 * len(content)
    for shift in range(bits):
        for pattern in (1, 3, 5, 7):
            flips = pattern << shift
            if flips >> bits == 0:
                found = accept((value ^ flips).to_bytes(len(content)))
                if found is not None:
                    return found, True
    return None


def _mark(nonce: bytes) -> bytes:
    """Says "something is hidden here" to whoever knows this program, and looks random to all others."""
    return hmac.digest(_NAME + b" mark", nonce, "sha256")[:MARK]


def _digest(samples: np.ndarray, count: int) -> bytes:
    """Of the upper 7 bits of the header's `count` samples, then of all others whole."""
    content = hashlib.sha256((samples[:count] >> 1).tobytes())
    content.update(samples[count:].tobytes())
    return content.digest()[:DIGEST]


def _note_bytes(note_length: int) -> int:
    return note_length + TAG if note_length else 0


def _weights(method: str, fingerprint: bytes) -> str:
    return f"'{method}'" + (f" ({fingerprint.hex()})" if fingerprint != NO_WEIGHTS else "")
