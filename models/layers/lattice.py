"""The lattice embedding: a mosaic carried by the residues of the stego's samples, whatever the cover is."""

import math

import numpy as np
import torch
from torch import Tensor, nn

from container.header import LONGEST_NOTE, ContainerError, header_samples, read_header, write_header
from container.keys import Key, keystream, new_nonce
from container.trellis import embed_values, extract_values
from errors import UserError
from models.layers.quantize import Channel, finite, quantize

COLOURS = (
    (2 / 3, 2 / 3, 2 / 3),
    (-1 / 2, -1 / 2, 1),
    (1, -1, 0),
)  # luma, blue and red difference
MODULI = range(2, 65)  # grey levels
CURVE = 4.0  # k of the companding: near grey the levels are twice as fine as if they were spread evenly


class Companding(nn.Module):
    """Small pictures <-> mosaic values that use their whole range: (B,3,h,w) <-> (B,3,h,w) in [0,1].

        u = A x clamped to [-1,1],   v = 1/2 + r asinh(k u) / asinh(k),   r = 1/2 - margin(M)

    A is a learned matrix over the colours that starts as luma and two colour differences, each spread
    out: neighbouring colours say nearly the same, and a narrow range would waste levels. x is a small
    picture, centred. Law: inverse(forward(x)) == x where |A x| <= 1. The gradient goes straight through
    the clamp; `overshoot` says how far a picture went beyond it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.colours = nn.Parameter(torch.tensor(COLOURS))

    def forward(self, x: Tensor, modulus: float) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            u = self._spread(x)
            u = u + (u.clamp(-1, 1) - u).detach()
            return 0.5 + (0.5 - margin(modulus)) / math.asinh(CURVE) * torch.asinh(CURVE * u)

    def inverse(self, v: Tensor, modulus: float) -> Tensor:
        with torch.autocast(v.device.type, enabled=False):
            g = (v.to(self.colours.dtype) - 0.5) / (0.5 - margin(modulus))
            u = torch.sinh(math.asinh(CURVE) * g) / CURVE
            return torch.einsum("ij,bjhw->bihw", torch.linalg.inv(self.colours), u)

    def overshoot(self, x: Tensor) -> Tensor:
        """The mean square of what `forward` clamps away of A x."""
        with torch.autocast(x.device.type, enabled=False):
            return (self._spread(x).abs() - 1).clamp(min=0).square().mean()

    def _spread(self, x: Tensor) -> Tensor:
        return torch.einsum("ij,bjhw->bihw", self.colours, x.to(self.colours.dtype))


def margin(modulus: float) -> float:
    """How near a mosaic value may come to 0 and 1: half a grey level, and a hair for the arithmetic."""
    return 0.5 / modulus + 1e-3


def embed(cover: Tensor, values: Tensor, dither: Tensor, modulus: float) -> Tensor:
    """Move each sample to the nearest grey level whose residue modulo M says the value.

        s = (M v + d) mod M,   t = s + M round((c - s) / M), moved by +-M where it left 0..255,
        stego = round(t)

    Dither modulation: B. Chen, G. W. Wornell, "Quantization index modulation", IEEE Trans. IT 47(4), 2001.
    The squared error is (M^2 + 2) / 12 for even M, (M^2 - 1) / 12 for odd M, whatever cover and values are, a
    little more where a cover is at the end of the scale.

    cover: grey levels 0..255, values in [margin, 1 - margin], dither in [0, M): one shape, any dtype ->
    float64 of whole numbers 0..255.
    """
    return _nearest(cover, values, dither, modulus).round().clamp(0, 255)


def embed_halved(cover: Tensor, values: Tensor, dither: Tensor, modulus: float) -> Tensor:
    """As `embed` where the lowest bit is the header's: to even levels 2k, of which 2k + 1/2 says the value.

    values anywhere in [0,1] -> float64, even, 0..254. `extract_halved` gives them back to within 1/M, once
    they are `pulled`.
    """
    nearest = _nearest(cover, pulled(values, modulus), dither, modulus)
    return ((nearest + 0.5) / 2).floor() * 2


def extract_halved(stego: Tensor, dither: Tensor, modulus: float) -> Tensor:
    """The values that `embed_halved` was given, whatever the lowest bit is by now; see `extract`."""
    return pulled(extract(stego // 2 * 2 + 0.5, dither, modulus), modulus)


def pulled(values: Tensor, modulus: float) -> Tensor:
    """Values clamped to [1/M, 1 - 1/M] (1/2 for M = 2): an error of 1/M would else wrap around at 0 or 1."""
    low = min(1 / modulus + 1e-3, 0.5)
    return values.clamp(low, 1 - low)


def _nearest(cover: Tensor, values: Tensor, dither: Tensor, modulus: float) -> Tensor:
    """t of `embed`, float64, between -1/2 and 255 1/2."""
    masked = (modulus * values.double() + dither).remainder(modulus)
    nearest = masked + modulus * ((cover.double() - masked) / modulus).round()
    nearest = torch.where(nearest < -0.5, nearest + modulus, nearest)
    return torch.where(nearest >= 255.5, nearest - modulus, nearest)


def extract(stego: Tensor, dither: Tensor, modulus: float) -> Tensor:
    """v^ = ((stego - d) mod M) / M: grey levels and dither -> values in [0,1), float64.

    What `embed` was given to within 1/(2M); the error is uniform there, whatever cover and values are.
    """
    return (stego.double() - dither).remainder(modulus) / modulus


def key_dither(key: bytes, count: int, modulus: float) -> Tensor:
    """d from a 32-byte key: (count,) float64, uniform on 2^32 steps of [0, M).

    Steps of 2^16 would show: residues would prefer some values by a part in 10^4, depending on the mosaic.
    """
    words = np.frombuffer(keystream(key, 4 * count).tobytes(), "<u4")
    return torch.from_numpy(words.astype(np.float64)).mul_(modulus / 2**32)


def key_syndromes(key: bytes, count: int) -> Tensor:
    """Syndrome bits of the trellis from a 32-byte key: (count,) uint8, 0 or 1.

    From the part of the key's stream that follows the words of `key_dither` for as many samples.
    """
    stream = keystream(key, 5 * count)[4 * count :]
    return torch.from_numpy(stream & 1)


class LatticeEmbedding(nn.Module):
    """A mosaic into and out of a stego, under a key: what stands in IMSE's place in SMILENet-L.

    `forward` is for training, `seal` and `unseal` are the real thing, with a header (container/header.py)
    in the first samples. modulus: M in grey levels, 2 to 64; larger means less noise on the mosaic and
    more on the stego. It may be changed before `seal`: the header says which it was.
    """

    def __init__(self, modulus: int):
        super().__init__()
        self.modulus = modulus
        self.companding = Companding()

    @property
    def modulus(self) -> int:
        return self._modulus

    @modulus.setter
    def modulus(self, modulus: int) -> None:
        if modulus not in MODULI:
            raise UserError(f"modulus: must be a whole number of grey levels from 2 to 64, got {modulus}")
        self._modulus = int(modulus)

    def forward(self, cover: Tensor, mosaic: Tensor, channel: Channel | None = None) -> tuple[Tensor, Tensor]:
        """cover (B,3,H,W) in [0,1], mosaic (B,3,h,w) centred -> stego on the 8-bit grid, mosaic^.

        A true embedding under a random dither; the gradient goes straight from mosaic^ to mosaic, as its
        error does not depend on it. mosaic^ is what is read after the channel, if there is one.
        """
        values = self.companding(mosaic, self.modulus)
        height, width = values.shape[-2:]
        with torch.no_grad():
            dither = torch.rand(values.shape, dtype=torch.float64, device=values.device) * self.modulus
            inner = embed(cover[..., :height, :width] * 255, values, dither, self.modulus)
            stego = (cover * 255).round()
            stego[..., :height, :width] = inner.to(stego)
            stego = stego / 255
            if channel is not None:
                inner = quantize(channel(stego))[..., :height, :width] * 255
            error = extract(inner, dither, self.modulus) - values
        return stego, self.companding.inverse(values + error.to(values), self.modulus)

    def smallest(self, rows: int, cols: int) -> tuple[int, int]:
        """(H, W) of the smallest cover, a square: the header with hide.py's note takes at most half of it."""
        header = header_samples(1 + NOTE_ABOUT + longest_note(rows * cols))
        side = max(4 * max(rows, cols), math.ceil(math.sqrt(2 * header / 3)))
        return side, side

    def seal(
        self,
        cover: Tensor,
        mosaic: Tensor,
        key: Key,
        note: bytes,
        about: tuple[str, bytes],
        marked: bool,
        shaping: int = 0,
    ) -> Tensor:
        """cover (3,H,W) uint8, mosaic (3,h,w) centred, h <= H, w <= W -> stego (3,H,W) uint8.

        about: the method's name and its weights' fingerprint. shaping: states of the trellis that shapes the
        changes outside of the header, or 0. The samples of the header carry the mosaic too, half as finely.
        Raises UserError for a note that is too long, and for a trellis with an odd modulus.
        """
        note = bytes([self.modulus]) + note
        (height, width), (h, w) = cover.shape[-2:], mosaic.shape[-2:]
        nonce = new_nonce()
        keys = key.derive(nonce)
        values = finite(self.companding(mosaic[None], self.modulus)[0].permute(1, 2, 0).cpu())
        samples = cover.permute(1, 2, 0).cpu().contiguous()
        dither = key_dither(keys.dither, h * w * 3, self.modulus).reshape(h, w, 3)
        inner = samples[:h, :w], values, dither
        header = _is_header(samples.shape, header_samples(len(note)))[:h, :w]
        stego = samples.clone()
        if shaping:
            syndromes = key_syndromes(keys.dither, h * w * 3).reshape(h, w, 3)
            free = ~header.numpy()  # with numpy: torch would make indices of a mask, 24 bytes a sample
            flat = (x.numpy()[free] for x in (*inner, syndromes))
            stego.numpy()[:h, :w][free] = embed_values(*flat, self.modulus, shaping)
        else:
            for rows in _bands(h):
                stego[rows, :w] = embed(*(x[rows] for x in inner), self.modulus)
        stego[:h, :w][header] = embed_halved(*(x[header] for x in inner), self.modulus).to(torch.uint8)
        write_header(stego.reshape(-1).numpy(), (height, width), keys, nonce, *about, note, marked, shaping)
        return stego.permute(2, 0, 1).contiguous().to(cover.device)

    def unseal(
        self, stego: Tensor, size: tuple[int, int], key: Key, about: tuple[str, bytes], damaged_ok: bool
    ) -> tuple[Tensor, bytes]:
        """stego (3,H,W) uint8, size (h, w) of the mosaic -> mosaic^ (3,h,w) centred, note.

        Raises ContainerError.
        """
        height, width = stego.shape[-2:]
        h, w = size
        samples = stego.permute(1, 2, 0).cpu().contiguous()
        header = read_header(samples.reshape(-1).numpy(), (height, width), key, *about, damaged_ok)
        # Without a passphrase anybody can write a header.
        if not header.note or header.note[0] not in MODULI or header.shaping and header.note[0] % 2:
            raise ContainerError("the header's note is not SMILENet-L's")
        modulus, note = header.note[0], header.note[1:]
        dither = key_dither(header.keys.dither, h * w * 3, modulus).reshape(h, w, 3)
        taken = _is_header(samples.shape, header.samples)[:h, :w]
        values = torch.empty(h, w, 3, dtype=torch.float64)
        if header.shaping:
            syndromes = key_syndromes(header.keys.dither, h * w * 3).reshape(h, w, 3)
            free = ~taken.numpy()
            flat = (x.numpy()[free] for x in (samples[:h, :w], dither, syndromes))
            values.numpy()[free] = extract_values(*flat, modulus, header.shaping)
        else:
            for rows in _bands(h):
                values[rows] = extract(samples[rows, :w], dither[rows], modulus)
        values[taken] = extract_halved(samples[:h, :w][taken], dither[taken], modulus)
        values = values.permute(2, 0, 1)[None].to(self.companding.colours)
        return self.companding.inverse(values, modulus)[0], note


def _bands(height: int, rows: int = 64) -> list[slice]:
    """So many rows of a picture at a time: what is made on the way then takes little memory."""
    return [slice(top, min(top + rows, height)) for top in range(0, height, rows)]


def _is_header(shape: tuple[int, ...], count: int) -> Tensor:
    """Which samples of a picture (H,W,3) are the header's: bool, of that shape."""
    mask = torch.zeros(shape, dtype=torch.bool)
    mask.view(-1)[:count] = True
    return mask


# --- the note ---------------------------------------------------------------------------------------

NOTE_ABOUT = 3  # bytes before the sender's note: number of secrets, length of the note


def pack_about(count: int, note: bytes, num_secrets: int) -> bytes:
    """The number of secrets (1 byte), the note's length (2), the note; as long for one secret as for all.

    Otherwise the header's length, which shows to whoever has the cover, would tell their number. Raises
    UserError for a note that is too long.
    """
    if len(note) > LONGEST_NOTE - 1 - NOTE_ABOUT:
        raise UserError(f"a note of {len(note)} bytes, at most {LONGEST_NOTE - 1 - NOTE_ABOUT} can be kept")
    return bytes([count]) + len(note).to_bytes(2) + note.ljust(longest_note(num_secrets), b"\0")


def unpack_about(content: bytes, num_secrets: int) -> tuple[int, bytes]:
    """The inverse: (number of secrets, note). Without a passphrase anybody can write one: ContainerError."""
    count, length = content[:1], int.from_bytes(content[1:NOTE_ABOUT])
    if not count or not 1 <= count[0] <= num_secrets or len(content) < NOTE_ABOUT + length:
        raise ContainerError("the header's note is not SMILENet-L's")
    return count[0], content[NOTE_ABOUT:][:length]


def longest_note(num_secrets: int) -> int:
    """Bytes of a note with the size of each secret, as hide.py writes it."""
    return 3 + 4 * num_secrets
