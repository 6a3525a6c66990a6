"""A person's own pictures: hide some in a cover file, reveal them from a stego file."""

from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from channel.promise import LOWEST, jpeg_file
from container.codecs import resized
from container.header import NO_WEIGHTS, ContainerError, Damaged, NoPayload, hidden_with
from container.keys import PUBLIC, Key
from container.notes import Note, file_names, numbered, pack_note, unpack_note
from container.payload import MOST_PIXELS, check_sizes
from container.robust import Received
from data.files import replaced_at_once
from data.images import (
    LOSSLESS_FORMATS,
    icc_profile,
    list_pictures,
    picture_format,
    picture_size,
    read_picture,
    to_array,
    to_tensor,
    write_picture,
)
from data.memory import free_memory
from data.transforms import fit_secret, unfit_secret
from errors import UserError
from metrics.image import psnr
from models import MODELS, HidingModel, KeyedMethod
from models.base import EMPTY
from models.codec_dct import OWN_JPEG, CodecDCT

JPEG_SUFFIXES = (".jpg", ".jpeg")


@dataclass
class HiddenFile:
    """What `hide_files` did: the stego's path and PSNR (dB, RGB), and which file went to which place.

    revealed: for codec_dct the PSNR of each secret as it comes back from the file [dB, RGB].
    """

    stego: Path
    psnr: float
    secrets: list[Path]
    empty: int
    resized: list[Path]
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
) -> HiddenFile:
    """Hide picture files in a cover file and write the stego, losslessly.

    secrets: files, or one folder (sorted by name). They are brought to the cover's size: "stretch"
    fills it, "pad" keeps their shape between grey bars; methods with `own_sizes` take them as they are.
    key, marked: for keyed methods, see `KeyedMethod.seal`. longest_side: see `hide_in_memory`. codec_dct
    also writes JPEG, and reveals from the very file before it gets its name. Raises UserError before
    anything is written: too many secrets, a lossy or existing `out` (without `force`), a cover that is
    too small.
    """
    out = Path(out)
    check_output(out, force, jpeg=isinstance(model, CodecDCT))
    check_keyed(model, not key.is_public, marked=marked)
    files = listed(secrets)
    for what, path in (("the cover", Path(cover)), *(("a secret", file) for file in files)):
        if out.exists() and path.exists() and out.samefile(path):
            raise UserError(f"{out}: that is {what}; give the stego another name")
    if isinstance(model, CodecDCT):
        model.sent_as_jpeg = out.suffix.lower() in JPEG_SUFFIXES
    profile = icc_profile(cover)
    hidden = hide_in_memory(model, cover, files, fit, key, marked, longest_side)
    if isinstance(model, CodecDCT):
        stego, revealed = _written_and_revealed(model, out, hidden, key, profile)
    else:
        write_picture(out, hidden.stego, profile)
        stego, revealed = hidden.stego, []
    empty = 0 if _own_sizes(model) else model.num_secrets - len(files)
    return HiddenFile(out, psnr(hidden.cover, stego), files, empty, hidden.resized, revealed)


class InMemory(NamedTuple):
    """Cover and stego (H,W,3), secrets as they were hidden (3,h,w), uint8; files that were resized."""

    cover: np.ndarray
    stego: np.ndarray
    secrets: list[torch.Tensor]
    resized: list[Path]


def hide_in_memory(
    model: HidingModel,
    cover: str | Path,
    files: list[Path],
    fit: str = "stretch",
    key: Key = PUBLIC,
    marked: bool = True,
    longest_side: int | None = None,
) -> InMemory:
    """What `hide_files` does before it writes. longest_side: a larger cover is made so small first [px]."""
    own_sizes = _own_sizes(model)
    most = model.num_secrets
    if isinstance(model, KeyedMethod):
        most = model.most_secrets or most
    if len(files) > most:
        raise UserError(f"{len(files)} secrets, but these weights hide at most {most} in one cover")
    cover_array = _no_larger(read_picture(cover), longest_side)
    height, width = cover_array.shape[:2]
    if not own_sizes and (height < model.smallest[0] or width < model.smallest[1]):
        raise UserError(
            f"{cover}: {width}x{height} pixels are too few to hide {model.num_secrets} pictures, at "
            f"least {model.smallest[1]}x{model.smallest[0]} are needed"
        )
    sizes = [picture_size(file) for file in files]  # read from the files' headers: too many are told at once
    if own_sizes:
        check_sizes(sizes)
    hidden, changed = [], []
    for file, size in zip(files, sizes, strict=True):  # one at a time: there may be 25 of a phone's pictures
        array = read_picture(file)
        if not own_sizes and size != (height, width):
            changed.append(file)
            array = fit_secret(array, height, width, fit)
        hidden.append(to_tensor(array))
    model.room = free_memory(model.device)
    if isinstance(model, KeyedMethod):
        names = [file.name for file in files]
        note = pack_note(Note("own", [], names) if own_sizes else Note(fit, sizes, []))
        try:
            stego = to_array(model.seal(to_tensor(cover_array), hidden, key, note, marked))
        except UserError as error:
            raise UserError(f"{cover}: {error}") from error
    else:
        stego = to_array(model.hide(to_tensor(cover_array)[None], torch.stack(hidden)[None])[0])
    return InMemory(cover_array, stego, hidden, changed)


def _own_sizes(model: HidingModel) -> bool:
    return isinstance(model, KeyedMethod) and model.own_sizes


def _no_larger(picture: np.ndarray, longest_side: int | None) -> np.ndarray:
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
        secrets, _ = model.unseal(to_tensor(stego), key)
    pairs = zip(hidden.secrets, secrets, strict=True)
    return stego, [psnr(to_array(one), to_array(back)) for one, back in pairs]


@dataclass
class RevealedFiles:
    """What `reveal_files` wrote, the numbers of the places that look empty (counted from 1), and whether the
    stego was changed after hiding (always False with methods that have no key)."""

    written: list[Path]
    empty: list[int]
    damaged: bool = False


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

    Keyed methods know how many there are, their sizes, and some their names: they come back so, and
    `damaged_ok` reveals what can be revealed of a stego that was changed. With other methods, places
    that were left empty come back as plain mid-grey and are not written, unless `keep_empty`.

    Raises UserError before anything is written: a lossy file, one that is too small to be a stego of these
    weights, one that the key does not open, files that are there already (without `force`).
    """
    stego, out = Path(stego), Path(out)
    check_keyed(model, not key.is_public, damaged_ok=damaged_ok)
    if out.exists() and not out.is_dir():
        raise UserError(f"{out}: a file, expected a folder to put the revealed pictures in")
    picture = read_picture(stego) if takes_lossy(model) else read_stego(stego)
    height, width = picture.shape[:2]
    own_sizes = isinstance(model, KeyedMethod) and model.own_sizes
    if not own_sizes and (height < model.smallest[0] or width < model.smallest[1]):
        raise UserError(
            f"{stego}: {width}x{height} pixels; a stego of these weights has at least "
            f"{model.smallest[1]}x{model.smallest[0]}"
        )
    damaged = False
    model.room = free_memory(model.device)
    if isinstance(model, KeyedMethod):
        try:
            try:
                revealed = _unsealed(model, picture, key)
            except Damaged:
                if not damaged_ok:
                    raise
                damaged, revealed = True, _unsealed(model, picture, key, damaged_ok)
        except ContainerError as error:
            raise type(error)(f"{stego}: {error}") from error
        paths = [out / name for name in usable_names(out, list(revealed))]
        _check_free(paths, force)
        if out.is_dir() and any(path.exists() and path.samefile(stego) for path in paths):
            raise UserError(f"{stego}: a secret has this very name; choose another folder for --out")
        arrays = list(revealed.values())
    else:
        paths = [out / name for name in file_names([], model.num_secrets)]
        _check_free(paths, force)
        arrays = [to_array(secret) for secret in model.reveal(to_tensor(picture)[None])[0]]
    keyed = isinstance(model, KeyedMethod)
    empty = [k for k, array in enumerate(arrays, 1) if not keyed and looks_empty(array)]
    kept = [k for k in range(1, len(arrays) + 1) if keep_empty or k not in empty]
    out.mkdir(parents=True, exist_ok=True)
    written = [paths[k - 1] for k in kept]
    with ExitStack() as together:  # all of them or none: a full disk leaves no half of an album
        for k in kept:
            part = together.enter_context(replaced_at_once(paths[k - 1]))
            Image.fromarray(arrays[k - 1]).save(part, format="PNG")
    for path in set(paths) - set(written):
        path.unlink(missing_ok=True)  # with force: no stale picture of an earlier reveal
    return RevealedFiles(written, empty, damaged)


def _unsealed(
    model: KeyedMethod, stego: np.ndarray, key: Key, damaged_ok: bool = False
) -> dict[str, np.ndarray]:
    """The secrets of a keyed stego, (h,w,3) uint8 at their own sizes, by the names of their files."""
    secrets, content = model.unseal(to_tensor(stego), key, damaged_ok)
    arrays = [to_array(secret) for secret in secrets]
    note = unpack_note(content, len(arrays))
    if note.fit != "own":
        if (pixels := sum(height * width for height, width in note.sizes)) > MOST_PIXELS:
            raise ContainerError(f"its note asks for pictures of {pixels} pixels in all, too large")
        arrays = [unfit_secret(a, *size, note.fit) for a, size in zip(arrays, note.sizes, strict=True)]
    return dict(zip(file_names(note.names, len(arrays)), arrays, strict=True))


def usable_names(out: Path, names: list[str]) -> list[str]:
    """The names, with secret_01.png and so on for those that the file system of `out` refuses."""
    folder = next(place for place in (out, *out.absolute().parents) if place.is_dir())
    usable: list[str] = []
    for k, name in enumerate(names):
        try:
            (folder / name).lstat()
        except FileNotFoundError:
            pass
        except OSError:  # too long, or letters that it does not have
            name = f"{numbered(k)}.png"
            while name in names or name in usable:
                name = f"_{name}"
        usable.append(name)
    return usable


def _check_free(paths: list[Path], force: bool) -> None:
    for path in paths:
        if path.exists() and not force:
            raise UserError(f"{path}: exists already; --force replaces it")


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


def looks_empty(picture: np.ndarray) -> bool:
    """Whether a revealed picture is flat mid-grey to within 8 grey levels (RMS), as empty places mostly are.

    Strict on purpose: a picture too many is a nuisance, a real one that is not written is a loss.
    """
    return psnr(picture, np.full_like(picture, EMPTY)) > 30


def listed(secrets: list[str | Path]) -> list[Path]:
    """The picture files that a person named: files, and folders of them."""
    return [file for secret in secrets for file in list_pictures(str(secret))]


def takes_lossy(model: HidingModel) -> bool:
    """Whether a stego may arrive as a JPEG, WebP or AVIF file.

    codec_dct's may, and that of a network without a key whose training had one of these in its channel.
    """
    if isinstance(model, KeyedMethod):
        return isinstance(model, CodecDCT)
    return any(link["type"] in LOWEST for chain in model.trained_channel for link in chain)


def read_stego(path: str | Path) -> np.ndarray:
    """A lossless stego file -> (H,W,3) uint8. Raises UserError for a format or mode that cannot be one."""
    if not _is_lossless(path):
        kind, mode = picture_format(path)
        raise UserError(
            f"{path}: a {kind} file in mode {mode} is not what hide.py wrote (PNG, BMP or TIFF in RGB); "
            "converting a stego loses what is hidden in it, unless codec_dct hid it, or a network that was "
            "trained for it"
        )
    return read_picture(path)


def _is_lossless(path: str | Path) -> bool:
    kind, mode = picture_format(path)
    return kind in LOSSLESS_FORMATS.values() and mode == "RGB"


def hider_of(stego: str | Path, key: Key) -> tuple[str, bytes]:
    """(method, fingerprint) that a keyed stego was hidden with. Raises NoPayload or WrongKey.

    A lossless file is looked at for a container in its samples first; then any file for one that outlives
    compression.
    """
    picture = read_picture(stego)
    try:
        if _is_lossless(stego):
            try:
                return hidden_with(picture.reshape(-1), (picture.shape[0], picture.shape[1]), key)
            except NoPayload:
                pass
        Received(picture).header()
        return "codec_dct", NO_WEIGHTS
    except NoPayload as error:
        raise NoPayload(
            f"{stego}: {error}, or by a method without a key: say which with --weights"
        ) from error
    except ContainerError as error:
        raise type(error)(f"{stego}: {error}") from error


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
