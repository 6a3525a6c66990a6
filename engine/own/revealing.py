"""Reveal the secrets of a stego file into a folder, or list them."""

from collections.abc import Collection
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from PIL import Image

from channel.promise import LOWEST
from container.header import (
    NO_WEIGHTS,
    ContainerError,
    Damaged,
    NoPayload,
    WrongKey,
    hidden_with,
    if_unmarked,
)
from container.keys import PUBLIC, Key
from container.notes import Album, file_names, numbered, unpack_note
from container.payload import MOST_PIXELS
from container.robust import Received
from data.files import replaced_at_once
from data.images import LOSSLESS_FORMATS, picture_format, read_picture, to_array, to_tensor
from data.memory import free_memory
from data.transforms import unfit_secret
from engine.own.decoy import opened, parts
from engine.own.hiding import check_keyed
from errors import UserError
from metrics.image import psnr
from models import HidingModel, KeyedMethod
from models.base import EMPTY
from models.codec_dct import CodecDCT


@dataclass
class Revealed:
    """What a stego holds.

    secrets: by file name, pictures (h,w,3) uint8 and other files as bytes.
    empty: the numbers, from 1, of the places that look empty. Methods with a key have none.
    damaged: whether the stego was changed after hiding. Methods without a key cannot tell.
    album: set if the stego is one of several.
    """

    secrets: dict[str, np.ndarray | bytes]
    empty: list[int] = field(default_factory=list)
    damaged: bool = False
    album: Album | None = None


@dataclass
class RevealedFiles:
    """The files that `reveal_files` wrote; the other fields are those of `Revealed`."""

    written: list[Path]
    empty: list[int]
    damaged: bool = False
    album: Album | None = None


def reveal_files(
    model: HidingModel,
    stego: str | Path,
    out: str | Path,
    force: bool = False,
    keep_empty: bool = False,
    key: Key = PUBLIC,
    damaged_ok: bool = False,
) -> RevealedFiles:
    """Reveal the secrets of a stego file into a folder, as secret_01.png and so on.

    Keyed methods restore the number and the sizes of the secrets, and some also their names. With other
    methods, places that were left empty come back as plain mid-grey. They are only written with `keep_empty`.

    damaged_ok: see `revealed`. Raises UserError before anything is written: as `revealed` does, and for files
    that exist already (without `force`).
    """
    out = Path(out)
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: a file; expected a folder for the revealed files")
    found = revealed(model, stego, key, damaged_ok)
    dropped = set() if keep_empty else set(found.empty)
    written = write_secrets(found.secrets, out, force, Path(stego), dropped)
    return RevealedFiles(written, found.empty, found.damaged, found.album)


def revealed(model: HidingModel, stego: str | Path, key: Key = PUBLIC, damaged_ok: bool = False) -> Revealed:
    """Return what a stego file holds, without writing anything.

    damaged_ok: reveal as much as possible of a stego that was changed (keyed methods). Raises UserError for a
    lossy file, for a file that is too small to be a stego of these weights, and if the key does not open it.
    """
    stego = Path(stego)
    check_keyed(model, not key.is_public, damaged_ok=damaged_ok)
    picture = read_picture(stego) if takes_lossy(model) else read_stego(stego)
    height, width = picture.shape[:2]
    own_sizes = isinstance(model, KeyedMethod) and model.own_sizes
    if not own_sizes and (height < model.smallest[0] or width < model.smallest[1]):
        raise UserError(
            f"{stego}: {width}x{height} pixels; a stego of these weights has at least "
            f"{model.smallest[1]}x{model.smallest[0]}"
        )
    model.room = free_memory(model.device)
    if isinstance(model, KeyedMethod):
        try:
            try:
                return _unsealed(model, picture, key)
            except Damaged:
                if not damaged_ok:
                    raise
                return replace(_unsealed(model, picture, key, damaged_ok), damaged=True)
        except ContainerError as error:
            raise type(error)(f"{stego}: {error}") from error
    arrays = [to_array(secret) for secret in model.reveal(to_tensor(picture)[None])[0]]
    empty = [k for k, array in enumerate(arrays, 1) if looks_empty(array)]
    return Revealed(dict(zip(file_names([], len(arrays)), arrays, strict=True)), empty)


def write_secrets(
    secrets: dict[str, np.ndarray | bytes],
    out: Path,
    force: bool,
    stego: Path,
    dropped: Collection[int] = (),
) -> list[Path]:
    """Write secrets to a folder, all of them or none, and return their paths.

    dropped: the numbers, from 1, of secrets to leave out. Raises UserError for files that exist already
    (without `force`), and for a secret that would replace the stego.
    """
    paths = [out / name for name in usable_names(out, list(secrets))]
    for path in paths:
        if path.exists() and not force:
            raise UserError(f"{path}: exists already; --force replaces it")
        if path.exists() and stego.exists() and path.samefile(stego):
            raise UserError(f"{stego}: a secret would replace this stego; choose another folder for --out")
    out.mkdir(parents=True, exist_ok=True)
    written = []
    with ExitStack() as together:  # if the disk is full, no file gets its name
        for k, (path, secret) in enumerate(zip(paths, secrets.values(), strict=True), 1):
            if k in dropped:
                continue
            part = together.enter_context(replaced_at_once(path))
            if isinstance(secret, bytes):
                part.write_bytes(secret)
            else:
                Image.fromarray(secret).save(part, format="PNG")
            written.append(path)
    for path in set(paths) - set(written):
        path.unlink(missing_ok=True)  # with force: no stale picture of an earlier reveal
    return written


def contents(found: Revealed) -> list[str]:
    """Return a line with name and size for each secret.

    For an album, a line with the names in each other stego follows.
    """
    secrets = found.secrets
    longest = max(map(len, secrets), default=0)
    lines = []
    for name, secret in secrets.items():
        size = (
            f"{len(secret)} bytes" if isinstance(secret, bytes) else f"{secret.shape[1]}x{secret.shape[0]} px"
        )
        lines.append(f"{name:{longest}}  {size}")
    if found.album is not None:
        for place, names in enumerate(found.album.names):
            if place != found.album.place:
                lines.append(f"in stego {place + 1} of the album: {', '.join(file_names([], 0, names))}")
    return lines


def _unsealed(model: KeyedMethod, stego: np.ndarray, key: Key, damaged_ok: bool = False) -> Revealed:
    """Return what a keyed stego holds, with pictures at their own sizes."""
    content = opened(model, stego, key, damaged_ok)
    arrays = [to_array(secret) for secret in content.secrets]
    note = unpack_note(content.note, len(arrays))
    if note.fit != "own":
        if (pixels := sum(height * width for height, width in note.sizes)) > MOST_PIXELS:
            raise ContainerError(
                f"its note asks for pictures of {pixels} pixels in all; expected at most {MOST_PIXELS}"
            )
        arrays = [unfit_secret(a, *size, note.fit) for a, size in zip(arrays, note.sizes, strict=True)]
    own = note.album.names[note.album.place] if note.album and not note.names else note.names
    names = file_names(own, len(arrays), [file.name for file in content.files])
    everything: list[np.ndarray | bytes] = [*arrays, *(file.content for file in content.files)]
    return Revealed(dict(zip(names, everything, strict=True)), album=note.album)


def usable_names(out: Path, names: list[str]) -> list[str]:
    """Return the names, with secret_01.png and so on for those that the file system of `out` refuses."""
    folder = next(place for place in (out, *out.absolute().parents) if place.is_dir())
    usable: list[str] = []
    for k, name in enumerate(names):
        try:
            (folder / name).lstat()
        except FileNotFoundError:
            pass
        except OSError:  # too long, or characters that the file system does not allow
            suffix = Path(name).suffix
            name = f"{numbered(k)}{suffix if len(suffix) < 10 else ''}"
            while name in names or name in usable:
                name = f"_{name}"
        usable.append(name)
    return usable


def looks_empty(picture: np.ndarray) -> bool:
    """Say whether a revealed picture is flat mid-grey within 8 grey levels (RMS), as most empty places are.

    The limit is strict on purpose: an extra picture is a nuisance, a real one that is not written is a loss.
    """
    return psnr(picture, np.full_like(picture, EMPTY)) > 30


def takes_lossy(model: HidingModel) -> bool:
    """Say whether a stego may arrive as a JPEG, WebP or AVIF file.

    This holds for codec_dct, and for a network without a key that was trained with one of these attacks.
    """
    if isinstance(model, KeyedMethod):
        return isinstance(model, CodecDCT)
    return any(link["type"] in LOWEST for chain in model.trained_channel for link in chain)


def read_stego(path: str | Path) -> np.ndarray:
    """Read a lossless stego file as (H,W,3) uint8. Raises UserError for another format or mode."""
    if not _is_lossless(path):
        kind, mode = picture_format(path)
        raise UserError(
            f"{path}: a {kind} file in mode {mode} is not what hide.py wrote (PNG, BMP or TIFF in RGB); "
            "converting a stego destroys what is hidden in it, unless codec_dct or a network that was "
            "trained for this hid it; ask for the original file"
        )
    return read_picture(path)


def _is_lossless(path: str | Path) -> bool:
    kind, mode = picture_format(path)
    return kind in LOSSLESS_FORMATS.values() and mode == "RGB"


def hider_of(stego: str | Path, key: Key) -> tuple[str, bytes]:
    """Return (method, fingerprint) of what hid a keyed stego.

    If the file is lossless, looks for a container in the samples first. Then looks for one that survives
    compression. Raises NoPayload or WrongKey, both UserErrors, with the path.
    """
    picture, lossless = read_picture(stego), _is_lossless(stego)
    try:
        if lossless:
            try:
                return _hidden_with(picture, key)
            except NoPayload:
                pass
        Received(picture).header()
        return "codec_dct", NO_WEIGHTS
    except NoPayload as error:
        unmarked = f", or {if_unmarked(key)}" if lossless else ""
        raise NoPayload(
            f"{stego}: {error}{unmarked}, or it was hidden by a method without a key: say which with "
            "--weights"
        ) from error
    except ContainerError as error:
        raise type(error)(f"{stego}: {error}") from error


def _hidden_with(picture: np.ndarray, key: Key) -> tuple[str, bytes]:
    """Call `hidden_with` on the picture, or on the half of it that the key opens."""
    first: ContainerError | None = None
    for part in parts(picture):
        try:
            return hidden_with(part.reshape(-1), (part.shape[0], part.shape[1]), key)
        except (NoPayload, WrongKey) as error:
            first = first or error
    assert first is not None
    raise first
