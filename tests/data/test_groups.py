"""Groups are fixed by picture names, N and seed, and survive the way through a file."""

import random
from pathlib import Path

import pytest

from data.groups import Group, make_groups, read_groups, write_groups


def pictures(count: int, folder: str = "/data") -> list[Path]:
    return [Path(folder, f"{number:02d}.png") for number in range(count)]


def stems(groups: list[Group]) -> list[list[str]]:
    return [[path.stem for path in (group.cover, *group.secrets)] for group in groups]


def flat(groups: list[Group]) -> list[Path]:
    return [path for group in groups for path in (group.cover, *group.secrets)]


def test_random_groups_never_change():
    """A changed list would make every figure that was measured before incomparable."""
    assert stems(make_groups(pictures(10), 2, count=4)) == [
        ["04", "06", "02"],
        ["07", "03", "05"],
        ["09", "00", "08"],
        ["02", "09", "03"],
    ]
    assert stems(make_groups(pictures(5), 4, seed=7)) == [["02", "00", "04", "01", "03"]]


@pytest.mark.parametrize("grouping", ["random", "sorted"])
def test_order_and_place_of_the_pictures_do_not_matter(grouping):
    here = pictures(12)
    shuffled = random.Random(0).sample(here, 12)
    elsewhere = pictures(12, "/another/machine")
    groups = make_groups(here, 3, grouping=grouping)
    assert make_groups(shuffled, 3, grouping=grouping) == groups
    assert stems(make_groups(elsewhere, 3, grouping=grouping)) == stems(groups)


def test_two_folders_group_alike_wherever_they_lie():
    here = pictures(4, "/a/train") + pictures(4, "/b/test")
    there = pictures(4, "/z/train") + pictures(4, "/b/test")

    def places(groups):
        return [(path.parent.name, path.name) for path in flat(groups)]

    assert places(make_groups(here, 1)) == places(make_groups(there, 1))


def test_random_groups_share_no_picture_until_all_are_used():
    groups = make_groups(pictures(11), 2)
    assert len(groups) == 3 and len(set(flat(groups))) == 9


def test_more_groups_than_pictures_give_at_once():
    groups = make_groups(pictures(7), 4, count=50)
    assert len(groups) == 50
    assert all(len({group.cover, *group.secrets}) == 5 for group in groups)
    assert groups[:1] == make_groups(pictures(7), 4)
    assert len({tuple(group) for group in stems(groups)}) > 40


def test_seed_changes_the_groups():
    assert make_groups(pictures(9), 2, seed=1) != make_groups(pictures(9), 2, seed=2)


def test_sorted_groups():
    assert stems(make_groups(pictures(7), 2, grouping="sorted")) == [
        ["00", "01", "02"],
        ["03", "04", "05"],
    ]
    by_two = [["00", "01", "02"], ["02", "03", "04"], ["04", "05", "06"]]
    assert stems(make_groups(pictures(7), 2, grouping="sorted", stride=2)) == by_two
    assert stems(make_groups(pictures(7), 2, 2, grouping="sorted", stride=2)) == by_two[:2]


def test_a_picture_that_is_listed_twice_counts_once():
    with pytest.raises(ValueError, match="has 2"):
        make_groups(pictures(2) * 2, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"num_secrets": 4},
            "a group needs 1 cover + 4 secrets = 5 pictures, but /data has 3",
        ),
        ({"num_secrets": 0}, "num_secrets 0: expected 1 or more"),
        ({"num_secrets": 1, "count": 0}, "count 0: expected 1 or more"),
        ({"num_secrets": 1, "grouping": "odd"}, "grouping 'odd': expected random or sorted"),
        ({"num_secrets": 1, "stride": 1}, "stride 1: belongs to grouping sorted, not random"),
        (
            {"num_secrets": 1, "count": 2, "grouping": "sorted"},
            "2 groups asked for, but with grouping sorted and stride 2 the 3 pictures of /data give only 1, "
            "of 2 pictures each",
        ),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError) as caught:
        make_groups(pictures(3), **arguments)
    assert str(caught.value) == message
    with pytest.raises(ValueError, match="the list has 0"):
        make_groups([], 4)


# --- the file


@pytest.fixture
def folder(tmp_path) -> Path:
    for path in pictures(6, str(tmp_path / "a, b")):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    return tmp_path / "a, b"


def test_file_round_trip(tmp_path, folder):
    groups = make_groups(pictures(6, str(folder)), 2)
    write_groups(tmp_path / "groups.csv", groups)
    assert read_groups(tmp_path / "groups.csv") == groups
    assert read_groups(tmp_path / "groups.csv", 2) == groups
    lines = (tmp_path / "groups.csv").read_text().splitlines()
    assert lines[0] == "cover,secret_1,secret_2" and len(lines) == 3
    assert lines[1].startswith('"a, b/')


def test_file_moves_with_its_pictures(tmp_path, folder):
    (tmp_path / "results").mkdir()
    groups = make_groups(pictures(6, str(folder)), 2)
    write_groups(tmp_path / "results" / "groups.csv", groups)
    moved = tmp_path / "moved"
    moved.mkdir()
    folder.rename(moved / folder.name)
    (tmp_path / "results").rename(moved / "results")
    assert stems(read_groups(moved / "results" / "groups.csv")) == stems(groups)


def test_file_from_a_relative_path(tmp_path, folder, monkeypatch):
    monkeypatch.chdir(tmp_path)
    groups = make_groups(pictures(6, "a, b"), 2)
    write_groups("groups.csv", groups)
    assert read_groups("groups.csv") == groups


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: expected the header"),
        ("cover\n", "line 1: expected the header"),
        ("cover,secret_2\n", "line 1: expected the header"),
        ("cover,secret_1\n", "groups.csv: no groups in it"),
        ("cover,secret_1,secret_2\n", "line 1: groups of 2 secrets; expected 1"),
        ("cover,secret_1\n00.png\n", "line 2: 1 pictures, but the header names 2"),
        ("cover,secret_1\n00.png,01.png\n\n00.png,no.png\n", "line 4: no such picture: "),
        ("cover,secret_1\n00.png,./00.png\n", "line 2: this picture is twice in the group: "),
        (b"\xff\xfe", "groups.csv: not a CSV file in UTF-8"),
    ],
)
def test_wrong_file(folder, text, message):
    path = folder / "groups.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError) as caught:
        read_groups(path, num_secrets=1)
    assert str(caught.value).startswith(str(path)) and message in str(caught.value)


def test_no_file(tmp_path):
    with pytest.raises(ValueError, match=r"none\.csv: no such groups file"):
        read_groups(tmp_path / "none.csv")
