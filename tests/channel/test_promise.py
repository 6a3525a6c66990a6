"""What a promise to survive means."""

import numpy as np
import pytest
from skimage.data import coffee

from channel.attacks import Chain, Jpeg, Webp
from channel.promise import PROGRAMS, JpegBy, attempts, described, hardest, parse_promises
from errors import UserError


def test_a_quality_promises_every_better_one_by_every_program():
    found = attempts(parse_promises(["jpeg:75"]))
    assert {(one.quality, one.program) for one in found} == {
        (quality, program) for quality in (75, 80, 85, 90, 95) for program in PROGRAMS
    }
    assert len(found) == 15 and found[0].quality == 75
    assert {one.quality for one in attempts(parse_promises(["jpeg:82"]))} == {82, 85, 90, 95}


def test_a_chain_promises_itself():
    found = attempts(parse_promises(["jpeg:85+jpeg:75", "webp:80"]))
    chains = [one for one in found if isinstance(one, Chain)]
    assert [[link.quality for link in one.links] for one in chains] == [[85, 75]] * 3
    assert {one.links[0].program for one in chains} == set(PROGRAMS)
    assert found[-1] == Webp(80) and len(found) == 4


def test_the_hardest_are_the_promises():
    promises = parse_promises(["jpeg:75", "webp:80"])
    assert hardest(promises) == [JpegBy(75, PROGRAMS[0]), JpegBy(75, PROGRAMS[1]), Webp(80)]


def test_pillow_is_the_attack_of_the_tests():
    picture = coffee()[:64, :80]
    assert np.array_equal(JpegBy(75)(picture), Jpeg(75)(picture))
    assert not np.array_equal(JpegBy(75, PROGRAMS[1])(picture), Jpeg(75)(picture))
    assert JpegBy(75, "opencv")(picture).shape == picture.shape


@pytest.mark.parametrize(
    "text, message",
    [
        ("jpeg:5", "'jpeg:5': below quality 30"),
        ("jpeg:85+webp:7", "below quality 30"),
        ("jpeg:99", "quality"),
        ("jpg:75", "did you mean 'jpeg'"),
        ("heic:80", "no attack is called 'heic'"),
        ("resize:0.5", "can be made to survive jpeg, webp, avif .* not resize"),
        ("jpeg:75+noise:2", "not noise"),
        ("", "no attack"),
    ],
)
def test_what_cannot_be_promised(text, message):
    with pytest.raises(UserError, match=message):
        parse_promises([text])


def test_no_promise():
    with pytest.raises(UserError, match="such as jpeg:75"):
        parse_promises([])


def test_in_words():
    chain = hardest(parse_promises(["jpeg:85+webp:75"]))[0]
    assert described(chain) == "jpeg 85 by pillow 4:2:0 + webp 75"
