"""Coded pictures as base-M digits: what any learned method is measured against."""

import math
import struct
import zlib
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from container.codecs import LARGEST, RUNGS, Coded, check_codec, decode, encode, resized
from container.digits import bytes_that_fit, digits_needed, from_digits, nearest_congruent, to_digits
from container.header import (
    TAG,
    ContainerError,
    Damaged,
    Key,
    decrypt,
    encrypt,
    header_samples,
    keystream,
    new_nonce,
    read_header,
    write_header,
)
from errors import UserError
from models.base import HidingModel

# Bits a pixel below which pictures are shrunk. Measured on photographs from 0.05 to 0.18 bits a pixel, a
# picture of half the side, enlarged again, scores the same as a coarser one of full size (to 0.1 dB), takes
# a quarter of the time, and fits where the coarsest of full size does not.
COARSE = 0.15
MOST_PIXELS = 2**29  # of all pictures of a payload, 1.5 GB decoded: anybody can write one that says more
MODULI = range(2, 33)  # grey levels
FEWEST = 256  # pixels that a secret keeps, however little room there is

_NOTE = struct.Struct(">BI")  # the header's note: modulus, bytes of the payload
_ENTRY = struct.Struct(">BIIHI")  # of one secret: codec, height, width, bytes of its head, of the rest
_CODES = {1: "avif", 2: "webp"}


class CodecLSB(HidingModel):
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

    keyed = True
    own_sizes = True
    trainable = False

    def __init__(self, *, num_secrets: int = 4, modulus: int = 12, codec: str = "auto", speed: int = 6):
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
        if len(header.note) != _NOTE.size:
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
        note, pictures = unpack(content)
        tensors = [torch.from_numpy(np.array(p)).permute(2, 0, 1).contiguous() for p in pictures]
        return [tensor.to(stego.device) for tensor in tensors], note


def _to_samples(picture: Tensor) -> np.ndarray:
    """(3,H,W) uint8 -> (H*W*3,) uint8 in raster order, its own memory."""
    return picture.permute(1, 2, 0).cpu().numpy().copy().reshape(-1)


def _dither(key: bytes, count: int, modulus: int) -> tuple[np.ndarray, np.ndarray]:
    """(digits (count,) int64 to add, so that residues are uniform to a part in 2^27; coins (count,) bool)."""
    words = np.frombuffer(keystream(key, 4 * count).tobytes(), "<u4").astype(np.int64)
    return words % modulus, words >> 31 == 1


# --- the payload ----------------------------------------------------------------------------------


def pack(note: bytes, coded: list[Coded], sizes: list[tuple[int, int]]) -> bytes:
    """Note and coded pictures as one payload; sizes: (h, w) that each has when it is revealed.

    All AVIF files begin alike, with 280 bytes of boxes: these heads stand together, deflated.
    """
    codes = {name: code for code, name in _CODES.items()}
    table, heads, rest = [], [], []
    for one, (height, width) in zip(coded, sizes, strict=True):
        split = one.content.find(b"mdat") + 4 if one.codec == "avif" else 0
        heads.append(one.content[:split])
        rest.append(one.content[split:])
        table.append(_ENTRY.pack(codes[one.codec], height, width, split, len(rest[-1])))
    front = struct.pack(">HB", len(note), len(coded)) + note + b"".join(table + heads)
    front = zlib.compress(front, 9)
    return struct.pack(">I", len(front)) + front + b"".join(rest)


def unpack(content: bytes) -> tuple[bytes, list[np.ndarray]]:
    """The inverse of `pack`, with the pictures decoded: (note, pictures (h,w,3) uint8 of their own sizes).

    Raises ContainerError for what `pack` does not write: without a passphrase anybody can write a payload.
    """
    try:
        (length,) = struct.unpack_from(">I", content)
        inflater = zlib.decompressobj()
        front = inflater.decompress(content[4 : 4 + length], 2**24)
        note_length, count = struct.unpack_from(">HB", front)
        note = front[3 : 3 + note_length]
        at = 3 + note_length
        entries = [_ENTRY.unpack_from(front, at + k * _ENTRY.size) for k in range(count)]
        at, place, pictures = at + count * _ENTRY.size, 4 + length, []
        pixels = [height * width for _, height, width, _, _ in entries]
        if min(pixels) < 1 or sum(pixels) > MOST_PIXELS:
            raise UserError(f"pictures of {sum(pixels)} pixels in all")
        for code, height, width, head, tail in entries:
            picture = decode(_CODES[code], front[at : at + head] + content[place : place + tail])
            pictures.append(resized(picture, height, width))
            at, place = at + head, place + tail
        return note, pictures
    except (ValueError, KeyError, struct.error, zlib.error) as error:
        raise ContainerError(
            f"it opens, but the payload is not what this program writes ({error})"
        ) from error


# --- the rate -------------------------------------------------------------------------------------


def fitted_payload(
    pictures: list[np.ndarray], note: bytes, room: int, codecs: tuple[str, ...], speed: int
) -> bytes:
    """Pictures (h,w,3) uint8 and note as a payload of at most `room` bytes, as good as fits.

    Raises UserError, with the bytes that fit and those that are needed, where nothing fits.
    """
    sizes = [picture.shape[:2] for picture in pictures]
    for height, width in sizes:
        if height * width > LARGEST:
            raise UserError(f"a secret of {width}x{height} pixels is too large, {LARGEST} are the most")
    if (pixels := sum(height * width for height, width in sizes)) > MOST_PIXELS:
        raise UserError(f"the secrets have {pixels} pixels in all, {MOST_PIXELS} are the most")
    most = max(8 * room / len(pictures) / COARSE, FEWEST)  # pixels a picture
    needed = 0
    while True:
        smaller = [resized(picture, *_at_most(*picture.shape[:2], most)) for picture in pictures]
        shared = _Shared(smaller, lambda coded: len(pack(note, coded, sizes)), room, codecs, speed)
        if shared.fits:
            return pack(note, shared.coded, sizes)
        needed = shared.size
        if most <= FEWEST:
            break
        most = max(most / 2, FEWEST)
    raise UserError(
        f"the cover is too small for so many secrets ({len(pictures)}): {max(room, 0)} bytes fit, {needed} "
        "bytes are needed at the lowest quality; take a larger cover or fewer secrets"
    )


def _at_most(height: int, width: int, pixels: float) -> tuple[int, int]:
    """The size, in the same shape, of at most about so many pixels."""
    scale = min(1.0, math.sqrt(pixels / (height * width)))
    return max(1, round(height * scale)), max(1, round(width * scale))


class _Shared:
    """Room shared fairly among pictures: `coded`, one each; `size`, in bytes; `fits`, whether it does."""

    def __init__(
        self,
        pictures: list[np.ndarray],
        measure: Callable[[list[Coded]], int],
        room: int,
        codecs: tuple[str, ...],
        speed: int,
    ):
        self.pictures, self.measure, self.room, self.codecs, self.speed = (
            pictures,
            measure,
            room,
            codecs,
            speed,
        )
        self.cache: dict[tuple[int, str, int], Coded] = {}
        self.coded = self._smallest()
        if self.fits:
            self._finest_common_step()
            self._better_codec()
            self._give_the_rest()

    @property
    def size(self) -> int:
        return self.measure(self.coded)

    @property
    def fits(self) -> bool:
        return self.size <= self.room

    def _code(self, k: int, codec: str, rung: int) -> Coded:
        if (k, codec, rung) not in self.cache:
            self.cache[k, codec, rung] = encode(self.pictures[k], codec, rung, self.speed)
        return self.cache[k, codec, rung]

    def _smallest(self) -> list[Coded]:
        """Each at its coarsest, by the codec that makes it smaller (a head of AVIF counts in full)."""
        coarsest = ([self._code(k, codec, 0) for codec in self.codecs] for k in range(len(self.pictures)))
        return [min(candidates, key=lambda one: len(one.content)) for candidates in coarsest]

    def _finest_common_step(self) -> None:
        """The finest rung of the first codec at which all fit, found by regula falsi on log(size)."""
        codec = self.codecs[0]
        low, high = -1, RUNGS[codec]  # low fits, high does not
        at_low, at_high = math.log(self.size), math.inf
        while high - low > 1:
            slope = (at_high - at_low) / (high - low) if high < RUNGS[codec] else 0.1
            guess = low + round((math.log(self.room) - at_low) / slope)
            guess = min(max(guess, low + 1), high - 1)
            coded = [self._code(k, codec, guess) for k in range(len(self.pictures))]
            size = self.measure(coded)
            if size <= self.room:
                low, at_low, self.coded = guess, math.log(size), coded
            else:
                high, at_high = guess, math.log(size)

    def _better_codec(self) -> None:
        """Where another codec does better with a picture's bytes and its share of those left: that one."""
        share = (self.room - self.size) // len(self.pictures)
        for codec in self.codecs[1:]:
            for k, current in enumerate(self.coded):
                other = self._finest_within(k, codec, len(current.content) + share)
                if other is not None and other.squared_error < current.squared_error:
                    self._replace(k, other)

    def _finest_within(self, k: int, codec: str, length: int) -> Coded | None:
        last = self._code(k, codec, RUNGS[codec] - 1)
        if len(last.content) <= length:
            return last
        low, high = -1, RUNGS[codec] - 1
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (
                (middle, high) if len(self._code(k, codec, middle).content) <= length else (low, middle)
            )
        return self._code(k, codec, low) if low >= 0 else None

    def _give_the_rest(self) -> None:
        """One step finer at a time for the picture with the largest error, while there is room."""
        waiting = set(range(len(self.pictures)))
        while waiting:
            worst = max(waiting, key=lambda k: self.coded[k].squared_error)
            codec, finer = self.coded[worst].codec, self.coded[worst].rung + 1
            if finer == RUNGS[codec] or not self._replace(worst, self._code(worst, codec, finer)):
                waiting.remove(worst)

    def _replace(self, k: int, one: Coded) -> bool:
        coded = [*self.coded[:k], one, *self.coded[k + 1 :]]
        if self.measure(coded) > self.room:
            return False
        self.coded = coded
        return True
