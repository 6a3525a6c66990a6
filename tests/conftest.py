"""What many tests need: a folder of small real pictures, and an option file of a tiny network."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image
from skimage.data import astronaut, chelsea, coffee

from container.keys import STRETCHING, VERSION
from tests.common import ROOT

torch.set_num_threads(1)

TINY = {
    "type": "smilenet",
    "rows": 1,
    "cols": 2,
    "icdm_blocks": 1,
    "imse_blocks": 2,
    "growth": 6,
    "sis_width": 8,
    "sis_blocks": 1,
    "sde_width": 8,
    "sde_blocks": 1,
    "condition": 4,
}


@pytest.fixture(scope="session")
def pictures(tmp_path_factory) -> Path:
    """A folder of nine 64x64 crops of photographs."""
    folder = tmp_path_factory.mktemp("pictures")
    for name, photo in (("a", astronaut()), ("b", chelsea()), ("c", coffee())):
        for k in range(3):
            crop = photo[60 + 70 * k : 124 + 70 * k, 150 : 150 + 64]
            Image.fromarray(crop).save(folder / f"{name}{k}.png")
    return folder


@pytest.fixture
def quick_keys(monkeypatch):
    """Passphrases that are not stretched: what opens what does not depend on how long a guess takes."""
    monkeypatch.setitem(STRETCHING, VERSION, {"iterations": 1, "lanes": 1, "memory_cost": 64})


@pytest.fixture
def train_file(tmp_path, pictures):
    """Write an option file of a tiny training run: its path.

    train_file(name="tiny", network=TINY, **changes of the train section).
    """

    def write(name="tiny", network=TINY, **train) -> Path:
        options = {
            "name": name,
            "device": "cpu",
            "network": network,
            "data": {
                "train": {"folder": str(pictures), "crop": 16, "workers": 0},
                "validate": {"folder": str(pictures), "crop": 32, "groups": 1},
            },
            "train": {"steps": 4, "lr": 1e-3, "checkpoint_every": 2, "validate_every": 2, "log_every": 2}
            | train,
            "loss": {"latent": 0.01} if network is TINY else {},
        }
        file = tmp_path / f"{name}.yml"
        file.write_text(yaml.safe_dump(options, sort_keys=False))
        return file

    return write


@pytest.fixture
def trainer(train_file, tmp_path):
    """Build a Trainer: trainer(resume=False, name="tiny", network=TINY, **changes of the train section)."""
    from engine.training.trainer import Trainer
    from options import load_train

    built = []

    def build(resume=False, name="tiny", overrides=(), **train):
        one = Trainer(load_train(train_file(name, **train), overrides), tmp_path / "runs", resume)
        built.append(one)
        return one

    yield build
    for one in built:
        one.close()


@pytest.fixture
def command(tmp_path):
    """Run a command of the project, with its runs in tmp_path/runs: command("train.py", ...)."""

    def run(script: str, *arguments, background=False, preexec=None):
        words = [sys.executable, ROOT / script, *arguments]
        if script.endswith((".py",)) and "/" not in script:
            words += ["--experiments", tmp_path / "runs"]
        settings = {
            "cwd": tmp_path,
            "env": os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "text": True,
            "preexec_fn": preexec,
        }
        words = [str(word) for word in words]
        if background:
            return subprocess.Popen(words, **settings)
        return subprocess.run(words, timeout=300, **settings)

    return run


@pytest.fixture
def torchrun(tmp_path):
    """Start a command in several processes: torchrun("train.py", "-opt", file, processes=2)."""
    started = []

    def start(script, *arguments, processes=2, launcher=(), background=False):
        words = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        words += [f"--nproc_per_node={processes}", *launcher, ROOT / script, *arguments]
        words += ["--experiments", tmp_path / "runs"]
        process = subprocess.Popen(
            [str(word) for word in words],
            cwd=tmp_path,
            env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        if background:
            return process
        process.out, process.err = process.communicate(timeout=540)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


@pytest.fixture
def make_run():
    """A test run as docs/results keeps it: make_run("isn_4_nano", 31.0, 25.0, **changes) -> a Run.

    Six groups around the two means; what a group is above them is the same for all runs of a number of
    secrets, as pictures are. modulus=M makes it a method without training.
    """
    from engine.testing.collected import Run
    from engine.testing.protocol import PROTOCOL
    from metrics.intervals import mean_interval

    def make(name, stego, revealed, secrets=4, seed=0, modulus=None, **changes):
        def scores(mean, count):
            values = [[mean + (k - 2.5) + 0.1 * (n % 2) for n in range(count)] for k in range(6)]
            flat = [value for group in values for value in group]
            ends = mean_interval(flat, [k for k in range(6) for _ in range(count)])
            middle = sum(flat) / len(flat)
            summary = {"psnr_rgb": middle, "psnr_rgb_interval": ends, "psnr_y": middle + 3, "ssim_rgb": 0.9}
            luma = [[value + 3 for value in group] for group in values]
            return summary | {"ssim_y": 0.95}, {"psnr_rgb": values, "psnr_y": luma}

        (cover, covers), (secret, pairs) = scores(stego, 1), scores(revealed, secrets)
        training = {"seed": seed, "minutes": 5.0, "threads": 1}
        content = {
            "protocol": PROTOCOL,
            "method": name.partition("_")[0] if modulus is None else name.rpartition(f"_{secrets}_")[0],
            "arguments": {} if modulus is None else {"modulus": modulus},
            "dataset": "crops",
            "num_secrets": secrets,
            "groups": 6,
            "params": 1234567,
            "weights_step": 50,
            "training": training if modulus is None else None,
            "pictures_sha256": f"of {secrets} secrets",
            "cover_stego": cover,
            "secret_revealed": secret,
            "per_group": {"cover_stego": covers, "secret_revealed": pairs},
        }
        return Run("crops", name, content | changes)

    return make
