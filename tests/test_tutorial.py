"""docs/tutorial.md word for word, in a copy of the checkout, but for the minutes of its trainings."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.common import ROOT

TEXT = (ROOT / "docs" / "tutorial.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
LEFT_OUT = {
    ".git",
    ".venv",
    "datasets",
    "__pycache__",
    ".mypy_cache",
    ".ruff_cache",
    ".pytest_cache",
    "shared",
}


def ignored(folder: str, names: list[str]) -> set[str]:
    runs = {name for name in names if Path(folder) == ROOT / "experiments" and name != "pretrained"}
    return LEFT_OUT & set(names) | runs


def test_every_block_is_a_file_or_commands():
    assert {kind for kind, _ in BLOCKS} == {"bash", "python", "yaml"} and len(BLOCKS) == 8
    for kind, text in BLOCKS:
        assert kind == "bash" or re.match(r"# [\w/]+\.(py|yml)\n", text)


@pytest.mark.slow
def test_word_for_word(tmp_path):
    here = tmp_path / "checkout"
    shutil.copytree(ROOT, here, ignore=ignored)
    tests = here / "options" / "test" / "quickstart.yml"
    tests.write_text(tests.read_text().replace("groups: 5", "groups: 1"))
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    settings = os.environ | {"PATH": path, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    for kind, text in BLOCKS:
        text = re.sub(r"minutes(=|: )3\b", r"minutes\g<1>0.05", text)
        if kind != "bash":
            name = text.split("\n", 1)[0].removeprefix("# ")
            (here / name).write_text(text)
            continue
        for line in text.replace("\\\n", " ").splitlines():
            if line in ("make setup", "source .venv/bin/activate"):
                continue  # the test runs in an environment that is ready
            done = subprocess.run(line, shell=True, cwd=here, env=settings, capture_output=True, text=True)
            assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
    assert len(list((here / "revealed").iterdir())) == 1
    assert (here / "experiments" / "sketch_1_nano" / "checkpoints" / "best.safetensors").is_file()


def test_the_method_keeps_the_contract(monkeypatch):
    """The tutorial's method does what `hide` and `reveal` promise, at any size."""
    (source,) = [text for kind, text in BLOCKS if kind == "python"]
    namespace: dict = {"__name__": "models.sketch"}
    exec(compile(source, "models/sketch.py", "exec"), namespace)
    import torch

    from models import MODELS, build_model
    from tests.common import group

    monkeypatch.setitem(MODELS, "sketch", namespace["Sketch"])
    net = build_model("sketch", width=4)
    cover, secrets = group(net, 37, 51)
    stego = net.hide(cover, secrets)
    assert stego.shape == cover.shape and stego.dtype == torch.uint8
    assert net.reveal(stego).shape == secrets.shape
    hidden = net(cover / 255, secrets / 255)
    losses = net.Objective()(hidden, cover / 255, secrets / 255, 0.0)
    losses.total.backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())
    with pytest.raises(ValueError, match="width: must be at least 1"):
        build_model("sketch", width=0)
