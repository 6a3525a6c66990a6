"""The command on folders: controls (bits that must be found, covers that must not), files, and mistakes."""

import csv
import json
import signal
import sys

import numpy as np
import pytest
from PIL import Image
from scipy.integrate import trapezoid

from data.images import read_picture
from data.pairs import paired_pictures
from data.samples import sample_pictures
from engine.testing.steganalysis import cnn
from engine.testing.steganalysis.analysis import Settings, analyse
from engine.testing.steganalysis.pairs import split
from engine.testing.steganalysis.training import Training
from metrics.steganalysis import rich
from scripts.steganalysis import PARSER, main

sealwatch = pytest.importorskip("sealwatch", reason="pip install -e '.[steganalysis]'")

SIDE = 96


def crops(offset: int, side: int = SIDE) -> dict[str, np.ndarray]:
    """Four crops of each of the sample pictures with colour or texture."""
    found = {}
    for path in sample_pictures("train") + sample_pictures("test"):
        picture = read_picture(path)
        for k, (y, x) in enumerate(((40, 40), (40, 150), (150, 40), (150, 150))):
            found[f"{path.stem}_{k}"] = picture[y + offset : y + offset + side, x : x + side]
    return found


def save(folder, pictures, suffix=".png", **options):
    folder.mkdir()
    for name, picture in pictures.items():
        Image.fromarray(picture).save(folder / f"{name}{suffix}", **options)
    return folder


def replaced(x: np.ndarray, rng) -> np.ndarray:
    """Every sample carries a random bit."""
    bits = rng.integers(2, size=x[..., :1].shape if (x == x[..., :1]).all() else x.shape, dtype=np.uint8)
    return (x & 0xFE) | bits


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """60 covers; the same with replaced bits; other covers of the same names."""
    root, rng = tmp_path_factory.mktemp("steganalysis"), np.random.default_rng(0)
    covers = crops(0)
    save(root / "cover", covers)
    save(root / "stego", {name: replaced(x, rng) for name, x in covers.items()}, ".bmp")
    save(root / "other", crops(4))
    return root


def call(root, cover, stego, *more):
    """The command, in this process: nothing is caught."""
    words = ["--cover", root / cover, "--stego", root / stego, "--workers", "1", *more]
    main(PARSER.parse_args([str(word) for word in words]))


def scores(out) -> dict[str, float]:
    """Read scores.csv, whose last column is the score: {everything before it: the score}."""
    lines = (out / "scores.csv").read_text().splitlines()[1:]
    return {line.rpartition(",")[0]: float(line.rpartition(",")[2]) for line in lines}


def result(out):
    return json.loads((out / "security.json").read_text())


@pytest.mark.slow
def test_replaced_bits_are_found(command, folders, tmp_path):
    words = ("--cover", folders / "cover", "--stego", folders / "stego", "--out", tmp_path / "o")
    done = command("scripts/steganalysis.py", *words, "--detector", "stegexpose", "--workers", "2")
    assert done.returncode == 0, done.stderr
    found = result(tmp_path / "o")
    assert found["auc"] > 0.95 and f"{found['auc']:.3f}" in done.stdout
    for part in ("sample_pairs", "rs", "primary_sets", "ws"):
        assert found["parts"][part]["auc"] > 0.95, part
    low, high = found["auc_interval"]
    assert low <= found["auc"] <= high and found["p_e"] < 0.1
    assert (found["detector"], found["seed"], found["pairs"], found["test_pairs"]) == (
        "stegexpose",
        0,
        60,
        60,
    )
    assert found["train_pairs"] == 0 and "sealwatch" in found["packages"]
    with open(tmp_path / "o/roc.csv") as file:
        rows = [row for row in csv.DictReader(file) if row["detector"] == "stegexpose"]
    alarms, hits = (
        np.array([float(row[key]) for row in rows]) for key in ("false_alarm_rate", "detection_rate")
    )
    assert trapezoid(hits, alarms) == pytest.approx(found["auc"])
    with open(tmp_path / "o/scores.csv") as file:
        assert len(list(csv.DictReader(file))) == 120
    assert Image.open(tmp_path / "o/roc.png").size[0] > 300


@pytest.mark.slow
@pytest.mark.parametrize("stego", ["cover", "other"])
@pytest.mark.parametrize("detector", ["stegexpose", "rich"])
def test_covers_are_not_found(folders, tmp_path, detector, stego):
    pairs = paired_pictures(folders / "cover", folders / stego)
    found = analyse(pairs, detector, tmp_path, Settings(workers=1)).summary
    low, high = found["auc_interval"]
    assert low <= 0.5 <= high
    if stego == "cover":
        assert found["auc"] == 0.5 and found["pairs_of_equal_files"] == 60


@pytest.mark.slow
def test_rich_features_find_bits_and_are_kept(folders, tmp_path, monkeypatch):
    monkeypatch.setattr(rich, "LEARNERS", 40)  # enough here, and five times as fast
    words = ("--detector", "rich", "--train-share", "0.6", "--cache", tmp_path / "cache")
    call(folders, "cover", "stego", *words, "--out", tmp_path / "o")
    found = result(tmp_path / "o")
    assert found["auc"] > 0.75 and found["auc_interval"][0] > 0.6 and found["p_e"] < 0.35
    assert (found["train_pairs"], found["test_pairs"], found["features"]) == (36, 24, "spam")
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.npy")}
    assert len(kept) > 100
    call(folders, "cover", "stego", *words, "--out", tmp_path / "again")
    assert kept == {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.npy")}
    assert (tmp_path / "again/scores.csv").read_bytes() == (tmp_path / "o/scores.csv").read_bytes()


@pytest.mark.filterwarnings("ignore:optimization might not have converged")
def test_hill_is_not_what_stegexpose_finds(folders, tmp_path):
    """Adaptive +-1 embedding (HILL, Li et al., 2014) at 0.4 bits a sample, by an independent program."""
    conseal = pytest.importorskip("conseal", reason="pip install -e '.[steganalysis]'")
    stegos = {}
    for k, (name, x) in enumerate(crops(0).items()):
        planes = [conseal.hill.simulate_single_channel(x[..., c], 0.4, seed=3 * k + c) for c in range(3)]
        stegos[name] = np.stack(planes, axis=2).astype(np.uint8)
    save(tmp_path / "hill", stegos)
    pairs = paired_pictures(folders / "cover", tmp_path / "hill")
    found = analyse(pairs, "stegexpose", tmp_path, Settings(workers=1)).summary
    assert found["pairs_of_equal_files"] < 10
    assert found["auc"] < 0.75 and found["parts"]["sample_pairs"]["auc"] < 0.75


def test_split_by_picture(folders):
    pairs = paired_pictures(folders / "cover", folders / "stego")
    digests = {path: f"{path.parent.name} {path.stem}" for pair in pairs for path in pair}
    learn, test = split(pairs, digests, 0.5, seed=0)
    assert len(learn) == len(test) == 30 and set(learn) | set(test) == set(pairs)
    assert split(list(reversed(pairs)), digests, 0.5, seed=0) == (learn, test)
    assert split(pairs, digests, 0.5, seed=1) != (learn, test)
    # One picture under many names: all its pairs are on one side.
    scenes = digests | {cover: cover.stem.rsplit("_", 1)[0] for cover, _ in pairs}
    learn, test = split(pairs, scenes, 0.5, seed=0)
    assert not {scenes[c] for c, _ in learn} & {scenes[c] for c, _ in test} and learn and test
    # The stego of one pair is the cover of the next: all hang together, and none is left to learn from.
    chain = digests | {pairs[k][1]: digests[pairs[k + 1][0]] for k in range(len(pairs) - 1)}
    assert split(pairs, chain, 0.5, seed=0)[0] == []
    # What is hidden counts too, where it is given.
    marks = {stego: [stego.stem.rsplit("_", 1)[0]] for _, stego in pairs}
    learn, test = split(pairs, digests, 0.5, 0, marks)
    assert not {marks[s][0] for _, s in learn} & {marks[s][0] for _, s in test} and learn and test


# --- networks -------------------------------------------------------------------------------------


def noisy_pairs(folders, folder, strength):
    """Covers, and the same with `strength` grey levels added or taken away at random."""
    rng = np.random.default_rng(0)
    changed = {name: x + rng.choice([-strength, strength], x.shape) for name, x in crops(0).items()}
    save(folder, {name: np.clip(x, 0, 255).astype(np.uint8) for name, x in changed.items()})
    return paired_pictures(folders / "cover", folder)


def test_xunet_learns_noise(folders, tmp_path):
    found = analyse(
        noisy_pairs(folders, tmp_path / "noisy", 8),
        "cnn",
        tmp_path,
        Settings(training=Training(steps=60, batch=4, crop=64), train_pairs=(8, 30), device="cpu", workers=1),
    ).summary
    assert found["auc"] > 0.9
    assert [point["train_pairs"] for point in found["by_train_pairs"]] == [8, 30]
    assert found["by_train_pairs"][1]["auc"] == found["auc"]
    assert (found["train_pairs"], found["test_pairs"]) == (30, 30)


@pytest.mark.slow
@pytest.mark.parametrize("strength, steps", [(4, 150)])
def test_ucnet_learns_noise(folders, tmp_path, strength, steps):
    """On 42 pairs: changes of 4 grey levels, a quarter of those in the test of SRNet."""
    pairs = noisy_pairs(folders, tmp_path / "noisy", strength)
    training = Training("ucnet", steps=steps, batch=4, crop=32)
    settings = Settings(training=training, train_share=0.7, device="cpu", workers=1)
    found = analyse(pairs, "cnn", tmp_path, settings).summary
    assert found["auc"] > 0.85 and found["test_pairs"] == 18


def test_a_kept_detector_scores_as_before_and_meets_no_picture_again(folders, tmp_path, capsys):
    words = ("--detector", "cnn", "--device", "cpu", "--crop", "32", "--batch", "2", "--steps", "5")
    call(folders, "cover", "stego", *words, "--out", tmp_path / "o")
    kept = tmp_path / "o/detector.safetensors"
    again = ("--detector", "cnn", "--device", "cpu", "--trained", kept, "--out", tmp_path / "again")
    call(folders, "cover", "stego", *again)
    first, second = result(tmp_path / "o"), result(tmp_path / "again")
    assert (second["train_pairs"], second["test_pairs"], second["trained_pairs"]) == (0, 30, 30)
    assert second["auc"] == first["auc"] and second["network"] == "xunet"

    def rows(out):
        return set((out / "scores.csv").read_text().splitlines())

    assert rows(tmp_path / "again") == rows(tmp_path / "o")
    with pytest.raises(ValueError, match="holds a detector of kind cnn, expected ica"):
        call(folders, "cover", "stego", "--detector", "ica", "--trained", kept, "--out", tmp_path / "x")
    kept.write_bytes(kept.read_bytes()[:1000])
    with pytest.raises(ValueError, match="not a detector saved by steganalysis.py"):
        call(folders, "cover", "stego", *again)


@pytest.mark.parametrize("words", [("ica",), ("rich", "--features", "spam"), ("rich", "--features", "crm")])
def test_detectors_of_features_learn_noise_and_are_kept(folders, tmp_path, words):
    noisy_pairs(folders, tmp_path / "noisy", 4)
    cover, stego = folders / "cover", tmp_path / "noisy"
    call(folders, cover, stego, "--detector", *words, "--out", tmp_path / "o")
    first = result(tmp_path / "o")
    assert first["auc"] > 0.9 and first["test_pairs"] == 30
    kept = ("--trained", tmp_path / "o/detector.npz", "--out", tmp_path / "again")
    call(folders, cover, stego, "--detector", words[0], *kept)
    assert result(tmp_path / "again")["auc"] == first["auc"]
    before, after = (scores(tmp_path / out) for out in ("o", "again"))
    assert before == pytest.approx(after, abs=1e-6) and len(before) == 60
    with np.load(tmp_path / "o/detector.npz") as file:
        np.savez(tmp_path / "part.npz", about=file["about"])
    with pytest.raises(ValueError, match="part.npz: not a detector saved by steganalysis.py"):
        call(folders, cover, stego, "--detector", words[0], "--trained", tmp_path / "part.npz", *kept[2:])


def test_pairs_that_share_a_file_are_told(folders, tmp_path):
    """One picture under twelve names: no half is left that has not seen it."""
    first = next(iter(crops(0).values()))
    rng = np.random.default_rng(1)
    save(tmp_path / "cover", {f"again_{k:02d}": first for k in range(12)})
    save(tmp_path / "stego", {f"again_{k:02d}": replaced(first, rng) for k in range(12)})
    words = ("--detector", "rich", "--out", tmp_path / "o", "--train-share", "0.8")
    with pytest.raises(ValueError, match=r"12 pairs \(again_00.*\) share a picture, so they must all"):
        call(tmp_path, "cover", "stego", *words)


@pytest.mark.slow
def test_srnet_learns_noise(folders, tmp_path):
    """On 42 pairs, with seeds 0, 1 and 2: AUC 0.97, 0.99, 0.95. Half as many pairs were too few (0.83)."""
    pairs = noisy_pairs(folders, tmp_path / "noisy", 16)
    training = Training("srnet", steps=100, batch=4, crop=32)
    settings = Settings(training=training, train_share=0.7, device="cpu", workers=1)
    found = analyse(pairs, "cnn", tmp_path, settings).summary
    assert found["auc"] > 0.85 and found["test_pairs"] == 18


def test_an_interrupted_training_ends_as_an_uninterrupted_one(folders, tmp_path, monkeypatch):
    words = ["--detector", "cnn", "--device", "cpu", "--crop", "32", "--batch", "2", "--pairs", "6,12"]
    steps = ("--steps", "40")
    call(folders, "cover", "stego", *words, *steps, "--out", tmp_path / "whole")
    for name in ("pairs.csv", "pairs.png", "roc.csv"):
        assert (tmp_path / "whole" / name).is_file()

    make_batch = cnn._batch

    def stop_in_the_second(pictures, training, step):
        if len(pictures) == 12 and step == 25:
            signal.raise_signal(signal.SIGINT)
        return make_batch(pictures, training, step)

    monkeypatch.setattr(cnn, "_batch", stop_in_the_second)
    out = tmp_path / "broken"
    with pytest.raises(KeyboardInterrupt):
        call(folders, "cover", "stego", *words, *steps, "--out", out)
    assert not (out / "security.json").exists()
    taken = []
    monkeypatch.setattr(cnn, "_batch", lambda *given: taken.append(given[2]) or make_batch(*given))
    call(folders, "cover", "stego", *words, *steps, "--out", out)
    assert taken == list(range(26, 40))
    assert (out / "scores.csv").read_bytes() == (tmp_path / "whole/scores.csv").read_bytes()

    with pytest.raises(ValueError, match=r"trained differently \(steps differ\)"):
        call(folders, "cover", "stego", *words, "--steps", "20", "--out", out)
    with pytest.raises(ValueError, match=r"trained differently \(pictures differ\)"):
        call(folders, "cover", "other", *words, *steps, "--out", out)
    state = out / "checkpoints/xunet_6.pt"
    state.write_bytes(state.read_bytes()[:1000])
    with pytest.raises(ValueError, match="not a whole training state"):
        call(folders, "cover", "stego", *words, *steps, "--out", out)


# --- mistakes -------------------------------------------------------------------------------------


def test_mistakes_are_told_in_a_line(folders, tmp_path):
    few = save(tmp_path / "few", dict(list(crops(0).items())[:6]))
    tiny = save(tmp_path / "tiny", crops(0, side=24))
    out = tmp_path / "o"
    out.mkdir()
    (out / "security.json").write_text("earlier")

    def refused(cover, stego, *words):
        with pytest.raises(ValueError) as error:
            call(folders, cover, stego, "--out", out, *words)
        assert "\n" not in str(error.value)
        return str(error.value)

    unmatched = refused("cover", few, "--detector", "rich")
    assert "54 of 60 pictures" in unmatched and "and 49 more" in unmatched
    too_few = refused(few, few, "--detector", "rich")
    assert "at least 8 pairs" in too_few and "give 3 and 3" in too_few
    assert "24x24, expected at least 32" in refused(tiny, tiny, "--detector", "stegexpose")
    assert "no such folder" in refused("none", few, "--detector", "rich")
    foreign = refused("cover", "stego", "--detector", "stegexpose", "--features", "srm")
    assert "--features goes with --detector rich" in foreign
    counts = refused("cover", "stego", "--detector", "cnn", "--pairs", "10,31")
    assert "31 training pairs: expected 4 to 30" in counts
    kept = ("--detector", "rich", "--trained", tiny / "none.npz")
    assert "--features has no effect with --trained" in refused("cover", "stego", *kept, "--features", "srm")
    assert "none.npz: no such file" in refused("cover", "stego", *kept)
    other = next(tiny.iterdir())
    assert "expected a detector.npz" in refused("cover", "stego", *kept[:3], other)
    inside = ("--detector", "rich", "--out", folders / "stego/o")
    assert "lies in" in refused("cover", folders / "stego", *inside) and not inside[-1].exists()
    assert "expected auto" in refused("cover", "stego", "--detector", "cnn", "--device", "tpu")
    with pytest.raises(ValueError, match="is a file; expected a folder"):
        call(folders, "cover", "stego", "--detector", "rich", "--out", out / "security.json")
    assert (out / "security.json").read_text() == "earlier" and len(list(out.iterdir())) == 1


@pytest.mark.parametrize(
    "words, problem",
    [
        (("--detector", "cnn", "--pairs", "a"), "10,20,50"),
        (("--detector", "rich", "--train-share", "1.5"), "between 0 and 1"),
        (("--detector", "cnn", "--lr", "-1"), "above 0"),
        (("--detector", "guess"), "invalid choice"),
    ],
)
def test_mistakes_in_the_call(folders, tmp_path, capsys, words, problem):
    with pytest.raises(SystemExit) as stop:
        call(folders, "cover", "stego", "--out", tmp_path / "o", *words)
    assert stop.value.code == 2 and problem in capsys.readouterr().err


def test_a_damaged_stego_is_named(command, folders, tmp_path):
    save(tmp_path / "bad", crops(0))
    whole = (tmp_path / "bad/coins_2.png").read_bytes()
    (tmp_path / "bad/coins_2.png").write_bytes(whole[: len(whole) // 2])
    words = ("--cover", folders / "cover", "--stego", tmp_path / "bad", "--out", tmp_path / "o")
    done = command("scripts/steganalysis.py", *words, "--detector", "stegexpose", "--workers", "2")
    assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert "coins_2.png: damaged or cut short" in done.stderr
    assert not (tmp_path / "o").exists()


def test_jpeg_is_warned_of_and_excluded_pictures_are_left_out(folders, tmp_path, capsys):
    save(tmp_path / "jpeg", crops(0), ".jpg", quality=90)
    excluded = tmp_path / "trained.txt"
    excluded.write_text("\n".join(str(folders / "cover" / f"coins_{k}.png") for k in range(4)))
    words = ("--detector", "stegexpose", "--out", tmp_path / "o", "--exclude", excluded)
    call(folders, "cover", tmp_path / "jpeg", *words)
    said = capsys.readouterr()
    assert "56 of 56 stegos are JPEG" in said.err and "4 of 60 pairs are in" in said.out
    assert result(tmp_path / "o")["pairs"] == 56


def test_jpeg_stegos_of_a_method_that_does_not_survive_them(folders, tmp_path, capsys):
    save(tmp_path / "jpeg", crops(0), ".jpg", quality=90)
    words = ("--detector", "stegexpose", "--out", tmp_path / "o", "--weights")
    with pytest.raises(ValueError, match="60 of 60 stegos are JPEG files .* destroys what codec_lsb hides"):
        call(folders, "cover", tmp_path / "jpeg", *words, "codec_lsb")
    assert not (tmp_path / "o").exists()
    call(folders, "cover", tmp_path / "jpeg", *words, "codec_dct")
    assert not capsys.readouterr().err.startswith("warning")


def test_networks_need_no_package(monkeypatch, folders, tmp_path):
    monkeypatch.setitem(sys.modules, "sealwatch", None)
    words = ("--detector", "cnn", "--device", "cpu", "--crop", "32", "--batch", "2", "--steps", "2")
    call(folders, "cover", "stego", *words, "--out", tmp_path / "o")
    assert "sealwatch" not in result(tmp_path / "o")["packages"]


def test_without_the_package_the_command_says_how_to_get_it(monkeypatch, folders, tmp_path):
    monkeypatch.setitem(sys.modules, "sealwatch", None)
    with pytest.raises(ValueError, match=r"pip install -e '.\[steganalysis\]'"):
        call(folders, "cover", "stego", "--detector", "stegexpose", "--out", tmp_path / "o")
