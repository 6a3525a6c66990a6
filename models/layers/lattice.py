"""The lattice embedding: the residues of the stego's samples carry a mosaic, whatever the cover is."""

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
CURVE = 4.0  # k of the companding: near grey, the levels are twice as fine as evenly spread ones


class Companding(nn.Module):
    """Small pictures <-> mosaic values that use their whole range: (B,3,h,w) <-> (B,3,h,w) in [0,1].

        u = A x clamped to [-1,1],   v = 1/2 + r asinh(k u) / asinh(k),   r = 1/2 - margin(M)

    x is a small picture, centred. A is a learned matrix over the colours. It starts as luma and two colour
    differences, each stretched: red, green and blue are nearly equal, and a narrow range would waste levels.
    Law: inverse(forward(x)) == x where |A x| <= 1. The gradient passes straight through the clamp;
    `overshoot` measures how far a picture exceeds it.
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
        """Return the mean square of the part of A x that `forward` clamps away."""
        with torch.autocast(x.device.type, enabled=False):
            return (self._spread(x).abs() - 1).clamp(min=0).square().mean()

    def _spread(self, x: Tensor) -> Tensor:
        return torch.einsum("ij,bjhw->bihw", self.colours, x.to(self.colours.dtype))


def margin(modulus: float) -> float:
    """Return how close a mosaic value may come to 0 and 1: half a grey level, and a little for rounding."""
    return 0.5 / modulus + 1e-3


def embed(cover: Tensor, values: Tensor, dither: Tensor, modulus: float) -> Tensor:
    """Move each sample to the nearest grey level whose residue modulo M gives the value.

        s = (M v + d) mod M,   t = s + M round((c - s) / M), moved by +-M where it left 0..255,
        stego = round(t)

    Dither modulation: B. Chen, G. W. Wornell, "Quantization index modulation", IEEE Trans. IT 47(4), 2001.
    The squared error is (M^2 + 2) / 12 for even M, (M^2 - 1) / 12 for odd M, for any cover and any values. It
    is a little larger for samples near 0 or 255.

    cover: grey levels 0..255; values in [margin, 1 - margin]; dither in [0, M); all of one shape, any dtype
    -> float64, whole numbers 0..255.
    """
    return _nearest(cover, values, dither, modulus).round().clamp(0, 255)


def embed_halved(cover: Tensor, values: Tensor, dither: Tensor, modulus: float) -> Tensor:
    """Embed where the header uses the lowest bit: like `embed`, but to even levels 2k; 2k + 1/2 is the value.

    values in [0,1] -> float64, even, 0..254. `extract_halved` gives back the `pulled` values to within 1/M.
    """
    nearest = _nearest(cover, pulled(values, modulus), dither, modulus)
    return ((nearest + 0.5) / 2).floor() * 2


def extract_halved(stego: Tensor, dither: Tensor, modulus: float) -> Tensor:
    """Read the values that `embed_halved` wrote, whatever the lowest bit is now; see `extract`."""
    return pulled(extract(stego // 2 * 2 + 0.5, dither, modulus), modulus)


def pulled(values: Tensor, modulus: float) -> Tensor:
    """Clamp values to [1/M, 1 - 1/M] (1/2 for M = 2), so that an error of 1/M does not wrap around."""
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

    These are the values that `embed` got, to within 1/(2M). The error is uniform there for any cover and
    any values.
    """
    return (stego.double() - dither).remainder(modulus) / modulus


def key_dither(key: bytes, count: int, modulus: float) -> Tensor:
    """Return d from a 32-byte key: (count,) float64, uniform on 2^32 steps of [0, M).

    2^16 steps would be too few: residues would prefer some values by a part in 10^4, and which ones would
    depend on the mosaic.
    """
    words = np.frombuffer(keystream(key, 4 * count).tobytes(), "<u4")
    return torch.from_numpy(words.astype(np.float64)).mul_(modulus / 2**32)


def key_syndromes(key: bytes, count: int) -> Tensor:
    """Return syndrome bits of the trellis from a 32-byte key: (count,) uint8, 0 or 1.

    They come from the key's stream, after the words of `key_dither` for the same number of samples.
    """
    stream = keystream(key, 5 * count)[4 * count :]
    return torch.from_numpy(stream & 1)


class LatticeEmbedding(nn.Module):
    """Puts a mosaic into a stego under a key, and reads it back. It replaces IMSE in SMILENet-L.

    `forward` is for training. `seal` and `unseal` are for use, with a header (container/header.py) in the
    first samples. modulus: M, 2 to 64 grey levels; a larger M means less noise on the mosaic and more on the
    stego. It may change before each `seal`, because the header stores it.
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
        """cover (B,3,H,W) in [0,1], mosaic (B,3,h,w) centred -> stego (multiples of 1/255), mosaic^.

        This is the real embedding, with a random dither. mosaic^ is read after the channel, if there is one.
        The gradient passes straight from mosaic^ to mosaic, because the error does not depend on the mosaic.
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
        """Return (H, W) of the smallest cover, a square of which the header takes at most half.

        The header includes the note that hide.py writes.
        """
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
        changes outside the header, or 0. The samples of the header carry the mosaic too, half as finely.
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
            free = ~header.numpy()  # torch would turn a mask into indices, 24 bytes per sample
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

        Raises ContainerError if the header does not open, or if the stego was changed (unless damaged_ok).
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
    """Split a picture into bands of so many rows, so that intermediate results take little memory."""
    return [slice(top, min(top + rows, height)) for top in range(0, height, rows)]


def _is_header(shape: tuple[int, ...], count: int) -> Tensor:
    """Mark the samples of a picture (H,W,3) that belong to the header: bool, of that shape."""
    mask = torch.zeros(shape, dtype=torch.bool)
    mask.view(-1)[:count] = True
    return mask


# --- the note ---------------------------------------------------------------------------------------

NOTE_ABOUT = 3  # bytes before the sender's note: number of secrets, length of the note


def pack_about(count: int, note: bytes, num_secrets: int) -> bytes:
    """Pack the number of secrets (1 byte), the note's length (2) and the note.

    The result is as long for one secret as for all. Otherwise the header's length, which anybody with the
    cover can see, would tell how many there are. Raises UserError for a note that is too long.
    """
    if len(note) > LONGEST_NOTE - 1 - NOTE_ABOUT:
        raise UserError(f"note: {len(note)} bytes, expected at most {LONGEST_NOTE - 1 - NOTE_ABOUT}")
    return bytes([count]) + len(note).to_bytes(2) + note.ljust(longest_note(num_secrets), b"\0")


def unpack_about(content: bytes, num_secrets: int) -> tuple[int, bytes]:
    """Undo `pack_about`: (number of secrets, note).

    Raises ContainerError for invalid content, which anybody can write if there is no passphrase.
    """
    count, length = content[:1], int.from_bytes(content[1:NOTE_ABOUT])
    if not count or not 1 <= count[0] <= num_secrets or len(content) < NOTE_ABOUT + length:
        raise ContainerError("the header's note is not SMILENet-L's")
    return count[0], content[NOTE_ABOUT:][:length]


def longest_note(num_secrets: int) -> int:
    """Return the bytes of a note with the size of each secret, as hide.py writes it."""
    return 3 + 4 * num_secrets
