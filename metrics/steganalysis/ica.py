"""Few features: what the weak components of a picture's wavelet bands tell, and a support vector machine.

Our reading of Mallet and Bas (CVPR 2026, arXiv 2603.11876), who tell stegos of hiding networks apart by eight
numbers. What is ours: the bands of all three colours together, how
components are chosen, what the four moments are, and the order of the two components.

    picture (H,W,3) -- Haar, three levels: 10 bands a colour -- enlarged to (H,W) -- 30 variables a pixel
      -- PCA: 30 components, by falling variance -- two weak ones -- FastICA -- four moments each: 8 numbers
      -- SVM with a radial basis: cover or stego
"""

import warnings

import numpy as np

from errors import UserError

LEVELS = 3
BANDS = 3 * (3 * LEVELS + 1)
MOMENTS = 4
STRONG = 3  # components that are never chosen: they show the picture itself
LARGEST = 512  # px; of a larger picture its middle is taken
FOLDS = 5
PENALTY = 10.0  # C of the SVM


def sklearn_needed() -> None:
    """Raises UserError, with the command that installs it, where scikit-learn is missing."""
    try:
        import sklearn  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"this detector needs the package scikit-learn ({error}): pip install -e '.[steganalysis]'"
        ) from error


def subbands(picture: np.ndarray) -> np.ndarray:
    """(H,W,3) uint8 -> (P,30) float64, one row a pixel of the middle: H and W are cut to multiples of 8.

    Orthonormal Haar. A band of level l has one value for 2^l x 2^l pixels, which all of these get.
    """
    cut = 2**LEVELS
    height, width = (min(side, LARGEST) // cut * cut for side in picture.shape[:2])
    top, left = (picture.shape[0] - height) // 2, (picture.shape[1] - width) // 2
    low = picture[top : top + height, left : left + width].astype(np.float64)
    bands = []
    for level in range(1, LEVELS + 1):
        a, b, c, d = low[::2, ::2], low[::2, 1::2], low[1::2, ::2], low[1::2, 1::2]
        details = [(a - b + c - d) / 2, (a + b - c - d) / 2, (a - b - c + d) / 2]
        low = (a + b + c + d) / 2
        for band in [*details, *([low] if level == LEVELS else [])]:
            bands.append(band.repeat(2**level, axis=0).repeat(2**level, axis=1))
    return np.concatenate(bands, axis=2).reshape(-1, BANDS)


def components(picture: np.ndarray) -> np.ndarray:
    """(H,W,3) uint8 -> (P,30): PCA's components of this picture, by falling variance, of mean 0."""
    x = subbands(picture)
    x -= x.mean(axis=0)
    _, vectors = np.linalg.eigh(x.T @ x)
    return x @ vectors[:, ::-1]


def moments(x: np.ndarray) -> np.ndarray:
    """(P,K) of mean 0 -> (K,4): log E|x|, log E x^2, |skewness|, log kurtosis; the sign of x is unknown.

    A component without any variance has the logarithm of 10^-9 and else 0.
    """
    variance = np.maximum(np.square(x).mean(axis=0), 1e-9)
    first = np.log(np.maximum(np.abs(x).mean(axis=0), 1e-9))
    third = np.abs((x**3).mean(axis=0)) / variance**1.5
    fourth = np.log(np.maximum((x**4).mean(axis=0) / variance**2, 1))
    return np.stack((first, np.log(variance), third, fourth), axis=1)


def component_moments(picture: np.ndarray) -> np.ndarray:
    """(H,W,3) uint8 -> (120,) float32: the moments of all 30 components, to choose from."""
    return moments(components(picture)).ravel().astype(np.float32)


def ica_features(picture: np.ndarray, chosen: tuple[int, int]) -> np.ndarray:
    """(H,W,3) uint8, two of PCA's components (from 0) -> (8,) float32: moments of what FastICA makes of them.

    An independent component has the strength with which it is in the two; the stronger one comes first.
    """
    from sklearn.decomposition import FastICA
    from sklearn.exceptions import ConvergenceWarning

    x = components(picture)[:, list(chosen)]
    if x.std(axis=0).min() > 1e-6:  # a flat picture has nothing to separate
        separate = FastICA(2, whiten="unit-variance", random_state=0, max_iter=200, tol=1e-3)
        with warnings.catch_warnings():
            # Two Gaussian components have no independent directions: then any two will do.
            warnings.simplefilter("ignore", ConvergenceWarning)
            sources = separate.fit_transform(x)
        strengths = np.linalg.norm(separate.mixing_, axis=0)
        order = np.argsort(-strengths)
        x = (sources * strengths)[:, order]
    return moments(x).ravel().astype(np.float32)


def choose(cover: np.ndarray, stego: np.ndarray) -> tuple[int, int]:
    """The two components by whose moments training pairs are best told apart: (N,120) twice -> (i, j).

    First the best one, then the one that adds most to it, by the accuracy over five folds; a cover and its
    stego are in one fold. Give it the training half only.
    """
    from sklearn.model_selection import GroupKFold, cross_val_score

    values = np.concatenate((cover, stego)).reshape(2 * len(cover), BANDS, MOMENTS)
    labels = np.repeat((0, 1), len(cover))
    pairs = np.tile(np.arange(len(cover)), 2)

    def accuracy(places: list[int]) -> float:
        x = values[:, places].reshape(len(values), -1)
        folds = GroupKFold(FOLDS)
        return float(cross_val_score(_machine(), x, labels, groups=pairs, cv=folds).mean())

    weak = range(STRONG, BANDS)
    first = max(weak, key=lambda k: accuracy([k]))
    second = max((k for k in weak if k != first), key=lambda k: accuracy([first, k]))
    return first, second


def _machine():
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    return make_pipeline(StandardScaler(), SVC(C=PENALTY))


class Machine:
    """A support vector machine with a radial basis, as arrays: what it has learned can be kept without code.

    arrays: mean and scale (D,) of the features; vectors (V,D), weights (V,), offset (), gamma ().
    """

    def __init__(self, arrays: dict[str, np.ndarray]):
        self.arrays = arrays

    @classmethod
    def learn(cls, cover: np.ndarray, stego: np.ndarray) -> "Machine":
        """From features (N,D) of N covers and their stegos."""
        machine = _machine().fit(np.concatenate((cover, stego)), np.repeat((0, 1), len(cover)))
        scaler, svm = machine[0], machine[1]
        return cls(
            {
                "mean": scaler.mean_,
                "scale": scaler.scale_,
                "vectors": svm.support_vectors_,
                "weights": svm.dual_coef_[0],
                "offset": svm.intercept_,
                "gamma": np.array(svm._gamma),
            }
        )

    def scores(self, features: np.ndarray) -> np.ndarray:
        """(N,D) -> (N,), the distance from the border; above 0 is a stego."""
        of = self.arrays
        x = (features - of["mean"]) / of["scale"]
        distances = np.square(x[:, None] - of["vectors"]).sum(axis=2)
        return np.exp(-of["gamma"] * distances) @ of["weights"] + of["offset"]
