"""Keys: what a passphrase becomes, and what is encrypted with it."""

import hashlib
import os
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from errors import UserError

VERSION = 3  # of the container
# How each version of the container stretches a passphrase: Argon2id's passes, lanes and memory [KiB].
# Version 3 has the second recommended option of RFC 9106, section 4.
STRETCHING: dict[int, dict] = {3: {"iterations": 3, "lanes": 4, "memory_cost": 64 * 1024}}
NONCE, TAG = 16, 16  # bytes
NAME = b"smilenet-framework container"  # sets this project's keys and marks apart from all others

_seeded: ContextVar[np.random.Generator | None] = ContextVar("seeded", default=None)
_NONCES = {name: bytes([k]) + bytes(11) for k, name in enumerate(("header", "note", "payload"))}


@dataclass(frozen=True)
class Subkeys:
    """The keys of one stego, 32 bytes each: `header` and `payload` encrypt, `dither` masks samples."""

    header: bytes = field(repr=False)
    payload: bytes = field(repr=False)
    dither: bytes = field(repr=False)


@dataclass(frozen=True)
class Key:
    """A passphrase, a key file, or both; with neither, the public key that everybody has.

    passphrase: taken as UTF-8 of its Unicode normal form C, so that it opens whatever keyboard it was typed
    on. keyfile: the bytes of a file that both sides have. Raises UserError for an empty one of either.
    """

    passphrase: str | None = field(default=None, repr=False)
    keyfile: bytes | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.passphrase == "":
            raise UserError("an empty passphrase protects nothing: give one, or none at all")
        if self.keyfile == b"":
            raise UserError("the key file is empty and protects nothing")
        if any("\ud800" <= letter <= "\udfff" for letter in self.passphrase or ""):
            raise UserError("the passphrase is not valid text: it has half a Unicode character in it")
        if self.passphrase is not None:
            object.__setattr__(self, "passphrase", unicodedata.normalize("NFC", self.passphrase))

    @property
    def is_public(self) -> bool:
        return self.passphrase is None and self.keyfile is None

    def derive(self, nonce: bytes) -> Subkeys:
        """The keys of the stego with this nonce (16 bytes): Argon2id (64 MiB, 3 passes, so that guessing is
        slow), then HKDF-SHA256. The public key needs no stretching."""
        assert len(nonce) == NONCE
        if self.is_public:
            secret = b"public key"
        else:
            text = (self.passphrase or "").encode()
            pepper = None if self.keyfile is None else hashlib.sha256(self.keyfile).digest()
            settings = STRETCHING[VERSION]
            secret = Argon2id(salt=nonce, length=32, ad=NAME, secret=pepper, **settings).derive(text)
        info = NAME + b" subkeys, version %d" % VERSION
        keys = HKDF(SHA256(), length=96, salt=nonce, info=info).derive(secret)
        return Subkeys(keys[:32], keys[32:64], keys[64:])


PUBLIC = Key()


def new_nonce() -> bytes:
    """16 random bytes. Each stego needs its own: using one twice gives its secrets away."""
    seeded = _seeded.get()
    return os.urandom(NONCE) if seeded is None else seeded.bytes(NONCE)


@contextmanager
def repeatable_nonces(seed: int) -> Iterator[None]:
    """For scores that must repeat: within it nonces come from a seed, so whatever is hidden is not secret.

    Only validation uses it (engine/testing/evaluate.py); no command that hides a person's pictures may.
    """
    token = _seeded.set(np.random.default_rng(seed))
    try:
        yield
    finally:
        _seeded.reset(token)


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
