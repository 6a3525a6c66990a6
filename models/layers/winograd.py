"""Dense blocks of 3x3 convolutions with less than half of the operations, for CPUs.

Winograd's minimal filtering F(4x4, 3x3): A. Lavin, S. Gray, "Fast Algorithms for Convolutional Neural
Networks", CVPR 2016. Each tile of 4x4 pixels comes from a patch of 6x6, the tile and its rim:

    tile = OUTPUT @ sum over input channels of (FILTER @ weights) * (PATCH @ patch)

OUTPUT (16,36), FILTER (36,9) and PATCH (36,36) are constant matrices, and * has 36 multiplications instead of
144. In a dense block every convolution sees the channels of the one before it, and more. So PATCH is applied
once to each channel, for all later convolutions and for the backward pass.

Here maps have the layout (pixel of the tile or patch, channel, map, row of tiles, column of tiles). Rounding
errors are about 2e-6 of the output's norm, 6 times those of PyTorch's convolutions. They spread over a patch:
next to a very bright pixel, dark ones are less exact, and one NaN reaches all pixels of its tiles.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise, product
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import leaky_relu_, pad, pixel_shuffle, pixel_unshuffle

SIDE = 4  # of a tile [px]
FEWEST = 256 * SIDE * SIDE  # pixels of all maps; PyTorch's convolutions are faster for fewer
FILLED = 0.8  # share of the tiles that must lie within the maps; otherwise, too much is computed in vain
CHUNK = 1000  # tiles at a time, so that intermediate results stay in the processor's cache
LARGEST = 128  # without gradients, longer sides are cut into parts of at most this [px]
# The points of Winograd's interpolation, beside infinity. These have small rounding errors.
POINTS = (0.0, 1.0, -1.0, 0.5, -2.0)
EVENLY = 7  # OUTPUT adds this one of the 36 products to all 16 pixels alike: point 1 along rows and columns

# The order of a patch's pixels: its tile, the rows above and below, then the columns at the left and right.
_INNER, _ROWS = (1, 2, 3, 4), (1, 2, 3, 4, 0, 5)
ORDER = [(i, j) for i in _ROWS for j in _INNER] + [(i, j) for j in (0, 5) for i in _ROWS]


def _matrices() -> list[Tensor]:
    """Return OUTPUT (16,36), FILTER (36,9) and PATCH (36,36), float32."""
    others = [[b for b in POINTS if b != a] for a in POINTS]
    output = [[a**k for a in POINTS] + [float(k == SIDE - 1)] for k in range(SIDE)]
    scaled = [
        [a**k / np.prod([a - b for b in rest]) for k in range(3)]
        for a, rest in zip(POINTS, others, strict=True)
    ]
    patch = [[*np.poly(rest)[::-1], 0.0] for rest in others] + [np.poly(POINTS)[::-1]]
    output, weights, patch = (np.kron(one, one) for one in (output, [*scaled, [0, 0, 1]], patch))
    return [torch.tensor(one).float() for one in (output, weights, patch[:, [6 * i + j for i, j in ORDER]])]


OUTPUT, FILTER, PATCH = _matrices()


@dataclass(frozen=True)
class Tiling:
    """Maps (N,C,H,W) as tiles (16,C,N,h,w). The last tiles may lie partly outside, and hold zeros there."""

    height: int
    width: int

    @property
    def rows(self) -> int:
        return -(-self.height // SIDE)

    @property
    def cols(self) -> int:
        return -(-self.width // SIDE)

    def cut(self, x: Tensor) -> Tensor:
        below, right = SIDE * self.rows - self.height, SIDE * self.cols - self.width
        x = pad(x, (0, right, 0, below)) if below or right else x
        return pixel_unshuffle(x, SIDE).unflatten(1, (-1, SIDE * SIDE)).permute(2, 1, 0, 3, 4)

    def joined(self, y: Tensor) -> Tensor:
        x = pixel_shuffle(y.permute(2, 1, 0, 3, 4).flatten(1, 2), SIDE)
        return x[..., : self.height, : self.width]

    def inside(self, like: Tensor) -> Tensor | None:
        """Return 1 within the map and 0 outside (16,1,1,h,w), or None if all is within."""
        if self.height % SIDE == self.width % SIDE == 0:
            return None
        return self.cut(like.new_ones(1, 1, self.height, self.width))


def _add_rims(patches: Tensor) -> None:
    """Fill the rims of patches (36,C,N,h,w) from the neighbours' tiles. At the border they stay zero."""
    patches[16:20, ..., 1:, :] = patches[12:16, ..., :-1, :]
    patches[20:24, ..., :-1, :] = patches[0:4, ..., 1:, :]
    patches[24:30, ..., 1:] = patches[3:24:4, ..., :-1]
    patches[30:36, ..., :-1] = patches[0:24:4, ..., 1:]


def _fold_rims(patches: Tensor) -> Tensor:
    """Add the rims of patches (36,C,N,h,w) to the tiles that they came from (16,C,N,h,w)."""
    patches[0:24:4, ..., 1:] += patches[30:36, ..., :-1]
    patches[3:24:4, ..., :-1] += patches[24:30, ..., 1:]
    patches[0:4, ..., 1:, :] += patches[20:24, ..., :-1, :]
    patches[12:16, ..., :-1, :] += patches[16:20, ..., 1:, :]
    return patches[:16]


class _Filters:
    """FILTER applied to the weights (C_out,C_in,3,3) of a dense block's convolutions.

    all   (36, outputs of all convolutions, inputs of the last); undefined where a convolution has no input
    rows  each convolution's outputs
    new   the inputs that no earlier convolution has
    """

    def __init__(self, weights: Sequence[Tensor]):
        outputs = np.cumsum([0, *(one.shape[0] for one in weights)]).tolist()
        inputs = [0, *(one.shape[1] for one in weights)]
        self.rows = [slice(*ends) for ends in pairwise(outputs)]
        self.new = [slice(*ends) for ends in pairwise(inputs)]
        self.all = weights[0].new_empty(36, outputs[-1], inputs[-1])
        for one, rows, new in zip(weights, self.rows, self.new, strict=True):
            applied = FILTER @ one.flatten(2).flatten(0, 1).t()
            self.all[:, rows, : new.stop] = applied.view(36, *one.shape[:2])


def _forward(
    x: Tensor, filters: _Filters, biases: Sequence[Tensor], slope: float, keep: bool
) -> tuple[Tensor, list[Tensor]]:
    """Return the block's output for x (N,C,H,W); with `keep`, also what the backward pass needs.

    This is PATCH @ all channels' patches (36,C,tiles), and each activation (16,C,N,h,w).
    """
    tiling = Tiling(*x.shape[2:])
    shape, inside = (len(x), tiling.rows, tiling.cols), tiling.inside(x)
    transformed = x.new_empty(36, filters.all.shape[2], math.prod(shape))
    patches = x.new_zeros(36, x.shape[1], *shape)
    patches[:16] = tiling.cut(x)
    grown = x.new_zeros(36, len(biases[0]), *shape)
    kept, outputs = [transformed], transformed
    for k, (rows, new, bias) in enumerate(zip(filters.rows, filters.new, biases, strict=True)):
        if k:
            patches, activation = grown, grown[:16]
            torch.mm(OUTPUT, outputs.flatten(1), out=activation.view(16, -1))
            leaky_relu_(activation, slope)
            if inside is not None:
                activation *= inside
            if keep:
                kept.append(activation.clone())
        _add_rims(patches)
        torch.mm(PATCH, patches.flatten(1), out=transformed[:, new].view(36, -1))
        outputs = torch.bmm(filters.all[:, rows, : new.stop], transformed[:, : new.stop])
        outputs[EVENLY] += bias[:, None]
    return tiling.joined((OUTPUT @ outputs.flatten(1)).unflatten(1, (-1, *shape))), kept


class _Trained(torch.autograd.Function):
    """A dense block with gradients. Its arguments: x (N,C,H,W), the slope, all weights, all biases."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, slope: float, *parameters: Tensor) -> Tensor:
        count = len(parameters) // 2
        weights, biases = parameters[:count], parameters[count:]
        filters, results, kept = _Filters(weights), [], []
        for part in x.split(_at_once(x)):
            result, needed = _forward(part, filters, biases, slope, keep=True)
            results.append(result)
            kept += needed
        ctx.save_for_backward(*weights, *kept)
        ctx.slope, ctx.count = slope, count
        return torch.cat(results)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors  # read once, because checkpointing allows no more
        weights, kept = saved[: ctx.count], iter(saved[ctx.count :])
        needs_x, needs_weights = ctx.needs_input_grad[0], any(ctx.needs_input_grad[2:])
        filters, grad_x = _Filters(weights), []
        grad_weights, grad_biases = [0] * ctx.count, [0] * ctx.count
        for part in gradient.split(_at_once(gradient)):
            transformed, activations = next(kept), [next(kept) for _ in weights[1:]]
            tiling = Tiling(*part.shape[2:])
            shape, inside = (-1, len(part), tiling.rows, tiling.cols), tiling.inside(part)
            grad_outputs = part.new_empty(36, filters.all.shape[1], transformed.shape[2])
            grad_tiles = tiling.cut(part)
            for k in reversed(range(ctx.count)):
                rows, new, stop = filters.rows[k], filters.new[k], filters.new[k].stop
                torch.mm(OUTPUT.t(), grad_tiles.flatten(1), out=grad_outputs[:, rows].view(36, -1))
                if needs_weights:
                    grad_filters = torch.bmm(transformed[:, :stop], grad_outputs[:, rows].mT).flatten(1)
                    grad_weights[k] += (FILTER.t() @ grad_filters).view(3, 3, stop, -1).permute(3, 2, 0, 1)
                    grad_biases[k] += grad_tiles.sum((0, 2, 3, 4))
                if k == 0 and not needs_x:
                    break
                # this convolution and all later ones see the channels that are new to it
                seen_by = filters.all[:, rows.start :, new].mT
                grad_transformed = torch.bmm(seen_by, grad_outputs[:, rows.start :])
                grad_tiles = _fold_rims((PATCH.t() @ grad_transformed.flatten(1)).unflatten(1, shape))
                if k:
                    activation = activations[k - 1]
                    grad_tiles = torch.ops.aten.leaky_relu_backward(grad_tiles, activation, ctx.slope, True)
                    if inside is not None:
                        grad_tiles *= inside
            if needs_x:
                grad_x.append(tiling.joined(grad_tiles))
        grad_parameters = (*grad_weights, *grad_biases) if needs_weights else (None,) * 2 * ctx.count
        return torch.cat(grad_x) if needs_x else None, None, *grad_parameters


def _at_once(x: Tensor) -> int:
    """Return how many of the maps (N,C,H,W) to compute at a time."""
    tiling = Tiling(*x.shape[2:])
    return max(1, CHUNK // (tiling.rows * tiling.cols))


_allowed = True


@contextmanager
def only_convolutions() -> Iterator[None]:
    """Within this, `suits` returns False, as it does while torch compiles a network."""
    global _allowed
    before, _allowed = _allowed, False
    try:
        yield
    finally:
        _allowed = before


def suits(x: Tensor) -> bool:
    """Return whether `dense_block` can take these maps (N,C,H,W), and is faster than PyTorch's convolutions.

    They are float32, on a CPU, and have at least FEWEST pixels.
    """
    ordinary = type(x) is Tensor and not torch.compiler.is_compiling()  # not, for example, a fake tensor
    if not (_allowed and ordinary) or x.device.type != "cpu" or x.dtype != torch.float32:
        return False
    tiling, pixels = Tiling(*x.shape[2:]), len(x) * x.shape[2] * x.shape[3]
    return pixels >= max(FEWEST, FILLED * len(x) * tiling.rows * tiling.cols * SIDE * SIDE)


def dense_block(x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], slope: float) -> Tensor:
    """Convolutions of 3x3, each of x and all earlier outputs: (N,C,H,W) -> (N,C_out,H,W), float32.

    LeakyReLU of this slope (at least 0) follows all but the last. weights (C_out,C_in,3,3), biases (C_out).
    """
    if torch.is_grad_enabled() and any(one.requires_grad for one in (x, *weights, *biases)):
        return _Trained.apply(x, slope, *weights, *biases)
    filters, result = _Filters(weights), x.new_empty(len(x), len(biases[-1]), *x.shape[2:])
    halo = len(weights)  # how far a pixel sees: 1 px further through each convolution
    for down, across in product(_spans(x.shape[2], halo), _spans(x.shape[3], halo)):
        seen = x[..., down.seen, across.seen]
        parts = [_forward(one, filters, biases, slope, keep=False)[0] for one in seen.split(_at_once(seen))]
        result[..., down.whole, across.whole] = torch.cat(parts)[..., down.inner, across.inner]
    return result


class _Span(NamedTuple):
    """A part of a map's side, and what its pixels see."""

    whole: slice  # the part, within the side
    seen: slice  # what it sees, within the side
    inner: slice  # the part, within what it sees


def _spans(side: int, halo: int) -> Iterator[_Span]:
    """Cut a side [px] into parts, so that large maps need little memory. A pixel sees `halo` px further."""
    step = -(-side // -(-side // LARGEST))
    for start in range(0, side, step):
        stop, first = min(side, start + step), max(0, start - halo)
        seen = slice(first, min(side, stop + halo))
        yield _Span(slice(start, stop), seen, slice(start - first, stop - first))
