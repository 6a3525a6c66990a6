"""The lattice in JPEG's domain: what is written is read, at what cost, and what the header tells apart."""

import io
import math
from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image
from scipy.fft import dctn
from skimage.data import astronaut, coffee

from container.dct import BASIS, luma, put_blocks, table, to_blocks
from container.header import ContainerError, NoPayload, WrongKey
from container.keys import PUBLIC, Key, Subkeys, new_nonce
from container.robust import (
    FEWEST_BLOCKS,
    HEADER,
    Places,
    Received,
    Setting,
    code_room,
    opened_header,
    sealed_header,
    write,
)
from errors import UserError

KEYS = Subkeys(bytes(32), bytes(31) + b"\1", bytes(31) + b"\2")
SETTING = Setting(quality=75, spacing=23, bits=20, parity=64)
COVER = astronaut()[20:181, 150:350]  # 161 x 200: neither side is a multiple of 16


def jpeg(picture, quality, **settings):
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=quality, **settings)
    return np.array(Image.open(file).convert("RGB")), Image.open(file)


def errors(picture, places, code):
    found, _ = Received(picture).code(places, len(code))
    return np.mean(np.frombuffer(found, np.uint8) != np.frombuffer(code, np.uint8))


# --- the transform ------------------------------------------------------------------------------------


def test_the_basis_is_the_orthonormal_dct():
    block = np.random.default_rng(0).normal(0, 50, (8, 8))
    expected = dctn(block, norm="ortho").reshape(-1)
    assert np.allclose(BASIS @ block.reshape(-1), expected, atol=1e-3)
    assert np.allclose(BASIS @ BASIS.T, np.eye(64), atol=1e-6)


@pytest.mark.parametrize("quality", [1, 30, 50, 75, 90, 100])
def test_the_table_is_libjpegs(quality):
    _, file = jpeg(COVER, quality)
    assert table(quality).tolist() == file.quantization[0]


def test_luma_is_what_jpeg_holds():
    grey = cv2.cvtColor(COVER, cv2.COLOR_RGB2YCrCb)[..., 0]
    assert np.abs(luma(COVER) - grey).max() <= 0.51


def test_blocks_and_back_leave_the_rim():
    picture = COVER.copy()
    blocks = to_blocks(picture)
    assert blocks.shape == (20 * 25, 64, 3)
    assert np.array_equal(blocks[26].reshape(8, 8, 3), COVER[8:16, 8:16])
    put_blocks(picture, 255 - blocks)
    assert np.array_equal(picture[:160], 255 - COVER[:160]) and np.array_equal(picture[160], COVER[160])


# --- the payload --------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [2, 6, 20, 45, 100])
def test_what_is_written_is_read(bits):
    places = Places(COVER.shape[:2], replace(SETTING, bits=bits), KEYS)
    assert places.room == code_room(COVER.shape[:2], places.setting)
    code = np.random.default_rng(0).bytes(places.room)
    header = np.random.default_rng(1).bytes(HEADER)
    cover = np.clip(COVER, 40, 215)  # nothing of it is cut off
    stego = write(cover, places, code, header)
    assert errors(stego, places, code) < (0.002 if bits < 50 else 0.02)
    assert Received(stego).header() == header


def test_it_outlives_the_jpeg_that_it_was_made_for():
    places = Places(COVER.shape[:2], SETTING, KEYS)
    code = np.random.default_rng(0).bytes(places.room)
    stego = write(COVER, places, code, bytes(HEADER))
    for quality in (75, 85, 95):
        attacked, _ = jpeg(stego, quality)
        assert errors(attacked, places, code) < 0.06 and Received(attacked).header() == bytes(HEADER)
    assert errors(jpeg(stego, 40)[0], places, code) > 0.5


def test_the_change_of_luma_costs_least_in_rgb():
    """For bits b of spacing s a coefficient: (2^b s)^2 / 12 of luma, and 1 / (3 |w|^2) of that in RGB."""
    cover = np.clip(coffee()[:160, :160], 60, 195)
    places = Places(cover.shape[:2], SETTING, KEYS)
    code = np.random.default_rng(0).bytes(places.room)
    stego = write(cover, places, code, None)
    expected = np.square(places.period).sum() / 12 / 64 / (3 * (0.299**2 + 0.587**2 + 0.114**2))
    header = places.free.mean()  # its places carry nothing here
    error = np.square(stego.astype(float) - cover).mean()
    assert error == pytest.approx(expected * header, rel=0.08)


def test_blocks_that_nothing_is_written_to_stay():
    places = Places(COVER.shape[:2], SETTING, KEYS)
    stego = write(COVER, places, b"a few bytes", None)
    touched = (to_blocks(stego) != to_blocks(COVER)).any(axis=(1, 2)).sum()
    assert 1 <= touched <= math.ceil(8 * 11 / SETTING.bits) + 1


def test_a_margin_saves_what_compression_would_cut_off():
    white = np.full((112, 112, 3), 255, np.uint8)
    setting = replace(SETTING, bits=24)
    places = Places(white.shape[:2], setting, KEYS)
    code = np.random.default_rng(0).bytes(places.room - 20)
    lost = [errors(jpeg(write(white, places, code, None, margin), 75)[0], places, code) for margin in (0, 6)]
    assert lost[1] < lost[0] / 2


def test_bits_go_where_they_cost_least():
    lattice = replace(SETTING, bits=12).lattice
    assert lattice.bits.tolist() == [1] * 12 and lattice.which[:2].tolist() == [2, 1]
    assert replace(SETTING, bits=30).lattice.bits[0] == 2
    assert 0 not in replace(SETTING, bits=189).lattice.which


@pytest.mark.parametrize(
    "wrong", [dict(quality=101), dict(spacing=0), dict(bits=0), dict(bits=190), dict(parity=1)]
)
def test_no_setting(wrong):
    with pytest.raises(UserError, match="not a setting"):
        replace(SETTING, **wrong)


# --- the header ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sealed():
    nonce = new_nonce()
    keys = Key("open sesame").derive(nonce)
    header = sealed_header(SETTING, 300, keys, nonce)
    places = Places(COVER.shape[:2], SETTING, keys)
    return header, write(COVER, places, bytes(300), header)


def test_the_header_outlives_much_stronger_compression(sealed):
    header, stego = sealed
    for quality, sampling in ((75, "4:2:0"), (50, "4:4:4"), (45, "4:2:0")):
        assert Received(jpeg(stego, quality, subsampling=sampling)[0]).header() == header
    setting, length, _ = opened_header(header, Key("open sesame"))
    assert (setting, length) == (SETTING, 300)


def test_wrong_keys(sealed):
    header, _ = sealed
    with pytest.raises(WrongKey, match="under a key: .*--passphrase, --keyfile or both"):
        opened_header(header, PUBLIC)
    with pytest.raises(WrongKey, match="under another key: .*--passphrase, --keyfile or both"):
        opened_header(header, Key("close sesame"))
    nonce = new_nonce()
    public = sealed_header(SETTING, 300, PUBLIC.derive(nonce), nonce)
    with pytest.raises(WrongKey, match="without a key: .*without --passphrase and --keyfile"):
        opened_header(public, Key("open sesame"))


def test_another_version(sealed):
    header = bytearray(sealed[0])
    header[16] ^= 3 ^ 4
    with pytest.raises(ContainerError, match="version 4, .* newer program"):
        opened_header(bytes(header), PUBLIC)


def test_a_crafted_setting():
    nonce = new_nonce()
    keys = PUBLIC.derive(nonce)
    setting = replace(SETTING)
    object.__setattr__(setting, "bits", 250)
    with pytest.raises(ContainerError, match="not what this program writes"):
        opened_header(sealed_header(setting, 300, keys, nonce), PUBLIC)


@pytest.mark.parametrize(
    "change",
    [
        lambda x: np.array(Image.fromarray(x).resize((201, 161))),
        lambda x: x[8:],
        lambda x: x[:, 8:],
        lambda x: x[:, :-8],
        lambda x: x[1:],
        lambda x: x[:, ::-1],
        lambda x: np.rot90(x),
        lambda x: x[:16, :16],
    ],
    ids=["resized", "top", "left", "right", "row", "mirrored", "turned", "tiny"],
)
def test_a_lost_grid_reads_as_nothing(sealed, change):
    with pytest.raises(NoPayload, match="resized, cropped"):
        Received(np.ascontiguousarray(change(sealed[1]))).header()


def test_nothing_is_found_in_covers():
    for picture in (COVER, jpeg(COVER, 60)[0], np.zeros_like(COVER), coffee()):
        with pytest.raises(NoPayload):
            Received(picture).header()


def test_the_smallest_picture_with_a_header():
    side = 8 * math.isqrt(FEWEST_BLOCKS)
    assert code_room((side, side), SETTING) == 0
    assert code_room((side + 8, side + 8), SETTING) > 0
