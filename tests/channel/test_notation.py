"""What a person writes about attacks: mappings, the command line's short form, ranges and weights."""

from collections import Counter

import numpy as np
import pytest

from channel.attacks import (
    ATTACKS,
    Avif,
    Brightness,
    Chain,
    Crop,
    Flip,
    Gaussian,
    Jpeg,
    Mean,
    Noise,
    Nothing,
    Resize,
    Sharpen,
    Webp,
)
from channel.entry import Entry
from channel.notation import make_attack, parse_attack
from errors import UserError


@pytest.mark.parametrize(
    "text, attack",
    [
        ("jpeg:80", Jpeg(80)),
        ("jpeg", Jpeg()),
        ("jpeg:80+webp:70", Chain((Jpeg(80), Webp(70)))),
        (" mean:5 + none + avif:40 ", Chain((Mean(5), Nothing(), Avif(40)))),
        ("gaussian:0.8,size=3", Gaussian(0.8, 3)),
        ("gaussian:size=3", Gaussian(size=3)),
        ("sharpen:2,size=5,sigma=0.5", Sharpen(2, 0.5, 5)),
        ("flip:vertical", Flip("vertical")),
        ("noise:1.5", Noise(1.5)),
        ("resize:0.25", Resize(0.25)),
        ("crop:.5", Crop(0.5)),
        ("brightness:1e-1", Brightness(0.1)),
        ("none", Nothing()),
    ],
)
def test_the_short_form(text, attack):
    assert parse_attack(text) == attack


@pytest.mark.parametrize("kind", ATTACKS)
def test_every_attack_has_both_forms(kind):
    assert parse_attack(kind) == make_attack({"type": kind}) == ATTACKS[kind]()


@pytest.mark.parametrize(
    "text, message",
    [
        ("jpg:80", "no attack is called 'jpg', did you mean 'jpeg'?"),
        ("blur", "no attack is called 'blur'; there are: none, mean, gaussian"),
        ("", "no attack is called ''; there are: none"),
        ("jpeg:80+", "no attack is called ''"),
        ("jpeg:80+webp:101", "'webp:101': quality: expected a whole number, 0 to 100, got 101"),
        ("jpeg:high", "'jpeg:high': quality: expected a whole number, 1 to 95, got high"),
        ("jpeg:80.5", "'jpeg:80.5': quality: expected a whole number, 1 to 95, got 80.5"),
        ("gaussian:nan", "sigma: expected a number above 0, at most 50, got nan"),
        ("gaussian:1,3", "'gaussian:1,3': expected gaussian:SIGMA,size=SIZE"),
        ("gaussian:1,sigma=2", "'gaussian:1,sigma=2': expected gaussian:SIGMA,size=SIZE"),
        ("gaussian:1,sice=3", "gaussian has no strength 'sice', did you mean 'size'?"),
        ("jpeg:", "'jpeg:': expected jpeg:QUALITY"),
        ("jpeg:type=3", "'jpeg:type=3': expected jpeg:QUALITY"),
        ("none:3", "'none:3': expected none"),
    ],
)
def test_mistakes_in_the_short_form(text, message):
    with pytest.raises(UserError) as error:
        parse_attack(text)
    assert message in str(error.value)


def test_the_long_form():
    assert make_attack({"type": "gaussian", "sigma": 2, "size": None}) == Gaussian(2)
    chain = [{"type": "jpeg", "quality": 80}, {"type": "mean"}]
    assert make_attack(chain) == Chain((Jpeg(80), Mean()))
    assert make_attack(chain[:1]) == Jpeg(80)
    for written, message in (
        ({"type": "jpg"}, "'jpg', did you mean 'jpeg'"),
        ({"quality": 3}, "no attack is called 'None'"),
        ({"type": ["jpeg"]}, "no attack is called"),
        ({"type": "jpeg", "qualty": 3}, "jpeg has no strength 'qualty', did you mean 'quality'"),
        ([], "a chain without attacks"),
    ):
        with pytest.raises(UserError, match=message):
            make_attack(written)


def draws(written, count=300) -> list:
    rng = np.random.default_rng(0)
    return [Entry.read(written).draw(rng) for _ in range(count)]


def test_a_range_of_integers_gives_integers():
    found = Counter(attack.quality for attack in draws({"type": "jpeg", "quality": [70, 73]}))
    assert set(found) == {70, 71, 72, 73} and all(type(quality) is int for quality in found)
    assert min(found.values()) > 50  # of 300: about 75 each
    assert {a.sigma for a in draws({"type": "noise", "sigma": [1, 3]})} == {1, 2, 3}


def test_a_range_of_floats_gives_floats():
    found = [attack.sigma for attack in draws({"type": "noise", "sigma": [1.0, 3.0]})]
    assert 1 <= min(found) < 1.1 and 2.9 < max(found) <= 3 and len(set(found)) == 300
    assert np.mean(found) == pytest.approx(2, abs=0.1)


def test_a_range_of_sizes_gives_odd_ones():
    assert {attack.size for attack in draws({"type": "mean", "size": [3, 9]})} == {3, 5, 7, 9}


def test_chains_draw_each_of_their_ranges():
    chain = [{"type": "gaussian", "sigma": [0.5, 1.0], "weight": 2}, {"type": "jpeg", "quality": [70, 95]}]
    found = draws(chain, 50)
    assert all(isinstance(attack, Chain) for attack in found)
    assert len({attack.links[0].sigma for attack in found}) == 50
    assert len({attack.links[1].quality for attack in found}) > 15
    assert Entry.read(chain).weight == 2 and Entry.read(chain[1:]).weight == 1


@pytest.mark.parametrize(
    "written, message",
    [
        ({"type": "jpeg", "weight": 0}, "weight: expected a number above 0, got 0"),
        ({"type": "jpeg", "weight": -2}, "weight: expected a number above 0, got -2"),
        ({"type": "jpeg", "weight": "much"}, "weight: expected a number above 0"),
        ([{"type": "jpeg"}, {"type": "mean", "weight": 1}], "a chain's weight belongs in its first attack"),
        ({"type": "jpeg", "quality": [70, 96]}, "quality: expected a whole number, 1 to 95, got 96"),
        ({"type": "jpeg", "quality": [0, 90]}, "quality: expected a whole number, 1 to 95, got 0"),
        ({"type": "jpeg", "quality": [90, 70]}, "quality: expected one value or a range"),
        ({"type": "jpeg", "quality": [70, 80, 90]}, "quality: expected one value or a range"),
        ({"type": "flip", "axis": ["horizontal", "vertical"]}, "axis: expected one value or a range"),
        ({"type": "mean", "size": [3, 8]}, "size: expected an odd number from 3 to 401, got 8"),
        ([], "a chain without attacks"),
    ],
)
def test_mistakes_in_entries(written, message):
    with pytest.raises(UserError, match=message):
        Entry.read(written)
