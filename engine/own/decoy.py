"""Two payloads in one picture, each under its own key: the decoy can be given away if necessary."""

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

ELSEWHERE = (NoPayload, WrongKey, Resized)  # errors that a header under another key can raise


class Decoy(NamedTuple):
    """What to hide beside the real secrets, and the key that reveals only this."""

    secrets: Secrets
    key: Key


def check_decoy(model: HidingModel, key: Key, decoy: Decoy) -> None:
    """Raise UserError unless the method can hide two payloads and each has its own passphrase."""
    check_takes_decoy(model)
    if key.is_public or decoy.key.is_public:
        raise UserError("--decoy: the secrets and the decoy each need a passphrase")
    if key == decoy.key:
        raise UserError("--decoy: it has the secrets' passphrase, which would reveal both; give it its own")


def check_takes_decoy(model: HidingModel) -> None:
    """Raise UserError unless the method can hide two payloads."""
    if not isinstance(model, CodecLSB):
        raise UserError("--decoy: only codec_lsb hides two payloads in one picture; leave out --weights")


def halves(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Split a picture (H,W,3) into its upper and lower rows; an odd H gives the upper half one row more."""
    middle = (picture.shape[0] + 1) // 2
    return picture[:middle], picture[middle:]


def seal_both(
    model: KeyedMethod, cover: np.ndarray, real: tuple[Content, Key], decoy: tuple[Content, Key], marked: bool
) -> np.ndarray:
    """Hide two payloads in a cover (H,W,3) uint8 and return the stego. Chance decides which half holds which.

    Each half is a separate container that knows nothing of the other. So nothing tells which one is real, but
    anyone who opens one sees that it fills only half the picture. marked: see `KeyedMethod.seal`.
    """
    order = [real, decoy] if secrets.randbelow(2) else [decoy, real]
    stegos = []
    for half, (content, key) in zip(halves(cover), order, strict=True):
        stego = model.seal(to_tensor(half), content.secrets, key, content.note, marked, content.files)
        stegos.append(to_array(stego))
    return np.concatenate(stegos)


def parts(picture: np.ndarray) -> list[np.ndarray]:
    """Return the parts of a picture that may hold a payload: the whole picture, then its halves."""
    return [picture, *(half for half in halves(picture) if len(half))]


def opened(model: KeyedMethod, stego: np.ndarray, key: Key, damaged_ok: bool = False) -> Content:
    """Like `KeyedMethod.opened`, but for a stego (H,W,3) uint8 that may hold two payloads.

    Returns the payload that the key opens.
    """
    try:
        return model.opened(to_tensor(stego), key, damaged_ok)
    except ELSEWHERE:
        for half in parts(stego)[1:] if isinstance(model, CodecLSB) else ():
            with suppress(*ELSEWHERE):
                return model.opened(to_tensor(half), key, damaged_ok)
        raise
