"""Groups: one cover and the N secrets to hide in it, as fixed lists."""

import csv
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data.files import replaced_at_once
from data.images import beside
from errors import UserError

GROUPINGS = ("random", "sorted")


@dataclass(frozen=True)
class Group:
    """The picture files of one cover and its secrets, all different."""

    cover: Path
    secrets: tuple[Path, ...]


def make_groups(
    pictures: Iterable[Path],
    num_secrets: int,
    count: int | None = None,
    seed: int = 0,
    grouping: str = "random",
    stride: int | None = None,
) -> list[Group]:
    """Group pictures; the result depends neither on their order nor on the folder they are in.

    "random": shuffle the pictures with `seed`, then cut them into groups of 1 cover + N secrets that share no
        picture. If `count` asks for more groups than this gives, shuffle the pictures again.
    "sorted": sort the pictures by path; group g is the N+1 pictures from g*stride on, the cover first.

    count: how many groups; None gives as many as one pass over the pictures gives.
    stride: for "sorted" only [pictures]; None means N+1, so that no picture is used twice.
    Raises UserError if there are too few pictures or an argument is out of range.
    """
    pictures = list(dict.fromkeys(Path(picture) for picture in pictures))
    if grouping not in GROUPINGS:
        raise UserError(f"grouping {grouping!r}: expected {' or '.join(GROUPINGS)}")
    if stride is not None and grouping != "sorted":
        raise UserError(f"stride {stride}: belongs to grouping sorted, not {grouping}")
    for name, value in (("num_secrets", num_secrets), ("count", count), ("stride", stride)):
        if value is not None and value < 1:
            raise UserError(f"{name} {value}: expected 1 or more")
    size = num_secrets + 1
    if len(pictures) < size:
        raise UserError(
            f"a group needs 1 cover + {num_secrets} secrets = {size} pictures, "
            f"but {_common_folder(pictures)} has {len(pictures)}"
        )
    if grouping == "sorted":
        return _sorted_groups(pictures, size, count, stride or size)
    return _random_groups(pictures, size, count or len(pictures) // size, seed)


def _common_folder(pictures: list[Path]) -> str:
    if not pictures:
        return "the list"
    return os.path.commonpath([os.path.abspath(picture.parent) for picture in pictures])


def _random_groups(pictures: list[Path], size: int, count: int, seed: int) -> list[Group]:
    # Sort by file name first, then by the folders from the inside out. So two machines agree on the order
    # even if the pictures come from several folders that are in different places on each machine.
    pictures = sorted(pictures, key=lambda path: path.parts[::-1])
    rng = np.random.default_rng(seed)
    groups: list[Group] = []
    while len(groups) < count:
        order = rng.permutation(len(pictures))
        for start in range(0, len(pictures) - size + 1, size):
            cover, *secrets = (pictures[index] for index in order[start : start + size])
            groups.append(Group(cover, tuple(secrets)))
    return groups[:count]


def _sorted_groups(pictures: list[Path], size: int, count: int | None, stride: int) -> list[Group]:
    pictures = sorted(pictures, key=Path.as_posix)
    possible = (len(pictures) - size) // stride + 1
    if count is not None and count > possible:
        raise UserError(
            f"{count} groups asked for, but with grouping sorted and stride {stride} the {len(pictures)} "
            f"pictures of {_common_folder(pictures)} give only {possible}, of {size} pictures each"
        )
    starts = range(0, (count or possible) * stride, stride)
    return [Group(pictures[s], tuple(pictures[s + 1 : s + size])) for s in starts]


def write_groups(path: str | Path, groups: list[Group]) -> None:
    """Write a CSV file with the header `cover,secret_1,...` and one group per line.

    Paths are relative to the file's folder, with forward slashes, so the file can move together with the
    pictures. All groups must have the same number of secrets. Raises UserError as `replaced_at_once`.
    """
    path = Path(path)
    assert groups and len({len(group.secrets) for group in groups}) == 1
    with replaced_at_once(path) as part, open(part, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_header(len(groups[0].secrets)))
        for group in groups:
            writer.writerow(_written(path, picture) for picture in (group.cover, *group.secrets))


def _header(num_secrets: int) -> list[str]:
    return ["cover", *(f"secret_{k}" for k in range(1, num_secrets + 1))]


def _written(file: Path, picture: Path) -> str:
    try:
        return Path(os.path.relpath(picture, file.parent)).as_posix()
    except ValueError:  # another drive, on Windows
        return Path(os.path.abspath(picture)).as_posix()


def read_groups(path: str | Path, num_secrets: int | None = None) -> list[Group]:
    """Read a groups file that `write_groups` or a person wrote.

    num_secrets: the expected number of secrets; None accepts what the header says.
    Raises UserError with file and line for a wrong header, a wrong number of pictures, a missing picture, or
    a picture that is in a group twice.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: no such groups file")
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            rows = [(reader.line_num, row) for row in reader if row]
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: not a CSV file in UTF-8 ({error})") from error

    header = rows[0][1] if rows else []
    if len(header) < 2 or header != _header(len(header) - 1):
        raise UserError(f"{path}, line 1: expected the header cover,secret_1,secret_2,...")
    if num_secrets not in (None, len(header) - 1):
        raise UserError(f"{path}, line 1: groups of {len(header) - 1} secrets; expected {num_secrets}")
    if len(rows) == 1:
        raise UserError(f"{path}: no groups in it")
    return [_read_row(path, line, row, len(header)) for line, row in rows[1:]]


def _read_row(path: Path, line: int, row: list[str], size: int) -> Group:
    if len(row) != size:
        raise UserError(f"{path}, line {line}: {len(row)} pictures, but the header names {size}")
    pictures = [beside(path, entry) for entry in row]
    for picture in pictures:
        if not picture.is_file():
            raise UserError(f"{path}, line {line}: no such picture: {picture}")
        if pictures.count(picture) > 1:
            raise UserError(f"{path}, line {line}: this picture is twice in the group: {picture}")
    return Group(pictures[0], tuple(pictures[1:]))
