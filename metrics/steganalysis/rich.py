"""Rich-model features of a picture, and the ensemble that learns to tell covers from stegos by them."""

import numpy as np

from metrics.steganalysis.library import sealwatch
from metrics.steganalysis.lsb import channels

# name -> (dimensions, what and where from)
FEATURES = {
    "spam": (686, "subtractive pixel adjacency (Pevny, Bas, Fridrich, 2010)"),
    "srm": (34671, "spatial rich model (Fridrich, Kodovsky, 2012)"),
    "crm": (5404, "colour rich model: co-occurrences across channels (Goljan, Fridrich, Cogranne, 2014)"),
}

LEARNERS = 200  # at most; with few pairs the out-of-bag error never settles, and more gain nothing


def rich_features(picture: np.ndarray, features: str) -> np.ndarray:
    """(H,W,3) uint8 -> (D,) float32 of FEATURES, as sealwatch computes them.

    SPAM and SRM look at one channel; the frequencies of the three channels are averaged (as Goljan,
    Fridrich and Cogranne do for the SRM part of their colour features), so that a colour picture has
    the dimensions of a grey one. CRM is what a picture's channels tell of each other, with the
    truncation of 3 that gives the published 5,404 dimensions; it needs colour.
    """
    library = sealwatch()
    if features == "crm":
        extracted = library.crm.extract(picture, Tc=3)
        return _vector(extracted)
    extract = {"spam": library.spam.extract, "srm": library.srm.extract}[features]
    planes = channels(picture)
    each = [_vector(extract(np.ascontiguousarray(planes[..., c]))) for c in range(planes.shape[2])]
    return np.stack(each).mean(axis=0, dtype=np.float64).astype(np.float32)


def _vector(submodels: dict[str, np.ndarray]) -> np.ndarray:
    # By name: the order of CRM's submodels changes from process to process (it walks over a set).
    parts = [np.asarray(submodels[name]).ravel() for name in sorted(submodels)]
    return np.concatenate(parts).astype(np.float32)


class Ensemble:
    """Fisher linear discriminants on random subspaces, with a majority vote, as sealwatch trains them.

    J. Kodovsky, J. Fridrich, V. Holub, "Ensemble classifiers for steganalysis of digital media", IEEE
    Trans. Information Forensics and Security 7(2), 2012. The number of learners and the dimension of
    their subspaces are found by the out-of-bag error.

    cover, stego: (N,D) features of N pairs. The same seed gives the same ensemble.
    """

    def __init__(self, cover: np.ndarray, stego: np.ndarray, seed: int = 0):
        trainer = sealwatch().ensemble_classifier.FldEnsembleTrainer(
            np.ascontiguousarray(cover),
            np.ascontiguousarray(stego),
            seed=seed,
            verbose=0,
            max_num_base_learners=LEARNERS,
        )
        self._classifier, _ = trainer.train()
        self.learners = int(self._classifier.num_base_learners)
        self.subspace = int(self._classifier.d_sub)

    def scores(self, features: np.ndarray) -> np.ndarray:
        """(N,D) -> (N,), the vote: -1 (all learners say cover) to 1 (all say stego); above 0 is a stego."""
        return self._classifier.predict_confidence(features.astype(np.float64))
