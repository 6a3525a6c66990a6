"""Pictures as bytes: AVIF and WebP through Pillow, from coarse to exact."""

import io
import warnings
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from PIL import Image, features

from errors import UserError

CODECS = ("avif", "webp")
LARGEST = 178_956_970  # pixels; Pillow refuses to decode more

# AVIF's encoder knows 64 steps of its quantiser, finest last. 4:4:4 and tune=psnr: what is scored is RGB.
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


def encode(picture: np.ndarray, codec: str, rung: int, speed: int) -> Coded:
    """Code (h,w,3) uint8. rung: 0 (coarsest) to RUNGS[codec] - 1; speed: AVIF's, 0 (slow, best) to 10."""
    settings: dict = {"format": codec.upper()}
    if codec == "avif":
        settings |= dict(quality=_AVIF[rung], speed=speed, subsampling="4:4:4", max_threads=1)
        settings |= dict(advanced={"tune": "psnr"})
    elif _WEBP[rung] is None:
        settings |= dict(lossless=True, quality=20, method=0)  # 10 % larger than the best, 30 times faster
    else:
        settings |= dict(quality=_WEBP[rung], method=4)
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, **settings)
    return Coded(codec, buffer.getvalue(), rung, picture)


def decode(codec: str, content: bytes) -> np.ndarray:
    """A coded picture -> (h,w,3) uint8. Raises UserError for bytes that are none, or too many pixels."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", Image.DecompressionBombWarning
            )  # LARGEST is an error all the same
            with Image.open(io.BytesIO(content), formats=[codec.upper()]) as picture:
                return np.array(picture.convert("RGB"))
    except Exception as error:  # decoders meet foreign bytes with nearly every type of exception
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
