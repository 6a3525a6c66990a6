"""The plan against what then happens, within 1 dB; and what it says of covers."""

import os

import numpy as np
import pytest
from PIL import Image
from skimage.data import astronaut, chelsea, coffee

import hide as hide_py
from engine.log import EXPERIMENTS
from engine.own.covers import cover_warnings
from engine.own.hiding import hide_files
from engine.own.plan import Plan, plan
from engine.own.revealing import revealed
from engine.own.secrets import chosen
from engine.own.trials import Row
from engine.own.wish import Wish
from errors import UserError
from metrics.image import psnr
from models import build_model


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(coffee()[60:252, 150:342]).save("cover.png")
    Image.fromarray(chelsea()[50:210, 100:260]).save("cat.png")
    Image.fromarray(astronaut()[:150, 100:260]).save("astronaut.png")
    (tmp_path / "text.txt").write_bytes(os.urandom(300))
    return tmp_path


def done(name, files, **arguments):
    """(stego's PSNR, the mean of the secrets') of really hiding."""
    model = build_model(name, **arguments)
    hidden = hide_files(model, "cover.png", files, "s.png", force=True)
    found = [one for one in revealed(model, "s.png").secrets.values() if isinstance(one, np.ndarray)]
    scores = [psnr(one, np.asarray(Image.open(file))) for one, file in zip(found, files, strict=False)]
    return hidden.psnr, np.mean(scores)


CASES = [("codec_lsb", {"modulus": 4}), ("codec_lsb", {"modulus": 12}), ("codec_lsb", {"modulus": 32})]
CASES += [("codec_dct", {"survive": ("jpeg:90",)})]


def test_the_plan_is_within_1_db_of_what_happens(here):
    files = ["cat.png", "astronaut.png", "text.txt"]
    found = plan("cover.png", chosen(files), EXPERIMENTS)
    rows = {row.options: row for row in found.rows}
    assert len(rows) + len(found.refused) == 7
    assert 0.99 < 8 * rows["--modulus 12"].room / (192 * 192 * 3 * np.log2(12)) < 1
    for name, arguments in CASES:
        stego, secrets = done(name, files, **arguments)
        (value,) = arguments.values()
        row = rows[f"--modulus {value}" if name == "codec_lsb" else "--survive jpeg:90"]
        assert row.stego == pytest.approx(stego, abs=1)
        assert row.secrets == pytest.approx(secrets, abs=1)
        assert 300 < row.used <= row.room


def test_large_secrets_are_sampled(here, monkeypatch):
    large = np.asarray(Image.fromarray(coffee()).resize((1200, 800)))
    Image.fromarray(large).save("large.png")
    _, secrets = done("codec_lsb", ["large.png"], modulus=8, speed=6)
    monkeypatch.setattr("engine.own.trials.SAMPLED", 250_000)
    found = plan("cover.png", chosen(["large.png"]), EXPERIMENTS, ["codec_lsb"])
    assert found.rows[1].secrets == pytest.approx(secrets, abs=1)


def test_a_network_is_tried(here):
    found = plan("cover.png", chosen(["cat.png", "astronaut.png"]), EXPERIMENTS, ["smilenet_l_4"])
    (row,) = found.rows
    assert 36 < row.stego < 40 and 28 < row.secrets < 45 and row.room is None


def test_what_does_not_fit_is_said(here):
    Image.fromarray(coffee()[60:140, 150:240]).save("small.png")
    (here / "large.bin").write_bytes(os.urandom(11_000))
    found = plan("small.png", chosen(["large.bin"]), EXPERIMENTS)
    assert [row.options for row in found.rows] == ["--modulus 32"]
    assert len(found.refused) == 6 and "--modulus 4: the cover is too small" in found.refused[0]
    assert found.best.secrets is None
    assert "recommended: hide.py with --modulus 32" in list(found.lines())[-1]


def test_the_recommendation():
    def row(options, stego, secrets):
        return Row(options, stego, secrets, 1, 2, 0.9, 1.0)

    rows = [row("a", 45, 30), row("b", 41, 35.2), row("c", 38, 39), row("d", 35, 44)]
    assert Plan(rows, [], []).best.options == "b"
    assert Plan([row("a", 45, 20), row("b", 37, 28), row("c", 33, 34)], [], []).best.options == "b"
    assert Plan([], ["nothing"], []).best is None


@pytest.mark.parametrize(
    "cover, message",
    [
        (np.full((200, 200, 3), 100, np.uint8), "100% of it is flat"),
        (np.clip(coffee().astype(int) * 3, 0, 255).astype(np.uint8), "are black or blown out"),
        (coffee()[:90, :300], "tiny, 300x90 pixels"),
        (np.repeat(coffee()[..., :1], 3, axis=2), "grey; its stego will be faintly coloured"),
    ],
)
def test_covers_that_hide_badly(here, cover, message):
    Image.fromarray(cover).save("bad.png")
    assert any(message in line for line in cover_warnings("bad.png", cover))


def test_a_plain_cover_was_no_jpeg(here):
    plain = np.full((200, 200, 3), 100, np.uint8)
    Image.fromarray(plain).save("plain.png")
    assert not any("was JPEG" in line for line in cover_warnings("plain.png", plain))


def test_a_cover_that_was_jpeg(here):
    photo = chelsea()
    Image.fromarray(photo).save("was.jpg", quality=70)
    Image.open("was.jpg").save("was.png")
    for name in ("was.jpg", "was.png"):
        warnings = list(cover_warnings(name, np.asarray(Image.open(name))))
        assert any("was JPEG" in line for line in warnings), name
    smaller = np.asarray(Image.fromarray(photo).resize((300, 200), Image.Resampling.LANCZOS))
    Image.fromarray(smaller).save("never.png")
    assert not list(cover_warnings("never.png", smaller))


def test_the_command_writes_nothing(here, capsys):
    before = sorted(os.listdir())
    words = ["--cover", "cover.png", "--secrets", "cat.png", "--plan", "--survive", "jpeg:90"]
    hide_py.main(hide_py.PARSER.parse_args(words))
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("--survive jpeg:90") for line in lines)
    assert lines[-1].startswith("recommended: hide.py with --survive jpeg:90")
    assert sorted(os.listdir()) == before


@pytest.mark.parametrize(
    "options", [{"modulus": 9}, {"modulus": 12, "shaping": 0}, {"payload": 3.0}, {"longest_side": 150}]
)
def test_the_plan_follows_the_options(here, options):
    wish = Wish(weights="codec_lsb", **options)
    rows = plan("cover.png", chosen(["cat.png"]), EXPERIMENTS, wish=wish).rows
    assert len(rows) == (1 if wish.modulus else 5)
    row = next(row for row in rows if row.options == f"--modulus {wish.modulus or 12}")
    model = build_model("codec_lsb")
    wish.set_on(model)
    longest = wish.longest_side
    hidden = hide_files(model, "cover.png", ["cat.png"], "s.png", force=True, longest_side=longest)
    (back,) = revealed(model, "s.png").secrets.values()
    assert row.stego == pytest.approx(hidden.psnr, abs=0.5)
    exact, score = float("inf"), psnr(back, np.asarray(Image.open("cat.png")))
    assert row.secrets == (exact if score == exact else pytest.approx(score, abs=1))


def test_a_decoy_halves_the_room(here):
    wanted, decoy = chosen(["cat.png"]), chosen(["text.txt"])
    whole, half = (
        plan("cover.png", wanted, EXPERIMENTS, wish=Wish(weights="codec_lsb", modulus=12, decoy=one)).rows[0]
        for one in (None, decoy)
    )
    assert 0.48 < half.room / whole.room < 0.5 and half.secrets < whole.secrets


@pytest.mark.parametrize(
    "wish, message",
    [
        (Wish(modulus=99), "modulus: must be"),
        (Wish(least_psnr=40.0), "--least-psnr: only codec_dct"),
        (Wish(survive=("jpeg:75",), modulus=8), "modulus: 'codec_dct' has no such setting"),
        (Wish(weights="lsb", passphrase=True), "has no key"),
        (Wish(survive=("jpeg:75",), least_psnr=float("nan")), "from 33 to 60 dB"),
    ],
)
def test_what_hiding_refuses_the_plan_refuses(here, wish, message):
    with pytest.raises(UserError, match=message):
        plan("cover.png", chosen(["cat.png"]), EXPERIMENTS, wish=wish)


def test_the_cover_is_no_secret_of_a_plan(here):
    with pytest.raises(UserError, match="is the cover itself"):
        plan("cover.png", chosen(["cover.png"]), EXPERIMENTS)


def _picture(picture, size, name):
    Image.fromarray(picture).resize(size, Image.Resampling.BICUBIC).save(name)
    return name


@pytest.mark.slow
@pytest.mark.parametrize(
    "cover, sizes, modulus",
    [
        ((256, 256), [(256, 256)] * 9, 12),
        ((256, 256), [(200, 200)] * 25, 12),
        ((256, 256), [(1024, 768), (256, 256), (256, 256)], 12),
        ((4000, 3000), [(4000, 3000), (300, 200)], 4),
    ],
)
def test_many_and_large_secrets_are_planned_within_1_db(here, cover, sizes, modulus):
    photos = [chelsea(), astronaut(), coffee()]
    Image.fromarray(coffee()).resize(cover, Image.Resampling.BICUBIC).save("cover.png")
    files = [_picture(np.roll(photos[k % 3], 40 * k, 1), size, f"{k}.png") for k, size in enumerate(sizes)]
    wish = Wish(weights="codec_lsb", modulus=modulus)
    (row,) = plan("cover.png", chosen(files), EXPERIMENTS, wish=wish).rows
    stego, secrets = done("codec_lsb", files, modulus=modulus)
    assert row.stego == pytest.approx(stego, abs=1)
    assert row.secrets == pytest.approx(secrets, abs=1)
