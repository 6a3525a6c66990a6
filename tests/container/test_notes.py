"""The note beside the secrets: sizes and names, and what is made of names that mean harm."""

import numpy as np
import pytest

from container.notes import Note, file_names, pack_note, unpack_note

NOTES = [
    Note("own", [], ["a.png", "Über mich.jpg", ""]),
    Note("stretch", [(1, 65535), (480, 640), (7, 9)], []),
    Note("pad", [(3, 4), (5, 6), (7, 8)], ["x", "y", "z"]),
]


@pytest.mark.parametrize("note", NOTES, ids=lambda note: note.fit)
def test_round_trip(note):
    assert unpack_note(pack_note(note), 3) == note


def test_a_fitted_secret_takes_four_bytes():
    assert len(pack_note(Note("stretch", [(480, 640)] * 25, []))) == 3 + 25 * 4
    with pytest.raises(ValueError, match="65536x2 pixels; a side may have at most 65535"):
        pack_note(Note("stretch", [(2, 65536)], []))


def test_foreign_notes_say_nothing():
    foreign = Note("own", [], [])
    generator = np.random.default_rng(0)
    whole = pack_note(NOTES[2])
    cases = [
        b"",
        b"\1",
        whole[:-1],
        whole + b"x",
        b"\1\3\0" + bytes(12),
        b"\1\0\0",
        b"my own note",
        b"\0\0\3\1",
    ]
    cases += [generator.bytes(k) for k in range(200)]
    for case in cases:
        assert unpack_note(case, 3) == foreign
    assert unpack_note(whole, 2) == foreign


def test_long_names():
    """Whole letters, at most 200 bytes with the suffix: file systems take 255."""
    note = unpack_note(pack_note(Note("own", [], ["é" * 300 + ".png"])), 1)
    assert note.names == ["é" * 98 + ".png"]
    assert file_names(note.names, 1) == ["é" * 98 + ".png"]
    assert file_names(["世" * 300], 1) == ["世" * 66 + ".png"]
    assert len(file_names(["x" * 300] * 2, 2)[1].encode()) < 210


@pytest.mark.parametrize(
    "name, expected",
    [
        ("holiday.jpg", "holiday.png"),
        ("Über mich.webp", "Über mich.png"),
        ("archive.tar.gz", "archive.tar.png"),
        ("no suffix", "no suffix.png"),
        ("../../etc/passwd.png", "passwd.png"),
        ("/etc/cron.d/x.png", "x.png"),
        ("C:\\Windows\\a.png", "a.png"),
        ("..", "secret_01.png"),
        (".bashrc", "bashrc.png"),
        (".png", "png.png"),
        ("", "secret_01.png"),
        ("a/", "secret_01.png"),
        ("CON.png", "secret_01.png"),
        ("lpt1.jpg", "secret_01.png"),
        ("a\nb\x00\x1b[31m.png", "ab[31m.png"),
        ("evil\u202egpj.png", "evilgpj.png"),
        ("-rf .png", "rf.png"),
        ("$(reboot)`x`.png", "_(reboot)_x_.png"),
        ('a<b>:"|?*.png', "a_b______.png"),
    ],
)
def test_names_are_made_harmless(name, expected):
    assert file_names([name], 1) == [expected]


def test_no_two_names_are_the_same():
    names = file_names(["a.png", "A.jpg", "a_2.png", "e\u0301.png", "\u00e9.png", "secret_06.png"], 7)
    assert names[:3] == ["a.png", "A_2.png", "a_2_2.png"] and names[5:] == ["secret_06.png", "secret_07.png"]
    assert len({name.casefold() for name in names}) == 7
    assert file_names([], 2) == ["secret_01.png", "secret_02.png"]
