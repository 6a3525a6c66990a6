"""Reading without the key: weights and a network read open bits, and nothing under a passphrase."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from container.keys import Key
from data.images import read_picture
from data.pairs import named_pairs, paired_pictures
from data.samples import sample_pictures
from engine.checkpoint import load_model
from engine.testing.detected import extraction, keep_detection
from engine.testing.steganalysis.extract import extract
from engine.testing.steganalysis.files import write_extraction
from engine.testing.steganalysis.stegos import made_of, make_stegos, method_about, method_sender
from engine.testing.steganalysis.training import Training
from scripts.steganalysis import PARSER, main

COUNT = 24


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Crops of 48 px of the sample pictures in colour."""
    folder = tmp_path_factory.mktemp("pictures")
    every = [read_picture(path) for path in sample_pictures("test") + sample_pictures("train")[:4]]
    for k in range(COUNT):
        y, x = 20 + 40 * (k // len(every)), 30 + 50 * (k // len(every))
        Image.fromarray(every[k % len(every)][y : y + 48, x : x + 48]).save(folder / f"p{k:02d}.png")
    return sorted(folder.iterdir())


def tried(weights, pictures, out, key=None, **changes):
    model, _ = load_model(weights)
    for name, value in changes.items():
        setattr(model, name, value)
    sender = method_sender(model, key) if key else method_sender(model)
    make_stegos(pictures, 1, out, sender, method_about(model, weights, key is not None))
    pairs = paired_pictures(out / "cover", out / "stego")
    secrets = {s: [one] for s, one in named_pairs(out / "stego", out / "secret_1").values()}
    return pairs, secrets, model


def in_flat_covers(pictures, out):
    """4-bit LSB in covers of one colour each, so that the secret is the only detail of a stego."""
    model, _ = load_model("lsb")
    pairs, secrets = [], {}
    for k, picture in enumerate(pictures):
        secret = torch.from_numpy(read_picture(picture)).permute(2, 0, 1)
        colour = torch.tensor([16 * (k % 8 + 4), 16 * (k // 8 + 6), 128], dtype=torch.uint8)
        cover = colour[:, None, None].expand_as(secret).contiguous()
        stego = model.hide(cover[None], secret[None, None])[0]
        files = [out / kind / f"{k:02d}.png" for kind in ("cover", "stego")]
        for file, content in zip(files, (cover, stego), strict=True):
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(content.permute(1, 2, 0).numpy()).save(file)
        pairs.append(tuple(files))
        secrets[files[1]] = [picture]
    return pairs, secrets, model


@pytest.mark.slow
def test_open_bits_are_read_by_both(pictures, tmp_path):
    """The low bits are the secret: the method reads all of it, and a network learns to read much of it."""
    pairs, secrets, model = in_flat_covers(pictures, tmp_path / "lsb")
    training = Training(steps=300, batch=4, crop=48, lr=3e-3)
    found = extract(pairs, secrets, model, tmp_path / "o", training, device="cpu", workers=1)
    of = found.summary
    assert of["weights"]["psnr"] > 30 and of["weights"]["opened"] == of["test_pairs"] == 12
    assert of["weights"]["gain"] > 15 and of["weights"]["gain_interval"][0] > 10
    assert of["unet"]["gain"] > 3 and of["unet"]["gain_interval"][0] > 1
    write_extraction(found, tmp_path / "o")
    kept = json.loads((tmp_path / "o/extraction.json").read_text())
    assert kept["unet"] == of["unet"] and kept["places"] == 1
    assert Image.open(tmp_path / "o/extraction.png").size == (4 * 56, 4 * 56)
    rows = (tmp_path / "o/extraction.csv").read_text().splitlines()
    assert rows[0] == "stego,flat,weights,unet" and len(rows) == 13


def test_a_passphrase_leaves_the_flat_colour(pictures, tmp_path, quick_keys):
    settings = Training(steps=20, batch=4, crop=32), 0.5, "cpu", 1
    pairs, secrets, model = tried("codec_lsb", pictures, tmp_path / "k", Key("a passphrase"), speed=10)
    of = extract(pairs, secrets, model, tmp_path / "ok", *settings).summary
    assert of["weights"]["opened"] == 0 and of["weights"]["gain"] == 0
    assert of["unet"]["gain"] < 0.5
    pairs, secrets, model = tried("codec_lsb", pictures, tmp_path / "p", speed=10)
    of = extract(pairs, secrets, model, tmp_path / "op", *settings).summary
    assert of["weights"]["opened"] == 12 and of["weights"]["gain"] > 10


def test_secrets_that_all_come_back_exactly(tmp_path, capsys):
    """Flat pictures: codec_lsb loses nothing of them, so there is no PSNR to report."""
    folder = tmp_path / "flat"
    folder.mkdir()
    for k in range(COUNT):
        Image.new("RGB", (48, 48), (10 * k, 200, 255 - 10 * k)).save(folder / f"p{k:02d}.png")
    tried("codec_lsb", sorted(folder.iterdir()), tmp_path / "t", speed=10)
    words = command_of(tmp_path / "t", "codec_lsb", tmp_path / "t/secret_1")
    main(PARSER.parse_args(words))
    assert "by codec_lsb, no key     without any error" in capsys.readouterr().out
    kept = json.loads((tmp_path / "t/o/extraction.json").read_text())
    assert kept["weights"]["psnr"] is None and kept["weights"]["gain"] is None
    assert kept["weights"]["opened"] == kept["test_pairs"]
    keep_detection(tmp_path / "t/o", "set", tmp_path)
    assert "| without error |" in "\n".join(extraction("set", ["t"], tmp_path))


def command_of(folder, weights, *secrets) -> list[str]:
    words = ["--cover", folder / "cover", "--stego", folder / "stego", "--detector", "extract", "--weights"]
    words += [weights, "--out", folder / "o", "--steps", "2", "--crop", "32", "--workers", "1", "--secret"]
    return [str(word) for word in (*words, *secrets)]


def test_other_weights_or_another_order_than_stegos_json_says(pictures, tmp_path):
    tried("lsb", pictures, tmp_path / "t")
    with pytest.raises(ValueError, match="stegos.json says that these stegos were made with lsb"):
        main(PARSER.parse_args(command_of(tmp_path / "t", "codec_lsb", tmp_path / "t/secret_1")))
    (tmp_path / "t/secret_1").rename(tmp_path / "t/secret_2")
    with pytest.raises(ValueError, match="secret_2: expected secret_1 first"):
        main(PARSER.parse_args(command_of(tmp_path / "t", "lsb", tmp_path / "t/secret_2")))
    about = tmp_path / "t/stegos.json"
    about.write_text(about.read_text()[:50])
    with pytest.raises(ValueError, match="stegos.json: damaged"):
        main(PARSER.parse_args(command_of(tmp_path / "t", "lsb", tmp_path / "t/secret_2")))


def test_stegos_json_does_not_speak_for_jpeg_copies(pictures, tmp_path):
    pairs, *_ = tried("lsb", pictures, tmp_path / "t")
    assert made_of(pairs)["weights"] == "lsb"
    copies = [(cover, stego.with_suffix(".jpg")) for cover, stego in pairs]
    for (_, stego), (_, copy) in zip(pairs, copies, strict=True):
        Image.open(stego).save(copy)
    assert made_of(copies) is None


def test_one_secret_in_both_halves_is_refused(pictures, tmp_path):
    pairs, secrets, model = tried("lsb", pictures, tmp_path / "lsb")
    same = dict.fromkeys(secrets, next(iter(secrets.values())))
    with pytest.raises(ValueError, match="24 pairs .* share a picture, so they must all be on one side"):
        extract(pairs, same, model, tmp_path / "o", Training(), device="cpu", workers=1)
    with pytest.raises(ValueError, match="extract needs at least 8 pairs to learn from"):
        extract(pairs[:6], secrets, model, tmp_path / "o", Training(), device="cpu", workers=1)


def test_controls_change_what_they_say(pictures, tmp_path):
    from engine.testing.steganalysis.stegos import control_sender

    cover = torch.from_numpy(read_picture(pictures[0])).permute(2, 0, 1)
    cover[:, :4, :4], cover[:, 4:8, :4] = 0, 255
    for control in ("lsb_replacement", "lsb_matching"):
        stego = control_sender(control, 1.0)(cover, [], 0)
        step = stego.to(torch.int16) - cover
        assert set(step.unique().tolist()) == {-1, 0, 1} and stego.dtype == torch.uint8
        assert (step != 0).float().mean().item() == pytest.approx(0.5, abs=0.02)
        if control == "lsb_replacement":
            assert torch.equal(stego // 2, cover // 2)
        half = control_sender(control, 0.5)(cover, [], 0)
        assert (half != cover).float().mean().item() == pytest.approx(0.25, abs=0.02)
    assert np.array_equal(half, control_sender("lsb_matching", 0.5)(cover, [], 0))
