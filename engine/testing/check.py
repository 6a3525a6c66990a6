"""A quick check on pictures that everybody has: do the weights, the code and the model card match?"""

import numpy as np
import torch

from data.images import read_picture, to_array, to_tensor
from data.samples import SPLITS, sample_pictures
from metrics.image import psnr
from models import HidingModel

SIDE = 256  # px


def sample_group(num_secrets: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return a cover (3,256,256) and N secrets (N,3,256,256), uint8, the same on every machine.

    They are crops of scikit-image's pictures. Crop k comes from picture k modulo the number of pictures.
    When a picture is used again, its crop moves down and to the right.
    """
    paths = [path for split in sorted(SPLITS) for path in sample_pictures(split)]
    crops = []
    for k in range(num_secrets + 1):
        picture = read_picture(paths[k % len(paths)])
        turn = k // len(paths)
        top, left = (
            (side - SIDE) * (turn + 1) // (num_secrets // len(paths) + 2) for side in picture.shape[:2]
        )
        crops.append(to_tensor(picture[top : top + SIDE, left : left + SIDE]))
    return crops[0], torch.stack(crops[1:])


def sample_scores(model: HidingModel) -> tuple[float, float]:
    """Return two PSNRs (dB, RGB) on `sample_group`: of the stego, and the mean of the revealed secrets."""
    cover, secrets = sample_group(model.num_secrets)
    stego = model.hide(cover[None], secrets[None])
    revealed = model.reveal(stego)[0]
    pairs = zip(secrets, revealed, strict=True)
    return (
        psnr(to_array(cover), to_array(stego[0])),
        float(np.mean([psnr(to_array(a), to_array(b)) for a, b in pairs])),
    )
