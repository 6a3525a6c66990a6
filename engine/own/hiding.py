"""Hide the user's own pictures and files in a cover file."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from PIL import Image

from channel.promise import jpeg_file
from container.codecs import resized
from container.keys import PUBLIC, Key
from container.notes import Album, Note, pack_note
from container.payload import check_sizes
from data.files import replaced_at_once
from data.images import (
    LOSSLESS_FORMATS,
    icc_profile,
    picture_size,
    read_picture,
    to_array,
    to_tensor,
    write_picture,
)
from data.memory import free_memory
from data.transforms import fit_secret
from engine.own.decoy import Decoy, check_decoy, seal_both
from engine.own.secrets import Secrets, chosen, read_files
from errors import UserError
from metrics.image import psnr
from models import MODELS, HidingModel, KeyedMethod
from models.codec_dct import OWN_JPEG, CodecDCT
from models.keyed import Content

T = TypeVar("T")
JPEG_SUFFIXES = (".jpg", ".jpeg")


@dataclass
class HiddenFile:
    """What `hide_files` did.

    stego: the file. psnr: of the stego against the cover [dB, RGB]. secrets: what was hidden.
    empty: how many places stay empty. resized: the secrets that were brought to the cover's size.
    pictures: the cover, and the stego as it is sent, (H,W,3) uint8.
    revealed: for codec_dct, the PSNR of each picture as it comes back from the file [dB, RGB].
    """

    stego: Path
    psnr: float
    secrets: Secrets
    empty: int
    resized: list[Path]
    pictures: tuple[np.ndarray, np.ndarray]
    revealed: list[float] = field(default_factory=list)


def hide_files(
    model: HidingModel,
    cover: str | Path,
    secrets: list[str | Path],
    out: str | Path,
    fit: str = "stretch",
    force: bool = False,
    key: Key = PUBLIC,
    marked: bool = True,
    longest_side: int | None = None,
    exact: bool = False,
    decoy: Decoy | None = None,
) -> HiddenFile:
    """Hide files in a cover file and write the stego losslessly; codec_dct can also write JPEG.

    secrets, exact: see `chosen` in engine/own/secrets.py.
    fit: how to bring pictures to the cover's size. "stretch" fills it, "pad" keeps their shape and adds grey
        bars. Methods with `own_sizes` keep pictures as they are.
    key, marked: for keyed methods, see `KeyedMethod.seal`.
    longest_side, decoy: see `hide_in_memory`.

    codec_dct reveals from the written file before that file gets its name. Raises UserError before anything
    is written: for too many secrets, a lossy or existing `out` (without `force`), or a cover that is too
    small.
    """
    out = Path(out)
    wanted = chosen(secrets, exact, takes_files(model))
    return write_hidden(model, cover, wanted, out, fit, force, key, marked, longest_side, decoy)


def write_hidden(
    model: HidingModel,
    cover: str | Path,
    wanted: Secrets,
    out: Path,
    fit: str = "stretch",
    force: bool = False,
    key: Key = PUBLIC,
    marked: bool = True,
    longest_side: int | None = None,
    decoy: Decoy | None = None,
    album: Album | None = None,
) -> HiddenFile:
    """Like `hide_files`, for secrets that are chosen already. album: set if the stego is one of several."""
    check_output(out, force, jpeg=isinstance(model, CodecDCT))
    check_keyed(model, not key.is_public, marked=marked)
    for what, path in (("the cover", Path(cover)), *(("a secret", file) for file in wanted.all)):
        if out.exists() and path.exists() and out.samefile(path):
            raise UserError(f"{out}: this file is {what}; give the stego another name")
    if isinstance(model, CodecDCT):
        model.sent_as_jpeg = out.suffix.lower() in JPEG_SUFFIXES
    profile = icc_profile(cover)
    hidden = hide_in_memory(model, cover, wanted, fit, key, marked, longest_side, decoy, album)
    if isinstance(model, CodecDCT):
        stego, revealed = _written_and_revealed(model, out, hidden, key, profile)
    else:
        write_picture(out, hidden.stego, profile)
        stego, revealed = hidden.stego, []
    empty = 0 if _own_sizes(model) else model.num_secrets - len(wanted.pictures)
    pictures = hidden.cover, stego
    return HiddenFile(out, psnr(*pictures), wanted, empty, hidden.resized, pictures, revealed)


class InMemory(NamedTuple):
    """Cover and stego (H,W,3), the secrets as they were hidden (3,h,w), all uint8, and the resized files."""

    cover: np.ndarray
    stego: np.ndarray
    secrets: list[torch.Tensor]
    resized: list[Path]


def hide_in_memory(
    model: HidingModel,
    cover: str | Path,
    wanted: Secrets,
    fit: str = "stretch",
    key: Key = PUBLIC,
    marked: bool = True,
    longest_side: int | None = None,
    decoy: Decoy | None = None,
    album: Album | None = None,
) -> InMemory:
    """Do what `hide_files` does, up to the point where it writes.

    wanted: see `chosen`. longest_side: shrink a larger cover to this first [px]. decoy: what to hide beside
    the secrets, see `seal_both`. album: set if the stego is one of several. Raises UserError as `hide_files`.
    """
    if decoy is not None:
        check_decoy(model, key, decoy)
        _check_secrets(model, cover, decoy.secrets)
    _check_secrets(model, cover, wanted)
    array = no_larger(read_picture(cover), longest_side)
    height, width = array.shape[:2]
    if not _own_sizes(model) and (height < model.smallest[0] or width < model.smallest[1]):
        raise UserError(
            f"{cover}: {width}x{height} pixels are too few for this network; the cover needs at least "
            f"{model.smallest[1]}x{model.smallest[0]}"
        )
    content, changed = _content(model, wanted, array.shape, fit, album)
    model.room = free_memory(model.device)
    if not isinstance(model, KeyedMethod):
        hidden = model.hide(to_tensor(array)[None], torch.stack(content.secrets)[None])
        return InMemory(array, to_array(hidden[0]), content.secrets, changed)
    try:
        if decoy is None:
            cover_tensor = to_tensor(array)
            sealed = model.seal(cover_tensor, content.secrets, key, content.note, marked, content.files)
            stego = to_array(sealed)
        else:
            other = _content(model, decoy.secrets, array.shape, fit)[0]
            stego = seal_both(model, array, (content, key), (other, decoy.key), marked)
    except UserError as error:
        raise UserError(f"{cover}: {error}") from error
    return InMemory(array, stego, content.secrets, changed)


def most_secrets(model: HidingModel) -> int:
    """Return how many secrets a method can hide in one cover."""
    own = model.most_secrets if isinstance(model, KeyedMethod) else None
    return own or model.num_secrets


def _check_secrets(model: HidingModel, cover: str | Path, wanted: Secrets) -> None:
    """Raise UserError for too many secrets, and if the cover is one of them."""
    if len(wanted.all) > (most := most_secrets(model)):
        hider = f"these weights of '{model.method}' hide" if model.trainable else f"'{model.method}' hides"
        raise UserError(f"{len(wanted.all)} secrets, but {hider} at most {most} in one cover; hide fewer")
    check_not_cover(cover, wanted)


def check_not_cover(cover: str | Path, wanted: Secrets) -> None:
    """Raise UserError if the cover is one of the secrets."""
    for file in wanted.all:
        if Path(cover).exists() and file.samefile(cover):
            raise UserError(f"{file}: this secret is the cover itself; hide it in another picture")


def _content(
    model: HidingModel, wanted: Secrets, shape: tuple[int, ...], fit: str, album: Album | None = None
) -> tuple[Content, list[Path]]:
    """Return what to hide in a cover of this shape (H,W,3), and the pictures that were resized for it."""
    height, width = shape[:2]
    own_sizes = _own_sizes(model)
    # Sizes come from the files' headers, so that pictures that are too large are refused at once.
    sizes = [_readable(picture_size, file, model) for file in wanted.pictures]
    if own_sizes:
        check_sizes(sizes)
    files = read_files(wanted.files, 3 * height * width)  # a sample holds less than a byte
    pictures, changed = [], []
    # Read one picture at a time: there may be 25 pictures from a phone.
    for file, size in zip(wanted.pictures, sizes, strict=True):
        array = _readable(read_picture, file, model)
        if not own_sizes and size != (height, width):
            changed.append(file)
            array = fit_secret(array, height, width, fit)
        pictures.append(to_tensor(array))
    names = [file.name for file in wanted.pictures]
    note = Note("own", [], names, album) if own_sizes else Note(fit, sizes, [], album)
    return Content(pictures, pack_note(note) if isinstance(model, KeyedMethod) else b"", files), changed


def takes_files(model: HidingModel) -> bool:
    """Say whether the method hides files of any kind, not only pictures."""
    return isinstance(model, KeyedMethod) and model.takes_files


def _readable(read: Callable[[Path], T], file: Path, model: HidingModel) -> T:
    """Return what `read` makes of a secret. Adds a hint to its UserError if --exact would help."""
    try:
        return read(file)
    except UserError as error:
        hint = "; --exact hides it as it is" if takes_files(model) else ""
        raise UserError(f"{error}{hint}") from error


def _own_sizes(model: HidingModel) -> bool:
    return isinstance(model, KeyedMethod) and model.own_sizes


def no_larger(picture: np.ndarray, longest_side: int | None) -> np.ndarray:
    """Shrink a picture (H,W,3) uint8 if its longer side has more pixels than `longest_side`; None: never.

    Raises UserError if `longest_side` is below 1.
    """
    if longest_side is not None and longest_side < 1:
        raise UserError(f"--longest-side: must be at least 1 px, got {longest_side}")
    longer = max(picture.shape[:2])
    if longest_side is None or longer <= longest_side:
        return picture
    height, width = (max(1, round(side * longest_side / longer)) for side in picture.shape[:2])
    return resized(picture, height, width)


def _written_and_revealed(
    model: CodecDCT, out: Path, hidden: InMemory, key: Key, profile: bytes | None
) -> tuple[np.ndarray, list[float]]:
    """Write a stego, but only if its secrets can be revealed from the written file.

    Returns the stego as read back, and the PSNR of each secret [dB].
    """
    with replaced_at_once(out) as part:
        if model.sent_as_jpeg:
            part.write_bytes(jpeg_file(hidden.stego, OWN_JPEG.quality, OWN_JPEG.subsampling, profile))
        else:
            kind = LOSSLESS_FORMATS[out.suffix.lower()]
            Image.fromarray(hidden.stego).save(part, format=kind, icc_profile=profile)
        stego = read_picture(part)
        secrets = model.opened(to_tensor(stego), key).secrets
    pairs = zip(hidden.secrets, secrets, strict=True)
    return stego, [psnr(to_array(one), to_array(back)) for one, back in pairs]


def check_keyed(
    model: HidingModel, passphrase: bool = False, marked: bool = True, damaged_ok: bool = False
) -> None:
    """Raise UserError if a method without a key is asked for something that only keyed methods have."""
    if isinstance(model, KeyedMethod) or not (passphrase or damaged_ok or not marked):
        return
    asked = "a passphrase or key file" if passphrase else "--unmarked" if not marked else "--damaged"
    keyed = ", ".join(name for name, method in MODELS.items() if issubclass(method, KeyedMethod))
    raise UserError(
        f"{asked}: '{model.method}' has no key and encrypts nothing; methods with a key are: {keyed}"
    )


def set_sender(
    model: HidingModel,
    modulus: int | None = None,
    shaping: int | None = None,
    payload: float | None = None,
) -> None:
    """Set a model's modulus, shaping and payload. None keeps the model's own value.

    Raises UserError if the method has no such setting, or does not take the value.
    """
    for name, value in (("modulus", modulus), ("shaping", shaping), ("payload", payload)):
        if value is None:
            continue
        if not hasattr(type(model), name):
            raise UserError(f"{name}: '{model.method}' has no such setting; leave out --{name}")
        setattr(model, name, value)


def check_output(out: Path, force: bool, jpeg: bool = False) -> None:
    """Raise UserError unless `out` may be written and names a lossless picture file, or a JPEG if `jpeg`."""
    allowed = (*LOSSLESS_FORMATS, *(JPEG_SUFFIXES if jpeg else ()))
    if out.suffix.lower() not in allowed:
        why = (
            f"the stego must be one of {', '.join(allowed)}"
            if jpeg
            else f"the stego must be lossless ({', '.join(allowed)}); JPEG, WebP and the like change pixel "
            "values and would destroy the hidden pictures (--survive jpeg:75 hides them so that they survive)"
        )
        raise UserError(f"{out}: {why}")
    if out.is_dir():
        raise UserError(f"{out}: a folder; expected a file name")
    if out.exists() and not force:
        raise UserError(f"{out}: exists already; --force replaces it")
    if not out.parent.is_dir():
        raise UserError(f"{out.parent}: no such folder")
