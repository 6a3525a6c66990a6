"""Coded pictures in JPEG's own domain: the secrets survive the compression that the sender names."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from channel.attacks import Attack, Jpeg, Nothing
from channel.promise import JpegBy, attempts, described, hardest, links, parse_promises
from container.codecs import SPEED, check_codec
from container.header import ContainerError, Damaged
from container.keys import TAG, Key, decrypt, encrypt, new_nonce
from container.payload import File, unpack
from container.rate import fitted_payload
from container.reed_solomon import code_length, content_that_fits, decode, encode, words_needed
from container.robust import (
    FEWEST_BLOCKS,
    Places,
    Received,
    Setting,
    code_room,
    opened_header,
    sealed_header,
    write,
)
from errors import UserError
from models.base import check_between
from models.keyed import Content, KeyedMethod
from models.survival import (
    DB_A_BIT,
    GOOD_PSNR,
    LEAST_PSNR,
    PSNR_STEP,
    Rung,
    Survey,
    Trial,
    parity_for,
    psnr,
    tried,
)

OWN_JPEG = JpegBy(95, "pillow 4:4:4")  # how a stego is written that is sent as JPEG
DECENT = 0.1  # bits a pixel of the secrets: for as many, the stego's PSNR may fall to LEAST_PSNR
ROUNDS = 6  # attempts to mend a setting that just failed
LARGE = 2_000_000  # pixels: larger secrets are written as AVIF at a faster speed


@dataclass(frozen=True)
class Survived:
    """What `seal` found out.

    setting, margin: those taken; psnr: of the stego as it is sent [dB, RGB]; good: the aim for it;
    trials: every attack, each with the errors in its worst code word and whether the header came back;
    payload: its length [bytes].
    """

    setting: Setting
    margin: int
    psnr: float
    good: float
    trials: list[Trial]
    code_words: int
    payload: int

    @property
    def used(self) -> float:
        """The largest share of what can be mended that an attack has used, 0 to 2/3."""
        return max(trial.worst / trial.mendable for trial in self.trials)


class CodecDCT(KeyedMethod):
    """Pictures coded by AVIF or WebP, encrypted, with Reed-Solomon parity, in the DCT of luma. No training.

    B. Chen, G. W. Wornell, "Quantization Index Modulation: A Class of Provably Good Methods for Digital
    Watermarking and Information Embedding", IEEE Trans. Information Theory 47(4), 2001 (dither modulation);
    in JPEG's domain J. J. Eggers, B. Girod, "Informed Watermarking", 2002. The search for the setting, and
    the use as a yardstick of robust hiding, are this project's.

        secrets -- codec, as fine as fits -- encrypt -- Reed-Solomon -- bits -----|
                                                                                  |-- stego -- each attack
        cover (3,H,W) -- luma -- DCT 8x8 -- coefficients to the nearest point of -|      that was promised
                                            a dithered lattice that the bits choose

    Red, green and blue change so that luma is right and the change is smallest. The lattice's spacing
    follows the table of the JPEG quality that is promised; coefficients get the bits that cost least. What
    is revealed is exact to the bit, or nothing. `report` says after `seal` what was tried.

    Arguments:
        num_secrets  N, how many secrets `hide` and `reveal` have; `seal` takes 1 to 255
        survive      promises (channel/promise.py), such as jpeg:75, webp:80, avif:60, jpeg:85+jpeg:75
        least_psnr   dB of the stego, never less; None: 36.5, and where no setting reaches that, down to 33
        codec        auto (of AVIF and WebP the better for each secret), avif or webp
        speed        of the AVIF encoder, 0 (slow, best) to 10
    """

    own_sizes = True
    takes_files = True
    trainable = False
    most_secrets = 255
    bytes_a_pixel = 0.025  # 24 bits a block, of which half are parity, as photographs at JPEG 75 take

    def __init__(
        self,
        *,
        num_secrets: int = 1,
        survive: Sequence[str] = ("jpeg:75",),
        least_psnr: float | None = None,
        codec: str = "auto",
        speed: int = SPEED,
    ):
        super().__init__()
        check_between(num_secrets=(num_secrets, 1, 255), speed=(speed, 0, 10))
        self.num_secrets, self.speed, self.least_psnr = num_secrets, speed, least_psnr
        self.codecs = check_codec(codec)
        self.survive = survive
        self.sent_as_jpeg = False  # set before `seal`: the stego will be written by OWN_JPEG
        self.report: Survived | None = None
        # A cover in which as many noisy pictures of its own size still find room.
        side = 8 * math.ceil(math.sqrt(2 * FEWEST_BLOCKS + 60 * num_secrets))
        self.smallest = (side, side)

    @property
    def least_psnr(self) -> float | None:
        """PSNR [dB] that the stego is never below; None: see the class."""
        return self._least_psnr

    @least_psnr.setter
    def least_psnr(self, least: float | None) -> None:
        if least is not None and not 20 <= least <= 60:
            raise UserError(f"least_psnr: must be from 20 to 60 dB, got {least}")
        self._least_psnr = least

    @property
    def survive(self) -> tuple[Attack, ...]:
        """What the stego is made to survive; set as texts."""
        return self._promises

    @survive.setter
    def survive(self, texts: Sequence[str]) -> None:
        self._promises = parse_promises([texts] if isinstance(texts, str) else list(texts))

    @property
    def shaping(self) -> int:
        """None: a trellis spreads one error over many bits, which compression would multiply."""
        return 0

    @shaping.setter
    def shaping(self, wanted: int | None) -> None:
        raise UserError("shaping: codec_dct has none; what the stego shall survive decides how it changes")

    # --- hiding -----------------------------------------------------------------------------------

    def _seal(self, cover: Tensor, content: Content, key: Key, marked: bool) -> Tensor:
        if not marked:
            raise UserError(
                "codec_dct cannot leave out the mark: its header has to be found after compression, and "
                "whoever knows this program finds it too"
            )
        array = _to_array(cover)
        sizes = [(secret.shape[-2], secret.shape[-1]) for secret in content.secrets]
        rung = self.surveyed(array, sizes, content.files)
        stego = self._written(array, content, key, rung)
        return torch.from_numpy(stego).permute(2, 0, 1).contiguous().to(cover.device)

    def surveyed(self, cover: np.ndarray, sizes: Sequence[tuple[int, int]], files: Sequence[File]) -> Rung:
        """What hiding in a cover (H,W,3) uint8 begins with: the setting, its stego's PSNR, and what fits.

        sizes: (height, width) of each picture. Raises UserError if too little survives.
        """
        return self._rung(Survey(cover, hardest(self.survive), self._qualities(), self._sent), sizes, files)

    def _sent(self, stego: np.ndarray) -> np.ndarray:
        """The stego as it lies in its file, before anything happens to it."""
        return OWN_JPEG(stego) if self.sent_as_jpeg else stego

    def _qualities(self) -> list[int]:
        """The tables that the lattice may follow: the strongest JPEG's, or the flat one for WebP and AVIF."""
        all_links = [link for promise in self.survive for link in links(promise)]
        jpeg = [link.quality for link in all_links if isinstance(link, Jpeg)]
        return [min(jpeg)] if len(jpeg) == len(all_links) else [0, min([75, *jpeg])]

    def _rung(self, survey: Survey, sizes: Sequence[tuple[int, int]], files: Sequence[File]) -> Rung:
        """The setting to take. Raises UserError, which says what would help, if none survives."""
        exact, count = sum(len(file.content) for file in files), len(sizes) + len(files)
        least = TAG + 200 + 100 * count + exact
        decent = max(least, exact + DECENT / 8 * sum(height * width for height, width in sizes))
        floor = GOOD_PSNR
        if self.least_psnr is not None:
            floor = self.least_psnr
            decent = least
        best = survey.best(floor)
        while (best is None or best.room < decent) and self.least_psnr is None and floor > LEAST_PSNR:
            floor -= PSNR_STEP
            best = survey.best(floor) or best
        if best is None or best.room < least:
            promised = ", ".join(map(described, self.survive))
            fits = 0 if best is None else best.room
            raise UserError(
                f"too little survives {promised} with a stego of {floor:g} dB: {fits} bytes fit, {least} are "
                f"needed for {count} secrets; take a larger cover, one with fewer black and white "
                "areas, fewer secrets, or promise a better quality"
            )
        return best

    def _written(self, cover: np.ndarray, content: Content, key: Key, rung: Rung) -> np.ndarray:
        """The stego, tried. Its setting gets more parity if the survey expected too little."""
        pictures = [_to_array(secret) for secret in content.secrets]
        size = cover.shape[0], cover.shape[1]
        # The survey had other keys, and saw only tiles of a large cover: the stego may be a little below.
        floor = self.least_psnr or (GOOD_PSNR if rung.psnr >= GOOD_PSNR else LEAST_PSNR)
        setting = rung.setting
        payload, coded_for = b"", -1
        large = any(picture.shape[0] * picture.shape[1] > LARGE for picture in pictures)
        speed = max(6, self.speed) if large else self.speed
        for _ in range(ROUNDS):
            room = content_that_fits(code_room(size, setting), setting.parity) - TAG
            if room != coded_for:
                payload = fitted_payload(
                    pictures, content.note, room, self.codecs, speed, self.progress, content.files
                )
                coded_for = room
            nonce = new_nonce()
            keys = key.derive(nonce)
            header = sealed_header(setting, len(payload) + TAG, keys, nonce)
            code = encode(encrypt(keys.payload, "payload", payload, header), setting.parity)
            places = Places(size, setting, keys)
            stego = write(cover, places, code, header, rung.margin)
            count = words_needed(len(payload) + TAG, setting.parity)
            trials = []
            sent = self._sent(stego)
            for trial in tried(sent, places, code, count, header, [Nothing(), *attempts(self.survive)]):
                trials.append(trial)
                if not trial.passed:
                    break
            found = psnr(cover, sent)
            if found < floor:
                fewer = max(1, round((floor - found) / DB_A_BIT))
                setting = replace(setting, bits=max(1, setting.bits - fewer))
            elif not trials[-1].header:
                continue  # another nonce makes another header, which may come back
            elif not trials[-1].passed:
                parity = max(parity_for(trials[-1].worst), setting.parity + 4)
                setting = replace(setting, parity=min(parity, 254))
            else:
                good = GOOD_PSNR if self.least_psnr is None else self.least_psnr
                self.report = Survived(setting, rung.margin, found, good, trials, count, len(payload))
                return stego
        failed = trials[-1]
        left = f"{failed.worst} wrong bytes in a code word" if failed.header else "no header"
        raise UserError(
            f"no setting survives {', '.join(map(described, self.survive))}: with {setting}, {failed.attack} "
            f"leaves {left}; take another cover, a larger one, or promise a better quality"
        )

    # --- revealing --------------------------------------------------------------------------------

    def _unseal(self, stego: Tensor, key: Key, damaged_ok: bool) -> Content:
        received = Received(_to_array(stego))
        header = received.header()
        setting, length, keys = opened_header(header, key)
        room = code_room(received.size, setting)
        if not 0 < length <= room or code_length(length, setting.parity) > room:
            raise ContainerError(
                "its header asks for more than this picture holds: it was cropped or crafted"
            )
        places = Places(received.size, setting, keys)
        code, trust = received.code(places, code_length(length, setting.parity))
        mended = decode(code, length, setting.parity, trust)
        if mended.lost:
            raise Damaged(
                f"changed more than it was made to survive: {mended.lost} of {len(mended.wrong)} code words "
                "cannot be mended, and codec_dct cannot reveal a part"
            )
        payload = decrypt(keys.payload, "payload", mended.content, header)
        if payload is None:
            raise Damaged("changed after hiding: the payload is not what was written")
        found = unpack(payload)
        tensors = [torch.from_numpy(np.array(p)).permute(2, 0, 1).contiguous() for p in found.pictures]
        return Content([tensor.to(stego.device) for tensor in tensors], found.note, found.files)


def _to_array(picture: Tensor) -> np.ndarray:
    """(3,H,W) uint8 -> (H,W,3) uint8."""
    return np.ascontiguousarray(picture.permute(1, 2, 0).cpu().numpy())
