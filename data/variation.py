"""Random variations of pictures in training.

They have their own file because torchvision imports torch's compiler, which takes a second.
"""

import torch
from torchvision.transforms import v2


def training_transform(crop: int, flip: bool = True, rotate: bool = True) -> v2.Compose:
    """Build a transform that cuts a random square and flips and rotates it at random.

    The transform maps (3,H,W) uint8 to (3,crop,crop) uint8 and draws from torch's global generator.

    crop: side of the square [px]; H and W must be at least that.
    flip: mirror left-right and up-down, each with probability 1/2.
    rotate: turn by 0, 90, 180 or 270 degrees with equal probability.
    """
    steps: list[torch.nn.Module] = [v2.RandomCrop(crop)]
    if flip:
        steps += [v2.RandomHorizontalFlip(), v2.RandomVerticalFlip()]
    if rotate:
        steps.append(QuarterTurns())
    return v2.Compose(steps)


class QuarterTurns(torch.nn.Module):
    """Turn (...,H,W) by a random multiple of 90 degrees; v2.RandomRotation would interpolate."""

    def forward(self, picture: torch.Tensor) -> torch.Tensor:
        turns = int(torch.randint(4, ()))
        return torch.rot90(picture, turns, dims=(-2, -1))
