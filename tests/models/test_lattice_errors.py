"""SMILENet-L: what is wrong with a stego is told apart, and what is refused."""

import pytest
import torch

from container.header import (
    ContainerError,
    Damaged,
    NoPayload,
    OtherWeights,
    WrongKey,
    header_samples,
)
from container.keys import Key
from models import build_model
from tests.common import forged, noise
from tests.models.test_lattice import TINY, pictures, tiny


def test_what_is_wrong_is_told_apart():
    net = tiny()
    stego = net.seal(pictures(1)[0], pictures(4), Key("right"))
    with pytest.raises(WrongKey):
        net.unseal(stego, Key("wrong"))
    with pytest.raises(WrongKey, match="hidden under a key"):
        net.unseal(stego)
    with pytest.raises(NoPayload):
        net.unseal(pictures(1, seed=3)[0], Key("right"))
    with pytest.raises(Damaged, match="80"):
        net.unseal(stego[:, :40].clone(), Key("right"))
    changed = stego.clone()
    changed[1, 60, 60] ^= 1
    with pytest.raises(Damaged):
        net.unseal(changed, Key("right"))
    assert len(net.unseal(changed, Key("right"), damaged_ok=True)[0]) == 4
    bit = stego.clone()
    bit[0, 0, 70] ^= 1  # the header's, in which the mosaic has no part: corrected
    with pytest.raises(Damaged):
        net.unseal(bit, Key("right"))
    for ours, theirs in zip(
        net.unseal(bit, Key("right"), damaged_ok=True)[0], net.unseal(stego, Key("right"))[0], strict=True
    ):
        assert torch.equal(ours, theirs)
    other = tiny()
    other.fingerprint = b"12345678"
    with pytest.raises(OtherWeights):
        other.unseal(stego, Key("right"))


@pytest.mark.parametrize(
    "note, shaping",
    [
        *((note, 0) for note in (b"", b"\x0c", b"\x0c\0\0\0", b"\x0c\5\0\0", b"\x0c\1\0\1", b"\0\1\0\0")),
        (b"\x0b\1\0\0", 64),
    ],
)
def test_a_foreign_header_under_the_public_key(note, shaping):
    """Anybody can write one: no note, no secrets, more than places, a note beyond its end, M = 0, a trellis
    with an odd M."""
    net = tiny()
    with pytest.raises(ContainerError, match="not SMILENet-L's"):
        net.unseal(forged(net, noise((3, 80, 96)), note, shaping))


def test_a_cover_that_is_too_small():
    net = tiny(5, 5)
    side = net.smallest[0]
    assert len(net.unseal(net.seal(*_square(side, 25)))[0]) == 25
    with pytest.raises(ValueError, match="too small"):
        net.seal(*_square(side - 1, 25))
    with pytest.raises(ValueError, match="too small: the header takes"):
        net.seal(*_square(side, 25), Key(), b"x" * 5000)
    with pytest.raises(ValueError, match="note: 70000 bytes"):
        net.seal(*_square(side, 25), Key(), b"x" * 70_000)


def test_a_header_that_takes_every_sample():
    net, cover, secrets = tiny(), pictures(1, 41, 40)[0], pictures(4, 41, 40)
    room = (41 * 40 * 3 - header_samples(1)) // 8 - 3  # a note of one byte pays for the tag
    revealed, note = net.unseal(net.seal(cover, secrets, Key(), b"x" * room))
    assert note == b"x" * room and len(revealed) == 4
    with pytest.raises(ValueError, match="too small: the header takes"):
        net.seal(cover, secrets, Key(), b"x" * (room + 1))


def _square(side, count):
    return pictures(1, side, side, seed=5)[0], pictures(count, side, side)


@pytest.mark.parametrize(
    "wrong, message",
    [
        (dict(growth=0), "growth: must be at least 1, got 0"),
        (dict(rows=1, cols=1), "rows x cols = 1 x 1"),
        (dict(shaping=16), "shaping: must be one of 0, 8, 64, 256 states, got 16"),
        (dict(shaping=8, modulus=7), "shaping: needs an even modulus from 2 to 128, got 7"),
        (dict(modulus=1), "modulus: must be a whole number of grey levels from 2 to 64"),
    ],
)
def test_arguments_that_do_not_fit(wrong, message):
    with pytest.raises(ValueError, match=message):
        build_model("smilenet_l", **{**TINY, **wrong})
