"""Dense blocks of 3x3 convolutions in a quarter of the multiplications, for CPUs.

Winograd's minimal filtering F(4x4, 3x3): A. Lavin, S. Gray, "Fast Algorithms for Convolutional Neural
Networks", CVPR 2016. Each tile of 4x4 pixels comes from a patch of 6x6, the tile and its rim:

    tile = OUTPUT sum over input channels ((FILTER weights) * (PATCH patch))

OUTPUT (16,36), FILTER (36,9) and PATCH (36,36) are constant matrices, and * has 36 multiplications instead of
144. In a dense block every convolution sees the channels of the one before it, and more. So PATCH is applied
once to each channel, for all later convolutions and for the backward pass.

Here maps have the layout (pixel of the tile or patch, channel, map, row of tiles, column of tiles). Rounding
errors are some 6 times those of PyTorch's convolutions, 2e-6 of the result's norm.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import leaky_relu_, pad

SIDE = 4  # of a tile [px]
FEWEST = 256  # tiles; PyTorch's convolutions are faster for fewer
CHUNK = 1000  # about as many tiles fit a processor's cache
LARGEST = 128  # side of a map [px] that is computed in one piece without gradients
HALO = 5  # how far a pixel sees through five convolutions [px]
POINTS = (
    0.0,
    1.0,
    -1.0,
    0.5,
    -2.0,
)  # of Winograd's interpolation, beside infinity; for small rounding errors
EVENLY = 7  # the product that OUTPUT adds to all 16 pixels alike: point 1 along rows and columns

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
        x = x.unflatten(3, (self.cols, SIDE)).unflatten(2, (self.rows, SIDE))  # (N,C,h,4,w,4)
        return x.permute(3, 5, 1, 0, 2, 4).flatten(0, 1)

    def joined(self, y: Tensor) -> Tensor:
        y = y.unflatten(0, (SIDE, SIDE)).permute(3, 2, 4, 0, 5, 1)  # (N,C,h,4,w,4)
        return y.flatten(4, 5).flatten(2, 3)[..., : self.height, : self.width]

    def inside(self) -> Tensor | None:
        """Return 1 within the map and 0 outside (16,1,1,h,w), or None if all is within."""
        if self.height % SIDE == self.width % SIDE == 0:
            return None
        return self.cut(torch.ones(1, 1, self.height, self.width))


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
        self.all = torch.empty(36, outputs[-1], inputs[-1])
        for one, rows, new in zip(weights, self.rows, self.new, strict=True):
            self.all[:, rows, : new.stop] = (FILTER @ one.flatten(2).flatten(0, 1).t()).view(
                36, *one.shape[:2]
            )


def _forward(
    x: Tensor, filters: _Filters, biases: Sequence[Tensor], slope: float, keep: bool
) -> tuple[Tensor, list[Tensor]]:
    """Return the block's output for x (N,C,H,W); with `keep`, also what the backward pass needs.

    This is the product of PATCH and all channels (36,C,tiles), and each activation (16,C,N,h,w).
    """
    tiling = Tiling(*x.shape[2:])
    shape, inside = (len(x), tiling.rows, tiling.cols), tiling.inside()
    products = torch.empty(36, filters.all.shape[2], math.prod(shape))
    patches = torch.zeros(36, x.shape[1], *shape)
    patches[:16] = tiling.cut(x)
    grown = torch.zeros(36, len(biases[0]), *shape)
    kept = [products]
    for rows, new, bias in zip(filters.rows, filters.new, biases, strict=True):
        _add_rims(patches)
        torch.mm(PATCH, patches.flatten(1), out=products[:, new].view(36, -1))
        outputs = torch.bmm(filters.all[:, rows, : new.stop], products[:, : new.stop])
        outputs[EVENLY] += bias[:, None]
        if rows is filters.rows[-1]:
            break
        patches, activation = grown, grown[:16]
        torch.mm(OUTPUT, outputs.flatten(1), out=activation.view(16, -1))
        leaky_relu_(activation, slope)
        if inside is not None:
            activation *= inside
        if keep:
            kept.append(activation.clone())
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
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        saved = ctx.saved_tensors  # read once, because checkpointing allows no more
        weights, kept = saved[: ctx.count], iter(saved[ctx.count :])
        filters, learned = _Filters(weights), any(ctx.needs_input_grad[2:])
        of_inputs, of_weights, of_biases = [], [0] * len(weights), [0] * len(weights)
        for part in gradient.split(_at_once(gradient)):
            products, *activations = (next(kept) for _ in weights)
            tiling = Tiling(*part.shape[2:])
            shape, inside = (-1, len(part), tiling.rows, tiling.cols), tiling.inside()
            of_outputs = torch.empty(36, filters.all.shape[1], products.shape[2])
            of_tiles = tiling.cut(part)
            for k in reversed(range(len(weights))):
                rows, new, stop = filters.rows[k], filters.new[k], filters.new[k].stop
                torch.mm(OUTPUT.t(), of_tiles.flatten(1), out=of_outputs[:, rows].view(36, -1))
                if learned:
                    of_filters = torch.bmm(products[:, :stop], of_outputs[:, rows].mT).flatten(1)
                    of_weights[k] += (FILTER.t() @ of_filters).view(3, 3, stop, -1).permute(3, 2, 0, 1)
                    of_biases[k] += of_tiles.sum((0, 2, 3, 4))
                # this convolution and all later ones see the channels that are new to it
                of_products = torch.bmm(filters.all[:, rows.start :, new].mT, of_outputs[:, rows.start :])
                of_tiles = _fold_rims((PATCH.t() @ of_products.flatten(1)).unflatten(1, shape))
                if k:
                    of_tiles = torch.ops.aten.leaky_relu_backward(
                        of_tiles, activations[k - 1], ctx.slope, True
                    )
                    if inside is not None:
                        of_tiles *= inside
            of_inputs.append(tiling.joined(of_tiles))
        of_parameters = (*of_weights, *of_biases) if learned else (None,) * 2 * ctx.count
        return torch.cat(of_inputs), None, *of_parameters


def _at_once(x: Tensor) -> int:
    """Return how many of the maps (N,C,H,W) to compute at a time."""
    tiling = Tiling(*x.shape[2:])
    return max(1, CHUNK // (tiling.rows * tiling.cols))


def suits(x: Tensor) -> bool:
    """Whether `dense_block` can take these maps (N,C,H,W), and is faster than PyTorch's convolutions."""
    ordinary = type(x) is Tensor and not torch.compiler.is_compiling()  # not, for example, a fake tensor
    if not ordinary or x.device.type != "cpu" or x.dtype != torch.float32:
        return False
    tiling = Tiling(*x.shape[2:])
    return len(x) * tiling.rows * tiling.cols >= FEWEST


def dense_block(x: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], slope: float) -> Tensor:
    """Five 3x3 convolutions, each of x and all earlier outputs: (N,C,H,W) -> (N,C_out,H,W), float32.

    LeakyReLU of this slope follows all but the last. weights (C_out,C_in,3,3), biases (C_out).
    """
    if torch.is_grad_enabled():
        return _Trained.apply(x, slope, *weights, *biases)
    filters, result = _Filters(weights), x.new_empty(len(x), len(biases[-1]), *x.shape[2:])
    for down, across in product(_spans(x.shape[2]), _spans(x.shape[3])):
        seen = x[..., down.seen, across.seen]
        parts = [_forward(one, filters, biases, slope, keep=False)[0] for one in seen.split(_at_once(seen))]
        result[..., down.whole, across.whole] = torch.cat(parts)[..., down.inner, across.inner]
    return result


class _Span(NamedTuple):
    """A part of a map's side, and what its pixels see."""

    whole: slice  # the part, within the side
    seen: slice  # what it sees, within the side
    inner: slice  # the part, within what it sees


def _spans(side: int) -> Iterator[_Span]:
    """Cut a side [px] into parts, so that large maps need little memory."""
    step = -(-side // -(-side // LARGEST))
    for start in range(0, side, step):
        stop = min(side, start + step)
        first = max(0, start - HALO)
        yield _Span(slice(start, stop), slice(first, stop + HALO), slice(start - first, stop - first))
