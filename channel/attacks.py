"""What may happen to a stego on its way: (H,W,3) uint8 -> (H,W,3) uint8 of the same size.

An attack is a small frozen object. Its fields are its strengths, and calling it attacks a picture. Everything
random depends only on the seed of the call. After any attack, the revealed pictures are compared with the
secrets as they were hidden. Nothing is rotated, moved or scaled back for the comparison.
The first field of an attack is its main strength. channel/layers.py has the same attacks for training.
"""

import io
from dataclasses import dataclass, fields
from typing import ClassVar, Literal, Protocol

import cv2
import numpy as np
from PIL import Image, features

from errors import UserError

OUTSIDE = 128  # grey level of the area that a crop removes
LARGEST = 401  # largest side of a filter's window [px], which a Gaussian of deviation 50 needs


class StrengthError(UserError):
    """A strength is out of its range. strength: its name. words: what was expected and what was given."""

    def __init__(self, strength: str, words: str):
        super().__init__(f"{strength}: {words}")
        self.strength, self.words = strength, words


class Attack(Protocol):
    """type: its name in `ATTACKS`. attack(picture, seed) returns the picture as the receiver gets it."""

    type: ClassVar[str]

    def __call__(self, picture: np.ndarray, seed: int) -> np.ndarray: ...


@dataclass(frozen=True)
class Nothing:
    """The picture arrives as it was sent."""

    type: ClassVar[str] = "none"

    def __call__(self, picture: np.ndarray, seed: int = 0) -> np.ndarray:
        return picture.copy()


@dataclass(frozen=True)
class Mean:
    """Mean filter, `size` x `size` [px, odd]; the border is mirrored."""

    size: int = 3
    type: ClassVar[str] = "mean"

    def __post_init__(self):
        _expect_odd("size", self.size)

    def __call__(self, picture: np.ndarray, seed: int = 0) -> np.ndarray:
        return cv2.blur(picture, (self.size, self.size))


@dataclass(frozen=True)
class Gaussian:
    """Gaussian filter of deviation `sigma` [px]; the border is mirrored.

    size: the side of its window [px, odd]; None: wide enough for 4 deviations to each side.
    """

    sigma: float = 1.0
    size: int | None = None
    type: ClassVar[str] = "gaussian"

    def __post_init__(self):
        _expect_number("sigma", self.sigma, most=50)
        if self.size is not None:
            _expect_odd("size", self.size)

    @property
    def window(self) -> int:
        """The side of the window in pixels."""
        return self.size or 2 * max(1, round(4 * self.sigma)) + 1

    def blurred(self, picture: np.ndarray) -> np.ndarray:
        """Filter in float64, without rounding: OpenCV's 8-bit filter is up to 2.4 levels off."""
        return cv2.GaussianBlur(picture.astype(np.float64), (self.window, self.window), self.sigma)

    def __call__(self, picture: np.ndarray, seed: int = 0) -> np.ndarray:
        return _to_uint8(self.blurred(picture))


@dataclass(frozen=True)
class Sharpen:
    """Unsharp masking: picture + amount * (picture - blurred), with a Gaussian of `sigma` and `size`."""

    amount: float = 1.0
    sigma: float = 1.0
    size: int | None = None
    type: ClassVar[str] = "sharpen"

    def __post_init__(self):
        _expect_number("amount", self.amount, most=100)
        self.gaussian  # noqa: B018  this checks its strengths

    @property
    def gaussian(self) -> Gaussian:
        return Gaussian(self.sigma, self.size)

    def __call__(self, picture: np.ndarray, seed: int = 0) -> np.ndarray:
        return _to_uint8(picture + self.amount * (picture - self.gaussian.blurred(picture)))


@dataclass(frozen=True)
class Noise:
    """Gaussian noise of deviation `sigma` [grey levels] on every value, rounded and clipped."""

    sigma: float = 2.0
    type: ClassVar[str] = "noise"

    def __post_init__(self):
        _expect_number("sigma", self.sigma, most=255)

    def drawn(self, shape: tuple[int, ...], seed: int) -> np.ndarray:
        """Draw the noise itself [grey levels]."""
        return np.random.default_rng(seed).normal(0, self.sigma, shape)

    def __call__(self, picture: np.ndarray, seed: int = 0) -> np.ndarray:
        return _to_uint8(picture + self.drawn(picture.shape, seed))


@dataclass(frozen=True)
class Brightness:
    """Every value times `factor`, rounded and clipped. Below 1 is darker, above 1 is brighter."""

    factor: float = 1.2
    type: ClassVar[str] = "brightness"

    def __post_init__(self):
        _expect_number("factor", self.factor, most=10)

    def __call__(self, picture: np.ndarray, seed: int = 0) -> np.ndarray:
        return _to_uint8(picture * float(self.factor))


@dataclass(frozen=True)
class Flip:
    """Mirroring: "horizontal" swaps left and right, "vertical" swaps top and bottom."""

    axis: Literal["horizontal", "vertical"] = "horizontal"
    type: ClassVar[str] = "flip"

    def __post_init__(self):
        if self.axis not in ("horizontal", "vertical"):
            raise StrengthError("axis", f"expected horizontal or vertical, got {self.axis}")

    def __call__(self, picture: np.ndarray, seed: int = 0) -> np.ndarray:
        return (picture[:, ::-1] if self.axis == "horizontal" else picture[::-1]).copy()


@dataclass(frozen=True)
class Jpeg:
    """JPEG compression at `quality` (1 to 95), with chroma at half the size (4:2:0), as usual."""

    quality: int = 90
    type: ClassVar[str] = "jpeg"

    def __post_init__(self):
        _expect_quality(self.quality, 1, 95)

    def __call__(self, picture: np.ndarray, seed: int = 0) -> np.ndarray:
        return _through_codec(picture, "JPEG", quality=self.quality, subsampling="4:2:0")


@dataclass(frozen=True)
class Webp:
    """Lossy WebP compression at `quality` (0 to 100)."""

    quality: int = 90
    type: ClassVar[str] = "webp"

    def __post_init__(self):
        _expect_quality(self.quality, 0, 100)

    def __call__(self, picture: np.ndarray, seed: int = 0) -> np.ndarray:
        return _through_codec(picture, "WEBP", quality=self.quality)


@dataclass(frozen=True)
class Avif:
    """Lossy AVIF compression at `quality` (0 to 100), with chroma at half the size (4:2:0)."""

    quality: int = 60
    type: ClassVar[str] = "avif"

    def __post_init__(self):
        _expect_quality(self.quality, 0, 100)
        if not features.check("avif"):
            raise StrengthError("type", "this Pillow cannot write AVIF; run pip install 'pillow>=11.3'")

    def __call__(self, picture: np.ndarray, seed: int = 0) -> np.ndarray:
        settings = dict(quality=self.quality, subsampling="4:2:0", speed=6, max_threads=1)
        return _through_codec(picture, "AVIF", **settings)


@dataclass(frozen=True)
class Resize:
    """Resizing to `scale` of both sides and back again, both bicubic with an antialiasing filter."""

    scale: float = 0.5
    type: ClassVar[str] = "resize"

    def __post_init__(self):
        _expect_number("scale", self.scale, most=8)
        if self.scale == 1:
            raise StrengthError("scale", "expected a number above 0, at most 8, other than 1, got 1")

    def scaled(self, side: int) -> int:
        """Return the length of a side after scaling [px]."""
        return max(1, round(side * self.scale))

    def __call__(self, picture: np.ndarray, seed: int = 0) -> np.ndarray:
        image = Image.fromarray(picture)
        size = self.scaled(image.width), self.scaled(image.height)
        scaled = image.resize(size, Image.Resampling.BICUBIC)
        return np.array(scaled.resize(image.size, Image.Resampling.BICUBIC))


@dataclass(frozen=True)
class Crop:
    """Cropping to the middle, `keep` of both sides; the rest becomes mid-grey.

    The picture keeps its size, and the middle stays where it was. Most methods need every pixel in its place,
    and a picture of another size cannot be compared with the secret.
    """

    keep: float = 0.9
    type: ClassVar[str] = "crop"

    def __post_init__(self):
        if not (is_number(self.keep) and 0 < self.keep < 1):
            raise StrengthError("keep", f"expected a share of the side, above 0 and below 1, got {self.keep}")

    def middle(self, height: int, width: int) -> tuple[slice, slice]:
        """Return the rows and the columns that are left."""
        inner = max(1, round(height * self.keep)), max(1, round(width * self.keep))
        top, left = (height - inner[0]) // 2, (width - inner[1]) // 2
        return slice(top, top + inner[0]), slice(left, left + inner[1])

    def __call__(self, picture: np.ndarray, seed: int = 0) -> np.ndarray:
        middle = self.middle(*picture.shape[:2])
        attacked = np.full_like(picture, OUTSIDE)
        attacked[middle] = picture[middle]
        return attacked


@dataclass(frozen=True)
class Chain:
    """One attack after another, each on the 8-bit picture from the one before."""

    links: tuple[Attack, ...]
    type: ClassVar[str] = "chain"

    def __post_init__(self):
        if not self.links:
            raise UserError("a chain without attacks; write {type: none} for a stego that arrives unchanged")

    def __call__(self, picture: np.ndarray, seed: int = 0) -> np.ndarray:
        for k, link in enumerate(self.links):
            picture = send(picture, link, link_seed(seed, k))
        return picture


ATTACKS: dict[str, type[Attack]] = {
    one.type: one
    for one in (Nothing, Mean, Gaussian, Sharpen, Noise, Brightness, Flip, Jpeg, Webp, Avif, Resize, Crop)
}


def label(attack) -> str:
    """Return an attack in words, such as "jpeg quality=90". " + " joins the attacks of a chain."""
    if isinstance(attack, Chain):
        return " + ".join(map(label, attack.links))
    values = ((field.name, getattr(attack, field.name)) for field in fields(attack))
    return " ".join([attack.type, *(f"{name}={value}" for name, value in values if value is not None)])


def send(picture: np.ndarray, attack: Attack, seed: int = 0) -> np.ndarray:
    """Return the picture after the attack. Raises UserError if the attack changed its size."""
    attacked = attack(picture, seed)
    if attacked.shape != picture.shape:
        sizes = (f"{one.shape[1]} x {one.shape[0]}" for one in (picture, attacked))
        raise UserError(
            f"'{label(attack)}' changes the picture's size ({' -> '.join(sizes)} px); an attack must keep "
            "it, because the revealed pictures are compared with the secrets as they were hidden"
        )
    return attacked


def link_seed(seed: int, k: int) -> int:
    """Return the seed of attack k in a chain, so that two noises in one chain differ."""
    return seed + k * 2**32


def is_number(value) -> bool:
    """Say whether a value is an int or a float. True and False do not count."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _expect_number(name: str, value, most: float) -> None:
    if not (is_number(value) and 0 < value <= most):
        raise StrengthError(name, f"expected a number above 0, at most {most:g}, got {value}")


def _expect_odd(name: str, value) -> None:
    if not (type(value) is int and 3 <= value <= LARGEST and value % 2):
        raise StrengthError(name, f"expected an odd number from 3 to {LARGEST}, got {value}")


def _expect_quality(value, low: int, high: int) -> None:
    if not (type(value) is int and low <= value <= high):
        raise StrengthError("quality", f"expected a whole number, {low} to {high}, got {value}")


def _to_uint8(values: np.ndarray) -> np.ndarray:
    return np.clip(np.round(values), 0, 255).astype(np.uint8)


def _through_codec(picture: np.ndarray, file_format: str, **settings) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, file_format, **settings)
    return np.array(Image.open(file).convert("RGB"))
