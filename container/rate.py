"""Choose how finely pictures are coded, so that together they fit into a number of bytes."""

import math
import os
from collections.abc import Callable, Iterable, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
from tqdm import tqdm

from container.codecs import QUICK, RUNGS, Coded, decode, encode, resized
from container.payload import File, Picture, check_sizes, head_length, pack, packed_length
from errors import UserError

# Below this number of bits a pixel, pictures are shrunk. This was measured on photographs, at 0.05 to 0.18
# bits a pixel. A picture of half the side, enlarged again, scores the same as a coarser one of full size
# (within 0.1 dB). It takes a quarter of the time, and it fits where the coarsest of full size does not.
COARSE = 0.15
FEWEST = 256  # pixels that a secret keeps, even if there is little room
LARGE = 2_000_000  # pixels; larger pictures are coded at QUICK
SKETCH = 1_000_000  # pixels of the sketch of a larger picture
SLOPE = 0.07  # growth of log(size) of AVIF from rung to rung, if nothing better is known
# Means over photographs of 128 to 256 pixels: rungs of AVIF, the logarithm of the bits a pixel at each rung,
# and how many times as large a file is at speed 4 as at QUICK.
TYPICAL = (4, 10, 16, 22, 28, 34, 40, 52, 63)
TYPICAL_BITS = (-1.64, -1.10, -0.67, -0.26, 0.14, 0.48, 0.78, 1.29, 2.43)
TYPICAL_SLOW = (1.01, 1.045, 1.04, 1.03, 1.02, 1.01, 1.005, 1.0, 1.0)
_THREADS = min(os.cpu_count() or 1, 8)  # each takes 0.3 GB for a picture of 12 megapixels

T = TypeVar("T")


class TooLittleRoom(UserError):
    """The secrets do not fit. `needed`: the bytes that they need at the lowest quality."""

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
    """Pack pictures (h,w,3) uint8, a note and files into a payload of at most `room` bytes.

    The files stay as they are. The pictures get the best quality that fits beside them. speed: of the AVIF
    encoder, see `_Shared`. progress: count the encoded pictures on stderr. Raises UserError for pictures that
    are too large. Raises TooLittleRoom if they do not fit, and says how many bytes fit and how many are
    needed.
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

    coded, size = _fitted(
        pictures,
        [1.0] * len(pictures),
        lambda coded: packed_length(note, entries(coded)),
        room,
        taken,
        codecs,
        speed,
        progress,
    )
    if size > room:
        raise _too_little(len(pictures), len(files), room, size)
    return pack(note, entries(coded))


def expected_errors(
    parts: list[np.ndarray], times: Sequence[float], room: int, codecs: tuple[str, ...], speed: int
) -> tuple[list[float], int]:
    """Estimate what `fitted_payload` will reach: (the squared error of each picture, the bytes used).

    Only parts (h,w,3) uint8 of the pictures are coded. times: how many times as many pixels each whole
    picture has. Errors are means over all values [grey levels squared]. Raises TooLittleRoom if nothing fits.
    """

    def measure(coded: Iterable[Coded]) -> int:
        pairs = list(zip(coded, times, strict=True))
        size = packed_length(
            b"", [Picture(one.codec, one.content, *one.source.shape[:2]) for one, _ in pairs]
        )
        return size + round(sum((n - 1) * (len(one.content) - head_length(one)) for one, n in pairs))

    coded, size = _fitted(parts, times, measure, room, 0, codecs, speed, False)
    if size > room:
        raise _too_little(len(parts), 0, room, size)
    back = (decode(one.codec, one.content) for one in coded)
    errors = [
        float(np.square(resized(picture, *part.shape[:2]).astype(np.float32) - part).mean())
        for picture, part in zip(back, parts, strict=True)
    ]
    return errors, size


def _fitted(
    pictures: list[np.ndarray],
    times: Sequence[float],
    measure: Callable[[Iterable[Coded]], int],
    room: int,
    taken: int,
    codecs: tuple[str, ...],
    speed: int,
    progress: bool,
) -> tuple[list[Coded], int]:
    """Shrink the pictures as far as needed and code them. Returns them, and their bytes by `measure`."""
    most = max(8 * (room - taken) / len(pictures) / COARSE, FEWEST)  # pixels a picture
    with (
        ThreadPoolExecutor(_THREADS) as pool,
        tqdm(desc="coding secrets", unit=" encodes", disable=not progress, leave=False) as bar,
    ):
        while True:
            smaller = [
                resized(p, *_at_most(p.shape[0], p.shape[1], most / n))
                for p, n in zip(pictures, times, strict=True)
            ]
            shared = _Shared(smaller, times, measure, room, codecs, speed, pool, bar)
            if shared.fits or most <= FEWEST:
                return shared.coded, shared.size
            most = max(most / 2, FEWEST)


def _too_little(pictures: int, files: int, room: int, needed: int) -> TooLittleRoom:
    lowest = " at the lowest quality" if pictures else ""
    exact = f", {files} of them byte for byte" if pictures and files else ""
    return TooLittleRoom(
        f"the cover is too small for these secrets ({pictures + files}{exact}): {max(room, 0)} bytes fit, "
        f"but {needed} bytes are needed{lowest}; use a larger cover or fewer secrets",
        needed,
    )


def _at_most(height: int, width: int, pixels: float) -> tuple[int, int]:
    """Return the size with the same shape and at most about this number of pixels."""
    scale = min(1.0, math.sqrt(pixels / (height * width)))
    return max(1, round(height * scale)), max(1, round(width * scale))


class _Shared:
    """Share the room fairly among pictures. `coded`: the result; `size`: its bytes; `fits`: whether it fits.

    The pictures that are kept are coded by AVIF at `speed`, which is slow: 0.3 s for a 256-pixel picture at
    speed 4. So rungs are planned on sketches. A sketch is the same picture at speed QUICK. Its size and error
    are scaled by the ratios that were found after coding. Pictures of more than LARGE pixels are coded at
    QUICK or faster, and their sketches are smaller. times: how many times as large each whole picture is as
    the part that is coded here; 1 if it is coded whole.
    """

    def __init__(
        self,
        pictures: list[np.ndarray],
        times: Sequence[float],
        measure: Callable[[Iterable[Coded]], int],
        room: int,
        codecs: tuple[str, ...],
        speed: int,
        pool: ThreadPoolExecutor,
        bar: tqdm,
    ):
        self.pictures, self.measure, self.room, self.codecs = pictures, measure, room, codecs
        self.times, self.pool, self.bar = times, pool, bar
        pixels = [p.shape[0] * p.shape[1] for p in pictures]
        whole = np.multiply(pixels, times)
        self.speeds = [max(speed, QUICK) if n > LARGE else speed for n in whole]
        self.sketched = [
            resized(p, *_at_most(p.shape[0], p.shape[1], SKETCH if n > LARGE else n))
            for p, n in zip(pictures, pixels, strict=True)
        ]
        self.cache: dict[tuple, Coded] = {}
        bits = math.log(max(8 * room, 1) / whole.sum())
        self.common = round(np.interp(bits, TYPICAL_BITS, TYPICAL) * RUNGS[codecs[0]] / RUNGS["avif"])
        # For each picture, the ratios of its file's size and error to its sketch's. At first a guess.
        slow = float(np.interp(self.common, TYPICAL, TYPICAL_SLOW)) if speed < QUICK else 1.0
        self.sizes = [(n / SKETCH) ** 0.8 if n > LARGE else slow for n in pixels]
        self.errors = [1.0] * len(pictures)
        self.coded = (self._fitted() if room > 0 else None) or self._smallest()

    @property
    def size(self) -> int:
        return self.measure(self.coded)

    @property
    def fits(self) -> bool:
        return self.size <= self.room

    def _fitted(self) -> list[Coded] | None:
        """Plan on sketches and code, until all fit. None if they fit at no rung of the first codec."""
        room, learned = self.room, False
        while True:
            common = self._all(self._sketch, [self._finest_common_rung(room)] * len(self.pictures))
            sketches = self._refined(common, room - self._expected(common))
            coded = self._coded_like(sketches)
            self._learn(coded, sketches)
            left = self.room - self.measure(coded)
            if left >= 0:
                break
            if not any(sketch.rung for sketch in sketches):
                return None
            # The first miss shows the real sizes. After a second miss, the plan has to aim lower.
            room, learned = (max(1, room + left) if learned else room), True
        exact = self._exact(coded, left)
        return self._with_the_rest([exact.get(k, one) for k, one in enumerate(coded)], sketches, set(exact))

    def _with_the_rest(self, coded: list[Coded], sketches: list[Coded], done: Set[int]) -> list[Coded]:
        """Code the pictures that are not in `done` finer, as far as all fit, the largest errors first."""
        finer = self._coded_like(self._refined(sketches, self.room - self.measure(coded), done))
        for k in sorted(set(range(len(coded))) - done, key=lambda k: -coded[k].squared_error):
            with_this = [*coded[:k], finer[k], *coded[k + 1 :]]
            if self.measure(with_this) <= self.room:
                coded = with_this
        return coded

    def _refined(self, sketches: list[Coded], left: float, done: Set[int] = frozenset()) -> list[Coded]:
        """Make the sketch with the largest error one rung finer, and repeat this while `left` bytes last."""
        now, waiting = list(sketches), set(range(len(sketches))) - done
        self._each(lambda k: self._finer(k, now[k]))  # on all threads; the loop finds them in the cache
        while waiting:
            worst = max(waiting, key=lambda k: self.errors[k] * now[k].squared_error)
            finer = self._finer(worst, now[worst])
            more = self._larger(worst, now[worst], finer) if finer else math.inf
            if finer is None or more > left:
                waiting.remove(worst)
            else:
                left -= more
                now[worst] = finer
        return now

    def _coded_like(self, sketches: list[Coded]) -> list[Coded]:
        return self._all(self._code, [sketch.rung for sketch in sketches])

    def _finest_common_rung(self, room: int) -> int:
        """Return the finest rung at which all pictures are expected to fit; 0 if there is none.

        Uses regula falsi on log(size). It starts from the rung that was found before, or from a typical one.
        """
        target = math.log(room)
        at: dict[int, float] = {}
        low, high = 0, RUNGS[self.codecs[0]]  # low is assumed to fit, high is assumed not to
        guess = min(max(self.common, 1), high - 1)
        while high - low > 1:
            sketches = self._all(self._sketch, [guess] * len(self.pictures))
            at[guess] = math.log(max(self._expected(sketches), 1))
            low, high = (guess, high) if at[guess] <= target else (low, guess)
            known = low in at and high in at
            slope = max((at[high] - at[low]) / (high - low), SLOPE / 10) if known else SLOPE
            near = low if low in at else high
            guess = near + math.floor((target - at[near]) / slope)
            guess = min(max(guess, low + 1), high - 1)
        self.common = low
        return low

    def _expected(self, sketches: list[Coded]) -> float:
        """Estimate how many bytes all pictures take when they are coded at the rungs of these sketches."""
        rows = zip(self.times, self.sizes, sketches, strict=True)
        return self.measure(sketches) + sum(
            times * (size - 1) * len(sketch.content) for times, size, sketch in rows
        )

    def _larger(self, k: int, now: Coded, finer: Coded) -> float:
        """Estimate how many more bytes a picture takes at the rung of a finer sketch."""
        return self.times[k] * self.sizes[k] * (len(finer.content) - len(now.content))

    def _learn(self, coded: list[Coded], sketches: list[Coded]) -> None:
        """Set `sizes` and `errors` from the coded pictures."""
        self.sizes = [
            len(one.content) / len(sketch.content) for one, sketch in zip(coded, sketches, strict=True)
        ]
        self.errors = self._each(
            lambda k: max(coded[k].squared_error, 1e-9) / max(sketches[k].squared_error, 1e-9)
        )

    def _exact(self, coded: list[Coded], left: int) -> dict[int, Coded]:
        """Return the pictures, by number, that another codec's last rung codes better.

        They may take the bytes of their present files and a share of those left.
        """
        shares = [left / len(coded) / times for times in self.times]

        def better(k: int) -> Coded | None:
            for codec in self.codecs[1:]:
                one = self._encoded(self.pictures, k, codec, RUNGS[codec] - 1, self.speeds[k])
                fits = len(one.content) <= len(coded[k].content) + shares[k]
                if fits and one.squared_error < coded[k].squared_error:
                    return one
            return None

        return {k: one for k, one in enumerate(self._each(better)) if one is not None}

    def _smallest(self) -> list[Coded]:
        """Code all pictures at their coarsest: by one codec, or each by the codec that makes it smaller.

        Many AVIF files share most of their heads. A single one pays for its head in full.
        """
        alike = [
            self._each(lambda k: self._encoded(self.pictures, k, codec, 0, self.speeds[k]))  # noqa: B023
            for codec in self.codecs
        ]
        mixed = [min(one, key=lambda coded: len(coded.content)) for one in zip(*alike, strict=True)]
        return min([*alike, mixed], key=self.measure)

    def _each(self, do: Callable[[int], T]) -> list[T]:
        """Call `do` with each picture's number, on all threads, because encoders release Python's lock."""
        return list(self.pool.map(do, range(len(self.pictures))))

    def _all(self, code: Callable[[int, int], Coded], rungs: Sequence[int]) -> list[Coded]:
        return self._each(lambda k: code(k, rungs[k]))

    def _code(self, k: int, rung: int) -> Coded:
        return self._encoded(self.pictures, k, self.codecs[0], rung, self.speeds[k])

    def _sketch(self, k: int, rung: int) -> Coded:
        return self._encoded(self.sketched, k, self.codecs[0], rung, max(self.speeds[k], QUICK))

    def _finer(self, k: int, sketch: Coded) -> Coded | None:
        """Return the sketch one rung finer; None at the finest."""
        rung = sketch.rung + 1
        return self._sketch(k, rung) if rung < RUNGS[self.codecs[0]] else None

    def _encoded(self, pictures: list[np.ndarray], k: int, codec: str, rung: int, speed: int) -> Coded:
        key = k, codec, rung, speed, pictures[k].shape
        if key not in self.cache:
            self.cache[key] = encode(pictures[k], codec, rung, speed)
            self.bar.update()
        return self.cache[key]
