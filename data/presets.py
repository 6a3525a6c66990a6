"""The papers' data sets by name: their folders, and how to bring their pictures to one size.

This project does not download them; docs/datasets.md says where to get each one and where to put it.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Preset:
    """A data set that an option file can name; the option file can override every value.

    train_folder, test_folder: what `list_pictures` takes, relative to the working folder.
    crop: side of the square to cut out [px]: from the centre in tests, at random in training.
    resize: resize the short side to this before the crop [px]; None keeps the pictures' size.
    small: what to do with pictures that are smaller than the crop: "error", "skip" or "enlarge".
    note: what users should know, in one line.
    homepage: where to get the data set.
    """

    train_folder: str
    test_folder: str
    crop: int
    resize: int | None
    small: str
    note: str
    homepage: str


PRESETS: dict[str, Preset] = {
    "div2k": Preset(
        train_folder="datasets/DIV2K/DIV2K_train_HR",
        test_folder="datasets/DIV2K/DIV2K_valid_HR",
        crop=1024,
        resize=None,
        small="skip",
        note="800 + 100 pictures, about 2040x1356; set a smaller crop to train on (128 to 256)",
        homepage="https://data.vision.ee.ethz.ch/cvl/DIV2K/",
    ),
    "coco": Preset(
        train_folder="datasets/COCO/train2017",
        test_folder="datasets/COCO/val2017",
        crop=256,
        resize=256,
        small="error",
        note="118,287 + 5,000 pictures, about 640x480",
        homepage="https://cocodataset.org/#download",
    ),
    "imagenet": Preset(
        train_folder="datasets/ImageNet/train",
        test_folder="datasets/ImageNet/val",
        crop=256,
        resize=256,
        small="error",
        note="ImageNet-1K: 1,281,167 + 50,000 pictures of all sizes",
        homepage="https://www.image-net.org/download.php",
    ),
    "paris_streetview": Preset(
        train_folder="datasets/ParisStreetView/train",
        test_folder="datasets/ParisStreetView/test",
        crop=256,
        resize=None,
        small="error",
        note="14,900 + 100 pictures, 936x537; from the authors of Context Encoders, on request",
        homepage="https://github.com/pathak22/context-encoder",
    ),
    "bossbase": Preset(
        train_folder="datasets/BOSSBase/train",
        test_folder="datasets/BOSSBase/test",
        crop=256,
        resize=256,
        small="error",
        note="BOSSBase 1.01: 10,000 grey pictures of 512x512, split by yourself (docs/datasets.md)",
        homepage="https://dde.binghamton.edu/download/",
    ),
    "samples": Preset(
        train_folder="samples:train",
        test_folder="samples:test",
        crop=256,
        resize=None,
        small="error",
        note="10 + 5 pictures that scikit-image carries: for trying out, not for figures to quote",
        homepage="https://scikit-image.org/docs/stable/api/skimage.data.html",
    ),
}
