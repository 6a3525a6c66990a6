"""Score groups that were hidden and revealed. While one is scored, the next is read and hidden."""

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from container.codecs import PayloadCodec
from engine import processes
from metrics.capacity import Codec, payload
from metrics.image import psnr, score_pair

AHEAD = 2  # how many groups hiding may be ahead of scoring


@dataclass
class Attacked:
    """A stego after an attack: the attack in words, the picture, and what was revealed from it.

    revealed: N pictures (H,W,3) uint8, or None if the method refused the damaged stego.
    """

    attack: str
    stego: np.ndarray
    revealed: list[np.ndarray] | None


@dataclass
class HiddenGroup:
    """One group after hiding and revealing: pictures (H,W,3) uint8, lists of N, and the seconds it took.

    secrets and revealed are empty if only covers and stegos are scored. The seconds are None if another
    program did the hiding. attacked may be a generator: it is read only once.
    """

    index: int
    cover: np.ndarray
    stego: np.ndarray
    secrets: list[np.ndarray]
    revealed: list[np.ndarray]
    seconds_hide: float | None = None
    seconds_reveal: float | None = None
    attacked: Iterable[Attacked] = ()


@dataclass
class Elsewhere:
    """A group that another process hides and scores. Here its pictures only enter the checksum."""

    cover: np.ndarray
    secrets: list[np.ndarray]


@dataclass
class Scores:
    """The scores of groups.

    pairs: a row for each pair. attacks: for each attack, a row for each pair. seconds: (hide, reveal) of each
    group; empty if another program did the hiding. pictures_sha256: a checksum of all covers and secrets.
    codec: the codec that measured the payload; None if the payload was not measured.
    """

    pairs: list[dict] = field(default_factory=list)
    attacks: dict[str, list[dict]] = field(default_factory=dict)
    seconds: list[tuple[float, float]] = field(default_factory=list)
    pictures_sha256: str = ""
    codec: str | None = None


class _Group:
    """A group whose pairs the pool is scoring."""

    def __init__(self, group: HiddenGroup, pool: ThreadPoolExecutor, codec: Codec | None):
        self.group, self.codec = group, codec
        self.cover = pool.submit(score_pair, group.cover, group.stego)
        self.secrets = [pool.submit(self._secret, k) for k in range(len(group.secrets))]
        self.attacked: list[tuple[Attacked, Future, list[Future]]] = []
        for one in group.attacked:
            pairs = zip(group.secrets, one.revealed or (), strict=False)
            scored = [pool.submit(score_pair, *pair) for pair in pairs]
            self.attacked.append((one, pool.submit(psnr, group.stego, one.stego), scored))

    def _secret(self, k: int) -> dict:
        secret, revealed = self.group.secrets[k], self.group.revealed[k]
        row = {"group": self.group.index, "kind": "secret_revealed", "secret": k + 1, "payload_bpp": ""}
        row |= score_pair(secret, revealed)
        if self.codec is not None:
            needed = payload(secret, psnr(secret, revealed), self.codec)
            pixels = self.group.cover.shape[0] * self.group.cover.shape[1]
            row |= {"payload_bpp": needed.bits / pixels, "payload_from": needed.how}
        return row

    def scores(self) -> Scores:
        """Wait until the pool has scored the group, and return its scores."""
        index, found = self.group.index, Scores()
        cover = {"group": index, "kind": "cover_stego", "secret": "", "payload_bpp": ""}
        found.pairs.append(cover | self.cover.result())
        found.pairs += [one.result() for one in self.secrets]
        if self.group.seconds_hide is not None and self.group.seconds_reveal is not None:
            found.seconds.append((self.group.seconds_hide, self.group.seconds_reveal))
        for one, stego, pairs in self.attacked:
            about = {"group": index, "kind": "stego", "revealed": one.revealed is not None}
            rows = found.attacks.setdefault(one.attack, [])
            rows.append(about | {"psnr_rgb": stego.result()})
            rows += [{"group": index, "kind": "secret_revealed", **pair.result()} for pair in pairs]
        return found


def score_groups(
    groups: Iterable[HiddenGroup | Elsewhere],
    capacity: bool = True,
    done: Callable[[HiddenGroup], None] = lambda group: None,
) -> Scores:
    """Return the scores of all groups in order, including those of the other processes of the run.

    groups: may be a generator that reads and hides them one by one. done: called with each group of this
    process. All processes must call this function. The checksum is that of the first process.
    """
    codec = PayloadCodec() if capacity else None  # fails now if it fails, not after hours of work
    digest = hashlib.sha256()
    own: list[Scores] = []
    with processes.together():
        own = list(_scored(groups, codec, digest, done))
    everything = [one for some in processes.gathered(own) for one in some]
    everything.sort(key=lambda one: one.pairs[0]["group"])
    whole = Scores(pictures_sha256=digest.hexdigest(), codec=codec.name if codec else None)
    for one in everything:
        whole.pairs += one.pairs
        whole.seconds += one.seconds
        for attack, rows in one.attacks.items():
            whole.attacks.setdefault(attack, []).extend(rows)
    return whole


def _scored(
    groups: Iterable[HiddenGroup | Elsewhere],
    codec: Codec | None,
    digest: "hashlib._Hash",
    done: Callable[[HiddenGroup], None],
) -> Iterator[Scores]:
    waiting: deque[_Group] = deque()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for group in groups:
            for picture in (group.cover, *group.secrets):
                digest.update(f"{picture.shape}".encode())
                digest.update(picture.tobytes())
            if isinstance(group, Elsewhere):
                continue
            waiting.append(_Group(group, pool, codec))
            done(group)
            if len(waiting) > AHEAD:
                yield waiting.popleft().scores()
        while waiting:
            yield waiting.popleft().scores()
