"""Hide coded pictures in JPEG's own domain: the secrets survive the compression that the sender names."""

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

OWN_JPEG = JpegBy(95, "pillow 4:4:4")  # how this program writes a stego that is sent as JPEG
DECENT = 0.1  # bits per pixel of the secrets; to reach it, the stego's PSNR may fall to LEAST_PSNR
ROUNDS = 6  # attempts to repair a setting that just failed
LARGE = 2_000_000  # pixels; larger secrets are coded as AVIF at a faster speed


@dataclass(frozen=True)
class Survived:
    """The findings of `seal`.

    setting, margin: those that were used. psnr: of the stego as sent [dB, RGB]. good: the PSNR it aims for.
    trials: every attack, with the errors in its worst code word and whether the header came back.
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
        """The largest share of the correctable errors that an attack has used up, 0 to 2/3."""
        return max(trial.worst / trial.correctable for trial in self.trials)


class CodecDCT(KeyedMethod):
    """Pictures coded by AVIF or WebP, encrypted, with Reed-Solomon parity, in the DCT of luma. No training.

    B. Chen, G. W. Wornell, "Quantization Index Modulation: A Class of Provably Good Methods for Digital
    Watermarking and Information Embedding", IEEE Trans. Information Theory 47(4), 2001 (dither modulation);
    in JPEG's domain J. J. Eggers, B. Girod, "Informed Watermarking", 2002. The search for the setting, and
    its use as a baseline for robust hiding, are this project's.

        secrets -- codec, as fine as fits -- encrypt -- Reed-Solomon -- bits -----|
                                                                                  |-- stego -- each attack
        cover (3,H,W) -- luma -- DCT 8x8 -- coefficients to the nearest point of -|      that was promised
                                            a dithered lattice that the bits choose

    Red, green and blue get the smallest change that gives the right luma. The lattice's spacing follows the
    quantisation table of the promised JPEG quality; the bits go to the coefficients where they cost least.
    Revealing gives every bit back, or nothing. After `seal`, `report` says what was tried.

    Arguments:
        num_secrets  N, the number of secrets in `hide` and `reveal`; `seal` takes 1 to 255
        survive      promises (channel/promise.py), such as jpeg:75, webp:80, avif:60, jpeg:85+jpeg:75
        least_psnr   lowest PSNR of the stego [dB]; null: 36.5, or down to 33 if too little survives at 36.5
        codec        auto (the better of AVIF and WebP for each secret), avif or webp
        speed        speed of the AVIF encoder, 0 (slow, best) to 10
    """

    own_sizes = True
    takes_files = True
    trainable = False
    most_secrets = 255
    bytes_a_pixel = 0.025  # 24 bits per block, half of them parity: what photographs take at JPEG 75

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
        self.sent_as_jpeg = False  # set it before `seal` if OWN_JPEG will write the stego
        self.report: Survived | None = None
        # The cover must have room for this many noisy pictures of its own size.
        side = 8 * math.ceil(math.sqrt(2 * FEWEST_BLOCKS + 60 * num_secrets))
        self.smallest = (side, side)

    @property
    def least_psnr(self) -> float | None:
        """The lowest PSNR of the stego [dB], from 33 to 60; None: see the class."""
        return self._least_psnr

    @least_psnr.setter
    def least_psnr(self, least: float | None) -> None:
        if least is not None and not LEAST_PSNR <= least <= 60:
            raise UserError(f"least_psnr: must be from {LEAST_PSNR:g} to 60 dB, got {least}")
        self._least_psnr = least

    @property
    def survive(self) -> tuple[Attack, ...]:
        """What the stego is made to survive. Set it as texts, such as "jpeg:75"."""
        return self._promises

    @survive.setter
    def survive(self, texts: Sequence[str]) -> None:
        self._promises = parse_promises([texts] if isinstance(texts, str) else list(texts))

    @property
    def shaping(self) -> int:
        """Always 0: a trellis would spread each error of the compression over many bits."""
        return 0

    @shaping.setter
    def shaping(self, wanted: int | None) -> None:
        raise UserError("shaping: codec_dct has none; its promises decide how the cover changes")

    # --- hiding -----------------------------------------------------------------------------------

    def _seal(self, cover: Tensor, content: Content, key: Key, marked: bool) -> Tensor:
        if not marked:
            raise UserError(
                "codec_dct cannot leave out the mark: reveal must find its header after compression, so "
                "anybody with this program can find it too"
            )
        array = _to_array(cover)
        sizes = [(secret.shape[-2], secret.shape[-1]) for secret in content.secrets]
        rung = self.surveyed(array, sizes, content.files)
        stego = self._written(array, content, key, rung)
        return torch.from_numpy(stego).permute(2, 0, 1).contiguous().to(cover.device)

    def surveyed(self, cover: np.ndarray, sizes: Sequence[tuple[int, int]], files: Sequence[File]) -> Rung:
        """Find the setting for a cover (H,W,3) uint8, its stego's expected PSNR, and how much fits.

        sizes: (height, width) of each picture. Raises UserError if too little survives.
        """
        return self._rung(Survey(cover, hardest(self.survive), self._qualities(), self._sent), sizes, files)

    def _sent(self, stego: np.ndarray) -> np.ndarray:
        """Return the stego as its file holds it, before anything happens to it."""
        return OWN_JPEG(stego) if self.sent_as_jpeg else stego

    def _qualities(self) -> list[int]:
        """Return the JPEG qualities whose tables the lattice may follow; 0 is the flat table.

        Only JPEG: the strongest one. Also WebP or AVIF: the flat table, and one of a JPEG.
        """
        all_links = [link for promise in self.survive for link in links(promise)]
        jpeg = [link.quality for link in all_links if isinstance(link, Jpeg)]
        return [min(jpeg)] if len(jpeg) == len(all_links) else [0, min([75, *jpeg])]

    def _rung(self, survey: Survey, sizes: Sequence[tuple[int, int]], files: Sequence[File]) -> Rung:
        """Choose the setting. If none survives, raises UserError that says what would help."""
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
                f"needed for {count} secrets; use a larger cover, one with fewer black and white areas, or "
                "fewer secrets, or promise a better quality"
            )
        return best

    def _written(self, cover: np.ndarray, content: Content, key: Key, rung: Rung) -> np.ndarray:
        """Write the stego and try it. If the survey expected too few errors, the setting gets more parity."""
        pictures = [_to_array(secret) for secret in content.secrets]
        size = cover.shape[0], cover.shape[1]
        # The survey used other keys, and only tiles of a large cover: the PSNR may be a little lower now.
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
                continue  # another nonce gives another header, which may survive
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
            f"no setting survives {', '.join(map(described, self.survive))}: {failed.attack} leaves "
            f"{left}; use another or a larger cover, or promise a better quality"
        )

    # --- revealing --------------------------------------------------------------------------------

    def _unseal(self, stego: Tensor, key: Key, damaged_ok: bool) -> Content:
        received = Received(_to_array(stego))
        header = received.header()
        setting, length, keys = opened_header(header, key)
        room = code_room(received.size, setting)
        if not 0 < length <= room or code_length(length, setting.parity) > room:
            raise ContainerError("the header asks for more than this picture holds: it was cropped or forged")
        places = Places(received.size, setting, keys)
        code, trust = received.code(places, code_length(length, setting.parity))
        result = decode(code, length, setting.parity, trust)
        if result.lost:
            raise Damaged(
                f"changed more than it was made to survive: {result.lost} of {len(result.wrong)} code words "
                "cannot be corrected, and codec_dct cannot reveal a part"
            )
        payload = decrypt(keys.payload, "payload", result.content, header)
        if payload is None:
            raise Damaged("changed after hiding: the payload is not the one that was written")
        found = unpack(payload)
        tensors = [torch.from_numpy(np.array(p)).permute(2, 0, 1).contiguous() for p in found.pictures]
        return Content([tensor.to(stego.device) for tensor in tensors], found.note, found.files)


def _to_array(picture: Tensor) -> np.ndarray:
    """(3,H,W) uint8 -> (H,W,3) uint8."""
    return np.ascontiguousarray(picture.permute(1, 2, 0).cpu().numpy())
