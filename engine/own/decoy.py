"""Two payloads in one picture, each under a key of its own: one to be given away, if need be."""

import secrets
from contextlib import suppress
from typing import NamedTuple

import numpy as np

from container.header import NoPayload, Resized, WrongKey
from container.keys import Key
from data.images import to_array, to_tensor
from engine.own.secrets import Secrets
from errors import UserError
from models import HidingModel, KeyedMethod
from models.codec_lsb import CodecLSB
from models.keyed import Content

ELSEWHERE = (NoPayload, WrongKey, Resized)  # what a header says that is not the one of this key


class Decoy(NamedTuple):
    """What is hidden beside the real secrets, and the key that reveals it alone."""

    secrets: Secrets
    key: Key


def check_decoy(model: HidingModel, key: Key, decoy: Decoy) -> None:
    """Raises UserError unless the method can hide two payloads and each has a passphrase of its own."""
    check_takes_decoy(model)
    if key.is_public or decoy.key.is_public:
        raise UserError("--decoy: the secrets and the decoy each need a passphrase")
    if key == decoy.key:
        raise UserError("--decoy: its passphrase is the secrets' own; whoever has one would see both")


def check_takes_decoy(model: HidingModel) -> None:
    """Raises UserError unless the method can hide two payloads."""
    if not isinstance(model, CodecLSB):
        raise UserError("--decoy: only codec_lsb hides two payloads in one picture; leave out --weights")


def halves(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(H,W,3) -> its upper and its lower rows; the upper half has the middle row of an odd number."""
    middle = (picture.shape[0] + 1) // 2
    return picture[:middle], picture[middle:]


def seal_both(
    model: KeyedMethod, cover: np.ndarray, real: tuple[Content, Key], decoy: tuple[Content, Key], marked: bool
) -> np.ndarray:
    """Hide two payloads in a cover (H,W,3) uint8 -> the stego. Each half holds one; chance chooses which.

    Each is a container of its own, of half the picture, and neither knows of the other. So nothing tells
    which is the real one, but whoever opens one sees that it fills only half the picture.
    """
    order = [real, decoy] if secrets.randbelow(2) else [decoy, real]
    stegos = []
    for half, (content, key) in zip(halves(cover), order, strict=True):
        stego = model.seal(to_tensor(half), content.secrets, key, content.note, marked, content.files)
        stegos.append(to_array(stego))
    return np.concatenate(stegos)


def parts(picture: np.ndarray) -> list[np.ndarray]:
    """Where a payload may lie in a picture: in all of it, or in one of its halves."""
    return [picture, *(half for half in halves(picture) if len(half))]


def opened(model: KeyedMethod, stego: np.ndarray, key: Key, damaged_ok: bool = False) -> Content:
    """As `KeyedMethod.opened`, for a stego (H,W,3) uint8 that may hold two payloads: the key's own."""
    try:
        return model.opened(to_tensor(stego), key, damaged_ok)
    except ELSEWHERE:
        for half in parts(stego)[1:] if isinstance(model, CodecLSB) else ():
            with suppress(*ELSEWHERE):
                return model.opened(to_tensor(half), key, damaged_ok)
        raise
