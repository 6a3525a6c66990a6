"""The protocol: through a PNG on disk, every pair scored, nothing averaged that is infinite."""

import csv
import json
import math

import numpy as np
import pytest
import torch
from skimage.data import astronaut, chelsea, coffee, rocket

from channel.attacks import Chain, Flip, Noise, label
from container.codecs import PayloadCodec
from data.groups import make_groups, read_groups
from data.images import list_pictures, read_picture, write_picture
from data.loader import EvaluationGroups
from engine.testing.evaluate import evaluate, validate
from engine.testing.figures import group_figure
from engine.testing.results import mean_finite, summarise, table, write_results
from engine.testing.results_folder import WRITTEN
from engine.testing.scoring import HiddenGroup
from errors import UserError
from metrics.capacity import capacity_bound, payload
from metrics.image import FIELDS, psnr, residual
from metrics.intervals import mean_interval
from models import HidingModel, build_model

SUMMARY = {"method": "parity", "dataset": "crops", "through": "PNG"}


class Parity(HidingModel):
    """A stand-in method with known errors: the low 4 bits of the cover are the secret's high 4 bits."""

    num_secrets = 1
    smallest = (4, 4)

    def __init__(self):
        super().__init__()
        self.unused = torch.nn.Parameter(torch.zeros(1))
        self.seen = []

    def encode(self, cover, secrets):
        c, s = (cover * 255).round(), (secrets[:, 0] * 255).round()
        return (c // 16 * 16 + s // 16) / 255

    def decode(self, stego):
        self.seen.append(stego.clone())
        return ((stego * 255).round() % 16 * 16 / 255)[:, None]


@pytest.fixture
def groups(pictures):
    return EvaluationGroups(make_groups(list_pictures(pictures), 1, count=3), crop=32)


def test_evaluate_writes_what_was_measured(groups, tmp_path):
    model = Parity()
    metrics = evaluate(model, groups, tmp_path, SUMMARY, save_images=2)
    assert json.loads((tmp_path / "metrics.json").read_text()) == metrics
    rows = list(csv.DictReader((tmp_path / "per_image.csv").open()))
    assert len(rows) == 6 and set(FIELDS) < set(rows[0])
    assert metrics["cover_stego"]["ms_ssim"] is None and rows[0]["ms_ssim"] == ""  # 32 pixels

    # Every figure, once more and by hand, from the pictures that were kept.
    for k in range(2):
        cover = read_picture(tmp_path / f"pictures/cover/{k:04d}.png")
        stego = read_picture(tmp_path / f"pictures/stego/{k:04d}.png")
        secret = read_picture(tmp_path / f"pictures/secret/{k:04d}_01.png")
        revealed = read_picture(tmp_path / f"pictures/revealed/{k:04d}_01.png")
        assert np.array_equal(stego, cover // 16 * 16 + secret // 16)
        assert np.array_equal(revealed, secret // 16 * 16)
        assert float(rows[2 * k]["psnr_rgb"]) == pytest.approx(psnr(cover, stego))
        assert float(rows[2 * k + 1]["psnr_rgb"]) == pytest.approx(psnr(secret, revealed))
    by_hand = np.mean([float(row["psnr_rgb"]) for row in rows if row["kind"] == "secret_revealed"])
    assert metrics["secret_revealed"]["psnr_rgb"] == pytest.approx(by_hand)
    assert metrics["groups"] == 3 and metrics["num_secrets"] == 1 and metrics["params"] == 1
    assert len(list((tmp_path / "figures").glob("group_*.png"))) == 2
    assert (tmp_path / "figures/psnr.png").exists() and (tmp_path / "groups.csv").exists()
    assert "secret/revealed" in table(metrics)


def test_capacity_figures_by_hand(groups, tmp_path):
    metrics = evaluate(Parity(), groups, tmp_path, SUMMARY)
    rows = list(csv.DictReader((tmp_path / "per_image.csv").open()))
    squares = {
        kind: np.mean([float(row["rmse"]) ** 2 for row in rows if row["kind"] == kind])
        for kind in ("cover_stego", "secret_revealed")
    }
    bits = [float(row["payload_bpp"]) for row in rows if row["kind"] == "secret_revealed"]
    secret = read_picture(tmp_path / "pictures/secret/0000_01.png")
    expected = payload(secret, float(rows[1]["psnr_rgb"]), PayloadCodec())
    assert bits[0] == expected.bits / secret[..., 0].size > 0 and rows[1]["payload_from"] == expected.how
    bound = capacity_bound(squares["cover_stego"])
    assert metrics["payload_bpp"] == pytest.approx(np.mean(bits))
    assert metrics["cdt_efficiency"] == pytest.approx(np.mean(bits) / bound)
    assert metrics["capacity"]["bound_bpp"] == pytest.approx(bound)
    assert metrics["cdt_db"] == pytest.approx(
        10 * math.log10(255**2 / ((squares["cover_stego"] + squares["secret_revealed"]) / 2))
    )
    assert "libavif" in metrics["capacity"]["codec"] and metrics["capacity"]["avif_secrets"] == 3
    assert f"efficiency {metrics['cdt_efficiency']:.3f}" in table(metrics)

    without = evaluate(Parity(), groups, tmp_path, SUMMARY, capacity=False)
    assert without["payload_bpp"] is without["cdt_efficiency"] is None
    assert without["cdt_db"] == metrics["cdt_db"] and "payload" not in table(without)


@pytest.mark.parametrize("count", [1, 25])
def test_capacity_adds_up_over_the_secrets(count, tmp_path):
    cover, secret = astronaut()[:48, 100:164], coffee()[100:148, 200:264]
    worse = (secret // 8 * 8 + 4).astype(np.uint8)
    group = HiddenGroup(0, cover, cover ^ 1, [secret] * count, [worse] * count)
    metrics = write_results(tmp_path, [group], SUMMARY)
    once = payload(secret, psnr(secret, worse), PayloadCodec()).bits / (48 * 64)
    assert metrics["num_secrets"] == count and metrics["payload_bpp"] == pytest.approx(count * once)
    assert metrics["cdt_efficiency"] == pytest.approx(count * once / capacity_bound(1.0))
    error = metrics["secret_revealed"]["mse"]
    assert metrics["cdt_db"] == pytest.approx(10 * math.log10(count * 255**2 / ((1 + error) / 2)))


def test_codec_lsb_is_near_the_bound(tmp_path):
    """9 bits a pixel at M = 8, of the 9.8 that its distortion allows; the payload finds them again.

    The cover has no saturated areas, in which the distortion would be higher.
    """
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for k, photo in enumerate((chelsea(), astronaut(), coffee(), rocket(), astronaut()[::-1])):
        write_picture(pictures / f"{k}.png", photo[100:292, 100:292].copy())
    groups = EvaluationGroups(make_groups(list_pictures(pictures), 4, grouping="sorted"))
    model = build_model("codec_lsb", num_secrets=4, modulus=8, shaping=0)
    metrics = evaluate(model, groups, tmp_path / "out", SUMMARY)
    assert 0.8 < metrics["cdt_efficiency"] < 0.97
    assert metrics["capacity"]["bound_bpp"] == pytest.approx(9.8, abs=0.15)


class Suspicious(Parity):
    """Reveals nothing from a stego whose first pixel is not even, as a method with a checksum would not."""

    def encode(self, cover, secrets):
        stego = (super().encode(cover, secrets) * 255).round()
        stego[..., 0, 0] = stego[..., 0, 0] // 2 * 2
        return stego / 255

    def decode(self, stego):
        if ((stego[..., 0, 0] * 255).round() % 2).any():
            raise UserError("not a stego of mine")
        return super().decode(stego)


def test_attacks_one_row_each(groups, tmp_path):
    attacks = [Flip(), Noise(0.01), Noise(40.0)]
    metrics = evaluate(
        Suspicious(), groups, tmp_path, SUMMARY, save_images=3, capacity=False, attacks=attacks, seed=5
    )
    flip, none, heavy = metrics["attacks"]
    assert [a["attack"] for a in metrics["attacks"]] == [label(a) for a in attacks]
    # Noise that rounds away changes nothing: the scores are those without an attack.
    assert none["stego_psnr_rgb"] == "inf" and none["revealed_share"] == 1
    assert none["secret_revealed"] == metrics["secret_revealed"]

    # By hand, from the pictures that were kept.
    scores, flipped = [], []
    for k in range(3):
        stego = read_picture(tmp_path / f"pictures/stego/{k:04d}.png")
        secret = read_picture(tmp_path / f"pictures/secret/{k:04d}_01.png")
        attacked = Noise(40.0)(stego, 5 + k)
        if not (attacked[0, 0] % 2).any():
            scores.append(psnr(secret, attacked % 16 * 16))
        mirrored = stego[:, ::-1]
        if not (mirrored[0, 0] % 2).any():
            flipped.append(psnr(secret, mirrored % 16 * 16))
    for attack, found in ((heavy, scores), (flip, flipped)):
        assert attack["revealed_share"] == pytest.approx(len(found) / 3) and len(found) < 3
        if found:
            assert attack["secret_revealed"]["psnr_rgb"] == pytest.approx(np.mean(found))
            assert attack["secret_revealed"]["pairs"] == len(found)
        else:
            assert attack["secret_revealed"] is None

    rows = list(csv.DictReader((tmp_path / "attacks.csv").open()))
    assert [row["attack"] for row in rows] == [label(a) for a in attacks]
    files = [p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()]
    assert len(files) > 20 and all(map(WRITTEN.fullmatch, files)), "a rerun would keep them as foreign"
    assert rows[2]["psnr_rgb"] == (str(heavy["secret_revealed"]["psnr_rgb"]) if scores else "")
    text = table(metrics)
    share = f"{100 * len(scores) / 3:.0f} % of the stegos revealed"
    assert f"noise sigma=40.0: {share}" in text and "noise sigma=0.01:" not in text
    page = (tmp_path / "report.html").read_text()
    assert f"<td>{100 * len(scores) / 3:.0f} %</td>" in page


def test_every_mean_has_its_interval(pictures, tmp_path):
    """Recomputed from per_image.csv by the law of metrics/intervals.py, and shown wherever the mean is."""
    groups = EvaluationGroups(make_groups(list_pictures(pictures), 1, count=6), crop=32)
    metrics = evaluate(Suspicious(), groups, tmp_path, SUMMARY, save_images=0, attacks=[Noise(1.0)])
    rows = list(csv.DictReader((tmp_path / "per_image.csv").open()))
    for kind in ("cover_stego", "secret_revealed"):
        chosen = [row for row in rows if row["kind"] == kind]
        for name in FIELDS:
            values = [float(row[name]) for row in chosen if row[name]]
            expected = mean_interval(values, [int(row["group"]) for row in chosen if row[name]])
            assert metrics[kind][f"{name}_interval"] == expected and bool(expected) == (name != "ms_ssim")
        squares = [float(row["rmse"]) ** 2 for row in chosen]
        assert metrics[kind]["mse_interval"] == pytest.approx(mean_interval(squares, range(6)))
    bits = [float(row["payload_bpp"]) for row in rows if row["payload_bpp"]]
    assert metrics["payload_bpp_interval"] == mean_interval(bits, range(6))
    for name in ("seconds_hide", "seconds_reveal"):
        low, high = metrics[f"{name}_interval"]
        assert low <= metrics[name] <= high
    (attack,) = metrics["attacks"]
    low, high = attack["revealed_share_interval"]
    assert 0 <= low <= attack["revealed_share"] <= high <= 1 and attack["stego_psnr_rgb_interval"]

    low, high = (f"{x:.2f}" for x in metrics["secret_revealed"]["psnr_rgb_interval"])
    lines = table(metrics).splitlines()
    at = next(k for k, line in enumerate(lines) if line.startswith("secret/revealed"))
    assert lines[at + 1].split()[:4] == ["95", "%", "from", low]
    assert lines[at + 2].split()[:4] == ["95", "%", "to", high]
    assert f"<small>{low} to {high}</small>" in (tmp_path / "report.html").read_text()


def test_too_few_groups_for_an_interval_are_told(groups, tmp_path):
    metrics = evaluate(Parity(), groups, tmp_path, SUMMARY, save_images=0, capacity=False)
    assert metrics["cover_stego"]["psnr_rgb_interval"] is metrics["seconds_hide_interval"] is None
    assert "no 95 % intervals: 3 groups, but at least 5 are needed" in table(metrics).splitlines()
    assert "No 95 % intervals: 3 groups, but at least 5 are needed" in (tmp_path / "report.html").read_text()


def test_the_checksum_of_the_pictures(pictures, groups, tmp_path):
    """The same for every method on the same covers and secrets, another for any others."""

    def checksum(model, groups):
        return evaluate(model, groups, tmp_path, SUMMARY, save_images=0, capacity=False)["pictures_sha256"]

    first = checksum(Parity(), groups)
    assert checksum(build_model("lsb"), groups) == first
    files = list_pictures(pictures)
    assert checksum(Parity(), EvaluationGroups(make_groups(files, 1, count=3), crop=48)) != first
    assert checksum(Parity(), EvaluationGroups(make_groups(files, 1, count=3, seed=1), crop=32)) != first


class Halved(Flip):
    def __call__(self, picture, seed=0):
        return picture[: len(picture) // 2]


def test_chains_and_attacks_of_another_size(groups, tmp_path):
    attacks = [Chain((Flip(), Flip())), Chain((Noise(40.0), Flip()))]
    metrics = evaluate(Parity(), groups, tmp_path / "out", SUMMARY, 1, False, attacks, seed=5)
    there_and_back, other = metrics["attacks"]
    assert there_and_back["secret_revealed"] == metrics["secret_revealed"]
    assert other["attack"] == "noise sigma=40.0 + flip axis=horizontal"
    with pytest.raises(UserError, match="'flip axis=horizontal' changes the picture's size"):
        evaluate(Parity(), groups, tmp_path / "new", SUMMARY, 1, False, [Halved()])


def test_a_test_that_fails_leaves_the_earlier_results(groups, tmp_path):
    out = tmp_path / "results" / "small"
    evaluate(Parity(), groups, out, SUMMARY, save_images=2)
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}

    class Broken(Parity):
        def decode(self, stego):
            if self.seen:
                raise ValueError("broken")
            return super().decode(stego)

    with pytest.raises(ValueError, match="broken"):
        evaluate(Broken(), groups, out, SUMMARY)
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before
    evaluate(Parity(), groups, out, SUMMARY, save_images=1)
    assert len(list((out / "figures").glob("group_*"))) == 1 and list(out.parent.iterdir()) == [out]
    assert read_groups(out / "groups.csv") == groups.groups


def test_the_receiver_sees_eight_bits(groups, tmp_path):
    model = Parity()
    evaluate(model, groups, tmp_path, SUMMARY)
    for stego in model.seen:
        assert torch.equal((stego * 255).round() / 255, stego)


def test_validate_agrees_with_evaluate(groups, tmp_path):
    model = Parity().train()
    scores, figure = validate(model, groups)
    assert model.training and figure.dtype == np.uint8
    metrics = evaluate(model, groups, tmp_path, SUMMARY)
    for kind in ("cover_stego", "secret_revealed"):
        assert scores[kind] == pytest.approx(metrics[kind]["psnr_rgb"])


def test_infinite_values_are_counted():
    rows = [
        {"kind": "a", "group": k, **dict.fromkeys(FIELDS, value)}
        for k, value in enumerate([math.inf, 30.0, 40.0])
    ]
    summary = summarise(rows, "a")
    assert summary["psnr_rgb"] == 35 and summary["psnr_rgb_infinite"] == 1
    assert summary["worst_psnr_rgb"] == 30 and summary["pairs"] == 3
    assert summarise(rows[:1], "a")["psnr_rgb"] == "inf"
    assert mean_finite([1.0, 3.0]) == (2.0, 0)


def test_what_could_not_be_scored_is_counted():
    row = {"kind": "a", "group": 0, **dict.fromkeys(FIELDS, 30.0)}
    rows = [row | {"ms_ssim": value} for value in (None, 0.5, 0.7)]
    summary = summarise(rows, "a")
    assert summary["ms_ssim"] == pytest.approx(0.6) and summary["ms_ssim_too_small"] == 1
    assert summarise(rows[:1], "a")["ms_ssim"] is None and summarise(rows, "b") is None


def test_residual_is_amplified_and_clipped():
    a = np.array([[[100, 100, 100]]], np.uint8)
    b = np.array([[[103, 97, 200]]], np.uint8)
    assert residual(a, b).tolist() == [[[30, 30, 255]]]


@pytest.mark.parametrize("count, size", [(1, (20, 30)), (4, (64, 64)), (25, (40, 20))])
def test_group_figure_of_any_shape(count, size):
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (count + 1, *size, 3)).astype(np.uint8)
    figure = group_figure(pictures[0], pictures[0], pictures[1:], pictures[1:])
    assert len(group_figure(pictures[0], pictures[0], [], [])) < len(figure)
    assert figure.ndim == 3 and figure.shape[2] == 3 and (figure < 255).mean() > 0.1


def test_the_same_weights_have_the_same_validation(pictures):
    """Keyed methods draw a nonce for each stego: in validation from a seed, so that best is the best."""
    net = build_model("smilenet_l", rows=1, cols=2, icdm_blocks=1, growth=4, sis_blocks=0, sde_blocks=0)
    groups = EvaluationGroups(make_groups(list_pictures(pictures), 2, count=2), crop=48)
    first, second = validate(net, groups)[0], validate(net, groups)[0]
    assert first == second
    cover, secrets = groups[0]["cover"][None], groups[0]["secrets"][None]
    assert not torch.equal(net.hide(cover, secrets), net.hide(cover, secrets))
