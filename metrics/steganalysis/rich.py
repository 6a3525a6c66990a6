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
        return _vector(crm_features(picture))
    extract = {"spam": library.spam.extract, "srm": srm_features}[features]
    planes = seen(picture, channel)
    each = [_vector(extract(np.ascontiguousarray(planes[..., c]))) for c in range(planes.shape[2])]
    return np.stack(each).mean(axis=0, dtype=np.float64).astype(np.float32)


def srm_features(plane: np.ndarray) -> dict[str, np.ndarray]:
    """Return the submodels of the spatial rich model: (H,W) uint8 -> {name: (D,)}.

    They are those of sealwatch's `srm.extract`, from its own residuals and symmetries. Only the counting is
    ours (`cooccurrences`), because sealwatch's takes nearly all the time. The results are equal bit for bit.
    """
    srm = sealwatch().srm
    steps = {"f1": (1, 2)}
    plane = plane.astype(int)
    found: dict[str, np.ndarray] = {}
    for order, (function, unit) in ORDERS.items():
        for q in steps.get(order, (1, 1.5, 2)):
            counted = getattr(srm, function)(plane, q * unit, CoocN=cooccurrences)
            found = srm.symm.post_process(counted, order, q, found)
    return found


def crm_features(picture: np.ndarray) -> dict[str, np.ndarray]:
    """Return the submodels of the colour rich model: (H,W,3) uint8 -> {name: (D,)}.

    They are those of sealwatch's `crm.extract(picture, Tc=3)`, with our counting (`across_channels`). The
    results are equal bit for bit.
    """
    crm, limit = sealwatch().crm, 3
    picture = picture.astype(np.float32)
    found: dict[str, np.ndarray] = {}
    for order, (function, unit) in ORDERS.items():
        counted = getattr(crm, function)(picture, unit, T=limit, CoocN=across_channels, directional=False)
        # sealwatch takes a submodel for one across channels if its name ends in "c".
        names = {name: name.removesuffix("h") + "c" for name in counted}
        names |= {name: name.removesuffix("h") + "hvc" for name in counted if name.endswith("34h")}
        found = crm.post_process(counted, order, 1, found, Tc=limit, name_mapper=names)
    return found


# order of the residuals: (sealwatch's function, unit of the quantisation step)
ORDERS = {
    "f1": ("all1st", 1),
    "f2": ("all2nd", 2),
    "f3": ("all3rd", 3),
    "f3x3": ("all3x3", 4),
    "f5x5": ("all5x5", 12),
}

# direction: (row, column) of the four neighbours counted together
NEIGHBOURS = {
    "hor": ((0, 0), (0, 1), (0, 2), (0, 3)),
    "ver": ((0, 0), (1, 0), (2, 0), (3, 0)),
    "diag": ((0, 0), (1, 1), (2, 2), (3, 3)),
    "mdiag": ((3, 0), (2, 1), (1, 2), (0, 3)),
    "square": ((1, 0), (1, 1), (0, 1), (0, 0)),
}


def cooccurrences(residual: np.ndarray, direction: str, limit: int) -> np.ndarray:
    """Return how often each four neighbouring values occur together: (H,W) -> (B,B,B,B), B = 2 `limit` + 1.

    residual: integers, of any number type. direction: one of NEIGHBOURS. Only groups of four within
    -limit to limit count. The frequencies add up to 1.
    """
    rows, columns = np.max(NEIGHBOURS[direction], axis=0)
    height, width = residual.shape[0] - rows, residual.shape[1] - columns
    return _together(
        [residual[row : row + height, column : column + width] for row, column in NEIGHBOURS[direction]],
        limit,
    )


def across_channels(residual: np.ndarray, direction: str, limit: int) -> np.ndarray:
    """Return how often each three values of one pixel occur together: (H,W,3) -> (B,B,B), B = 2 `limit` + 1.

    direction: not used; a pixel has none. The rest is as for `cooccurrences`.
    """
    return _together([residual[..., c] for c in range(3)], limit)


def _together(planes: list[np.ndarray], limit: int) -> np.ndarray:
    base = 2 * limit + 3  # one more value at each end: outside
    codes = np.min_scalar_type(base ** len(planes))  # the smaller the type, the faster
    code = np.zeros(planes[0].shape, dtype=codes)
    for plane in planes:
        code *= base
        code += (np.clip(plane, -limit - 1, limit + 1) + (limit + 1)).astype(codes)
    every = np.bincount(code.ravel(), minlength=base ** len(planes)).reshape((base,) * len(planes))
    counts = every[(slice(1, -1),) * len(planes)]
    return counts / counts.sum()


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
