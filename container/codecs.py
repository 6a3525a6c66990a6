"""Code pictures as AVIF or WebP files with Pillow, from the coarsest quality to lossless."""

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
# Speeds of the AVIF encoder, which range from 0 (slow, best) to 10. At the same size, speed 4 gains 0.3 to
# 0.5 dB over speed 6. It takes six times as long: 0.3 s for a 256-pixel picture. At the same quality, the
# sizes differ by 1 to 5 %.
SPEED, QUICK = 4, 6

# The AVIF encoder's quantiser has 64 steps. These are their qualities, the finest last.
_AVIF = [100 - round(step * 100 / 63) for step in range(63, -1, -1)]
# WebP's lossy qualities. The last rung, None, is its lossless mode.
_WEBP = [*range(0, 101, 4), None]
RUNGS = {"avif": len(_AVIF), "webp": len(_WEBP)}


@dataclass(frozen=True)
class Coded:
    """A coded picture.

    codec: one of CODECS. content: the bytes of its file. rung: its quality, from 0 (coarsest) up. source: the
    picture before it was coded, (h,w,3) uint8.
    """

    codec: str
    content: bytes
    rung: int
    source: np.ndarray

    @cached_property
    def squared_error(self) -> float:
        """The mean squared error against the source, over all values [grey levels squared]."""
        difference = decode(self.codec, self.content).astype(np.float32) - self.source
        return float(np.square(difference).mean())


def encode(picture: np.ndarray, codec: str, rung: int, speed: int = SPEED) -> Coded:
    """Code a picture (h,w,3) uint8.

    rung: from 0 (coarsest) to RUNGS[codec] - 1. speed: of the AVIF encoder, from 0 (slow, best) to 10.
    """
    if codec == "avif":
        content = avif(picture, _AVIF[rung], speed)
    elif (quality := _WEBP[rung]) is None:
        content = _saved(picture, "WEBP", lossless=True, quality=20, method=0)  # 10 % larger, 30 times faster
    else:
        content = _saved(picture, "WEBP", quality=quality, method=4)
    return Coded(codec, content, rung, picture)


def avif(picture: np.ndarray, quality: int, speed: int = SPEED) -> bytes:
    """Code a picture (h,w,3) uint8 as an AVIF file of this quality, 0 to 100.

    The encoder uses one thread, because the caller has many pictures, and because the file must not depend on
    the machine's cores. It uses 4:4:4 and tune=psnr, because the scores are computed in RGB. By default it
    would aim at what the eye sees.
    """
    settings = {"quality": quality, "speed": speed, "subsampling": "4:4:4", "max_threads": 1}
    return _saved(picture, "AVIF", **settings, advanced={"tune": "psnr"})


def lossless(picture: np.ndarray) -> bytes:
    """Code a picture (h,w,3) uint8 as a lossless WebP file."""
    return _saved(picture, "WEBP", lossless=True)


def decode(codec: str, content: bytes, most_pixels: int = LARGEST) -> np.ndarray:
    """Decode the file of a coded picture to (h,w,3) uint8.

    Raises UserError for other bytes, and for a picture of more than `most_pixels`. The size that the file
    states is checked before anything is decoded.
    """
    try:
        with warnings.catch_warnings():
            # Above LARGEST, Pillow raises an error in any case.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content), formats=[codec.upper()]) as picture:
                if picture.width * picture.height > most_pixels:
                    raise UserError(
                        f"the {codec} picture has {picture.width}x{picture.height} pixels; "
                        f"at most {most_pixels} are allowed"
                    )
                return np.array(picture.convert("RGB"))
    except UserError:
        raise
    except Exception as error:  # for other bytes, decoders raise nearly every type of exception
        raise UserError(f"not a whole {codec} picture") from error


def resized(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize a picture (h,w,3) uint8 with a Lanczos filter, which antialiases where it shrinks."""
    if picture.shape[:2] == (height, width):
        return picture
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.LANCZOS))


def check_codec(codec: str) -> tuple[str, ...]:
    """Return the codecs that "auto", "avif" or "webp" stands for.

    Raises UserError for any other word, and if this Pillow lacks one of the codecs.
    """
    if codec not in ("auto", *CODECS):
        raise UserError(f"codec: expected auto, {' or '.join(CODECS)}, got '{codec}'")
    wanted = CODECS if codec == "auto" else (codec,)
    missing = [name for name in wanted if not features.check(name)]
    if missing:
        raise UserError(f"codec: this Pillow was built without {', '.join(missing)}; install pillow >= 11.3")
    return wanted


class PayloadCodec:
    """The codec that metrics/capacity.py measures a payload with: AVIF at SPEED, or lossless WebP."""

    def __init__(self) -> None:
        check_codec("auto")
        versions = f"libavif {features.version('avif')}, Pillow {pillow_version}"
        self.name = f"AVIF 4:4:4 speed {SPEED} tune psnr, or lossless WebP ({versions})"

    def lossy(self, picture: np.ndarray, quality: int) -> tuple[bytes, np.ndarray]:
        """Code (h,w,3) uint8 at a quality of 0 to 100; return the file and what it decodes to."""
        content = avif(picture, quality)
        return content, decode("avif", content)

    def lossless(self, picture: np.ndarray) -> bytes:
        """Code (h,w,3) uint8 as a file that decodes to the same values."""
        return lossless(picture)


def _saved(picture: np.ndarray, file_format: str, **settings) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, file_format, **settings)
    return file.getvalue()
