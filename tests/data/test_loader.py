"""Training items depend on the seed and their number alone; evaluation leaves nothing to chance."""

import numpy as np
import pytest
import torch

from data.groups import Group, make_groups
from data.images import read_picture, to_tensor, write_picture
from data.loader import EvaluationGroups, TrainingGroups, training_loader
from data.transforms import (
    drop_small,
    fit_picture,
    fit_secret,
    load_group,
    unfit_secret,
    usable_pictures,
)
from data.variation import training_transform


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Six noise pictures of 40x48 pixels; in picture k every value is k modulo 6."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    paths = [folder / f"{k}.png" for k in range(6)]
    for k, path in enumerate(paths):
        write_picture(path, rng.integers(0, 42, (40, 48, 3)).astype(np.uint8) * 6 + k)
    return paths


@pytest.fixture(scope="module")
def uneven(tmp_path_factory):
    """Pictures of 30x60, 64x64 and 100x50 (height x width) pixels, flat in 10, 20, 30."""
    folder = tmp_path_factory.mktemp("uneven")
    paths = []
    for value, size in ((10, (30, 60)), (20, (64, 64)), (30, (100, 50))):
        paths.append(folder / f"{value}.png")
        write_picture(paths[-1], np.full((*size, 3), value, np.uint8))
    return paths


def train(pictures, **changes) -> TrainingGroups:
    arguments = {"num_secrets": 3, "crop": 16, "seed": 5, "length": 12} | changes
    return TrainingGroups(pictures, **arguments)


def same(a: dict, b: dict) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_training_item(pictures):
    item = train(pictures)[0]
    assert item["cover"].shape == (3, 16, 16) and item["cover"].dtype == torch.uint8
    assert item["secrets"].shape == (3, 3, 16, 16) and item["secrets"].dtype == torch.uint8


def test_no_picture_twice_in_a_training_group(pictures):
    for item in train(pictures, length=40):
        group = torch.cat([item["cover"][None], item["secrets"]]) % 6
        assert len({int(picture[0, 0, 0]) for picture in group}) == 4
        assert all((picture == picture[0, 0, 0]).all() for picture in group)


def test_an_item_depends_on_seed_and_number_alone(pictures):
    one, other = train(pictures), train(pictures, length=99)
    forwards = [one[i] for i in range(6)]
    torch.manual_seed(123)
    backwards = [other[i] for i in reversed(range(6))]
    assert all(same(a, b) for a, b in zip(forwards, reversed(backwards), strict=True))
    assert not same(one[0], one[1]) and not same(one[0], train(pictures, seed=6)[0])


def test_global_generators_are_left_alone(pictures):
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    next(iter(training_loader(train(pictures), batch_size=2)))
    assert torch.equal(torch.rand(3), expected)


def test_any_number_of_workers_gives_the_same(pictures):
    by_itself = list(training_loader(train(pictures), batch_size=2))
    by_two = list(training_loader(train(pictures), batch_size=2, workers=2))
    assert len(by_itself) == 6 and by_itself[0]["secrets"].shape == (2, 3, 3, 16, 16)
    assert all(same(a, b) for a, b in zip(by_itself, by_two, strict=True))


@pytest.mark.parametrize("step", [0, 1, 4, 6])
def test_resuming_goes_on_exactly(pictures, step):
    whole = list(training_loader(train(pictures), batch_size=2))
    rest = training_loader(train(pictures), batch_size=2, start_step=step)
    assert len(rest) == 6 - step
    assert all(same(a, b) for a, b in zip(whole[step:], rest, strict=True))


def test_processes_share_the_items_of_a_step(pictures):
    whole = training_loader(train(pictures), batch_size=4, start_step=1)
    shares = [training_loader(train(pictures), batch_size=2, start_step=1, rank=r, ranks=2) for r in range(2)]
    assert len(whole) == len(shares[0]) == len(shares[1]) == 2
    for step, first, second in zip(whole, *shares, strict=True):
        assert torch.equal(step["cover"][0::2], first["cover"])
        assert torch.equal(step["cover"][1::2], second["cover"])


def test_incomplete_last_step_is_left_out(pictures):
    batches = list(training_loader(train(pictures), batch_size=5))
    assert [len(batch["cover"]) for batch in batches] == [5, 5]


def test_cache_changes_nothing(pictures):
    plain, cached = train(pictures), train(pictures, cache="ram")
    assert len(cached.cached) == 6
    assert all(same(plain[i], cached[i]) for i in range(4))
    resized = {"resize": 20, "num_secrets": 1}
    assert same(train(pictures, **resized)[0], train(pictures, cache="ram", **resized)[0])


def test_cache_that_does_not_fit(pictures, monkeypatch):
    monkeypatch.setattr("data.loader.available_memory", lambda: 6 * 40 * 48 * 3)
    with pytest.raises(ValueError, match="cache ram: 6 pictures need .* use cache: none"):
        train(pictures, cache="ram")
    train(pictures, cache="ram", resize=20)  # a quarter of the pixels


def test_too_few_pictures_to_train(pictures):
    with pytest.raises(ValueError, match=r"6 secrets = 7 pictures, but there are 6 to train on"):
        train(pictures, num_secrets=6)
    with pytest.raises(ValueError, match="cache 'disk': expected none or ram"):
        train(pictures, cache="disk")


def test_small_training_pictures(uneven):
    few = {"num_secrets": 1, "crop": 50}
    with pytest.raises(ValueError, match=r"10\.png: 60x30 pixels, .*\(1 of 3 pictures are too small\)"):
        train(uneven, **few)
    assert train(uneven, small="skip", **few).pictures == uneven[1:]
    assert len(train(uneven, small="enlarge", **few).pictures) == 3
    assert train(uneven, small="enlarge", **few | {"num_secrets": 2})[0]["cover"].shape[1] == 50


# --- transforms


def test_training_varies_a_picture_without_changing_its_values():
    picture = torch.arange(3 * 8 * 8, dtype=torch.uint8).reshape(3, 8, 8)
    vary = training_transform(8)
    seen = {vary(picture).numpy().tobytes() for _ in range(200)}
    assert len(seen) == 8  # four turns, mirrored or not
    assert all(sorted(view) == list(range(192)) for view in seen)
    plain = training_transform(8, flip=False, rotate=False)
    assert torch.equal(plain(picture), picture)


def test_fit_picture_crops_the_centre():
    picture = torch.arange(100, dtype=torch.uint8).reshape(1, 10, 10).repeat(3, 1, 1)
    assert torch.equal(fit_picture(picture, crop=4), picture[:, 3:7, 3:7])
    assert fit_picture(picture) is picture


def test_fit_picture_resizes_the_short_side():
    picture = torch.full((3, 20, 40), 9, dtype=torch.uint8)
    assert fit_picture(picture, resize=10).shape == (3, 10, 20)
    assert fit_picture(picture, crop=10, resize=30).shape == (3, 10, 10)
    assert (fit_picture(picture, crop=32, small="enlarge") == 9).all()
    with pytest.raises(ValueError, match=r"x\.png: 40x20 pixels, smaller than the crop of 32"):
        fit_picture(picture, crop=32, path="x.png")


def test_shrinking_is_antialiased():
    """A chessboard of single pixels becomes grey, not one of its colours."""
    board = (torch.arange(64)[:, None] + torch.arange(64)) % 2 * 255
    small = fit_picture(board.to(torch.uint8).repeat(3, 1, 1), resize=16)
    assert (small.int() - 128).abs().max() <= 8


def test_drop_small_and_usable_pictures(uneven):
    assert drop_small(uneven, 50) == (uneven[1:], uneven[:1])
    assert usable_pictures(uneven, 50, small="skip") == uneven[1:]
    assert usable_pictures(uneven, 50, resize=50) == uneven
    assert usable_pictures(uneven, None) == uneven
    with pytest.raises(ValueError, match=r"\(3 of 3 pictures are too small\)"):
        usable_pictures(uneven, 500, small="skip")
    with pytest.raises(ValueError, match="resize 40 leaves every picture smaller"):
        usable_pictures(uneven, 50, resize=40)
    with pytest.raises(ValueError, match="small 'drop': expected error, skip, enlarge"):
        usable_pictures(uneven, 50, small="drop")


def test_fit_secret():
    picture = np.full((10, 20, 3), 200, np.uint8)
    assert np.array_equal(fit_secret(picture, 10, 20, "pad"), picture)
    stretched = fit_secret(picture, 30, 30)
    assert stretched.shape == (30, 30, 3) and (stretched == 200).all()
    padded = fit_secret(picture, 40, 40, "pad")
    assert (padded[10:30] == 200).all()
    assert (padded[:10] == 128).all() and (padded[30:] == 128).all()
    assert fit_secret(picture, 1, 1, "pad").shape == (1, 1, 3)
    with pytest.raises(ValueError, match="mode 'fill': expected stretch or pad"):
        fit_secret(picture, 5, 5, "fill")


@pytest.mark.parametrize("mode", ["stretch", "pad"])
@pytest.mark.parametrize("size", [(40, 60), (90, 31), (1, 50), (64, 64), (33, 47)])
def test_unfit_secret_undoes_fit_secret(mode, size):
    """A smooth picture comes back at its own size, to interpolation; the bars are gone."""
    rows, cols = np.indices(size) / 100
    picture = (np.stack((rows, cols, rows * 0), axis=-1) * 200 + 20).astype(np.uint8)
    back = unfit_secret(fit_secret(picture, 64, 64, mode), *size, mode)
    assert back.shape == picture.shape and np.abs(back.astype(int) - picture).mean() < 3
    with pytest.raises(ValueError, match="expected stretch or pad"):
        unfit_secret(picture, 5, 5, "fill")


# --- evaluation


def test_evaluation_groups(pictures):
    groups = make_groups(pictures, 2)
    dataset = EvaluationGroups(groups, crop=40)
    assert len(dataset) == 2
    cover = to_tensor(read_picture(groups[1].cover))
    assert torch.equal(dataset[1]["cover"], cover[:, :, 4:44])
    assert dataset[1]["secrets"].shape == (2, 3, 40, 40)
    assert same(dataset[1], dataset[1])


def test_without_a_crop_the_cover_sets_the_size(uneven):
    cover, secrets = load_group(Group(uneven[2], tuple(uneven[:2])))
    assert cover.shape == (3, 100, 50) and secrets.shape == (2, 3, 100, 50)
    assert secrets[:, 0, 0, 0].tolist() == [10, 20]
    cover, secrets = load_group(Group(uneven[2], tuple(uneven[:2])), resize=25)
    assert cover.shape == (3, 50, 25) and secrets.shape == (2, 3, 50, 25)


@pytest.mark.parametrize("small", ["error", "skip"])
def test_evaluation_refuses_small_pictures_before_it_starts(uneven, small):
    group = Group(uneven[1], (uneven[0],))
    with pytest.raises(ValueError, match=r"10\.png: 60x30 pixels"):
        EvaluationGroups([group], crop=50, small=small)
    assert EvaluationGroups([group], crop=50, small="enlarge")[0]["secrets"].shape[-1] == 50


def test_grey_pictures_have_three_equal_channels(tmp_path):
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"{k}.png" for k in range(3)]
    for path in paths:
        write_picture(path, rng.integers(0, 256, (20, 24, 3)).astype(np.uint8))
    luma = to_tensor(read_picture(paths[0])).double()
    luma = 0.299 * luma[0] + 0.587 * luma[1] + 0.114 * luma[2]
    group = Group(paths[0], (paths[1], paths[2]))
    tested = EvaluationGroups([group], grey=True)[0]
    assert (tested["cover"] - luma).abs().max() <= 1
    trained = [TrainingGroups(paths, 2, 16, 0, 4, cache=cache, grey=True)[3] for cache in ("none", "ram")]
    assert same(*trained)
    for item in (tested, *trained):
        for pictures in item.values():
            assert torch.equal(pictures, pictures[..., :1, :, :].expand_as(pictures))
    assert not torch.equal(*EvaluationGroups([group])[0]["cover"][:2])
