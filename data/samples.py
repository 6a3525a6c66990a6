"""Pictures that come with scikit-image: enough to try everything without a download.

They are few. A network that is trained on them only shows that the code works. Results worth quoting need a
data set from docs/datasets.md.
"""

import importlib.util
from pathlib import Path

from errors import UserError

# Split by scene: no scene is in both splits. All short sides are at least 300 pixels.
SPLITS = {
    "train": (
        "astronaut.png",
        "motorcycle_left.png",
        "motorcycle_right.png",  # the same scene from a camera 19 cm away, so both views are in one split
        "retina.jpg",
        # Grey photographs add the texture that the colour pictures lack.
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
    """Return the sample pictures of one split, sorted by name: 10 for "train", 5 for "test".

    Raises UserError for another split, and if scikit-image or one of its pictures is missing.
    """
    if split not in SPLITS:
        raise UserError(f"samples:{split}: no such split; expected samples:train or samples:test")
    skimage = importlib.util.find_spec("skimage")
    if skimage is None or not skimage.submodule_search_locations:
        raise UserError(f"samples:{split}: scikit-image is not installed (pip install scikit-image)")
    folder = Path(skimage.submodule_search_locations[0], "data")
    pictures = [folder / name for name in sorted(SPLITS[split])]
    for picture in pictures:
        if not picture.is_file():
            raise UserError(f"{picture}: this scikit-image does not include that picture, but 0.26 does")
    return pictures
