"""Networks over several scales: MSIB, SFM, and DMSubNet, which consists of both."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from errors import UserError

SLOPE = 0.2  # of every LeakyReLU here
CALM = 0.3  # initial scale of the branch beside a skip, so that a deep network starts near its skips
DILATIONS = (1, 2, 3)
BLOCKS, FUSIONS = ("msib", "plain"), ("sfm", "add", "concat")


def conv(
    inputs: int, outputs: int, side: int, stride: int = 1, dilation: int = 1, scale: float = 1.0
) -> nn.Conv2d:
    """A convolution that keeps the size, or halves it (rounded up) with a stride of 2.

    scale: a factor on the initial weights, which otherwise keep the variance through a LeakyReLU (He et al.,
    2015).
    """
    layer = nn.Conv2d(inputs, outputs, side, stride, dilation * (side // 2), dilation)
    nn.init.kaiming_normal_(layer.weight, a=SLOPE)
    nn.init.zeros_(layer.bias)
    with torch.no_grad():
        layer.weight.mul_(scale)
    return layer


def activated(x: Tensor) -> Tensor:
    """LeakyReLU with the slope SLOPE."""
    return F.leaky_relu(x, SLOPE)


class MSIB(nn.Module):
    """Multi-scale intra-block: (B,C,H,W) -> the same shape.

        x -- 3x3 of dilation 1, 2, 3 and 1x1, side by side, C/2 channels each -- LeakyReLU -- 1x1 -- + x

    It costs nearly as much as a `PlainBlock` of two 3x3 convolutions.
    """

    def __init__(self, width: int):
        super().__init__()
        branch = max(1, width // 2)
        self.branches = nn.ModuleList(conv(width, branch, 3, dilation=d) for d in DILATIONS)
        self.branches.append(conv(width, branch, 1))
        self.joining = conv(4 * branch, width, 1, scale=CALM)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.joining(activated(torch.cat([branch(x) for branch in self.branches], dim=1)))


class PlainBlock(nn.Module):
    """Two 3x3 convolutions and a skip, instead of an `MSIB`: (B,C,H,W) -> the same shape."""

    def __init__(self, width: int):
        super().__init__()
        self.first, self.second = conv(width, width, 3), conv(width, width, 3, scale=CALM)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(activated(self.first(x)))


class SFM(nn.Module):
    """Selective fusion: two features (B,C,H,W) -> one of this shape. Each channel chooses between the two.

        U = x + y,   s = mean of U over the pixels,   a = softmax over x and y of (A s, B s),   a_x x + a_y y

    SKFF of MIRNet (Zamir et al., ECCV 2020) after SKNet (Li et al., CVPR 2019).
    """

    def __init__(self, width: int):
        super().__init__()
        narrow = max(4, width // 8)
        self.squeeze, self.choose = conv(width, narrow, 1), conv(narrow, 2 * width, 1)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        mean = (x + y).mean(dim=(-2, -1), keepdim=True)  # (B,C,1,1)
        shares = self.choose(activated(self.squeeze(mean))).unflatten(1, (2, -1)).softmax(dim=1)
        return shares[:, 0] * x + shares[:, 1] * y


class Add(nn.Module):
    """The sum of two features, instead of an `SFM`."""

    def __init__(self, width: int):
        super().__init__()

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return x + y


class Concat(nn.Module):
    """Concatenates two features, and reduces them to C channels by a 1x1 convolution, instead of an `SFM`."""

    def __init__(self, width: int):
        super().__init__()
        self.joining = conv(2 * width, width, 1)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.joining(torch.cat((x, y), dim=1))


def block_called(name: str) -> type[nn.Module]:
    """Return the class of the block: msib or plain. Raises UserError for another name."""
    if name not in BLOCKS:
        raise UserError(f"block: '{name}' is not one of {', '.join(BLOCKS)}")
    return MSIB if name == "msib" else PlainBlock


def fusion_called(name: str) -> type[nn.Module]:
    """Return the class of the fusion: sfm, add or concat. Raises UserError for another name."""
    if name not in FUSIONS:
        raise UserError(f"fusion: '{name}' is not one of {', '.join(FUSIONS)}")
    return {"sfm": SFM, "add": Add, "concat": Concat}[name]


class DMSubNet(nn.Module):
    """Dual multi-scale aggregation: (B,inputs,H,W) -> (B,outputs,H,W), any size.

        x -- 3x3 -- blocks ----------------------------------- fusion -- blocks -- 3x3
                      |-- 3x3, stride 2 -- blocks -- .. -- up --|

    It has a U-shape: `depth` times down to half the size and twice the channels, then up again by a 1x1
    convolution and repeated pixels. At each size, the features from below are fused with those from the way
    down.

    width   channels at the full size
    depth   number of halvings
    blocks  blocks in sequence at each size, on the way down and on the way up
    block, fusion  see `block_called` and `fusion_called`
    """

    def __init__(
        self, inputs: int, outputs: int, width: int, depth: int, blocks: int, block: str, fusion: str
    ):
        super().__init__()
        widths = [width * 2**k for k in range(depth + 1)]
        make, fuse = block_called(block), fusion_called(fusion)

        def stack(k: int) -> nn.Sequential:
            return nn.Sequential(*(make(widths[k]) for _ in range(blocks)))

        self.head = conv(inputs, width, 3)
        self.before = nn.ModuleList(stack(k) for k in range(depth + 1))
        self.shrink = nn.ModuleList(conv(widths[k], widths[k + 1], 3, stride=2) for k in range(depth))
        self.grow = nn.ModuleList(conv(widths[k + 1], widths[k], 1) for k in range(depth))
        self.fusion = nn.ModuleList(fuse(widths[k]) for k in range(depth))
        self.after = nn.ModuleList(stack(k) for k in range(depth))
        self.tail = conv(width, outputs, 3, scale=0.1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.before[0](self.head(x))
        shallow = []
        for k, shrink in enumerate(self.shrink):
            shallow.append(x)
            x = self.before[k + 1](shrink(x))
        for k in reversed(range(len(shallow))):
            height, width = shallow[k].shape[-2:]
            deep = F.interpolate(self.grow[k](x), scale_factor=2, mode="nearest")[..., :height, :width]
            x = self.after[k](self.fusion[k](shallow[k], deep))
        return self.tail(x)
