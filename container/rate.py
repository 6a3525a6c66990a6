"""How finely pictures are coded so that together they fit into so many bytes."""

import math
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
from tqdm import tqdm

from container.codecs import QUICK, RUNGS, Coded, encode, resized
from container.payload import File, Picture, check_sizes, pack, packed_length
from errors import UserError

# Bits a pixel below which pictures are shrunk. Measured on photographs from 0.05 to 0.18 bits a pixel, a
# picture of half the side, enlarged again, scores the same as a coarser one of full size (to 0.1 dB), takes
# a quarter of the time, and fits where the coarsest of full size does not.
COARSE = 0.15
FEWEST = 256  # pixels that a secret keeps, however little room there is
LARGE = 2_000_000  # pixels above which a picture is sketched at half its size, and coded at QUICK
SLOPE = 0.07  # by which the logarithm of AVIF's size grows a rung, where nothing better is known
_THREADS = min(os.cpu_count() or 1, 8)  # each takes 0.3 GB for a picture of 12 megapixels

T = TypeVar("T")


class TooLittleRoom(UserError):
    """Nothing fits. `needed`: bytes that are needed at the lowest quality."""

    def __init__(self, message: str, needed: int):
        super().__init__(message)
        self.needed = needed


def fitted_payload(
    pictures: list[np.ndarray],
    note: bytes,
    room: int,
    codecs: tuple[str, ...],
    speed: int,
    progress: bool = False,
    files: Sequence[File] = (),
) -> bytes:
    """Pictures (h,w,3) uint8, note and files as a payload of at most `room` bytes.

    The files stay as they are; the pictures become as good as fits beside them. speed: of AVIF's encoder,
    see `_Shared`. progress: count the encoded pictures on stderr. Raises TooLittleRoom, with the bytes that
    fit and those that are needed, where nothing fits.
    """
    sizes = [picture.shape[:2] for picture in pictures]
    check_sizes(sizes)
    taken = packed_length(note, files)
    if not pictures:
        if taken > room:
            raise _too_little(0, len(files), room, taken)
        return pack(note, files)

    def entries(coded: Iterable[Coded]) -> list[Picture | File]:
        pairs = zip(coded, sizes, strict=True)
        return [*(Picture(one.codec, one.content, *size) for one, size in pairs), *files]

    most = max(8 * (room - taken) / len(pictures) / COARSE, FEWEST)  # pixels a picture
    with (
        ThreadPoolExecutor(_THREADS) as pool,
        tqdm(desc="coding secrets", unit=" encodes", disable=not progress, leave=False) as bar,
    ):
        while True:
            smaller = [resized(p, *_at_most(p.shape[0], p.shape[1], most)) for p in pictures]
            shared = _Shared(
                smaller, lambda coded: packed_length(note, entries(coded)), room, codecs, speed, pool, bar
            )
            if shared.fits:
                return pack(note, entries(shared.coded))
            if most <= FEWEST:
                break
            most = max(most / 2, FEWEST)
    raise _too_little(len(pictures), len(files), room, shared.size)


def _too_little(pictures: int, files: int, room: int, needed: int) -> TooLittleRoom:
    lowest = " at the lowest quality" if pictures else ""
    exact = f", of which {files} stay byte for byte" if pictures and files else ""
    return TooLittleRoom(
        f"the cover is too small for so many secrets ({pictures + files}{exact}): {max(room, 0)} bytes fit, "
        f"{needed} bytes are needed{lowest}; take a larger cover or fewer secrets",
        needed,
    )


def _at_most(height: int, width: int, pixels: float) -> tuple[int, int]:
    """The size, in the same shape, of at most about so many pixels."""
    scale = min(1.0, math.sqrt(pixels / (height * width)))
    return max(1, round(height * scale)), max(1, round(width * scale))


class _Shared:
    """Room shared fairly among pictures: `coded`, one each; `size`, in bytes; `fits`, whether it does.

    What is kept is coded by AVIF at `speed`, which is slow: 0.3 s for 256 pixels at speed 4. So rungs are
    searched on sketches, the same pictures at speed QUICK, and sizes are scaled by what was coded so far.
    Pictures of more than LARGE pixels are sketched at half their size and coded at QUICK or faster.
    """

    def __init__(
        self,
        pictures: list[np.ndarray],
        measure: Callable[[Iterable[Coded]], int],
        room: int,
        codecs: tuple[str, ...],
        speed: int,
        pool: ThreadPoolExecutor,
        bar: tqdm,
    ):
        self.pictures, self.measure, self.room, self.codecs = pictures, measure, room, codecs
        self.pool, self.bar = pool, bar
        self.large = [p.shape[0] * p.shape[1] > LARGE for p in pictures]
        self.speeds = [max(speed, QUICK) if large else speed for large in self.large]
        self.sketched = [
            resized(p, p.shape[0] // 2, p.shape[1] // 2) if large else p
            for p, large in zip(pictures, self.large, strict=True)
        ]
        self.cache: dict[tuple, Coded] = {}
        self.coded = (self._finest_common_step() if room > 0 else None) or self._smallest()
        if self.fits:
            self._better_codec()
            self._give_the_rest()

    @property
    def size(self) -> int:
        return self.measure(self.coded)

    @property
    def fits(self) -> bool:
        return self.size <= self.room

    def _code(self, k: int, codec: str, rung: int) -> Coded:
        return self._encoded(self.pictures, k, codec, rung, self.speeds[k])

    def _sketch(self, k: int, codec: str, rung: int) -> Coded:
        return self._encoded(self.sketched, k, codec, rung, max(self.speeds[k], QUICK))

    def _encoded(self, pictures: list[np.ndarray], k: int, codec: str, rung: int, speed: int) -> Coded:
        key = k, codec, rung, speed, pictures[k].shape
        if key not in self.cache:
            self.cache[key] = encode(pictures[k], codec, rung, speed)
            self.bar.update()
        return self.cache[key]

    def _each(self, do: Callable[[int], T]) -> list[T]:
        """What `do` makes of each picture's number, on all threads: encoders let go of Python's lock."""
        return list(self.pool.map(do, range(len(self.pictures))))

    def _all(self, code: Callable[[int, str, int], Coded], codec: str, rung: int) -> list[Coded]:
        return self._each(lambda k: code(k, codec, rung))

    def _smallest(self) -> list[Coded]:
        """All at their coarsest: by one codec, or each by the one that makes it smaller.

        Many AVIF files share what their heads say, which counts in full for a single one.
        """
        alike = [self._all(self._code, codec, 0) for codec in self.codecs]
        mixed = [min(one, key=lambda coded: len(coded.content)) for one in zip(*alike, strict=True)]
        return min([*alike, mixed], key=self.measure)

    def _finest_common_step(self) -> list[Coded] | None:
        """All at the finest rung of the first codec at which they fit; None where they fit at none."""
        codec, fitting, tried = self.codecs[0], {}, set()
        rung = max(0, self._finest_sketched(3.0 if any(self.large) else 1.0))
        while True:
            tried.add(rung)
            coded = self._all(self._code, codec, rung)
            size = self.measure(coded)
            if size <= self.room:
                fitting[rung] = coded
            rung = self._finest_sketched(size / self.measure(self._all(self._sketch, codec, rung)))
            if rung < 0 or rung in tried:
                if fitting or 0 in tried:
                    return fitting[max(fitting)] if fitting else None
                rung = min(tried) - 1

    def _finest_sketched(self, ratio: float) -> int:
        """The finest common rung whose sketches, their size times the ratio, fit; -1 for none.

        Found by regula falsi on log(size).
        """
        codec, target = self.codecs[0], math.log(self.room / ratio)
        at: dict[int, float] = {}
        low, high = -1, RUNGS[codec]  # low fits, high does not
        guess = high // 2
        while high - low > 1:
            at[guess] = math.log(self.measure(self._all(self._sketch, codec, guess)))
            low, high = (guess, high) if at[guess] <= target else (low, guess)
            known = low in at and high in at
            slope = max((at[high] - at[low]) / (high - low), SLOPE / 10) if known else SLOPE
            near = low if low in at else high
            guess = near + math.floor((target - at[near]) / slope)
            guess = min(max(guess, low + 1), high - 1)
        return low

    def _better_codec(self) -> None:
        """Where another codec does better with a picture's bytes and its share of those left: that one."""
        share = (self.room - self.size) // len(self.pictures)
        room = [len(one.content) + share for one in self.coded]

        def finest(k: int) -> list[Coded]:
            found = [self._finest_within(k, codec, room[k]) for codec in self.codecs[1:]]
            return [one for one in found if one is not None]

        for k, others in enumerate(self._each(finest)):
            for other in others:
                if other.squared_error < self.coded[k].squared_error:
                    self._replace(k, other)

    def _finest_within(self, k: int, codec: str, length: int) -> Coded | None:
        """The finest of so many bytes. Of a large picture only the last rung is tried, to save time."""
        last = self._code(k, codec, RUNGS[codec] - 1)
        if len(last.content) <= length:
            return last
        low, high = -1, RUNGS[codec] - 1
        while high - low > 1 and not self.large[k]:
            middle = (low + high) // 2
            low, high = (
                (middle, high) if len(self._code(k, codec, middle).content) <= length else (low, middle)
            )
        return self._code(k, codec, low) if low >= 0 else None

    def _give_the_rest(self) -> None:
        """One rung finer at a time for the picture with the largest error, while there is room.

        Planned on sketches, whose sizes and errors are scaled; so each picture is coded once more at most.
        """
        now = self._each(lambda k: self._sketch(k, self.coded[k].codec, self.coded[k].rung))
        scales = [len(one.content) / len(sketch.content) for one, sketch in zip(self.coded, now, strict=True)]
        errors = self._each(lambda k: self.coded[k].squared_error)
        self._each(lambda k: self._finer(k, now[k]))  # on all threads; the plan below finds them done
        room, waiting = float(self.room - self.size), set(range(len(now)))
        while waiting:
            worst = max(waiting, key=errors.__getitem__)
            finer = self._finer(worst, now[worst])
            more = scales[worst] * (len(finer.content) - len(now[worst].content)) if finer else math.inf
            if finer is None or more > room:
                waiting.remove(worst)
                continue
            room -= more
            errors[worst] *= finer.squared_error / max(now[worst].squared_error, 1e-9)
            now[worst] = finer
        planned = self._each(lambda k: self._code(k, now[k].codec, now[k].rung))
        for k in sorted(range(len(planned)), key=lambda k: -self.coded[k].squared_error):
            self._replace(k, planned[k])

    def _finer(self, k: int, sketch: Coded) -> Coded | None:
        """The sketch one rung finer; None at the finest."""
        rung = sketch.rung + 1
        return self._sketch(k, sketch.codec, rung) if rung < RUNGS[sketch.codec] else None

    def _replace(self, k: int, one: Coded) -> None:
        """Take this one for picture k, if all still fit."""
        coded = [*self.coded[:k], one, *self.coded[k + 1 :]]
        if self.measure(coded) <= self.room:
            self.coded = coded
