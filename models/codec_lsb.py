"""Coded pictures as base-M digits: what any learned method is measured against."""

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
from container.rate import fitted_payload
from errors import UserError
from models.keyed import KeyedMethod

MODULI = range(2, 33)  # grey levels

_NOTE = struct.Struct(">BI")  # the header's note: modulus, bytes of the payload


class CodecLSB(KeyedMethod):
    """Pictures coded by AVIF or WebP, encrypted, and written as base-M digits. Nothing is trained.

    Digits: C.-K. Chan, L. M. Cheng, "Hiding data in images by simple LSB substitution", Pattern
    Recognition 37(3), 2004 (optimal pixel adjustment), for any M. Its use as a yardstick is this project's.

        secrets -- codec, as fine as fits -- pack -- encrypt -- base-M digits -- + dither -|
                                                                                           |-- stego
        cover (3,H,W) -- header in the first samples -- each other sample to the nearest --|
                                                        congruent value modulo M

    Every sample carries log2 M bits, so that 10.75 bits a pixel at M = 12 cost (M^2 + 2)/12 = 12.2 in mean
    squared error: 37.3 dB whatever the pictures are, less where a cover has large black or white areas
    (36.8 on scikit-image's coffee). What is revealed is exact to the bit: the decoder's
    picture, at the secret's own size. Samples beyond the payload stay as they are.

    Arguments:
        num_secrets  N, how many secrets `hide` and `reveal` have; `seal` takes 1 to 255
        modulus      M, 2 to 32; the stego says which, so that reveal needs not know
        codec        auto (of AVIF and WebP the better for each secret), avif or webp
        speed        of the AVIF encoder, 0 (slow, best) to 10

    Rate: all secrets at the finest common step of the quantiser at which they fit; what is left goes, step
    by step, to the one with the largest error. Pictures that would get fewer than COARSE bits a pixel
    are shrunk first and enlarged again when revealed.
    """

    own_sizes = True
    trainable = False

    def __init__(self, *, num_secrets: int = 4, modulus: int = 12, codec: str = "auto", speed: int = SPEED):
        super().__init__()
        for name, value, low, high in (("num_secrets", num_secrets, 1, 255), ("speed", speed, 0, 10)):
            if not low <= value <= high:
                raise UserError(f"{name}: must be from {low} to {high}, got {value}")
        self.num_secrets, self.speed = num_secrets, speed
        self.most_secrets = 255
        self.codecs = check_codec(codec)
        self.modulus = modulus

    @property
    def modulus(self) -> int:
        """M of the digits. A larger one needs a smaller cover."""
        return self._modulus

    @modulus.setter
    def modulus(self, modulus: int) -> None:
        if modulus not in MODULI:
            raise UserError(f"modulus: must be a whole number of grey levels from 2 to 32, got {modulus}")
        self._modulus = int(modulus)
        # A cover in which as many noisy pictures of its own size still find room.
        samples = header_samples(_NOTE.size) + digits_needed(300 + 100 * self.num_secrets, self._modulus)
        side = math.ceil(math.sqrt(samples / 3))
        self.smallest = (side, side)

    def _seal(self, cover: Tensor, secrets: list[Tensor], key: Key, note: bytes, marked: bool) -> Tensor:
        height, width = cover.shape[-2:]
        samples = _to_samples(cover)
        start = header_samples(_NOTE.size)
        room = bytes_that_fit(len(samples) - start, self.modulus) - TAG
        pictures = [secret.permute(1, 2, 0).contiguous().cpu().numpy() for secret in secrets]
        payload = fitted_payload(pictures, note, room, self.codecs, self.speed)

        nonce = new_nonce()
        keys = key.derive(nonce)
        payload = encrypt(keys.payload, "payload", payload)
        digits = to_digits(payload, self.modulus)
        used = samples[start : start + len(digits)]
        dither, upward = _dither(keys.dither, len(digits), self.modulus)
        used[:] = nearest_congruent(used, (digits + dither) % self.modulus, self.modulus, upward)
        about = _NOTE.pack(self.modulus, len(payload))
        write_header(samples, (height, width), keys, nonce, self.method, self.fingerprint, about, marked)
        stego = torch.from_numpy(samples.reshape(height, width, 3)).permute(2, 0, 1).contiguous()
        return stego.to(cover.device)

    def _unseal(self, stego: Tensor, key: Key, damaged_ok: bool) -> tuple[list[Tensor], bytes]:
        samples = _to_samples(stego)
        header = read_header(samples, stego.shape[-2:], key, self.method, self.fingerprint, damaged_ok)
        if len(header.note) != _NOTE.size or header.shaping:
            raise ContainerError("the header's note is not codec_lsb's")
        modulus, length = _NOTE.unpack(header.note)
        if modulus not in MODULI or length > bytes_that_fit(len(samples) - header.samples, modulus):
            raise ContainerError("the header's note is not codec_lsb's")
        used = samples[header.samples :][: digits_needed(length, modulus)]
        dither, _ = _dither(header.keys.dither, len(used), modulus)
        payload = from_digits((used - dither) % modulus, modulus, length)
        content = decrypt(header.keys.payload, "payload", payload)
        if content is None:
            raise Damaged(
                "changed after hiding: the payload is not whole, and codec_lsb cannot reveal a part"
            )
        found = unpack(content)
        tensors = [torch.from_numpy(np.array(p)).permute(2, 0, 1).contiguous() for p in found.pictures]
        return [tensor.to(stego.device) for tensor in tensors], found.note


def _to_samples(picture: Tensor) -> np.ndarray:
    """(3,H,W) uint8 -> (H*W*3,) uint8 in raster order, its own memory."""
    return picture.permute(1, 2, 0).cpu().numpy().copy().reshape(-1)


def _dither(key: bytes, count: int, modulus: int) -> tuple[np.ndarray, np.ndarray]:
    """(digits (count,) int64 to add, so that residues are uniform to a part in 2^27; coins (count,) bool)."""
    words = np.frombuffer(keystream(key, 4 * count).tobytes(), "<u4").astype(np.int64)
    return words % modulus, words >> 31 == 1
