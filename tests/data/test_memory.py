"""Pictures in shared memory under every start method, and how much memory may be taken."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from data.images import write_picture
from data.memory import SharedPictures, available_memory
from tests.common import ROOT

# Workers that are not forked get the pictures sent: as one tensor each they need more files than allowed.
TRAIN = """
import multiprocessing, resource, sys
from pathlib import Path
sys.path.insert(0, {root!r})
from data.loader import TrainingGroups, training_loader

if __name__ == "__main__":
    multiprocessing.set_start_method({method!r})
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200))
    pictures = sorted(Path("pictures").iterdir())
    groups = TrainingGroups(pictures, 2, crop=8, seed=3, length=80, cache="ram")
    alone = list(training_loader(groups, 2))
    for k, batch in enumerate(training_loader(groups, 2, workers=2)):
        if k < 2:
            assert (batch["secrets"] == alone[k]["secrets"]).all() and batch["cover"].any()
        if k == 2:
            groups.cached.block.zero_()  # what workers read from now on, if it is the same memory
    assert k == 39 and not batch["cover"].any() and not batch["secrets"].any()
    print("done")
"""


@pytest.mark.slow
@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_workers_share_one_memory_and_few_files(tmp_path, method):
    (tmp_path / "pictures").mkdir()
    rng = np.random.default_rng(0)
    for k in range(300):
        write_picture(tmp_path / f"pictures/{k:03d}.png", rng.integers(1, 256, (9, 10, 3)).astype(np.uint8))
    script = tmp_path / "script.py"
    script.write_text(TRAIN.format(root=str(ROOT), method=method))
    done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, timeout=200)
    assert done.stdout == "done\n", done.stderr[-2000:]


def test_pictures_come_back(tmp_path):
    pictures = [torch.randint(256, (3, *size), dtype=torch.uint8) for size in ((5, 9), (1, 1), (8, 3))]
    kept = SharedPictures([picture.shape[1:] for picture in pictures])
    kept.fill(iter(pictures))
    assert len(kept) == 3 and all(torch.equal(a, b) for a, b in zip(kept, pictures, strict=True))
    assert len(kept.block) == 3 * (45 + 1 + 24)


# --- how much memory there is


@pytest.fixture
def system(tmp_path):
    """A machine with 8 GB left: system({file: content}) -> its root."""

    def build(files):
        report = {"proc/meminfo": "MemFree: 1 kB\nMemAvailable:    8000000 kB\n"}
        for name, content in (report | files).items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        return tmp_path

    return build


def test_the_machine(system, tmp_path):
    assert available_memory(tmp_path / "no Linux") is None
    assert available_memory(system({})) == 8_000_000 * 1024


def test_cgroup_v2_and_the_groups_above(system):
    group = {
        "proc/self/cgroup": "0::/batch/job:1\n",
        "sys/fs/cgroup/batch/job:1/memory.max": "max\n",
        "sys/fs/cgroup/batch/job:1/memory.current": "1000\n",
        "sys/fs/cgroup/batch/memory.max": "5000\n",
        "sys/fs/cgroup/batch/memory.current": "3000\n",
        "sys/fs/cgroup/batch/memory.stat": "anon 4\ninactive_file 700\n",
    }
    assert available_memory(system(group)) == 5000 - 3000 + 700
    group["sys/fs/cgroup/batch/job:1/memory.max"] = "1200\n"
    assert available_memory(system(group)) == 200


def test_cgroup_v1_in_a_container(system):
    """The container's own group is mounted at the top, under a path that only the host knows."""
    group = {
        "proc/self/cgroup": "5:cpu:/docker/abc\n4:memory:/docker/abc\n0::/\n",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "9000\n",
        "sys/fs/cgroup/memory/memory.usage_in_bytes": "6000\n",
        "sys/fs/cgroup/memory/memory.stat": "inactive_file 1\ntotal_inactive_file 500\n",
    }
    assert available_memory(system(group)) == 3500
    group["sys/fs/cgroup/memory/memory.limit_in_bytes"] = "9223372036854771712\n"
    assert available_memory(system(group)) == 8_000_000 * 1024
    group["sys/fs/cgroup/memory/memory.limit_in_bytes"] = "5000\n"  # less than is used
    assert available_memory(system(group)) == 0


def test_shared_memory_is_a_limit_unless_processes_fork(system, monkeypatch):
    root = system({"dev/shm/file": ""})
    monkeypatch.setattr("data.memory.shutil.disk_usage", lambda path: type("Usage", (), {"free": 64_000_000}))
    monkeypatch.setattr("multiprocessing.get_start_method", lambda allow_none: "fork")
    assert available_memory(root) == 8_000_000 * 1024
    monkeypatch.setattr("multiprocessing.get_start_method", lambda allow_none: "forkserver")
    assert available_memory(root) == 64_000_000
