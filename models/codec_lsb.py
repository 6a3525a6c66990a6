"""Hide coded pictures as base-M digits: the baseline for learned methods."""

import math
import struct

import numpy as np
import torch
from torch import Tensor

from container.codecs import SPEED, check_codec
from container.digits import bytes_that_fit, digits_needed, from_digits, nearest_congruent, to_digits
from container.header import ContainerError, Damaged, header_samples, read_header, write_header
from container.keys import TAG, Key, decrypt, encrypt, keystream, new_nonce
from container.payload import unpack
from container.rate import TooLittleRoom, fitted_payload
from container.trellis import embed_digits, extract_digits
from errors import UserError
from models.base import check_between
from models.keyed import Content, KeyedMethod

MODULI = range(2, 33)  # grey levels

_NOTE = struct.Struct(">BI")  # the header's note: modulus, bytes of the payload


class CodecLSB(KeyedMethod):
    """Pictures coded by AVIF or WebP, encrypted, and written as base-M digits. Nothing is trained.

    Plain digits (shaping 0): C.-K. Chan, L. M. Cheng, "Hiding data in images by simple LSB substitution",
    Pattern Recognition 37(3), 2004 (optimal pixel adjustment), for any M. The trellis: container/trellis.py.
    Their use as a baseline is this project's.

        secrets -- codec, as fine as fits -- pack -- encrypt -- base-M digits -- + dither -|
                                                                                           |-- stego
        cover (3,H,W) -- header in the first samples -- of the others as many as needed, --|
                         spread by the key, each to a near value that says its digit

    A sample carries log2 M bits: 10.75 bits per pixel at M = 12. That costs a mean squared error of 9.0 with
    64 states (38.6 dB), and of (M^2 + 2)/12 = 12.2 without shaping (37.3 dB), whatever the pictures are. The
    PSNR is a little lower if the cover has large black or white areas. Revealing gives the decoder's picture
    at the secret's own size, exact to the bit. Samples that are not needed stay unchanged.

    Arguments:
        num_secrets  N, the number of secrets in `hide` and `reveal`; `seal` takes 1 to 255
        modulus      M, 2 to 32 grey levels; the stego stores it, so reveal needs no setting
        shaping      states of the trellis that shapes the changes: 0 (plain), 8, 64 or 256; null: 64, or 0 if
                     M is odd; the stego stores it too
        payload      most bits to hide per pixel of the cover, above 0; null: as many as fit
        codec        auto (the better of AVIF and WebP for each secret), avif or webp
        speed        speed of the AVIF encoder that codes the secrets, 0 (slow, best) to 10; never below 6
                     for secrets of more than 2 megapixels

    Rate: all secrets get the finest common quantiser step at which they fit. The remaining room goes, step
    by step, to the secret with the largest error. Pictures that would get fewer than COARSE bits per pixel
    are shrunk first and enlarged again when revealed.
    """

    own_sizes = True
    takes_files = True
    trainable = False

    def __init__(
        self,
        *,
        num_secrets: int = 4,
        modulus: int = 12,
        shaping: int | None = None,
        payload: float | None = None,
        codec: str = "auto",
        speed: int = SPEED,
    ):
        super().__init__()
        check_between(num_secrets=(num_secrets, 1, 255), speed=(speed, 0, 10))
        self.num_secrets, self.speed = num_secrets, speed
        self.most_secrets = 255
        self.codecs = check_codec(codec)
        self.modulus = modulus
        self.shaping = shaping
        self.payload = payload

    @property
    def payload(self) -> float | None:
        """The most bits to hide per pixel of the cover, above 0; None: as many as fit."""
        return self._payload

    @payload.setter
    def payload(self, payload: float | None) -> None:
        if payload is not None and not 0 < payload < math.inf:
            raise UserError(
                f"payload: must be above 0 bits a pixel, got {payload}; leave it out for no bound"
            )
        self._payload = payload

    @property
    def bytes_a_pixel(self) -> float:
        """The bytes of payload that a pixel of the cover holds: 1.34 at M = 12 without a limit."""
        return min(3 * math.log2(self.modulus), self.payload or math.inf) / 8

    @property
    def modulus(self) -> int:
        """M of the digits [grey levels]. With a larger M a smaller cover is enough."""
        return self._modulus

    @modulus.setter
    def modulus(self, modulus: int) -> None:
        if modulus not in MODULI:
            raise UserError(f"modulus: must be a whole number of grey levels from 2 to 32, got {modulus}")
        self._modulus = int(modulus)
        # The cover must have room for this many noisy pictures of its own size.
        samples = header_samples(_NOTE.size) + digits_needed(300 + 100 * self.num_secrets, self._modulus)
        side = math.ceil(math.sqrt(samples / 3))
        self.smallest = (side, side)

    def _seal(self, cover: Tensor, content: Content, key: Key, marked: bool) -> Tensor:
        height, width = cover.shape[-2:]
        samples = _to_samples(cover)
        start = header_samples(_NOTE.size)
        payload = self._fitted(content, height * width)

        nonce = new_nonce()
        keys = key.derive(nonce)
        payload = encrypt(keys.payload, "payload", payload)
        digits = to_digits(payload, self.modulus)
        used, words = _spread(keys.dither, len(samples) - start, len(digits))
        digits = (digits + words % self.modulus) % self.modulus
        coins = (words >> 24).astype(np.uint8)
        carriers = samples[start:][used]
        samples[start:][used] = self.moved(carriers, digits, coins)
        about = _NOTE.pack(self.modulus, len(payload))
        write_header(
            samples, (height, width), keys, nonce, self.method, self.fingerprint, about, marked, self.shaping
        )
        stego = torch.from_numpy(samples.reshape(height, width, 3)).permute(2, 0, 1).contiguous()
        return stego.to(cover.device)

    def moved(self, samples: np.ndarray, digits: np.ndarray, coins: np.ndarray) -> np.ndarray:
        """Move each sample to a near value that carries its digit. coins (count,) uint8 break ties."""
        if self.shaping:
            return embed_digits(samples, digits, self.modulus, self.shaping, coins)
        return nearest_congruent(samples, digits, self.modulus, coins >= 128)

    def most_bytes(self, pixels: int) -> int:
        """Return how many bytes of coded secrets a cover of so many pixels holds, within `payload`."""
        room = self._unbounded(pixels)
        return room if self.payload is None else min(room, int(self.payload * pixels / 8) - TAG)

    def _unbounded(self, pixels: int) -> int:
        return bytes_that_fit(3 * pixels - header_samples(_NOTE.size), self.modulus) - TAG

    def _fitted(self, content: Content, pixels: int) -> bytes:
        """Make the payload, before encryption, for a cover of so many pixels."""
        pictures = [secret.permute(1, 2, 0).contiguous().cpu().numpy() for secret in content.secrets]
        try:
            return fitted_payload(
                pictures,
                content.note,
                self.most_bytes(pixels),
                self.codecs,
                self.speed,
                self.progress,
                content.files,
            )
        except TooLittleRoom as error:
            if error.needed > self._unbounded(pixels):
                raise
            most = math.ceil(800 * (error.needed + TAG) / pixels) / 100
            raise UserError(
                f"payload: nothing fits into {self.payload:g} bits a pixel of this cover; {most:.2f} are "
                "enough for these secrets at the lowest quality"
            ) from error

    def _unseal(self, stego: Tensor, key: Key, damaged_ok: bool) -> Content:
        samples = _to_samples(stego)
        header = read_header(samples, stego.shape[-2:], key, self.method, self.fingerprint, damaged_ok)
        if len(header.note) != _NOTE.size:
            raise ContainerError("the header's note is not codec_lsb's")
        modulus, length = _NOTE.unpack(header.note)
        free = len(samples) - header.samples
        shaped_odd = header.shaping and modulus % 2
        if modulus not in MODULI or shaped_odd or length > bytes_that_fit(free, modulus):
            raise ContainerError("the header's note is not codec_lsb's")
        used, words = _spread(header.keys.dither, free, digits_needed(length, modulus))
        carriers = samples[header.samples :][used]
        digits = extract_digits(carriers, modulus, header.shaping) if header.shaping else carriers % modulus
        payload = decrypt(
            header.keys.payload, "payload", from_digits((digits - words % modulus) % modulus, modulus, length)
        )
        if payload is None:
            raise Damaged(
                "changed after hiding: the payload is incomplete, and codec_lsb cannot reveal a part"
            )
        found = unpack(payload)
        tensors = [torch.from_numpy(np.array(p)).permute(2, 0, 1).contiguous() for p in found.pictures]
        return Content([tensor.to(stego.device) for tensor in tensors], found.note, found.files)


def _to_samples(picture: Tensor) -> np.ndarray:
    """(3,H,W) uint8 -> a copy (H*W*3,) uint8 in raster order."""
    return picture.permute(1, 2, 0).cpu().numpy().copy().reshape(-1)


def _spread(key: bytes, free: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Choose which free samples carry digits, (free,) bool, and words that mask the digits, (count,) int64.

    All words are uniform below 2^32. Each free sample has its own word. The samples with the smallest words
    carry digits; among equal words the first. Then follows one word per digit: modulo M these are uniform to
    a part in 2^27, and their highest bytes serve as coins.
    """
    words = np.frombuffer(keystream(key, 4 * (free + count)).tobytes(), "<u4")
    own = words[:free]
    used = np.zeros(free, bool)
    if count:
        last = np.partition(own, count - 1)[count - 1]
        used = own < last
        used[np.flatnonzero(own == last)[: count - used.sum()]] = True
    return used, words[free:].astype(np.int64)
