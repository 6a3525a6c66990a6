"""Features have their published dimensions and stay the same; the ensemble learns from them."""

import numpy as np
import pytest
from skimage.data import astronaut, camera, coffee

from metrics.steganalysis import rich
from metrics.steganalysis.rich import (
    FEATURES,
    Ensemble,
    _vector,
    across_channels,
    cooccurrences,
    crm_features,
    rich_features,
    srm_features,
)
from metrics.steganalysis.scores import auc

sealwatch = pytest.importorskip("sealwatch", reason="pip install -e '.[steganalysis]'")


@pytest.mark.parametrize("features", FEATURES)
def test_published_dimensions(features):
    values = rich_features(astronaut()[:64, 100:164], features)
    assert (
        values.shape == FEATURES[features][:1] == {"spam": (686,), "srm": (34671,), "crm": (5404,)}[features]
    )
    assert values.dtype == np.float32 and np.isfinite(values).all() and values.std() > 0


@pytest.mark.parametrize("shape", [(64, 64), (37, 52)])
def test_srm_is_that_of_sealwatch(shape):
    """The counting is ours, for speed; every value is the library's, bit for bit."""
    grey = np.ascontiguousarray(astronaut()[100 : 100 + shape[0], 100 : 100 + shape[1], 1])
    expected, found = sealwatch.srm.extract(grey), srm_features(grey)
    assert list(found) == list(expected)
    assert all((found[name] == expected[name]).all() for name in expected)


@pytest.mark.parametrize("shape", [(64, 64), (37, 52)])
def test_crm_is_that_of_sealwatch(shape):
    picture = np.ascontiguousarray(coffee()[100 : 100 + shape[0], 100 : 100 + shape[1]])
    expected, found = sealwatch.crm.extract(picture, Tc=3), crm_features(picture)
    assert set(found) == set(expected)
    assert all((found[name] == expected[name]).all() for name in expected)


def test_colours_of_one_pixel_are_counted_together():
    residual = np.array([[[0, 1, -1], [1, 0, -1], [0, 1, -1], [0, 2, 0]]])
    counts = across_channels(residual, "hor", 1)
    assert counts[1, 2, 0] == pytest.approx(2 / 3) and counts[2, 1, 0] == pytest.approx(1 / 3)
    assert counts.sum() == pytest.approx(1)


def test_a_group_of_four_with_a_value_outside_is_not_counted():
    residual = np.array([[0, 1, 2, -2, 3, 0, 0, 0, 0]])
    counts = cooccurrences(residual, "hor", 2)
    assert counts[2, 3, 4, 0] == counts[2, 2, 2, 2] == 0.5 and counts.sum() == 1


def test_wide_limits_count_as_narrow_ones_do():
    """The codes of groups of four outgrow 16 bits from a limit of 7 on."""
    residual = np.random.default_rng(0).integers(-2, 3, (20, 30))
    for limit in (6, 7, 9):
        wide, inner = cooccurrences(residual, "square", limit), slice(limit - 2, limit + 3)
        assert (wide[inner, inner, inner, inner] == cooccurrences(residual, "square", 2)).all()
        assert wide.sum() == pytest.approx(1)


def test_a_grey_picture_has_the_features_of_its_channel():
    grey = camera()[:64, :64]
    both = sealwatch.spam.extract(np.ascontiguousarray(grey))
    expected = np.concatenate((both["diagonal"], both["straight"]))
    assert np.allclose(rich_features(np.repeat(grey[..., None], 3, axis=2), "spam"), expected, atol=1e-6)


def test_colour_averages_the_channels():
    picture = coffee()[:64, :64]
    each = [rich_features(np.repeat(picture[..., c : c + 1], 3, axis=2), "spam") for c in range(3)]
    assert np.allclose(rich_features(picture, "spam"), np.mean(each, axis=0), atol=1e-6)


def test_order_is_that_of_the_names():
    """CRM's submodels come in the order of a set, which Python shuffles anew in each process."""
    x, y = np.zeros((2, 2)), np.ones(3)
    assert (_vector({"b": y, "a": x}) == _vector({"a": x, "b": y})).all()
    assert _vector({"b": y, "a": x}).tolist() == [0, 0, 0, 0, 1, 1, 1]


def test_ensemble_learns_and_is_fixed_by_its_seed(monkeypatch):
    """-3, 0 or 3 added to the samples of 60 crops: told apart on 40 that were not learned."""
    monkeypatch.setattr(rich, "LEARNERS", 40)  # enough here, and five times as fast
    rng = np.random.default_rng(0)
    photographs = (astronaut(), coffee())
    crops = [
        p[y : y + 64, x : x + 64] for p in photographs for y in range(0, 320, 64) for x in range(0, 384, 64)
    ]
    crops = [crops[k] for k in rng.permutation(len(crops))]
    cover = np.stack([rich_features(c, "spam") for c in crops])
    noisy = [np.clip(c + rng.choice([-3, 0, 3], c.shape), 0, 255).astype(np.uint8) for c in crops]
    stego = np.stack([rich_features(c, "spam") for c in noisy])
    one = Ensemble.learn(cover[:20], stego[:20], seed=3)
    scores = one.scores(cover[20:]), one.scores(stego[20:])
    assert len(crops) == 60 and auc(*scores) > 0.9
    assert all((abs(side) <= 1).all() for side in scores)
    again = Ensemble.learn(cover[:20], stego[:20], seed=3)
    assert (again.scores(stego[20:]) == scores[1]).all()
    assert (again.learners, again.subspace) == (one.learners, one.subspace)


def test_one_channel_is_that_channel():
    picture = coffee()[:64, :64]
    green = np.repeat(picture[..., 1:2], 3, axis=2)
    assert (rich_features(picture, "spam", "green") == rich_features(green, "spam")).all()
    luma = rich_features(picture, "spam", "luma")
    assert not np.allclose(luma, rich_features(picture, "spam")) and luma.shape == (686,)
    with pytest.raises(ValueError, match="crm looks at all three channels"):
        rich_features(picture, "crm", "green")
