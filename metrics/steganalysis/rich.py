"""Rich-model features of a picture, and an ensemble that learns to tell covers from stegos by them."""

import numpy as np
from PIL import Image

from errors import UserError
from metrics.steganalysis.library import sealwatch
from metrics.steganalysis.lsb import channels

# name: (dimensions, what they are and their source)
FEATURES = {
    "spam": (686, "subtractive pixel adjacency (Pevny, Bas, Fridrich, 2010)"),
    "srm": (34671, "spatial rich model (Fridrich, Kodovsky, 2012)"),
    "crm": (5404, "colour rich model: co-occurrences across channels (Goljan, Fridrich, Cogranne, 2014)"),
}

PLANES = {"red": 0, "green": 1, "blue": 2}
CHANNELS = ("all", *PLANES, "luma")  # what SPAM and SRM look at

LEARNERS = 200  # at most; with few pairs, the out-of-bag error never settles, and more learners gain nothing


def rich_features(picture: np.ndarray, features: str, channel: str = "all") -> np.ndarray:
    """Return features of a picture, as sealwatch computes them: (H,W,3) uint8 -> (D,) float32.

    features: one of FEATURES. channel: one of CHANNELS. SPAM and SRM look at one channel at a time. "all"
    averages the frequencies of the three channels (as Goljan, Fridrich and Cogranne do for the SRM part of
    their colour features). So a colour picture has as many dimensions as a grey one. "green" (or red, blue)
    takes this channel alone, in a third of the time. "luma" takes the BT.601 luma, rounded, as Pillow makes
    grey. CRM compares a picture's channels with each other. Its truncation of 3 gives the published 5,404
    dimensions. It needs colour and all channels.
    Raises UserError for CRM with another `channel`.
    """
    library = sealwatch()
    if features == "crm":
        if channel != "all":
            raise UserError(
                f"crm looks at all three channels together; use spam or srm for channel {channel}"
            )
        extracted = library.crm.extract(picture, Tc=3)
        return _vector(extracted)
    extract = {"spam": library.spam.extract, "srm": library.srm.extract}[features]
    planes = seen(picture, channel)
    each = [_vector(extract(np.ascontiguousarray(planes[..., c]))) for c in range(planes.shape[2])]
    return np.stack(each).mean(axis=0, dtype=np.float64).astype(np.float32)


def seen(picture: np.ndarray, channel: str) -> np.ndarray:
    """Return what one of CHANNELS looks at: (H,W,3) uint8 -> (H,W,C)."""
    if channel == "all":
        return channels(picture)
    if channel == "luma":
        return np.asarray(Image.fromarray(picture).convert("L"))[..., None]
    place = PLANES[channel]
    return picture[..., place : place + 1]


def _vector(submodels: dict[str, np.ndarray]) -> np.ndarray:
    # Sorted by name, because CRM's submodels come from a set, whose order changes between processes.
    parts = [np.asarray(submodels[name]).ravel() for name in sorted(submodels)]
    return np.concatenate(parts).astype(np.float32)


class Ensemble:
    """Fisher linear discriminants on random subspaces, with a majority vote, as sealwatch trains them.

    J. Kodovsky, J. Fridrich, V. Holub, "Ensemble classifiers for steganalysis of digital media", IEEE
    Trans. Information Forensics and Security 7(2), 2012. The out-of-bag error decides on the number of
    learners and on the dimension of their subspaces.

    arrays: weights (L,d) and borders (L,) of L learners, subspaces (L,d) of d features each.
    """

    def __init__(self, arrays: dict[str, np.ndarray]):
        self.arrays = arrays
        self.learners, self.subspace = arrays["weights"].shape

    @classmethod
    def learn(cls, cover: np.ndarray, stego: np.ndarray, seed: int = 0) -> "Ensemble":
        """Learn from the features (N,D) of N pairs. The same seed gives the same ensemble."""
        trainer = sealwatch().ensemble_classifier.FldEnsembleTrainer(
            np.ascontiguousarray(cover),
            np.ascontiguousarray(stego),
            seed=seed,
            verbose=0,
            max_num_base_learners=LEARNERS,
        )
        learners = trainer.train()[0].base_learners
        return cls(
            {
                "weights": np.stack([one.learner.w for one in learners]),
                "borders": np.array([one.learner.b for one in learners]),
                "subspaces": np.stack([one.subspace for one in learners]).astype(np.int32),
            }
        )

    def scores(self, features: np.ndarray) -> np.ndarray:
        """Return the vote, (N,D) -> (N,); above 0 is a stego.

        It ranges from -1 (all learners say cover) to 1 (all say stego).
        """
        of, features = self.arrays, features.astype(np.float64)
        each = zip(of["subspaces"], of["weights"], of["borders"], strict=True)
        votes = [np.sign(features[:, places] @ weights - border) for places, weights, border in each]
        return np.mean(votes, axis=0)
