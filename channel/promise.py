"""What surviving means: each promise stands for a list of attacks that a stego must survive.

"jpeg:75" promises this quality and every better one, whichever program writes the file. It stands for
JPEG_QUALITIES from 75 up, by Pillow with chroma at half the size (4:2:0) and at full size (4:4:4), and by
OpenCV. A chain stands for itself, by each of these programs. WebP and AVIF are written by Pillow only.
"""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import cv2
import numpy as np
from PIL import Image

from channel.attacks import Attack, Avif, Chain, Jpeg, Webp, label
from channel.notation import parse_attack
from errors import UserError

JPEG_QUALITIES = (75, 80, 85, 90, 95)
LOWEST = {"jpeg": 30, "webp": 30, "avif": 30}  # at lower qualities, too little is left to hide in
PROGRAMS = ("pillow 4:2:0", "pillow 4:4:4", "opencv")


@dataclass(frozen=True)
class JpegBy:
    """JPEG compression at `quality` (1 to 100) by one of PROGRAMS."""

    quality: int
    program: str = PROGRAMS[0]
    type: ClassVar[str] = "jpeg"

    @property
    def subsampling(self) -> str:
        """The chroma subsampling: "4:2:0" or "4:4:4"."""
        return self.program.removeprefix("pillow ") if self.program != "opencv" else "4:2:0"

    def __call__(self, picture: np.ndarray, seed: int = 0) -> np.ndarray:
        if self.program == "opencv":
            wanted = [cv2.IMWRITE_JPEG_QUALITY, self.quality]
            file = cv2.imencode(".jpg", picture[..., ::-1], wanted)[1]
            return np.array(Image.open(io.BytesIO(file.tobytes())).convert("RGB"))
        content = jpeg_file(picture, self.quality, self.subsampling)
        return np.array(Image.open(io.BytesIO(content)).convert("RGB"))


def jpeg_file(picture: np.ndarray, quality: int, subsampling: str, profile: bytes | None = None) -> bytes:
    """Code (H,W,3) uint8 as a JPEG file. subsampling: of the chroma, 4:4:4 (none), 4:2:2 or 4:2:0."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=quality, subsampling=subsampling, icc_profile=profile)
    return file.getvalue()


def parse_promises(texts: Sequence[str]) -> tuple[Attack, ...]:
    """Read promises from a command line: "jpeg:75", "webp:80", "avif:60", "jpeg:85+jpeg:75".

    Raises UserError for other attacks, for qualities below LOWEST, and if there are no promises.
    """
    if not texts:
        raise UserError("survive: say what the stego must survive, such as jpeg:75")
    promises = tuple(parse_attack(text) for text in texts)
    for text, promise in zip(texts, promises, strict=True):
        for link in links(promise):
            if not isinstance(link, Jpeg | Webp | Avif):
                raise UserError(
                    f"'{text}': a stego can be made to survive {', '.join(LOWEST)} and chains of them "
                    f"(jpeg:85+jpeg:75), not {link.type}"
                )
            if link.quality < LOWEST[link.type]:
                raise UserError(
                    f"'{text}': below quality {LOWEST[link.type]}, too little of a picture is left to hide in"
                )
    return promises


def links(promise: Attack) -> tuple[Attack, ...]:
    """Return the attacks of a chain, or the attack alone."""
    return promise.links if isinstance(promise, Chain) else (promise,)


def attempts(promises: Sequence[Attack]) -> list[Attack]:
    """Return all attacks that a stego with these promises must survive, the hardest first."""
    found = dict.fromkeys(attempt for promise in promises for attempt in _attempts(promise))
    return sorted(found, key=lambda one: sum(_hardness(link) for link in links(one)), reverse=True)


def hardest(promises: Sequence[Attack]) -> list[Attack]:
    """Return those attempts that are the promises themselves, written by Pillow.

    Usually 4:2:0 loses more than 4:4:4. For noise it is the reverse, because 4:4:4 keeps colours beyond
    0..255.
    """
    by_pillow = {_by(one, program) for one in promises for program in PROGRAMS[:2]}
    return [attack for attack in attempts(promises) if attack in by_pillow]


def _by(promise: Attack, program: str) -> Attack:
    """Return the promise with its JPEG files written by this program."""
    by = [JpegBy(one.quality, program) if isinstance(one, Jpeg) else one for one in links(promise)]
    return Chain(tuple(by)) if len(by) > 1 else by[0]


def _attempts(promise: Attack) -> Iterator[Attack]:
    if not any(isinstance(link, Jpeg) for link in links(promise)):
        yield promise
        return
    for program in PROGRAMS:
        by = _by(promise, program)
        yield by
        if isinstance(by, JpegBy):
            yield from (replace(by, quality=better) for better in JPEG_QUALITIES if better > by.quality)


def _hardness(link: Attack) -> int:
    return 101 - getattr(link, "quality", 101)


def described(attack: Attack) -> str:
    """Return an attack in words, such as "jpeg 75 by pillow 4:2:0". " + " joins the links of a chain."""
    if isinstance(attack, Chain):
        return " + ".join(map(described, attack.links))
    if isinstance(attack, JpegBy):
        return f"jpeg {attack.quality} by {attack.program}"
    return label(attack).replace(" quality=", " ")
