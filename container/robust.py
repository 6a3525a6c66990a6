"""Bytes in a picture's luma that survive JPEG and similar compression. docs/robust.md has the format.

Each 8x8 block carries bits in those coefficients of its DCT that JPEG rounds most finely. A coefficient moves
to the nearest point of a lattice, which its bits choose. It is read correctly if it moved by less than half
the lattice's spacing on the way to the receiver. A header lies in the lowest coefficients of blocks all over
the picture. It is much stronger than the rest, and it says how to read the rest.
"""

import hmac
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from container.dct import BASIS, LUMA, coefficients, put_blocks, table, to_blocks, whole_blocks
from container.header import NO_KEY, SAME_KEY, ContainerError, NoPayload, WrongKey
from container.keys import NAME, NONCE, PUBLIC, VERSION, Key, Subkeys, keystream
from container.reed_solomon import code_length, content_that_fits, decode, encode
from errors import UserError

SLACK = 2.0  # added to each spacing, because rounding to 8 bits affects all coefficients alike
FINEST_SPACING = 20  # spacings are counted in twentieths of a table's entry
MOST_BITS = 3  # in a coefficient
PULLED = 12  # the most projections of a block that leaves 0..255
SETTLED = 0.5  # grey levels; a block is done if a projection changes it by no more
FLAT = 16.0  # all entries of the table of quality 0; formats other than JPEG round all frequencies alike
AT_ONCE = 4096  # blocks that are processed at a time, to bound memory

_FIXED = struct.Struct(">BBBBI")  # the setting, and how many bytes the payload has
_CHECK = 4
HEADER = NONCE + 1 + _FIXED.size + _CHECK  # bytes
_HEADER_PARITY = 58
_HEADER_BITS = 8 * code_length(HEADER, _HEADER_PARITY)
_HEADER_COEFFICIENTS = np.array([2, 1, 8, 9])  # by rows; those with the smallest entries of Annex K
_HEADER_SPACING = 18.0
_BLOCKS_A_COPY = 2048  # blocks of the picture for each copy of the header
_MOST_COPIES = 9
FEWEST_BLOCKS = -(-_HEADER_BITS // len(_HEADER_COEFFICIENTS))


@dataclass(frozen=True)
class Setting:
    """How a payload is written. The header stores it.

    quality: of the JPEG table that the spacings follow, 1 to 100; 0: a flat table.
    spacing: its share of the table's entries, in units of 1 / FINEST_SPACING, 1 to 255.
    bits: in each block, 1 to 189.
    parity: bytes in each code word, 2 to 254.
    Raises UserError for a value out of its range.
    """

    quality: int
    spacing: int
    bits: int
    parity: int

    def __post_init__(self):
        sound = 0 <= self.quality <= 100 and 1 <= self.spacing <= 255
        if not (sound and 1 <= self.bits <= 63 * MOST_BITS and 2 <= self.parity <= 254):
            raise UserError(f"not a setting of this program: {self}")

    @cached_property
    def lattice(self) -> "Lattice":
        entries = table(self.quality).astype(np.float64) if self.quality else np.full(64, FLAT)
        spacing = self.spacing / FINEST_SPACING * entries + SLACK
        # A coefficient's bits 1, 2 and 3 cost 1, 3 and 12 times spacing^2 / 3 of mean squared error.
        price = np.array([1, 3, 12])[:MOST_BITS] * spacing[:, None] ** 2
        price[0] = np.inf  # the block's mean carries no bits
        bits = np.zeros(64, np.int64)
        np.add.at(bits, np.argsort(price, axis=None, kind="stable")[: self.bits] // MOST_BITS, 1)
        order = np.argsort(spacing, kind="stable")
        which = order[bits[order] > 0]
        return Lattice(which, bits[which], spacing[which].astype(np.float32))


@dataclass(frozen=True)
class Lattice:
    """The coefficients of a block that carry bits.

    which (k,): their places, counted by rows. bits (k,): how many bits each carries. spacing (k,): of each
    coefficient's lattice, in units of the DCT.
    """

    which: np.ndarray
    bits: np.ndarray
    spacing: np.ndarray


class Places:
    """Where the data lies in a picture of this size.

    count: the number of blocks. free (blocks,k): which of the payload's coefficients the header leaves free.
    order: the blocks, in the order that the key gives. dither: see `_dither`.
    """

    def __init__(self, size: tuple[int, int], setting: Setting, keys: Subkeys):
        rows, columns = whole_blocks(*size)
        self.count = rows * columns
        self.setting, self.lattice = setting, setting.lattice
        taken = np.zeros((self.count, 64), bool)
        header = _header_places(self.count)
        taken[header.block, header.coefficient] = True
        self.free = ~taken[:, self.lattice.which]
        words = np.frombuffer(keystream(keys.dither, 8 * self.count).tobytes(), "<u8")
        self.order = np.argsort(words, kind="stable")
        self.dither = self._dither(keys)
        self._carries = np.repeat(self.free[self.order], self.lattice.bits, axis=1)

    def _dither(self, keys: Subkeys) -> np.ndarray:
        """Return how far each coefficient's lattice is shifted, from 0 to its period: (blocks,k) float32."""
        shape = self.free.shape
        skip = 8 * self.count
        stream = keystream(keys.dither, skip + 2 * self.free.size)[skip:]
        words = np.frombuffer(stream.tobytes(), "<u2").reshape(shape)
        return words.astype(np.float32) / 2**16 * self.period

    @property
    def period(self) -> np.ndarray:
        """(k,) the distance between two points that stand for the same bits."""
        return self.lattice.spacing * 2.0 ** self.lattice.bits.astype(np.float32)

    @property
    def room(self) -> int:
        """How many bytes of code fit."""
        return int(self._carries.sum()) // 8

    def targets(self, code: bytes) -> tuple[np.ndarray, np.ndarray]:
        """Return (a point that each coefficient may move to, whether it carries bits), both (blocks,k)."""
        assert len(code) <= self.room
        bits = np.unpackbits(np.frombuffer(code, np.uint8))
        spread = np.zeros(self._carries.shape, np.uint8)
        carries = self._first(len(bits))
        spread[carries] = bits
        digits = np.zeros(self.free.shape, np.int64)
        used = np.zeros(self.free.shape, bool)
        for k, columns in enumerate(self._columns()):
            for column in columns:
                digits[self.order, k] = 2 * digits[self.order, k] + spread[:, column]
                used[self.order, k] |= carries[:, column]
        return self.dither + digits * self.lattice.spacing, used

    def read(self, found: np.ndarray, length: int, cut_off: np.ndarray) -> tuple[bytes, np.ndarray]:
        """Read coefficients (blocks,k). Returns (`length` bytes of code, the trust in each of them, 0 to 1).

        cut_off (blocks,): the share of each block's pixels at 0 or 255, where compression has lost more.
        """
        position = (found - self.dither) / self.lattice.spacing
        nearest = np.rint(position)
        digits = (nearest.astype(np.int64) % 2**self.lattice.bits)[self.order]
        certain = ((1 - 2 * np.abs(position - nearest)) * (1 - cut_off[:, None]))[self.order]
        spread = np.empty(self._carries.shape, np.uint8)
        trust = np.empty(self._carries.shape, np.float32)
        for k, columns in enumerate(self._columns()):
            for place, column in enumerate(reversed(columns)):
                spread[:, column] = digits[:, k] >> place & 1
                trust[:, column] = certain[:, k]
        carries = self._first(8 * length)
        return np.packbits(spread[carries]).tobytes(), trust[carries].reshape(-1, 8).min(axis=1)

    def _columns(self) -> list[range]:
        ends = np.cumsum(self.lattice.bits).tolist()
        return [range(end - count, end) for end, count in zip(ends, self.lattice.bits.tolist(), strict=True)]

    def _first(self, count: int) -> np.ndarray:
        """Return which bits of the blocks, in the key's order, are the first `count` free ones."""
        carries = self._carries.copy()
        flat = carries.reshape(-1)
        places = np.flatnonzero(flat)
        flat[places[count:]] = False
        return carries


def code_room(size: tuple[int, int], setting: Setting) -> int:
    """Return how many bytes of code fit into a picture of this size."""
    rows, columns = whole_blocks(*size)
    if rows * columns < FEWEST_BLOCKS:
        return 0
    bits = np.zeros(64, np.int64)
    bits[setting.lattice.which] = setting.lattice.bits
    taken = bits[_header_places(rows * columns).coefficient].sum()
    return int(rows * columns * setting.bits - taken) // 8


# --- writing --------------------------------------------------------------------------------------


def write(
    cover: np.ndarray, places: Places, code: bytes, header: bytes | None, margin: int = 0
) -> np.ndarray:
    """Write a code and a header into a cover (H,W,3) uint8, and return the stego.

    header: from `sealed_header`; None: no header. margin: how far samples stay from 0 and 255 in blocks where
    writing would leave that range [grey levels]. Near black and white, compression clips samples, and what
    they carry is lost. A margin keeps more of it. The receiver does not need to know the margin.
    """
    lattice = places.lattice
    which = np.union1d(lattice.which, _HEADER_COEFFICIENTS)
    point = np.zeros((places.count, len(which)), np.float32)
    period = np.zeros(point.shape, np.float32)
    target, used = places.targets(code)
    column = np.searchsorted(which, lattice.which)
    point[:, column] = target
    period[:, column] = np.where(used & places.free, places.period, 0)
    if header is not None:
        at = _header_places(places.count)
        bits = np.resize(
            np.unpackbits(np.frombuffer(encode(header, _HEADER_PARITY), np.uint8)), len(at.block)
        )
        column = np.searchsorted(which, at.coefficient)
        point[at.block, column] = at.dither + bits * _HEADER_SPACING
        period[at.block, column] = 2 * _HEADER_SPACING

    stego = cover.copy()
    blocks = to_blocks(cover)
    for part in _parts(places.count):
        blocks[part] = _moved(blocks[part], which, point[part], period[part], margin)
    put_blocks(stego, blocks)
    return stego


def _moved(
    blocks: np.ndarray, which: np.ndarray, point: np.ndarray, period: np.ndarray, margin: int
) -> np.ndarray:
    """Move the coefficients of blocks (n,64,3) uint8 to points of the lattice, as near as 0..255 allows."""
    colours = blocks.astype(np.float32)
    luma = colours @ LUMA
    change = _to_lattice(luma, which, point, period)
    free = colours + change[..., None] * (LUMA / (LUMA @ LUMA))
    leaves = ((free < 0) | (free > 255)).any(axis=(1, 2))
    colours = np.where(leaves[:, None, None], colours, free)
    active = np.flatnonzero(leaves)
    for attempt in range(PULLED):
        if not len(active):
            break
        now = colours[active]
        luma = now @ LUMA
        change = _to_lattice(luma, which, point[active], period[active])
        inside = float(margin) if attempt else 0.0
        colours[active] = _with_luma(now, luma + change, inside, 255 - inside)
        if attempt:
            active = active[np.abs(change).max(axis=1) > SETTLED]
    return np.rint(colours).astype(np.uint8)


def _to_lattice(luma: np.ndarray, which: np.ndarray, point: np.ndarray, period: np.ndarray) -> np.ndarray:
    """Return the change of luma (n,64) that moves each coefficient to its nearest point."""
    now = coefficients(luma, which)
    steps = np.rint((now - point) / np.where(period > 0, period, 1))
    change = np.where(period > 0, point + steps * period - now, 0)
    return change @ BASIS[which]


def _with_luma(colours: np.ndarray, luma: np.ndarray, lowest: float, highest: float) -> np.ndarray:
    """Return the colours in lowest..highest that have this luma and are nearest to the given ones.

    Moving red, green and blue by the same amount would cost 1.3 dB more, because green weighs most in luma.
    If one of them cannot move further, the others make up for it.
    """
    for _ in range(len(LUMA)):
        missing = luma - colours @ LUMA
        movable = np.where(missing[..., None] > 0, colours < highest, colours > lowest) * LUMA
        share = missing / np.maximum(movable @ LUMA, 1e-6)
        colours = np.clip(colours + movable * share[..., None], lowest, highest)
    return colours


def _parts(count: int) -> Iterator[slice]:
    for start in range(0, count, AT_ONCE):
        yield slice(start, start + AT_ONCE)


# --- reading --------------------------------------------------------------------------------------


class Received:
    """A picture (H,W,3) uint8 as it arrived: its luma, and the share of each block at 0 or 255."""

    def __init__(self, picture: np.ndarray):
        blocks = to_blocks(picture)
        self.size = picture.shape[0], picture.shape[1]
        self._luma = np.empty(blocks.shape[:2], np.float32)
        self._cut_off = np.empty(len(blocks), np.float32)
        for part in _parts(len(blocks)):
            self._luma[part] = blocks[part].astype(np.float32) @ LUMA
            extreme = ((blocks[part] == 0) | (blocks[part] == 255)).any(axis=2)
            self._cut_off[part] = extreme.mean(axis=1)

    def code(self, places: Places, length: int) -> tuple[bytes, np.ndarray]:
        """Return `length` bytes of code, and the trust in each, 0 to 1. It is lower in blocks at 0 or 255."""
        found = coefficients(self._luma, places.lattice.which)
        return places.read(found, length, self._cut_off)

    def header(self) -> bytes:
        """Return the header's bytes. Raises NoPayload if no header can be read."""
        nothing = NoPayload(
            "nothing is hidden here, or the hidden data was lost (resized, cropped, rotated, filtered, or "
            "compressed more strongly than the sender promised)"
        )
        if len(self._luma) < FEWEST_BLOCKS:
            raise nothing
        at = _header_places(len(self._luma))
        found = np.einsum("np,np->n", self._luma[at.block], BASIS[at.coefficient])
        wave = np.cos((found - at.dither) / _HEADER_SPACING * np.pi)  # 1: surely a 0, -1: surely a 1
        votes = wave.reshape(-1, _HEADER_BITS).sum(axis=0)
        code = np.packbits(votes < 0).tobytes()
        trust = np.abs(votes).reshape(-1, 8).min(axis=1)
        corrected = decode(code, HEADER, _HEADER_PARITY, trust)
        if corrected.lost:
            raise nothing
        return corrected.content


# --- the header -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class _HeaderPlaces:
    block: np.ndarray
    coefficient: np.ndarray
    dither: np.ndarray


@lru_cache(maxsize=4)
def _header_places(count: int) -> _HeaderPlaces:
    """Return block, coefficient and shift of each bit of the header's copies in a picture of `count` blocks.

    They need no key, because the keys depend on the nonce, which is in the header.
    """
    copies = min(max(1, count // _BLOCKS_A_COPY), _MOST_COPIES)
    length = copies * _HEADER_BITS
    assert length <= count * len(_HEADER_COEFFICIENTS)
    key = hmac.digest(NAME, b"places of the robust header", "sha256")
    words = np.frombuffer(keystream(key, 8 * count + 2 * length).tobytes(), "<u2")
    order = np.argsort(words[: 4 * count].view("<u8"), kind="stable")
    at = np.arange(length)
    dither = words[4 * count :].astype(np.float32) / 2**16 * 2 * _HEADER_SPACING
    return _HeaderPlaces(order[at % count], _HEADER_COEFFICIENTS[at // count], dither)


def sealed_header(setting: Setting, length: int, keys: Subkeys, nonce: bytes) -> bytes:
    """Return the header of a payload of `length` bytes."""
    fixed = _FIXED.pack(setting.quality, setting.spacing, setting.bits, setting.parity, length)
    body = nonce + _version(nonce, VERSION) + _masked(fixed, keys)
    return body + _check(body, keys)


def opened_header(header: bytes, key: Key) -> tuple[Setting, int, Subkeys]:
    """Open a header. Returns (setting, length of the payload in bytes, keys).

    Raises WrongKey, or ContainerError for another version or a setting that this program does not write.
    """
    nonce, body = header[:NONCE], header[:-_CHECK]
    version = _version(nonce, header[NONCE])[0]
    if version != VERSION:
        raise ContainerError(
            f"hidden in a container of version {version}, but this program reads version {VERSION}: "
            f"reveal it with the {'earlier' if version < VERSION else 'newer'} program that hid it"
        )
    keys = key.derive(nonce)
    if not hmac.compare_digest(_check(body, keys), header[-_CHECK:]):
        if key.is_public:
            raise WrongKey(f"hidden under a key: {SAME_KEY}")
        public = PUBLIC.derive(nonce)
        if hmac.compare_digest(_check(body, public), header[-_CHECK:]):
            raise WrongKey(NO_KEY)
        raise WrongKey(f"hidden under another key: {SAME_KEY}")
    *setting, length = _FIXED.unpack(_masked(header[NONCE + 1 : -_CHECK], keys))
    try:
        return Setting(*setting), length, keys
    except UserError as error:
        raise ContainerError(f"the header is not what this program writes ({error})") from error


def _version(nonce: bytes, value: int) -> bytes:
    """Mask a byte so that it looks random. The function is its own inverse."""
    return bytes([hmac.digest(NAME + b" robust", nonce, "sha256")[0] ^ value])


def _masked(content: bytes, keys: Subkeys) -> bytes:
    return bytes(a ^ b for a, b in zip(content, keystream(keys.header, len(content)).tolist(), strict=True))


def _check(body: bytes, keys: Subkeys) -> bytes:
    return hmac.digest(keys.header, body, "sha256")[:_CHECK]


__all__ = [
    "Places",
    "Received",
    "Setting",
    "content_that_fits",
    "opened_header",
    "code_room",
    "sealed_header",
    "write",
]
