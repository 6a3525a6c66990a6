"""Every network in experiments/pretrained/: whole, described, small, and without anybody's paths."""

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import safetensors.torch
import torch

from data.files import sha256
from data.images import read_picture, to_array, to_tensor
from data.samples import sample_pictures
from engine.checkpoint import load_model, read_metadata
from engine.testing.check import sample_scores
from metrics.image import psnr

SHIPPED = sorted((Path(__file__).parents[1] / "experiments" / "pretrained").glob("*/*.safetensors"))


def test_there_are_networks_for_a_newcomer():
    wanted = {f"smilenet_l_{n}" for n in (4, 9, 16, 25)}
    assert wanted <= {path.parent.name for path in SHIPPED}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.parent.name)
def test_a_shipped_network(path):
    assert path.stem == path.parent.name and path.stat().st_size < 8 * 2**20
    assert path.with_name("SHA256SUMS").read_text() == f"{sha256(path)}  {path.name}\n"
    assert {value.dtype for value in safetensors.torch.load_file(path).values()} == {torch.float16}
    metadata = read_metadata(path)
    card = path.with_name("README.md").read_text()
    assert sha256(path) in card and metadata["fingerprint"] in card
    assert "Limits" in card and "PSNR" in card and "| licence |" in card
    for text in (metadata["options"], path.with_name("options.yml").read_text(), card):
        assert not any(root in text for root in ("/home/", "/work", "/root", "/tmp"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.parent.name)
def test_a_shipped_network_does_what_its_card_says(path):
    """Weights, code and card belong together: one group of pictures that everybody has, to 0.05 dB."""
    model, metadata = load_model(path)
    assert model.num_secrets == int(metadata["num_secrets"])
    card = path.with_name("README.md").read_text()
    figures = re.search(r"One group of .*: stego ([0-9.]+) dB, revealed ([0-9.]+) dB", card)
    assert sample_scores(model) == pytest.approx([float(x) for x in figures.groups()], abs=0.05)


@pytest.mark.parametrize("quality, least", [(90, 24.0), (80, 22.0)])
def test_srisnet_survives_the_jpeg_of_another_library(quality, least):
    """OpenCV has its own libjpeg, and subsamples the colours."""
    model, _ = load_model("srisnet_1_nano")
    cover, secret = (
        to_tensor(read_picture(path))[None, :, :192, :192] for path in sample_pictures("test")[:2]
    )
    stego = to_array(model.hide(cover, secret[:, None])[0])
    coded = cv2.imencode(".jpg", stego[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    arrived = np.ascontiguousarray(cv2.imdecode(coded, cv2.IMREAD_COLOR)[..., ::-1])
    assert not np.array_equal(arrived, stego)
    revealed = to_array(model.reveal(to_tensor(arrived)[None])[0, 0])
    assert psnr(to_array(secret[0]), revealed) > least
