"""Find settings that survive: codec_dct's sender tries each promise before it makes it."""

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
USED = 2 / 3  # share of the correctable errors to use; the rest is for other programs' encoders
SHARES = (20, 23, 27, 32, 40, 50)  # spacings, as shares of the table in parts of FINEST_SPACING
MARGINS = (0, 4, 8)  # grey levels
NEAR, FEW = 8, 0.02  # margins are tried if more than a share FEW of the blocks is so near to 0 or 255
MOST_PARITY, LEAST_PARITY = 200, 12
DB_A_BIT = 0.35  # the approximate cost of one more bit per block [dB]
TILE, TILES = 32, 10  # side [px] and number per side of the tiles that stand for a large cover


@dataclass(frozen=True)
class Rung:
    """A setting and its margin, with the PSNR of the stego [dB] and the bytes of payload to expect."""

    setting: Setting
    margin: int
    psnr: float
    room: int


@dataclass(frozen=True)
class Trial:
    """A stego's result after one attack.

    worst: wrong bytes in the worst code word. correctable: how many of them can be corrected. header: whether
    the header came back.
    """

    attack: str
    worst: int
    correctable: int
    header: bool

    @property
    def passed(self) -> bool:
        return self.header and self.worst <= USED * self.correctable


def tried(
    stego: np.ndarray, places: Places, code: bytes, count: int, header: bytes, attacks: Sequence[Attack]
) -> Iterator[Trial]:
    """Send a stego through attacks, and yield a trial for each.

    code, header: what was written; the code has `count` words. The code is only compared. The header is
    decoded, because nothing can be revealed without it.
    """
    correctable = places.setting.parity // 2
    for attack in attacks:
        received = Received(send(stego, attack))
        wrong = wrong_bytes(received, places, code)
        worst = max(int(wrong[k::count].sum()) for k in range(count))
        yield Trial(described(attack), worst, correctable, _has(received, header))


def _has(received: Received, header: bytes) -> bool:
    try:
        return received.header() == header
    except NoPayload:
        return False


def wrong_bytes(received: Received, places: Places, code: bytes) -> np.ndarray:
    """Return which bytes of the code that was written are read wrongly from the received picture: bool."""
    found, _ = received.code(places, len(code))
    return np.frombuffer(found, np.uint8) != np.frombuffer(code, np.uint8)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """(H,W,3) uint8, twice -> PSNR over RGB [dB], as in metrics.image; inf if they are equal."""
    error = cv2.norm(a, b, cv2.NORM_L2SQR) / a.size
    return float(10 * np.log10(255.0**2 / error)) if error else math.inf


def parity_for(worst: float) -> int:
    """Return the smallest even parity at which `worst` wrong bytes per code word use at most a share USED."""
    return max(LEAST_PARITY, 2 * math.ceil(worst / USED))


class Survey:
    """Measures how settings work on a cover; on a large cover, it uses tiles.

    hardest: the attacks to try. qualities: JPEG qualities whose tables the spacings may follow. sent: a
    function that returns the stego as its own file holds it.
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
        """Return the rung with the most room at this PSNR or more; None if nothing survives."""
        best: Rung | None = None
        for quality in self.qualities:
            found: Rung | None = None
            for share in SHARES:  # a wider spacing has fewer errors, but also fewer bits
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
        """Return the rung with as many bits as the PSNR allows."""
        low, high = 0, 63 * MOST_BITS + 1  # low is allowed, high is not
        guess = 24  # the usual number for JPEG 75 at 36.5 dB
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
    """Estimate the wrong bytes in the worst of `words` code words, at a share `rate` of wrong bytes."""
    mean = rate * LONGEST
    return mean + math.sqrt(2 * mean * math.log(words + 1)) + 1


def _sample(cover: np.ndarray) -> np.ndarray:
    """Return one picture of tiles spread evenly over a cover; a small cover comes back whole."""
    height, width = cover.shape[:2]
    if height * width <= (TILE * TILES) ** 2 * 1.5 or min(height, width) < 2 * TILE:
        return cover
    rows, columns = (np.linspace(0, side - TILE, TILES).astype(int) // 16 * 16 for side in (height, width))
    lines = [np.hstack([cover[y : y + TILE, x : x + TILE] for x in columns]) for y in rows]
    return np.vstack(lines)
