"""Pictures varied in training. It stands apart since torchvision loads the compiler of torch: a second."""

import torch
from torchvision.transforms import v2


def training_transform(crop: int, flip: bool = True, rotate: bool = True) -> v2.Compose:
    """A random square, mirrored and turned at random: (3,H,W) uint8 -> (3,crop,crop) uint8.

    crop: side of the square [px]; H and W are at least that.
    flip: mirror left-right and up-down, each every second time.
    rotate: turn by 0, 90, 180 or 270 degrees, equally often.
    Draws from torch's global generator.
    """
    steps: list[torch.nn.Module] = [v2.RandomCrop(crop)]
    if flip:
        steps += [v2.RandomHorizontalFlip(), v2.RandomVerticalFlip()]
    if rotate:
        steps.append(QuarterTurns())
    return v2.Compose(steps)


class QuarterTurns(torch.nn.Module):
    """Turn (...,H,W) by 0, 90, 180 or 270 degrees; v2.RandomRotation would interpolate."""

    def forward(self, picture: torch.Tensor) -> torch.Tensor:
        turns = int(torch.randint(4, ()))
        return torch.rot90(picture, turns, dims=(-2, -1))
