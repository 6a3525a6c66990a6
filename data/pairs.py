"""Match the pictures of two folders by name, such as covers and stegos, or secrets and revealed."""

from collections.abc import Iterable
from pathlib import Path

from data.images import list_pictures, picture_format, picture_size
from errors import UserError

NAMED = 5  # how many names of each kind an error lists
LOSSY = ("JPEG", "MPO")  # Pillow's names for what cameras and the web call JPEG


def paired_pictures(first: str | Path, second: str | Path) -> list[tuple[Path, Path]]:
    """Return the pictures of two folders as pairs of the same name, as `named_pairs` without the names."""
    return list(named_pairs(first, second).values())


def named_pairs(first: str | Path, second: str | Path) -> dict[str, tuple[Path, Path]]:
    """Return the pictures of two folders (or .txt lists) by name: {name: (first, second)}, sorted.

    A name is the path below the folder without the suffix, or for a list the file name without the suffix. So
    `a.jpg` and `a.png` are a pair. Only reads the headers of the files.
    Raises UserError if a picture has no partner (names at most five on each side), if a name is in a folder
    twice, and if the pictures of a pair have different sizes.
    """
    covers, stegos = _by_name(first), _by_name(second)
    alone = [
        f"{folder} has {len(own)} of {len(all_of_them)} pictures without a partner ({_named(own)})"
        for folder, all_of_them, own in (
            (first, covers, sorted(covers.keys() - stegos.keys())),
            (second, stegos, sorted(stegos.keys() - covers.keys())),
        )
        if own
    ]
    if alone:
        raise UserError(
            f"{first} and {second} do not match: {'; '.join(alone)}. "
            "The pictures of a pair have the same name in both folders, apart from the suffix"
        )
    pairs = {name: (covers[name], stegos[name]) for name in sorted(covers)}
    differing = [
        f"{cover.name} {width}x{height}, {stego.name} {w}x{h}"
        for cover, stego in pairs.values()
        for (height, width), (h, w) in [(picture_size(cover), picture_size(stego))]
        if (height, width) != (h, w)
    ]
    if differing:
        raise UserError(
            f"{first} and {second}: {len(differing)} of {len(pairs)} pairs have different sizes "
            f"({_named(differing)}); compare the original pictures, not resized ones"
        )
    return pairs


def lossy_pictures(paths: Iterable[Path]) -> list[Path]:
    """Return the files that are JPEG by their content: JPEG destroys what was hidden in the pixels."""
    return [path for path in paths if picture_format(path)[0] in LOSSY]


def _by_name(folder: str | Path) -> dict[str, Path]:
    root = Path(folder).expanduser()
    found: dict[str, Path] = {}
    for path in list_pictures(folder):
        name = (path.relative_to(root) if root.is_dir() else Path(path.name)).with_suffix("").as_posix()
        if name in found:
            raise UserError(
                f"{folder}: {found[name].name} and {path.name} have the same name; keep one of them"
            )
        found[name] = path
    return found


def _named(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more
