"""Pictures that come with scikit-image: enough to try everything without a download.

They are few. A network that is trained on them shows that the machinery works; a figure worth
quoting needs a data set from docs/datasets.md.
"""

import importlib.util
from pathlib import Path

from errors import UserError

# Split by scene: no scene is on both sides. All short sides are at least 300 pixels.
SPLITS = {
    "train": (
        "astronaut.png",
        "motorcycle_left.png",
        "motorcycle_right.png",  # the same scene 19 cm further: both views stay on one side
        "retina.jpg",
        # Grey photographs: they add texture, which the colour pictures are short of.
        "brick.png",
        "camera.png",
        "coins.png",
        "grass.png",
        "gravel.png",
        "moon.png",
    ),
    "test": (
        "chelsea.png",
        "coffee.png",
        "hubble_deep_field.jpg",
        "ihc.png",
        "rocket.jpg",
    ),
}


def sample_pictures(split: str) -> list[Path]:
    """The sample pictures of one split, sorted by name: 10 for "train", 5 for "test".

    Raises UserError for another split, or where scikit-image or one of its pictures is missing.
    """
    if split not in SPLITS:
        raise UserError(f"samples:{split}: no such split, expected samples:train or samples:test")
    skimage = importlib.util.find_spec("skimage")
    if skimage is None or not skimage.submodule_search_locations:
        raise UserError(f"samples:{split}: scikit-image is not installed (pip install scikit-image)")
    folder = Path(skimage.submodule_search_locations[0], "data")
    pictures = [folder / name for name in sorted(SPLITS[split])]
    for picture in pictures:
        if not picture.is_file():
            raise UserError(f"{picture}: this scikit-image does not carry that picture, 0.26 does")
    return pictures
