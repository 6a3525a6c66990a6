"""One way to read each kind of file, and a ValueError with the path for every bad one."""

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from data.images import (
    check_pictures,
    icc_profile,
    picture_size,
    read_picture,
    to_array,
    to_tensor,
    write_picture,
)


@pytest.fixture
def rgb() -> np.ndarray:
    """(4,6,3) uint8, every value different."""
    return np.arange(72, dtype=np.uint8).reshape(4, 6, 3) * 3


def chunk(kind: bytes, content: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + checksum


def png16(array: np.ndarray, late: bytes = b"") -> bytes:
    """A 16-bit PNG, which Pillow cannot write: (H,W,C) uint16; `late` goes behind the pixels."""
    height, width, channels = array.shape
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    header = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)
    pixels = chunk(b"IDAT", zlib.compress(rows))
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    return start + pixels + late + chunk(b"IEND", b"")


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


# --- every mode, with known values


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tif", "a.TIFF"])
def test_what_is_written_is_read(tmp_path, rgb, name):
    write_picture(tmp_path / name, rgb)
    read = read_picture(tmp_path / name)
    assert read.dtype == np.uint8 and np.array_equal(read, rgb)
    assert picture_size(tmp_path / name) == (4, 6)
    assert os.listdir(tmp_path) == [name]


def test_webp_and_jpeg(tmp_path):
    array = np.full((16, 24, 3), (200, 100, 50), np.uint8)
    Image.fromarray(array).save(tmp_path / "a.webp", lossless=True)
    Image.fromarray(array).save(tmp_path / "a.jpg", quality=95)
    assert np.array_equal(read_picture(tmp_path / "a.webp"), array)
    assert np.abs(read_picture(tmp_path / "a.jpg").astype(int) - array).max() <= 2


def test_grey_and_black_and_white_are_replicated(tmp_path):
    grey = np.arange(6, dtype=np.uint8).reshape(2, 3) * 40
    Image.fromarray(grey).save(tmp_path / "grey.png")
    assert np.array_equal(read_picture(tmp_path / "grey.png"), np.stack([grey] * 3, axis=2))
    Image.fromarray(grey > 100).save(tmp_path / "bilevel.png")
    assert read_picture(tmp_path / "bilevel.png").tolist()[1] == [[255] * 3] * 3


def test_palette_is_expanded(tmp_path):
    picture = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    picture.putpalette([10, 20, 30, 40, 50, 60])
    picture.save(tmp_path / "p.png")
    assert read_picture(tmp_path / "p.png").tolist() == [[[10, 20, 30], [40, 50, 60]]]
    picture.save(tmp_path / "t.png", transparency=1)
    assert read_picture(tmp_path / "t.png").tolist() == [[[10, 20, 30], [255, 255, 255]]]


def test_transparency_is_composited_over_white(tmp_path):
    Image.fromarray(np.array([[[10, 20, 30, 255], [10, 20, 30, 0], [0, 0, 0, 51]]], np.uint8)).save(
        tmp_path / "rgba.png"
    )
    assert read_picture(tmp_path / "rgba.png").tolist() == [[[10, 20, 30], [255] * 3, [204] * 3]]
    Image.fromarray(np.array([[[10, 255], [10, 0]]], np.uint8), "LA").save(tmp_path / "la.png")
    assert read_picture(tmp_path / "la.png").tolist() == [[[10] * 3, [255] * 3]]
    Image.new("RGB", (2, 1), (1, 2, 3)).save(tmp_path / "key.png", transparency=(1, 2, 3))
    assert read_picture(tmp_path / "key.png").tolist() == [[[255] * 3, [255] * 3]]


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_16_bit_png_keeps_the_upper_8(tmp_path, channels):
    array = np.random.default_rng(0).integers(0, 65536, (5, 7, channels))
    if channels in (2, 4):
        array[..., -1] = 65535  # opaque
    (tmp_path / "a.png").write_bytes(png16(array))
    expected = np.broadcast_to(array[..., :1] if channels < 3 else array[..., :3], (5, 7, 3)) >> 8
    assert np.array_equal(read_picture(tmp_path / "a.png"), expected)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3)])
def test_16_bit_tiff_keeps_the_upper_8(tmp_path, shape, compression, order):
    array = np.random.default_rng(0).integers(0, 65536, shape).astype(np.uint16)
    kind = "rgb" if len(shape) == 3 else "minisblack"
    tifffile.imwrite(tmp_path / "a.tif", array, photometric=kind, compression=compression, byteorder=order)
    expected = array >> 8 if len(shape) == 3 else np.stack([array >> 8] * 3, axis=2)
    assert np.array_equal(read_picture(tmp_path / "a.tif"), expected)


@pytest.mark.parametrize("name", ["a.jpg", "a.tif"])
def test_cmyk_is_converted(tmp_path, name):
    Image.new("CMYK", (8, 8), (0, 255, 255, 0)).save(tmp_path / name)
    red = read_picture(tmp_path / name)[4, 4].astype(int)
    assert np.abs(red - (255, 0, 0)).max() <= 2


@pytest.mark.parametrize("kind", ["png", "webp", "gif"])
def test_first_frame_of_an_animation(tmp_path, kind):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ((255, 0, 0), (0, 0, 255))]
    options = {"lossless": True} if kind == "webp" else {}
    frames[0].save(tmp_path / f"a.{kind}", save_all=True, append_images=frames[1:], **options)
    assert read_picture(tmp_path / f"a.{kind}")[0, 0].tolist() == [255, 0, 0]


# --- orientation

UPRIGHT = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a.swapaxes(0, 1), 2),
    8: lambda a: np.rot90(a, 1),
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.tif", "a.jpg"])
def test_orientation_is_applied(tmp_path, rgb, name, orientation):
    options = {"a.webp": {"lossless": True}, "a.jpg": {"quality": 100, "subsampling": 0}}
    Image.fromarray(rgb).save(tmp_path / name, exif=exif(orientation), **options.get(name, {}))
    expected = UPRIGHT[orientation](rgb)
    read = read_picture(tmp_path / name)
    assert read.shape == expected.shape == (*picture_size(tmp_path / name), 3)
    assert np.abs(read.astype(int) - expected).max() <= (3 if name == "a.jpg" else 0)


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("orientation", [3, 6])
def test_orientation_of_a_grey_tiff(tmp_path, compression, orientation):
    """Pillow, given the name of an uncompressed one, returns it scrambled."""
    grey = np.arange(24, dtype=np.uint8).reshape(4, 6)
    tags = [(0x0112, "H", 1, orientation, True)]
    tifffile.imwrite(
        tmp_path / "a.tif", grey, photometric="minisblack", compression=compression, extratags=tags
    )
    expected = UPRIGHT[orientation](grey)
    assert np.array_equal(read_picture(tmp_path / "a.tif")[..., 0], expected)
    assert picture_size(tmp_path / "a.tif") == expected.shape


def test_orientation_behind_the_pixels_of_a_png(tmp_path):
    array = np.random.default_rng(0).integers(0, 65536, (4, 6, 3))
    late = chunk(b"eXIf", exif(6).tobytes().removeprefix(b"Exif\0\0"))
    (tmp_path / "a.png").write_bytes(png16(array, late))
    assert np.array_equal(read_picture(tmp_path / "a.png"), np.rot90(array, -1) >> 8)
    assert picture_size(tmp_path / "a.png") == (6, 4)


# --- bad files


def one_line_about(path: Path, call=read_picture) -> str:
    with pytest.raises(ValueError) as caught:
        call(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ") and "\n" not in text
    return text.removeprefix(f"{path}: ")


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # it comments on the damage, then raises
@pytest.mark.parametrize("kept", [0.01, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp", "a.bmp", "a.tif", "z.tif"])
def test_cut_short(tmp_path, name, kept):
    array = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    options = {"compression": "tiff_lzw"} if name == "z.tif" else {}
    Image.fromarray(array).save(tmp_path / name, **options)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: int(len(whole) * kept)])
    one_line_about(tmp_path / name)


@pytest.mark.parametrize("call", [read_picture, picture_size])
def test_not_a_picture(tmp_path, call):
    (tmp_path / "text.png").write_text("a shopping list")
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "folder.png").mkdir()
    assert "not a picture" in one_line_about(tmp_path / "text.png", call)
    assert one_line_about(tmp_path / "empty.png", call) == "an empty file"
    assert one_line_about(tmp_path / "folder.png", call) == "a folder, not a picture"
    assert one_line_about(tmp_path / "none.png", call) == "No such file or directory"


def test_too_large_for_pillow(tmp_path, monkeypatch, rgb):
    write_picture(tmp_path / "a.png", rgb)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert one_line_about(tmp_path / "a.png").startswith("too large for Pillow")


@pytest.mark.parametrize("error", [SyntaxError("a\nb"), struct.error("c"), KeyError(), EOFError()])
def test_whatever_a_decoder_raises(tmp_path, monkeypatch, rgb, error):
    def fail(*_):
        raise error

    write_picture(tmp_path / "a.png", rgb)
    monkeypatch.setattr("PIL.ImageOps.exif_transpose", fail)
    assert one_line_about(tmp_path / "a.png").startswith("damaged or cut short (")


@pytest.mark.parametrize("kind", [np.float32, np.int32])
def test_pixels_without_an_agreed_white_are_refused(tmp_path, kind):
    Image.fromarray(np.ones((2, 3), kind)).save(tmp_path / "a.tif")
    assert "no agreed white" in one_line_about(tmp_path / "a.tif")


def test_check_lists_every_problem(tmp_path, rgb):
    write_picture(tmp_path / "good.png", np.zeros((20, 30, 3), np.uint8))
    write_picture(tmp_path / "small.png", rgb)
    (tmp_path / "bad.png").write_text("no")
    paths = [tmp_path / name for name in ("bad.png", "good.png", "small.png")]
    assert [path.name for path, _ in check_pictures(paths)] == ["bad.png"]
    problems = check_pictures(paths, smallest=20, progress=True)
    assert [path.name for path, _ in problems] == ["bad.png", "small.png"]
    assert problems[1][1] == "6x4 pixels, the short side is below 20"


# --- writing


@pytest.mark.parametrize("name", ["a.jpg", "a.webp", "a.gif", "a"])
def test_only_lossless_files_are_written(tmp_path, rgb, name):
    with pytest.raises(ValueError, match="only lossless files keep what is hidden"):
        write_picture(tmp_path / name, rgb)
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize("array", [np.zeros((4, 6, 3)), np.zeros((4, 6), np.uint8)])
def test_only_rgb_bytes_are_written(tmp_path, array):
    with pytest.raises(ValueError, match=r"a\.png: expected an array \(H,W,3\) of uint8"):
        write_picture(tmp_path / "a.png", array)


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_an_rgb_profile_is_carried(tmp_path, rgb, name):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    wide = profile[:80] + b"wide" + profile[84:]
    Image.fromarray(rgb).save(tmp_path / "cover.jpg", icc_profile=wide)
    assert icc_profile(tmp_path / "cover.jpg") == wide
    write_picture(tmp_path / name, rgb, icc_profile(tmp_path / "cover.jpg"))
    assert np.array_equal(read_picture(tmp_path / name), rgb) and icc_profile(tmp_path / name) == wide


def test_profiles_that_cannot_be_carried(tmp_path, rgb):
    for space, length in ((b"GRAY", 200), (b"CMYK", 200), (b"RGB ", 2**20 + 1)):  # Pillow reads back 1 MB
        profile = bytes(16) + space + bytes(length - 20)
        Image.fromarray(rgb).save(tmp_path / "cover.jpg", icc_profile=profile)
        assert icc_profile(tmp_path / "cover.jpg") is None
    Image.fromarray(rgb).save(tmp_path / "plain.jpg")
    assert icc_profile(tmp_path / "plain.jpg") is None
    write_picture(tmp_path / "a.png", rgb, bytes(16) + b"RGB " + bytes(2**20 - 20))
    assert np.array_equal(read_picture(tmp_path / "a.png"), rgb)


def test_failed_writing_leaves_the_old_file(tmp_path, rgb, monkeypatch):
    write_picture(tmp_path / "a.png", rgb)

    def fail(self, path, **_):
        Path(path).write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        write_picture(tmp_path / "a.png", rgb + 1)
    assert os.listdir(tmp_path) == ["a.png"]
    assert np.array_equal(read_picture(tmp_path / "a.png"), rgb)


def test_writing_where_there_is_no_folder(tmp_path, rgb):
    with pytest.raises(ValueError, match="none does not exist"):
        write_picture(tmp_path / "none" / "a.png", rgb)


def test_tensor_and_back(rgb):
    tensor = to_tensor(rgb)
    assert tensor.shape == (3, 4, 6) and tensor[2, 1, 5] == rgb[1, 5, 2]
    assert np.array_equal(to_array(tensor), rgb)
