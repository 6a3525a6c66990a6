"""ONNX files of sender and receiver: what onnxruntime makes of them is what PyTorch makes."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from engine.checkpoint import load_model
from scripts.export_onnx import check_exportable, export, largest_difference, parts
from tests.common import ROOT, group, shaken

pytest.importorskip("onnxscript", reason="needs the extra onnx")
onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra onnx")

SMALL = {
    "smilenet": {
        "rows": 1,
        "cols": 2,
        "icdm_blocks": 1,
        "imse_blocks": 1,
        "growth": 4,
        "sis_width": 8,
        "sde_width": 8,
    },
    "hinet": {"num_blocks": 1, "growth": 4},
    "baluja": {"width": 8},
}


@pytest.mark.parametrize(
    "method", [pytest.param(name, marks=[pytest.mark.slow] if name == "smilenet" else []) for name in SMALL]
)
def test_both_parts(method, tmp_path):
    net = shaken(method, 0.01, **SMALL[method]).eval()
    cover, secrets = group(net, 32, 48)
    stego = net.hide(cover, secrets)
    for part, given, expected in zip(
        parts(net), ((cover, secrets), (stego,)), (stego, net.reveal(stego)), strict=True
    ):
        export(part, given, tmp_path / "part.onnx")
        assert largest_difference(tmp_path / "part.onnx", given, expected) <= 1
        other = expected.int().add(2).clamp(0, 255).to(torch.uint8)
        with pytest.raises(ValueError, match="differs from PyTorch by"):
            largest_difference(tmp_path / "part.onnx", given, other)


@pytest.mark.parametrize("method", ["codec_lsb", "lsb"])
def test_what_is_no_network_is_refused(method):
    net, _ = load_model(method, torch.device("cpu"))
    with pytest.raises(ValueError, match="cannot be exported to ONNX"):
        check_exportable(net, 256, 256)


@pytest.mark.slow
def test_the_command_with_shipped_weights(tmp_path):
    words = [sys.executable, ROOT / "scripts" / "export_onnx.py", "--weights", "smilenet_4_nano"]
    words += ["--size", "64", "96", "--out", tmp_path / "onnx"]
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and done.stdout.count("at most") == 2, done.stderr
    from skimage.data import chelsea, coffee

    cover = np.asarray(Image.fromarray(coffee()).resize((96, 64))).transpose(2, 0, 1)[None]
    secret = np.asarray(Image.fromarray(chelsea()).resize((96, 64))).transpose(2, 0, 1)
    sender, receiver = (
        onnxruntime.InferenceSession(tmp_path / "onnx" / f"{name}.onnx") for name in ("sender", "receiver")
    )
    (stego,) = sender.run(None, {"cover": cover, "secrets": np.repeat(secret[None, None], 4, axis=1)})
    (back,) = receiver.run(None, {"stego": stego})
    assert stego.dtype == back.dtype == np.uint8 and back.shape == (1, 4, 3, 64, 96)
    assert np.square(back[0, 0].astype(float) - secret).mean() < 400
