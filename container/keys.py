"""Derive keys from a passphrase, a key file or both, and encrypt with them."""

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
# Version 3 uses the second recommended option of RFC 9106, section 4.
STRETCHING: dict[int, dict] = {3: {"iterations": 3, "lanes": 4, "memory_cost": 64 * 1024}}
NONCE, TAG = 16, 16  # bytes
NAME = b"smilenet-framework container"  # distinguishes this project's keys and marks from all others

_seeded: ContextVar[np.random.Generator | None] = ContextVar("seeded", default=None)
_NONCES = {name: bytes([k]) + bytes(11) for k, name in enumerate(("header", "note", "payload"))}


@dataclass(frozen=True)
class Subkeys:
    """The keys of one stego, 32 bytes each. `header` and `payload` encrypt, `dither` masks samples."""

    header: bytes = field(repr=False)
    payload: bytes = field(repr=False)
    dither: bytes = field(repr=False)


@dataclass(frozen=True)
class Key:
    """A passphrase, a key file, or both. With neither, it is the public key that everybody has.

    passphrase: encoded as UTF-8 of its Unicode normal form C, so that every keyboard gives the same bytes.
    keyfile: the bytes of a file that both sides have. Raises UserError if one of them is empty, or if the
    passphrase is not valid text.
    """

    passphrase: str | None = field(default=None, repr=False)
    keyfile: bytes | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.passphrase == "":
            raise UserError("an empty passphrase protects nothing: give a longer one, or none at all")
        if self.keyfile == b"":
            raise UserError("the key file is empty and protects nothing")
        if any("\ud800" <= letter <= "\udfff" for letter in self.passphrase or ""):
            raise UserError("the passphrase is not valid text: it contains half a Unicode character")
        if self.passphrase is not None:
            object.__setattr__(self, "passphrase", unicodedata.normalize("NFC", self.passphrase))

    @property
    def is_public(self) -> bool:
        return self.passphrase is None and self.keyfile is None

    def derive(self, nonce: bytes) -> Subkeys:
        """Derive the keys of the stego with this nonce (16 bytes).

        Argon2id (64 MiB, 3 passes) stretches the key, so that guessing is slow. HKDF-SHA256 then gives the
        subkeys. The public key is not stretched.
        """
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
    """Return 16 random bytes. Each stego needs its own nonce: using one twice exposes the secrets."""
    seeded = _seeded.get()
    return os.urandom(NONCE) if seeded is None else seeded.bytes(NONCE)


@contextmanager
def repeatable_nonces(seed: int) -> Iterator[None]:
    """Take nonces from a seed in this context, so that scores repeat. What is hidden there is not secret.

    Only validation uses it (engine/testing/evaluate.py). No command that hides a user's pictures may use it.
    """
    token = _seeded.set(np.random.default_rng(seed))
    try:
        yield
    finally:
        _seeded.reset(token)


def keystream(key: bytes, count: int) -> np.ndarray:
    """Return pseudo-random bytes (count,) uint8: ChaCha20 of a 32-byte key with counter and nonce zero."""
    stream = Cipher(algorithms.ChaCha20(key, bytes(16)), mode=None).encryptor()
    return np.frombuffer(stream.update(bytes(count)), np.uint8)


def encrypt(key: bytes, what: str, content: bytes, also: bytes = b"") -> bytes:
    """Encrypt and authenticate. The result is 16 bytes longer than `content`.

    what: "header", "note" or "payload". also: bytes that are authenticated, but not encrypted. Use each key
    only once for each `what`. A key belongs to one stego.
    """
    return ChaCha20Poly1305(key).encrypt(_NONCES[what], content, also)


def decrypt(key: bytes, what: str, content: bytes, also: bytes = b"") -> bytes | None:
    """Invert `encrypt`. Returns None for another key, and if `content` or `also` was changed."""
    try:
        return ChaCha20Poly1305(key).decrypt(_NONCES[what], content, also)
    except InvalidTag:
        return None
