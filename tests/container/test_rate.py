"""How pictures share room: what they are coded with, and that it does not depend on threads."""

import numpy as np
import pytest
from skimage.data import astronaut, chelsea, coffee

from container import rate
from container.codecs import QUICK, encode
from container.payload import unpack
from container.rate import TooLittleRoom, fitted_payload

PICTURES = [picture()[100:196, 150:246] for picture in (astronaut, chelsea, coffee)]


def error(payload):
    found = [picture.astype(float) for picture in unpack(payload).pictures]
    return np.mean([np.square(a - b).mean() for a, b in zip(found, PICTURES, strict=True)])


def test_a_slow_encoder_reveals_better_in_the_same_room():
    slow, quick = (fitted_payload(PICTURES, b"", 6000, ("avif",), speed) for speed in (4, QUICK))
    assert len(slow) <= 6000 and len(quick) <= 6000
    assert error(slow) < error(quick) * 0.97


@pytest.mark.parametrize("room", [1500, 6000, 20000])
def test_room_is_used(room):
    payload = fitted_payload(PICTURES, b"a note", room, ("avif", "webp"), 4)
    assert 0.93 * room < len(payload) <= room


def test_the_result_is_the_same_on_any_number_of_threads(monkeypatch):
    many = fitted_payload(PICTURES, b"", 6000, ("avif", "webp"), 4)
    monkeypatch.setattr(rate, "_THREADS", 1)
    assert fitted_payload(PICTURES, b"", 6000, ("avif", "webp"), 4) == many


def test_slow_encodes_are_few(monkeypatch):
    """The rung is searched at QUICK, so that each picture is coded slowly some two times at most."""
    speeds = []

    def counted(picture, codec, rung, speed):
        speeds.append(speed)
        return encode(picture, codec, rung, speed)

    monkeypatch.setattr(rate, "encode", counted)
    fitted_payload(PICTURES, b"", 6000, ("avif",), 4)
    assert speeds.count(4) <= 2 * len(PICTURES) < speeds.count(QUICK)


def test_large_pictures_are_searched_at_a_smaller_size_and_coded_quickly(monkeypatch):
    monkeypatch.setattr(rate, "LARGE", 96 * 96 - 1)
    monkeypatch.setattr(rate, "SKETCH", 48 * 48)
    seen = []

    def counted(picture, codec, rung, speed):
        seen.append((picture.shape[0], speed))
        return encode(picture, codec, rung, speed)

    monkeypatch.setattr(rate, "encode", counted)
    payload = fitted_payload(PICTURES, b"", 6000, ("avif",), 4)
    assert 0.9 * 6000 < len(payload) <= 6000
    assert set(seen) == {(96, QUICK), (48, QUICK)}
    assert seen.count((96, QUICK)) <= 4 * len(PICTURES)


def test_too_little_room_says_what_would_do():
    with pytest.raises(TooLittleRoom, match=r"these secrets \(3\): 100 bytes fit, ") as found:
        fitted_payload(PICTURES, b"", 100, ("avif", "webp"), 4)
    needed = found.value.needed
    assert len(fitted_payload(PICTURES, b"", needed, ("avif", "webp"), 4)) <= needed


def test_progress_is_shown_where_it_is_asked_for(capsys):
    fitted_payload(PICTURES[:1], b"", 3000, ("avif",), 8)
    assert capsys.readouterr().err == ""
    fitted_payload(PICTURES[:1], b"", 3000, ("avif",), 8, progress=True)
    assert "coding secrets" in capsys.readouterr().err
