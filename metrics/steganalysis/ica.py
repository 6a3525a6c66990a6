"""A detector with few features, from the weak components of a picture's wavelet bands, and an SVM.

This is our reading of Mallet and Bas (CVPR 2026, arXiv 2603.11876), who detect stegos of hiding networks by
eight numbers. Our own choices are: to take the bands of all three colours together, how components are
chosen, the four moments, and the order of the two components.

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
STRONG = 3  # components that are never chosen, because they show the picture itself
LARGEST = 512  # px; a larger picture is cropped to its middle
FOLDS = 5
PENALTY = 10.0  # C of the SVM


def sklearn_needed() -> None:
    """Raise UserError, with the command that installs it, if scikit-learn is missing."""
    try:
        import sklearn  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"this detector needs scikit-learn ({error}); install it with pip install -e '.[steganalysis]'"
        ) from error


def subbands(picture: np.ndarray) -> np.ndarray:
    """Return the wavelet bands of a picture's middle: (H,W,3) uint8 -> (P,30) float64, one row a pixel.

    H and W are cropped to multiples of 8, at most LARGEST. The wavelet is the orthonormal Haar wavelet. A
    band of level l has one value for 2^l x 2^l pixels, and each of these pixels gets it.
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
    """Return PCA's components of a picture, by falling variance, with mean 0: (H,W,3) uint8 -> (P,30)."""
    x = subbands(picture)
    x -= x.mean(axis=0)
    _, vectors = np.linalg.eigh(x.T @ x)
    return x @ vectors[:, ::-1]


def moments(x: np.ndarray) -> np.ndarray:
    """Return log E|x|, log E x^2, |skewness| and log kurtosis: (P,K) of mean 0 -> (K,4).

    None of them depends on the sign of x, which is unknown. A component without variance has the logarithm of
    10^-9 twice, and then 0 twice.
    """
    variance = np.maximum(np.square(x).mean(axis=0), 1e-9)
    first = np.log(np.maximum(np.abs(x).mean(axis=0), 1e-9))
    third = np.abs((x**3).mean(axis=0)) / variance**1.5
    fourth = np.log(np.maximum((x**4).mean(axis=0) / variance**2, 1))
    return np.stack((first, np.log(variance), third, fourth), axis=1)


def component_moments(picture: np.ndarray) -> np.ndarray:
    """Return the moments of all 30 components, to choose from: (H,W,3) uint8 -> (120,) float32."""
    return moments(components(picture)).ravel().astype(np.float32)


def ica_features(picture: np.ndarray, chosen: tuple[int, int]) -> np.ndarray:
    """Return the moments of two independent components: (H,W,3) uint8 -> (8,) float32.

    chosen: two of PCA's components, counted from 0. FastICA separates them into the independent ones. Each of
    these is scaled to the strength that it has in the chosen two. The stronger one comes first.
    """
    from sklearn.decomposition import FastICA
    from sklearn.exceptions import ConvergenceWarning

    x = components(picture)[:, list(chosen)]
    if x.std(axis=0).min() > 1e-6:  # a flat picture has nothing to separate
        separate = FastICA(2, whiten="unit-variance", random_state=0, max_iter=200, tol=1e-3)
        with warnings.catch_warnings():
            # If both components are Gaussian, any two directions will do.
            warnings.simplefilter("ignore", ConvergenceWarning)
            sources = separate.fit_transform(x)
        strengths = np.linalg.norm(separate.mixing_, axis=0)
        order = np.argsort(-strengths)
        x = (sources * strengths)[:, order]
    return moments(x).ravel().astype(np.float32)


def choose(cover: np.ndarray, stego: np.ndarray) -> tuple[int, int]:
    """Choose the two components whose moments best tell training pairs apart: (N,120) twice -> (i, j).

    First comes the best one, then the one that adds most to it, by the accuracy over five folds. A cover and
    its stego are in the same fold. Pass the training half only.
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
    """A support vector machine with a radial basis, as arrays. So a file can store it without code.

    arrays: mean and scale (D,) of the features; vectors (V,D), weights (V,), offset (1,), gamma ().
    Raises KeyError if one is missing.
    """

    NAMES = ("mean", "scale", "vectors", "weights", "offset", "gamma")

    def __init__(self, arrays: dict[str, np.ndarray]):
        self.arrays = {name: arrays[name] for name in self.NAMES}

    @classmethod
    def learn(cls, cover: np.ndarray, stego: np.ndarray) -> "Machine":
        """Learn from the features (N,D) of N covers and of their stegos."""
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
        """Return the distance from the border: (N,D) -> (N,); above 0 is a stego."""
        of = self.arrays
        x = (features - of["mean"]) / of["scale"]
        distances = np.square(x[:, None] - of["vectors"]).sum(axis=2)
        return np.exp(-of["gamma"] * distances) @ of["weights"] + of["offset"]
