"""Pairs of cover and stego: check them, and split them into pairs to learn from and pairs to test on."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np

from data.images import picture_size
from errors import UserError

DETECTORS = ("stegexpose", "rich", "cnn", "ica", "extract")
# The least number of pairs for (training, test).
LEAST = {"stegexpose": (0, 4), "rich": (8, 4), "cnn": (4, 4), "ica": (10, 4), "extract": (8, 5)}
SMALLEST = 32  # px, the shortest side that a detector accepts

Pairs = list[tuple[Path, Path]]
Marks = Mapping[Path, Iterable[str]]  # stego -> whatever else must not be on both sides of the split


def split(
    pairs: Pairs, digests: dict[Path, str], share: float, seed: int, marks: Marks = MappingProxyType({})
) -> tuple[Pairs, Pairs]:
    """Split into (pairs to learn from, pairs to test on), both in shuffled order.

    share: the share of pairs to learn from. The seed and the names decide the split. Pairs with a common
    file (under any name) or a common mark stay on one side, because a detector would recognise a picture
    that it has seen. digests: {path: checksum of the file's content}.
    """
    groups = connected(pairs, digests, marks)
    shuffled = [groups[k] for k in np.random.default_rng(seed).permutation(len(groups))]
    learn: Pairs = []
    while shuffled and len(learn) + len(shuffled[0]) <= round(share * len(pairs)):
        learn += shuffled.pop(0)
    return learn, [pair for group in shuffled for pair in group]


def connected(pairs: Pairs, digests: dict[Path, str], marks: Marks = MappingProxyType({})) -> list[Pairs]:
    """Group the pairs, sorted by the covers' names. Pairs that share a file or a mark are in one group."""
    groups: list[Pairs] = []
    place: dict[str, Pairs] = {}  # digest -> its group
    for pair in sorted(pairs, key=lambda pair: pair[0].name):
        own = {*(digests[path] for path in pair), *marks.get(pair[1], ())}
        met = [group for group in groups if any(place.get(digest) is group for digest in own)]
        group = met[0] if met else []
        if not met:
            groups.append(group)
        for other in met[1:]:
            group += other
            groups = [one for one in groups if one is not other]
            place.update({digest: group for digest, old in place.items() if old is other})
        group.append(pair)
        place.update(dict.fromkeys(own, group))
    return groups


def without(pairs: Pairs, excluded: Iterable[Path]) -> Pairs:
    """Return the pairs whose cover's name, without the suffix, is not the name of an `excluded` file."""
    names = {path.stem for path in excluded}
    return [pair for pair in pairs if pair[0].stem not in names]


def check_sizes(pairs: Pairs) -> None:
    """Raise UserError for the first cover with a side below SMALLEST pixels."""
    for cover, _ in pairs:
        height, width = picture_size(cover)
        if min(height, width) < SMALLEST:
            raise UserError(f"{cover}: {width}x{height}, expected at least {SMALLEST} pixels a side")


def checked_split(
    detector: str,
    pairs: Pairs,
    digests: dict[Path, str],
    share: float,
    seed: int,
    marks: Marks = MappingProxyType({}),
) -> tuple[Pairs, Pairs]:
    """Split the pairs as `split` does. Raises UserError if a side has fewer pairs than the detector needs."""
    need_learn, need_test = LEAST[detector]
    learn, test = split(pairs, digests, share if need_learn else 0, seed, marks)
    if len(learn) >= need_learn and len(test) >= need_test:
        return learn, test
    if not need_learn:
        raise UserError(
            f"{detector} needs at least {need_test} pairs of cover and stego, but there are {len(pairs)}"
        )
    largest = max(connected(pairs, digests, marks), key=len, default=[])
    why = ""
    if len(largest) > 1:
        why = (
            f"; {len(largest)} pairs ({largest[0][0].name}, {largest[1][0].name}, ...) share a picture, so "
            "they must all be on one side"
        )
    raise UserError(
        f"{detector} needs at least {need_learn} pairs to learn from and {need_test} to test on; "
        f"{len(pairs)} pairs with a train share of {share:g} give {len(learn)} and {len(test)}{why}"
    )


def sharing(pairs: Pairs, digests: dict[Path, str]) -> int:
    """Count the pairs that have a file in common with another pair."""
    return sum(len(group) for group in connected(pairs, digests) if len(group) > 1)


def paths(pairs: Pairs) -> list[Path]:
    """Return all files of the pairs: cover, stego, cover, stego, ..."""
    return [path for pair in pairs for path in pair]


def columns(pairs: Pairs, values: dict) -> tuple[np.ndarray, np.ndarray]:
    """Stack the values of the paths: (those of the covers, those of the stegos)."""
    covers, stegos = (np.stack([values[path] for path in side]) for side in zip(*pairs, strict=True))
    return covers, stegos
