"""The attacks of channel/attacks.py for training: on batches of floats, with a gradient.

Each layer holds an 8-bit attack and does the same to (B,3,H,W) in [0,1]. With the same seed, its result is
within one grey level of the 8-bit attack's. Most layers do not round. A channel rounds after each of them,
because what arrives is a picture. Picture b of a batch is attacked with seed + b, so no two pictures get the
same noise.
"""

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from channel import attacks
from channel.attacks import Attack, link_seed


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, value: Tensor, top: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.top = top
        return value.clone()

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None, None]:
        (x,) = ctx.saved_tensors
        # Gradient descent moves x against the gradient.
        outwards = ((x > ctx.top) & (gradient < 0)) | ((x < 0) & (gradient > 0))
        return gradient.masked_fill(outwards, 0), None, None


def straight_through(x: Tensor, value: Tensor, top: float = 1.0) -> Tensor:
    """Return `value`. Its gradient passes to x unchanged, but never pushes x further out of [0, top].

    The straight-through estimator (Bengio et al., 2013), bounded as in models/layers/quantize.py.
    """
    return _StraightThrough.apply(x, value, top)


def clip(x: Tensor) -> Tensor:
    """Clip x to [0,1]. The gradient can still pull back values outside."""
    return straight_through(x, x.clamp(0, 1))


def to_8_bit(x: Tensor) -> Tensor:
    """Round x as an 8-bit picture does: to multiples of 1/255 in [0,1]."""
    return straight_through(x, torch.round(x.clamp(0, 1) * 255) / 255)


class Layer(nn.Module):
    """Base of all layers. layer(x, seed) returns x after the attack. Both are (B,3,H,W) float in [0,1]."""

    def __init__(self, attack):
        super().__init__()
        self.attack = attack

    def forward(self, x: Tensor, seed: int = 0) -> Tensor:
        raise NotImplementedError


class Nothing(Layer):
    def forward(self, x, seed=0):
        return x


class Mean(Layer):
    def forward(self, x, seed=0):
        return _filtered(x, np.full(self.attack.size, 1 / self.attack.size))


class Gaussian(Layer):
    def forward(self, x, seed=0):
        return _filtered(x, cv2.getGaussianKernel(self.attack.window, self.attack.sigma)[:, 0])


class Sharpen(Layer):
    def forward(self, x, seed=0):
        blurred = Gaussian(self.attack.gaussian)(x)
        return clip(x + self.attack.amount * (x - blurred))


class Noise(Layer):
    def forward(self, x, seed=0):
        height, width = x.shape[-2:]
        noise = np.stack([self.attack.drawn((height, width, 3), seed + b) for b in range(len(x))])
        return clip(x + torch.tensor(noise / 255, dtype=x.dtype, device=x.device).permute(0, 3, 1, 2))


class Brightness(Layer):
    def forward(self, x, seed=0):
        return clip(x * self.attack.factor)


class Flip(Layer):
    def forward(self, x, seed=0):
        return x.flip(-1 if self.attack.axis == "horizontal" else -2)


class Resize(Layer):
    """Rounds and clips where Pillow does: after the pass along each axis."""

    def forward(self, x, seed=0):
        height, width = x.shape[-2:]
        small_height, small_width = self.attack.scaled(height), self.attack.scaled(width)
        # In float64, grey levels round like Pillow's integers. Apple's GPUs have no float64.
        exact = torch.float32 if x.device.type == "mps" else torch.float64
        levels = _whole_levels(x.to(exact) * 255)
        for axis, side in ((-1, small_width), (-2, small_height), (-1, width), (-2, height)):
            levels = _whole_levels(_resized(levels, axis, side))
        return (levels / 255).to(x.dtype)


class Crop(Layer):
    def forward(self, x, seed=0):
        rows, columns = self.attack.middle(*x.shape[-2:])
        attacked = torch.full_like(x, attacks.OUTSIDE / 255)
        attacked[..., rows, columns] = x[..., rows, columns]
        return attacked


class Codec(Layer):
    """The real codec on the 8-bit picture. The gradient passes straight through. It waits for the device."""

    def forward(self, x, seed=0):
        pictures = torch.round(x.detach().clamp(0, 1) * 255).byte().permute(0, 2, 3, 1).cpu().numpy()
        read = np.stack([self.attack(np.ascontiguousarray(one), seed + b) for b, one in enumerate(pictures)])
        value = torch.from_numpy(read).to(x.device).permute(0, 3, 1, 2).to(x.dtype) / 255
        return straight_through(x, value)


class Chain(Layer):
    """One layer after another, each on the 8-bit picture from the one before."""

    def __init__(self, attack: attacks.Chain):
        super().__init__(attack)
        self.links = nn.ModuleList(map(layer, attack.links))

    def forward(self, x, seed=0):
        for k, link in enumerate(self.links):
            x = link(to_8_bit(x) if k else x, link_seed(seed, k))
        return x


LAYERS: dict[str, type[Layer]] = {
    "none": Nothing,
    "mean": Mean,
    "gaussian": Gaussian,
    "sharpen": Sharpen,
    "noise": Noise,
    "brightness": Brightness,
    "flip": Flip,
    "jpeg": Codec,
    "webp": Codec,
    "avif": Codec,
    "resize": Resize,
    "crop": Crop,
    "chain": Chain,
}


def layer(attack: Attack) -> Layer:
    """Return the layer that does to a batch what the 8-bit attack does to a picture."""
    return LAYERS[attack.type](attack)


def _filtered(x: Tensor, kernel: np.ndarray) -> Tensor:
    """Filter x by the kernel (size,) along both axes. The border is mirrored, as OpenCV does by default."""
    weights = torch.tensor(kernel, dtype=x.dtype, device=x.device)
    for axis, shape in ((-1, (1, 1, 1, -1)), (-2, (1, 1, -1, 1))):
        # This uses indices, because F.pad cannot mirror a small picture more than once.
        mirrored = np.pad(np.arange(x.shape[axis]), len(kernel) // 2, mode="reflect")
        x = x.index_select(axis, torch.tensor(mirrored, device=x.device))
        x = F.conv2d(x, weights.view(shape).repeat(3, 1, 1, 1), groups=3)  # each colour separately
    return x


def _resized(x: Tensor, axis: int, side: int) -> Tensor:
    """Resize x (B,3,H,W) to `side` values along `axis` by Pillow's bicubic filter, without rounding.

    The weights are those of torch's filter, each rounded to 22 binary places as Pillow does.
    """
    one_each = torch.eye(x.shape[axis], dtype=x.dtype, device=x.device)[None, None]
    size = (side, x.shape[axis])
    weights = F.interpolate(one_each, size, mode="bicubic", antialias=True, align_corners=False)[0, 0]
    weights = torch.round(weights * 2**22) / 2**22  # (side, H or W)
    return weights @ x if axis == -2 else x @ weights.T


def _whole_levels(x: Tensor) -> Tensor:
    """Round grey levels (halves up, as Pillow does), and clip them to 0 to 255."""
    return straight_through(x, torch.floor(x.clamp(0, 255) + 0.5).clamp(0, 255), top=255)
