"""Eight features: the bands are an exact transform, components are in order, what differs is chosen."""

import numpy as np
import pytest
from skimage.data import astronaut, coffee

from metrics.steganalysis.ica import (
    BANDS,
    Machine,
    choose,
    component_moments,
    components,
    ica_features,
    moments,
    subbands,
)
from metrics.steganalysis.scores import auc

pytest.importorskip("sklearn", reason="pip install -e '.[steganalysis]'")


def test_bands_keep_the_energy_of_the_picture():
    """Haar is orthonormal; a value of level l stands 4^l times in the enlarged band."""
    picture = astronaut()[:64, :96]
    x = subbands(picture)
    assert x.shape == (64 * 96, BANDS) == (64 * 96, 30)
    levels = np.repeat([1, 2, 3, 3], [9, 9, 9, 3])
    energy = (np.square(x).sum(axis=0) / 4.0**levels).sum()
    assert energy == pytest.approx(np.square(picture.astype(float)).sum(), rel=1e-12)


def test_components_are_uncorrelated_and_fall_in_variance():
    x = components(coffee()[:70, :81])  # cut to 64x80
    assert x.shape == (64 * 80, 30)
    covariance = x.T @ x
    assert np.abs(covariance - np.diag(np.diag(covariance))).max() < 1e-6 * covariance.max()
    assert (np.diff(np.diag(covariance)) <= 1e-6).all()


def test_moments_in_closed_form():
    """1, -1 in turn: E|x| = E x^2 = 1, no skewness, the smallest kurtosis; twice as large adds logarithms."""
    x = np.array([1.0, -1.0] * 8)[:, None]
    assert np.allclose(moments(x), [[0, 0, 0, 0]])
    assert np.allclose(moments(-2 * x), [[np.log(2), 2 * np.log(2), 0, 0]])
    one = np.array([3.0, -1, -1, -1])[:, None]
    assert np.allclose(moments(one), [[np.log(1.5), np.log(3), 6 / 3**1.5, np.log(21 / 9)]])


def test_two_mixed_sources_are_separated():
    picture = astronaut()[:128, :128]
    found = ica_features(picture, (8, 10)).reshape(2, 4)
    mixed = component_moments(picture).reshape(30, 4)[[8, 10]]
    assert found.shape == (2, 4) and (ica_features(picture, (8, 10)) == found.ravel()).all()
    # Independent components are further from Gaussian than what they were mixed to.
    assert found[:, 3].max() >= mixed[:, 3].max() - 1e-3
    assert np.exp(found[:, 1]).sum() == pytest.approx(np.exp(mixed[:, 1]).sum(), rel=1e-3)


def test_a_flat_picture_has_finite_features():
    flat = np.full((40, 40, 3), 7, np.uint8)
    assert np.isfinite(ica_features(flat, (4, 9))).all() and np.isfinite(component_moments(flat)).all()


def test_the_component_that_differs_is_chosen_and_learned():
    rng = np.random.default_rng(0)
    cover, stego = rng.normal(size=(2, 200, 30, 4))
    stego[:, 17, 2] += 2.4  # neither of the two is enough alone
    stego[:, 23, 1] += 2.0
    first, second = choose(cover[:100].reshape(100, -1), stego[:100].reshape(100, -1))
    assert first == 17 and second == 23
    few = [x[:, [first, second]].reshape(200, 8) for x in (cover, stego)]
    machine = Machine.learn(few[0][:100], few[1][:100])
    assert auc(*(machine.scores(x[100:]) for x in few)) > 0.9


def test_the_arrays_score_as_the_library_does():
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    rng = np.random.default_rng(1)
    cover, stego = rng.normal(size=(2, 40, 8)) * np.arange(1, 9)
    stego += 1
    library = make_pipeline(StandardScaler(), SVC(C=10.0))
    library.fit(np.concatenate((cover, stego)), np.repeat((0, 1), 40))
    new = rng.normal(size=(20, 8)) * np.arange(1, 9)
    assert np.allclose(Machine.learn(cover, stego).scores(new), library.decision_function(new))
