"""Pictures as bytes: AVIF and WebP through Pillow, from coarse to exact."""

import io
import warnings
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from PIL import Image, features
from PIL import __version__ as pillow_version

from errors import UserError

CODECS = ("avif", "webp")
LARGEST = 178_956_970  # pixels; Pillow refuses to decode more
# Of the AVIF encoder, 0 (slow, best) to 10. Speed 4 is worth 0.3 to 0.5 dB at the same size and takes six
# times as long as speed 6: 0.3 s for 256 pixels. At the same quality the sizes differ by 1 to 5 %.
SPEED, QUICK = 4, 6

# AVIF's encoder knows 64 steps of its quantiser, finest last.
_AVIF = [100 - round(step * 100 / 63) for step in range(63, -1, -1)]
# WebP's lossy qualities; the last rung is its lossless mode.
_WEBP = [*range(0, 101, 4), None]
RUNGS = {"avif": len(_AVIF), "webp": len(_WEBP)}


@dataclass(frozen=True)
class Coded:
    """A coded picture: its codec, its file's bytes, how fine (0: coarsest), and the source (h,w,3) uint8."""

    codec: str
    content: bytes
    rung: int
    source: np.ndarray

    @cached_property
    def squared_error(self) -> float:
        """Mean over all values, in squared grey levels."""
        difference = decode(self.codec, self.content).astype(np.float32) - self.source
        return float(np.square(difference).mean())


def encode(picture: np.ndarray, codec: str, rung: int, speed: int = SPEED) -> Coded:
    """Code (h,w,3) uint8. rung: 0 (coarsest) to RUNGS[codec] - 1; speed: AVIF's, 0 (slow, best) to 10."""
    if codec == "avif":
        content = avif(picture, _AVIF[rung], speed)
    elif (quality := _WEBP[rung]) is None:
        content = _saved(picture, "WEBP", lossless=True, quality=20, method=0)  # 10 % larger, 30 times faster
    else:
        content = _saved(picture, "WEBP", quality=quality, method=4)
    return Coded(codec, content, rung, picture)


def avif(picture: np.ndarray, quality: int, speed: int = SPEED) -> bytes:
    """(h,w,3) uint8 -> an AVIF file of this quality, 0 to 100.

    One thread: the caller has many pictures, and the file must not depend on the machine's cores. 4:4:4 and
    tune=psnr: what is scored is RGB, and by default the encoder aims at what eyes see.
    """
    settings = {"quality": quality, "speed": speed, "subsampling": "4:4:4", "max_threads": 1}
    return _saved(picture, "AVIF", **settings, advanced={"tune": "psnr"})


def lossless(picture: np.ndarray) -> bytes:
    """(h,w,3) uint8 -> a lossless WebP file."""
    return _saved(picture, "WEBP", lossless=True)


def decode(codec: str, content: bytes, most_pixels: int = LARGEST) -> np.ndarray:
    """A coded picture -> (h,w,3) uint8. Raises UserError for other bytes, and for too many pixels.

    The file's own size is checked against `most_pixels` before anything is decoded.
    """
    try:
        with warnings.catch_warnings():
            # LARGEST is an error all the same.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content), formats=[codec.upper()]) as picture:
                if picture.width * picture.height > most_pixels:
                    raise UserError(f"a {codec} picture of {picture.width}x{picture.height} pixels")
                return np.array(picture.convert("RGB"))
    except UserError:
        raise
    except Exception as error:  # decoders raise nearly every type of exception for foreign bytes
        raise UserError(f"not a whole {codec} picture") from error


def resized(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """(h,w,3) uint8 to another size, Lanczos-filtered (with antialiasing where it shrinks)."""
    if picture.shape[:2] == (height, width):
        return picture
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.LANCZOS))


def check_codec(codec: str) -> tuple[str, ...]:
    """The codecs that "auto", "avif" or "webp" may use here. Raises UserError for one that is not there."""
    if codec not in ("auto", *CODECS):
        raise UserError(f"codec: expected auto, {' or '.join(CODECS)}, got '{codec}'")
    wanted = CODECS if codec == "auto" else (codec,)
    missing = [name for name in wanted if not features.check(name)]
    if missing:
        raise UserError(f"codec: this Pillow was built without {', '.join(missing)}; install pillow >= 11.3")
    return wanted


class PayloadCodec:
    """What metrics measure a payload with (metrics/capacity.py): AVIF at SPEED, or lossless WebP."""

    def __init__(self) -> None:
        check_codec("auto")
        versions = f"libavif {features.version('avif')}, Pillow {pillow_version}"
        self.name = f"AVIF 4:4:4 speed {SPEED} tune psnr, or lossless WebP ({versions})"

    def lossy(self, picture: np.ndarray, quality: int) -> tuple[bytes, np.ndarray]:
        """(h,w,3) uint8, quality 0 to 100 -> the file and what it decodes to."""
        content = avif(picture, quality)
        return content, decode("avif", content)

    def lossless(self, picture: np.ndarray) -> bytes:
        """(h,w,3) uint8 -> a file that decodes to the same values."""
        return lossless(picture)


def _saved(picture: np.ndarray, file_format: str, **settings) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, file_format, **settings)
    return file.getvalue()
