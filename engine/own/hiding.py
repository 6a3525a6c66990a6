"""Hide a person's own pictures and files in a cover file."""

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
    """What `hide_files` did: the stego's path and PSNR (dB, RGB), and what was hidden, place by place.

    pictures: cover and stego as it is sent, (H,W,3) uint8. revealed: for codec_dct the PSNR of each picture
    as it comes back from the file [dB, RGB].
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
    """Hide files in a cover file and write the stego, losslessly.

    secrets, exact: see `chosen` in engine/own/secrets.py. Pictures are brought to the cover's size: "stretch"
    fills it, "pad" keeps their shape between grey bars; methods with `own_sizes` take them as they are.
    key, marked: for keyed methods, see `KeyedMethod.seal`. longest_side, decoy: see `hide_in_memory`.
    codec_dct also writes JPEG, and reveals from the very file before it gets its name. Raises UserError
    before anything is written: too many secrets, a lossy or existing `out` (without `force`), a cover that
    is too small.
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
    """As `hide_files`, for secrets that were chosen. album: if the stego is one of several."""
    check_output(out, force, jpeg=isinstance(model, CodecDCT))
    check_keyed(model, not key.is_public, marked=marked)
    for what, path in (("the cover", Path(cover)), *(("a secret", file) for file in wanted.all)):
        if out.exists() and path.exists() and out.samefile(path):
            raise UserError(f"{out}: that is {what}; give the stego another name")
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
    """Cover and stego (H,W,3), secrets as they were hidden (3,h,w), uint8; files that were resized."""

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
    """What `hide_files` does before it writes.

    wanted: see `chosen`. longest_side: a larger cover is made so small first [px]. decoy: what is hidden
    beside the secrets, see `seal_both`. album: if the stego is one of several.
    """
    if decoy is not None:
        check_decoy(model, key, decoy)
        _check_secrets(model, cover, decoy.secrets)
    _check_secrets(model, cover, wanted)
    array = no_larger(read_picture(cover), longest_side)
    height, width = array.shape[:2]
    if not _own_sizes(model) and (height < model.smallest[0] or width < model.smallest[1]):
        raise UserError(
            f"{cover}: {width}x{height} pixels are too few to hide {model.num_secrets} pictures, at "
            f"least {model.smallest[1]}x{model.smallest[0]} are needed"
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
    """How many secrets a method hides in one cover."""
    own = model.most_secrets if isinstance(model, KeyedMethod) else None
    return own or model.num_secrets


def _check_secrets(model: HidingModel, cover: str | Path, wanted: Secrets) -> None:
    """Raises UserError for too many, and for the cover among them."""
    if len(wanted.all) > (most := most_secrets(model)):
        raise UserError(f"{len(wanted.all)} secrets, but these weights hide at most {most} in one cover")
    check_not_cover(cover, wanted)


def check_not_cover(cover: str | Path, wanted: Secrets) -> None:
    """Raises UserError for the cover among the secrets."""
    for file in wanted.all:
        if Path(cover).exists() and file.samefile(cover):
            raise UserError(f"{file}: is the cover itself; hide it in another picture")


def _content(
    model: HidingModel, wanted: Secrets, shape: tuple[int, ...], fit: str, album: Album | None = None
) -> tuple[Content, list[Path]]:
    """(what is hidden in a cover of this shape (H,W,3), which pictures were resized for it)."""
    height, width = shape[:2]
    own_sizes = _own_sizes(model)
    # Read from the files' headers: too large ones are told at once.
    sizes = [_readable(picture_size, file, model) for file in wanted.pictures]
    if own_sizes:
        check_sizes(sizes)
    files = read_files(wanted.files, 3 * height * width)  # a sample holds less than a byte
    pictures, changed = [], []
    # One at a time: there may be 25 of a phone's pictures.
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
    """Whether it hides any file, and not only pictures."""
    return isinstance(model, KeyedMethod) and model.takes_files


def _readable(read: Callable[[Path], T], file: Path, model: HidingModel) -> T:
    """What `read` makes of a secret. Raises its UserError, and says that --exact helps where it does."""
    try:
        return read(file)
    except UserError as error:
        hint = "; --exact hides it as it is" if takes_files(model) else ""
        raise UserError(f"{error}{hint}") from error


def _own_sizes(model: HidingModel) -> bool:
    return isinstance(model, KeyedMethod) and model.own_sizes


def no_larger(picture: np.ndarray, longest_side: int | None) -> np.ndarray:
    """(H,W,3) uint8, made smaller where its longer side has more pixels."""
    if longest_side is not None and longest_side < 1:
        raise UserError(f"longest_side: must be at least 1 px, got {longest_side}")
    longer = max(picture.shape[:2])
    if longest_side is None or longer <= longest_side:
        return picture
    height, width = (max(1, round(side * longest_side / longer)) for side in picture.shape[:2])
    return resized(picture, height, width)


def _written_and_revealed(
    model: CodecDCT, out: Path, hidden: InMemory, key: Key, profile: bytes | None
) -> tuple[np.ndarray, list[float]]:
    """Write a stego, if what it hides comes back from the very file: (its picture, PSNR of secrets)."""
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
    """Raises UserError where a method without a key is asked for what only a keyed one has."""
    if isinstance(model, KeyedMethod) or not (passphrase or damaged_ok or not marked):
        return
    asked = "a passphrase" if passphrase else "to leave out the mark" if not marked else "to reveal damaged"
    keyed = ", ".join(name for name, method in MODELS.items() if issubclass(method, KeyedMethod))
    raise UserError(
        f"{asked}: these weights of '{model.method}' have no key and encrypt nothing; "
        f"methods with a key are: {keyed}"
    )


def set_sender(
    model: HidingModel,
    modulus: int | None = None,
    shaping: int | None = None,
    payload: float | None = None,
) -> None:
    """Give a model what its sender asked for; None: the model's own stays.

    Raises UserError where the method has no such choice, or takes no such value.
    """
    for name, value in (("modulus", modulus), ("shaping", shaping), ("payload", payload)):
        if value is None:
            continue
        if not hasattr(type(model), name):
            raise UserError(f"a {name}: these weights of '{model.method}' have none")
        setattr(model, name, value)


def check_output(out: Path, force: bool, jpeg: bool = False) -> None:
    """Raises UserError unless `out` is a lossless picture file, or a JPEG if `jpeg`, that may be written."""
    allowed = (*LOSSLESS_FORMATS, *(JPEG_SUFFIXES if jpeg else ()))
    if out.suffix.lower() not in allowed:
        why = (
            f"the stego must be one of {', '.join(allowed)}"
            if jpeg
            else f"the stego must be lossless ({', '.join(allowed)}); JPEG, WebP and the like change pixel "
            "values, and the hidden pictures would be lost (--survive jpeg:75 hides so that they are not)"
        )
        raise UserError(f"{out}: {why}")
    if out.is_dir():
        raise UserError(f"{out}: a folder, expected a file name")
    if out.exists() and not force:
        raise UserError(f"{out}: exists already; --force replaces it")
    if not out.parent.is_dir():
        raise UserError(f"{out.parent}: no such folder")
