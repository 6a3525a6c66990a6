"""How finely pictures are coded so that together they fit into so many bytes."""

import math
from collections.abc import Callable

import numpy as np

from container.codecs import RUNGS, Coded, encode, resized
from container.payload import Picture, check_sizes, pack
from errors import UserError

# Bits a pixel below which pictures are shrunk. Measured on photographs from 0.05 to 0.18 bits a pixel, a
# picture of half the side, enlarged again, scores the same as a coarser one of full size (to 0.1 dB), takes
# a quarter of the time, and fits where the coarsest of full size does not.
COARSE = 0.15
FEWEST = 256  # pixels that a secret keeps, however little room there is


def fitted_payload(
    pictures: list[np.ndarray], note: bytes, room: int, codecs: tuple[str, ...], speed: int
) -> bytes:
    """Pictures (h,w,3) uint8 and note as a payload of at most `room` bytes, as good as fits.

    Raises UserError, with the bytes that fit and those that are needed, where nothing fits.
    """
    sizes = [picture.shape[:2] for picture in pictures]
    check_sizes(sizes)
    most = max(8 * room / len(pictures) / COARSE, FEWEST)  # pixels a picture
    needed = 0
    while True:
        smaller = [resized(p, *_at_most(p.shape[0], p.shape[1], most)) for p in pictures]
        shared = _Shared(smaller, lambda coded: len(_packed(note, coded, sizes)), room, codecs, speed)
        if shared.fits:
            return _packed(note, shared.coded, sizes)
        needed = shared.size
        if most <= FEWEST:
            break
        most = max(most / 2, FEWEST)
    raise UserError(
        f"the cover is too small for so many secrets ({len(pictures)}): {max(room, 0)} bytes fit, {needed} "
        "bytes are needed at the lowest quality; take a larger cover or fewer secrets"
    )


def _packed(note: bytes, coded: list[Coded], sizes: list[tuple[int, int]]) -> bytes:
    pairs = zip(coded, sizes, strict=True)
    return pack(note, (Picture(one.codec, one.content, *size) for one, size in pairs))


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
