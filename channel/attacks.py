"""What may happen to a stego on its way: (H,W,3) uint8 -> (H,W,3) uint8, the size unchanged.

An attack is a small frozen object: its fields are its strength, calling it attacks a picture. What is
random comes from the seed of the call alone. After any attack the revealed pictures are compared
with the secrets as they were hidden; nothing is turned, moved or scaled back for the comparison.
"""

import io
from dataclasses import dataclass, fields
from typing import ClassVar, Literal, Protocol

import cv2
import numpy as np
from PIL import Image

from errors import UserError

OUTSIDE = 128  # grey level of what a crop took away


class Attack(Protocol):
    """type: its name in `ATTACKS`. attack(picture, seed) -> the picture as the receiver gets it."""

    type: ClassVar[str]

    def __call__(self, picture: np.ndarray, seed: int) -> np.ndarray: ...


@dataclass(frozen=True)
class Mean:
    """Mean filter, `size` x `size` [px, odd]; the border is mirrored."""

    size: int = 3
    type: ClassVar[str] = "mean"

    def __post_init__(self):
        _expect(self.size >= 3 and self.size % 2 == 1, "size", self.size, "an odd number from 3 up")

    def __call__(self, picture: np.ndarray, seed: int = 0) -> np.ndarray:
        return cv2.blur(picture, (self.size, self.size))


@dataclass(frozen=True)
class Gaussian:
    """Gaussian filter of deviation `sigma` [px], cut off at 4 deviations; the border is mirrored."""

    sigma: float = 1.0
    type: ClassVar[str] = "gaussian"

    def __post_init__(self):
        _expect(0 < self.sigma <= 50, "sigma", self.sigma, "a number above 0, at most 50")

    def __call__(self, picture: np.ndarray, seed: int = 0) -> np.ndarray:
        size = 2 * max(1, round(4 * self.sigma)) + 1
        return cv2.GaussianBlur(picture, (size, size), self.sigma)


@dataclass(frozen=True)
class Sharpen:
    """picture + amount * (picture - its Gaussian filter of deviation `sigma` px): unsharp masking."""

    amount: float = 1.0
    sigma: float = 1.0
    type: ClassVar[str] = "sharpen"

    def __post_init__(self):
        _expect(self.amount > 0, "amount", self.amount, "a number above 0")
        Gaussian(self.sigma)

    def __call__(self, picture: np.ndarray, seed: int = 0) -> np.ndarray:
        size = 2 * max(1, round(4 * self.sigma)) + 1
        values = picture.astype(np.float64)
        blurred = cv2.GaussianBlur(values, (size, size), self.sigma)
        return _to_uint8(values + self.amount * (values - blurred))


@dataclass(frozen=True)
class Noise:
    """Gaussian noise of deviation `sigma` [grey levels] on every value, rounded and clipped."""

    sigma: float = 2.0
    type: ClassVar[str] = "noise"

    def __post_init__(self):
        _expect(self.sigma > 0, "sigma", self.sigma, "a number above 0")

    def __call__(self, picture: np.ndarray, seed: int = 0) -> np.ndarray:
        noise = np.random.default_rng(seed).normal(0, self.sigma, picture.shape)
        return _to_uint8(picture + noise)


@dataclass(frozen=True)
class Flip:
    """Mirrored: "horizontal" (left and right change places) or "vertical"."""

    axis: Literal["horizontal", "vertical"] = "horizontal"
    type: ClassVar[str] = "flip"

    def __post_init__(self):
        _expect(self.axis in ("horizontal", "vertical"), "axis", self.axis, "horizontal or vertical")

    def __call__(self, picture: np.ndarray, seed: int = 0) -> np.ndarray:
        return np.ascontiguousarray(picture[:, ::-1] if self.axis == "horizontal" else picture[::-1])


@dataclass(frozen=True)
class Jpeg:
    """Written as JPEG of `quality` (1 to 95) and read again; chroma at half the size (4:2:0), as usual."""

    quality: int = 90
    type: ClassVar[str] = "jpeg"

    def __post_init__(self):
        _expect(1 <= self.quality <= 95, "quality", self.quality, "a whole number, 1 to 95")

    def __call__(self, picture: np.ndarray, seed: int = 0) -> np.ndarray:
        return _through_codec(picture, "JPEG", quality=self.quality, subsampling="4:2:0")


@dataclass(frozen=True)
class Webp:
    """Written as lossy WebP of `quality` (0 to 100) and read again."""

    quality: int = 90
    type: ClassVar[str] = "webp"

    def __post_init__(self):
        _expect(0 <= self.quality <= 100, "quality", self.quality, "a whole number, 0 to 100")

    def __call__(self, picture: np.ndarray, seed: int = 0) -> np.ndarray:
        return _through_codec(picture, "WEBP", quality=self.quality)


@dataclass(frozen=True)
class Resize:
    """Scaled to `scale` of its sides and back to its size, both bicubic with an antialiasing filter."""

    scale: float = 0.5
    type: ClassVar[str] = "resize"

    def __post_init__(self):
        _expect(0 < self.scale <= 8 and self.scale != 1, "scale", self.scale, "above 0, at most 8, not 1")

    def __call__(self, picture: np.ndarray, seed: int = 0) -> np.ndarray:
        image = Image.fromarray(picture)
        size = max(1, round(image.width * self.scale)), max(1, round(image.height * self.scale))
        scaled = image.resize(size, Image.Resampling.BICUBIC)
        return np.array(scaled.resize(image.size, Image.Resampling.BICUBIC))


@dataclass(frozen=True)
class Crop:
    """Only the middle is left: `keep` of both sides; what was around it is mid-grey.

    The picture keeps its size and the middle its place: most methods need every pixel where it was,
    and a picture of another size cannot be compared with the secret.
    """

    keep: float = 0.9
    type: ClassVar[str] = "crop"

    def __post_init__(self):
        _expect(0 < self.keep < 1, "keep", self.keep, "a share of the side, above 0 and below 1")

    def __call__(self, picture: np.ndarray, seed: int = 0) -> np.ndarray:
        height, width = picture.shape[:2]
        inner = max(1, round(height * self.keep)), max(1, round(width * self.keep))
        top, left = (height - inner[0]) // 2, (width - inner[1]) // 2
        middle = slice(top, top + inner[0]), slice(left, left + inner[1])
        attacked = np.full_like(picture, OUTSIDE)
        attacked[middle] = picture[middle]
        return attacked


ATTACKS = {one.type: one for one in (Mean, Gaussian, Sharpen, Noise, Flip, Jpeg, Webp, Resize, Crop)}


def label(attack) -> str:
    """An attack in words: "jpeg quality=90"."""
    strength = (f"{field.name}={getattr(attack, field.name)}" for field in fields(attack))
    return " ".join([attack.type, *strength])


def _expect(right: bool, name: str, value, words: str) -> None:
    if not right:
        raise UserError(f"{name}: expected {words}, got {value}")


def _to_uint8(values: np.ndarray) -> np.ndarray:
    return np.clip(np.round(values), 0, 255).astype(np.uint8)


def _through_codec(picture: np.ndarray, file_format: str, **settings) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, file_format, **settings)
    return np.array(Image.open(file).convert("RGB"))
