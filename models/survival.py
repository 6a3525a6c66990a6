"""Which setting survives: codec_dct's sender tries a promise before it makes it."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import cv2
import numpy as np

from channel.attacks import Attack, send
from channel.promise import described
from container.dct import to_blocks
from container.header import NoPayload
from container.keys import PUBLIC, new_nonce
from container.reed_solomon import LONGEST, content_that_fits
from container.robust import HEADER, MOST_BITS, Places, Received, Setting, code_room, write

GOOD_PSNR, LEAST_PSNR, PSNR_STEP = 36.5, 33.0, 1.75  # dB
USED = 2 / 3  # of the errors that can be mended: the rest is for other programs' encoders
SHARES = (20, 23, 27, 32, 40, 50)  # of the table, in parts of FINEST_SPACING
MARGINS = (0, 4, 8)  # grey levels
NEAR, FEW = 8, 0.02  # margins are tried where samples of more than FEW blocks are so near to 0 or 255
MOST_PARITY, LEAST_PARITY = 200, 12
DB_A_BIT = 0.35  # what one bit a block more costs, about
TILE, TILES = 32, 10  # px and how many a side: what is surveyed of a large cover


@dataclass(frozen=True)
class Rung:
    """A setting and margin, and what the survey expects: PSNR of the stego [dB], bytes of payload."""

    setting: Setting
    margin: int
    psnr: float
    room: int


@dataclass(frozen=True)
class Trial:
    """An attack that a stego went through: bytes wrong in the worst code word, how many can be mended, and
    whether the header came back."""

    attack: str
    worst: int
    mendable: int
    header: bool

    @property
    def passed(self) -> bool:
        return self.header and self.worst <= USED * self.mendable


def tried(
    stego: np.ndarray, places: Places, code: bytes, count: int, header: bytes, attacks: Sequence[Attack]
) -> Iterator[Trial]:
    """Send a stego through attacks. code, header: what was written, the code in `count` words.

    The code is only compared. The header is decoded: nothing can be revealed without it.
    """
    mendable = places.setting.parity // 2
    for attack in attacks:
        received = Received(send(stego, attack))
        wrong = wrong_bytes(received, places, code)
        worst = max(int(wrong[k::count].sum()) for k in range(count))
        yield Trial(described(attack), worst, mendable, _has(received, header))


def _has(received: Received, header: bytes) -> bool:
    try:
        return received.header() == header
    except NoPayload:
        return False


def wrong_bytes(received: Received, places: Places, code: bytes) -> np.ndarray:
    """(bytes,) bool: which bytes of a code that was written are read wrong in the picture that arrived."""
    found, _ = received.code(places, len(code))
    return np.frombuffer(found, np.uint8) != np.frombuffer(code, np.uint8)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """(H,W,3) uint8, twice -> dB over RGB; inf if they are equal. metrics.image computes it alike."""
    error = cv2.norm(a, b, cv2.NORM_L2SQR) / a.size
    return float(10 * np.log10(255.0**2 / error)) if error else math.inf


def parity_for(worst: float) -> int:
    """The least even parity with which `worst` wrong bytes in a code word leave the margin."""
    return max(LEAST_PARITY, 2 * math.ceil(worst / USED))


class Survey:
    """What settings would do to a cover, measured on it, or on tiles of it where it is large.

    hardest: the attacks that are tried; qualities: of the tables that spacings may follow; sent: what the
    stego's own file makes of it.
    """

    def __init__(
        self,
        cover: np.ndarray,
        hardest: Sequence[Attack],
        qualities: Sequence[int],
        sent: Callable[[np.ndarray], np.ndarray],
    ):
        self.size = cover.shape[0], cover.shape[1]
        self.picture = _sample(cover)
        near_the_end = (to_blocks(self.picture) - np.uint8(NEAR) > 255 - 2 * NEAR).any(axis=(1, 2))
        self._leaves_range = near_the_end.mean() > FEW
        self.hardest, self.qualities, self.sent = hardest, qualities, sent
        self.keys = PUBLIC.derive(new_nonce())
        self._measured = lru_cache(maxsize=None)(self._measure)

    def best(self, least_psnr: float) -> Rung | None:
        """The rung with most room of those with this PSNR and more; None if nothing survives."""
        best: Rung | None = None
        for quality in self.qualities:
            found: Rung | None = None
            for share in SHARES:  # the wider the spacing, the fewer the errors, and the bits
                rung = self._finest(quality, share, 0, least_psnr)
                if found and (not rung or rung.room < found.room):
                    break
                found = rung if rung and rung.room else found
            share = found.setting.spacing if found else SHARES[len(SHARES) // 2]
            for margin in MARGINS[1:] if self._leaves_range else ():
                rung = self._finest(quality, share, margin, least_psnr)
                found = rung if rung and (not found or rung.room > found.room) else found
            best = found if found and (not best or found.room > best.room) else best
        return best if best and best.room > 0 else None

    def _finest(self, quality: int, share: int, margin: int, least_psnr: float) -> Rung | None:
        """The rung with as many bits as the PSNR allows."""
        low, high = 0, 63 * MOST_BITS + 1  # low is allowed, high is not
        guess = 24  # as many as JPEG 75 leaves at 36.5 dB
        found = None
        while high - low > 1:
            rung = self._measured(quality, share, min(max(guess, low + 1), high - 1), margin)
            bits = rung.setting.bits
            if rung.psnr >= least_psnr:
                low, found = bits, rung
                guess = bits + max(1, round(min(rung.psnr - least_psnr, 20) / DB_A_BIT))
            else:
                high = bits
                guess = bits - max(1, round((least_psnr - rung.psnr) / DB_A_BIT))
        return found

    def _measure(self, quality: int, share: int, bits: int, margin: int) -> Rung:
        setting = Setting(quality, share, bits, LEAST_PARITY)
        room = code_room(self.size, setting)
        if content_that_fits(room, LEAST_PARITY) == 0:
            return Rung(setting, margin, math.inf, 0)
        places = Places(self.picture.shape[:2], setting, self.keys)
        random = np.random.default_rng(bits)
        code = random.bytes(places.room)
        stego = self.sent(write(self.picture, places, code, random.bytes(HEADER), margin))
        found = psnr(self.picture, stego)
        if found < LEAST_PSNR:
            return Rung(setting, margin, found, 0)
        rate = max(wrong_bytes(Received(send(stego, one)), places, code).mean() for one in self.hardest)
        parity = parity_for(_worst(rate, words=room // LONGEST + 1))
        if parity > MOST_PARITY:
            return Rung(setting, margin, found, 0)
        return Rung(replace(setting, parity=parity), margin, found, content_that_fits(room, parity))


def _worst(rate: float, words: int) -> float:
    """Wrong bytes to expect in the worst of so many code words, where so many in all are wrong."""
    mean = rate * LONGEST
    return mean + math.sqrt(2 * mean * math.log(words + 1)) + 1


def _sample(cover: np.ndarray) -> np.ndarray:
    """Tiles spread evenly over a cover, in one picture; a small cover whole."""
    height, width = cover.shape[:2]
    if height * width <= (TILE * TILES) ** 2 * 1.5 or min(height, width) < 2 * TILE:
        return cover
    rows, columns = (np.linspace(0, side - TILE, TILES).astype(int) // 16 * 16 for side in (height, width))
    lines = [np.hstack([cover[y : y + TILE, x : x + TILE] for x in columns]) for y in rows]
    return np.vstack(lines)
