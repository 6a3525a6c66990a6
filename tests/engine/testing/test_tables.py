"""Tables of runs: what stands in a row, what a difference is, and when a target was reached."""

import re

import pytest

from engine.testing.collected import Run, difference
from engine.testing.tables import (
    brief,
    comparison,
    differences,
    plot,
    reached,
    rows_of,
    survival,
    target,
    usual_pairs,
)


@pytest.fixture
def runs(make_run):
    return [
        make_run("isn_4_nano", 30.0, 25.0),
        make_run("hinet_1_nano", 40.0, 38.0, secrets=1),
        *(make_run(f"deepmih_4_nano{s}", 31.0 + k, 26.0 + 2 * k) for k, s in enumerate(("", "_seed_1"))),
        make_run("thumbnails_4_12", 37.0, 26.4, modulus=12),
        make_run("codec_lsb_4_16", 34.5, 41.0, modulus=16),
        make_run("codec_lsb_4_12", 37.1, 40.0, modulus=12),
    ]


def cells(line):
    return line[2:-2].split(" | ")


def test_rows_in_order(runs):
    lines = comparison(rows_of(runs))
    names = [
        "hinet_1_nano",
        "deepmih_4_nano",
        "isn_4_nano",
        "codec_lsb M = 12",
        "codec_lsb M = 16",
        "thumbnails M = 12",
    ]
    assert [cells(line)[0] for line in lines[2:]] == names
    assert len({line.count("|") for line in lines}) == 1
    row = dict(zip(cells(lines[0]), cells(lines[4]), strict=True))
    assert (
        row["parameters"] == "1.23 M"
        and row["minutes"] == "5"
        and row["steps"] == "50"
        and row["stego dB"] == "30.00"
    )
    assert row["seeds"] == "1" and row["spread dB"] == "one seed"
    assert cells(lines[5])[2:4] == ["-", "-"] == cells(lines[5])[-2:]


def test_seeds_are_one_row_with_their_spread(runs):
    lines = comparison(rows_of(runs))
    row = dict(zip(cells(lines[0]), cells(lines[3]), strict=True))
    assert row["stego dB"] == "31.50" and row["revealed dB"] == "27.05"
    assert row["seeds"] == "2" and row["spread dB"] == "1.00 / 2.00"


def test_a_brief_table_has_psnr_alone(runs, make_run):
    robust = make_run("dct", 36.8, 29.4, secrets=1, training=None, arguments={"survive": ["jpeg:75"]})
    lines = brief(rows_of([*runs, robust]))
    assert cells(lines[0]) == ["method", "secrets", "stego dB (95 %)", "revealed dB (95 %)"]
    ends = [runs[0][kind]["psnr_rgb_interval"] for kind in ("cover_stego", "secret_revealed")]
    told = [f"{low:.2f} to {high:.2f}" for low, high in ends]
    assert f"| isn_4_nano | 4 | 30.00 ({told[0]}) | 25.05 ({told[1]}) |" in lines
    names = [cells(line)[0] for line in lines[2:]]
    assert names[0] == "hinet_1_nano" and f"{robust['method']} jpeg:75" in names


def test_intervals_stand_beside_their_means(runs):
    isn = runs[0]
    low, high = isn["cover_stego"]["psnr_rgb_interval"]
    assert f"| 30.00 | {low:.2f} to {high:.2f} |" in "\n".join(comparison(rows_of([isn])))
    summary = isn["cover_stego"] | {"psnr_rgb_interval": None}
    alone = type(isn)("crops", "isn_4_nano", isn.content | {"cover_stego": summary})
    assert "| 30.00 | too few groups |" in "\n".join(comparison([[alone]]))


def test_differences_are_paired(runs):
    """Pictures differ by 5 dB, and the two methods by exactly 0.55 dB on each: an interval of no width."""
    rows = {row[0].base: row for row in rows_of(runs)}
    mean, (low, high) = difference(rows["deepmih_4_nano"], rows["isn_4_nano"], "secret_revealed")
    assert mean == pytest.approx(2.0) and low == pytest.approx(2.0) and high == pytest.approx(2.0)
    lines = differences([(rows["isn_4_nano"], rows["thumbnails_4_12"])])
    assert cells(lines[2]) == ["isn_4_nano", "thumbnails M = 12", "4", "-7.00", "-7.00 to -7.00"] + [
        "-1.40",
        "-1.40 to -1.40",
    ]
    other = type(runs[0])("crops", "other", runs[0].content | {"pictures_sha256": "of others"})
    with pytest.raises(ValueError, match="other and isn_4_nano: tested on different pictures"):
        difference([other], rows["isn_4_nano"], "cover_stego")


def test_each_trained_method_is_held_against_the_best_and_against_those_without_training(runs):
    names = [(a[0].base, b[0].base) for a, b in usual_pairs(rows_of(runs))]
    plain = ["codec_lsb_4_12", "thumbnails_4_12"]
    isn = [("isn_4_nano", name) for name in ["deepmih_4_nano", *plain]]
    assert names == [("deepmih_4_nano", name) for name in plain] + isn


HISTORY = [
    {"step": 50, "seconds": 60.0, "cover_stego": 35.0, "secret_revealed": 29.0},
    {"step": 100, "seconds": 120.0, "cover_stego": 36.0, "secret_revealed": 28.0},
    {"step": 150, "seconds": 180.0, "cover_stego": 37.0, "secret_revealed": 27.0},
]


def test_minutes_to_the_target(make_run):
    run = make_run("isn_4_nano", 37.0, 27.0, history=HISTORY)
    assert reached(run) == 2.0
    two = make_run("a_4_nano", 37.0, 27.0, history=HISTORY, training={"seed": 0, "threads": 2})
    assert reached(two) == 4.0  # of one core
    never = make_run("a_4_nano_seed_1", 37.0, 27.0, history=HISTORY[:1])
    assert reached(never) is None
    lines = target(rows_of([run, two, never, make_run("b_4_nano", 1.0, 1.0)]))
    table = {cells(line)[0]: cells(line)[1:] for line in lines[2:]}
    assert table == {
        "isn_4_nano": ["2.0", "-", "1", "3", "37.00 / 27.00"],
        "a_4_nano": ["1 of 2 seeds", "-", "2", "4", "36.00 / 28.00"],
    }
    assert "| not reached | - | 1 | 1 |" in target(rows_of([never]))[2]


def test_survival_has_a_column_for_each_promise(make_run):
    def attacked(name, *shares):
        runs = make_run(name, 37.0, 27.0, secrets=1, modulus=None)
        attacks = [{"attack": attack, "revealed_share": share} for attack, share in shares]
        worst = runs.content["cover_stego"] | {"worst_psnr_rgb": 35.123}
        arguments = {"survive": [name.replace("75", ":75").replace("80", ":80")]}
        return Run(
            "robust", name, runs.content | {"attacks": attacks, "arguments": arguments, "cover_stego": worst}
        )

    jpeg = attacked("jpeg75", ("jpeg quality=75", 1.0), ("webp quality=80", 0.996))
    webp = attacked("webp80", ("webp quality=80", 1.0))
    heads, _, *lines = ([*map(str.strip, cells(line))] for line in survival(rows_of([jpeg, webp])))
    assert heads == ["", "`jpeg:75`", "`webp:80`"]
    table = {line[0]: line[1:] for line in lines}
    assert table["stegos"] == ["6", "6"] and table["worst stego, dB"] == ["35.12", "35.12"]
    assert table["stego, dB"] == ["37.00", "37.00"] and table["revealed, dB"] == ["27.00", "27.00"]
    assert table["come back after jpeg quality=75"] == ["100 %", "-"]
    assert table["come back after webp quality=80"] == ["99 %", "100 %"]


def test_the_plot_shows_each_row(runs):
    picture = plot(rows_of(runs))
    assert picture.ndim == 3 and picture.dtype == "uint8"
    assert (picture != plot(rows_of(runs[:2]))).any()


def test_no_cell_breaks_a_table(make_run):
    (line,) = comparison(rows_of([make_run("a|b_4", 1.0, 1.0)]))[2:]
    assert line.startswith("| a\\|b_4 |") and not re.search(r"[^\\]\|b", line)
