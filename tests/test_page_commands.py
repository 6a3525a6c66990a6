"""Every command on a page is understood by its program, and runs on a small folder of pictures made for it.

docs/tutorial.md is run word for word by tests/test_tutorial.py.
"""

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage import data

from tests.common import ROOT
from tests.pages import PAGES, commands

TUTORIAL = ROOT / "docs" / "tutorial.md"
WITH_COMMANDS = [page for page in PAGES if page.name != "CHANGELOG.md" and page != TUTORIAL]

# What is not run here, by how the command begins, and why. Its options are checked all the same.
NOT_RUN = {
    "make": "installs packages, or is the tests themselves; what it would call is checked",
    "python scripts/compare.py": "trains for hours; tests/scripts/test_compare.py trains for seconds",
    "python scripts/plot_lattice.py": "nine codings of 25 pictures; tests/scripts/test_plot_lattice.py",
    "python scripts/plot_robust.py": "codings at 6 qualities; tests/scripts/test_plot_robust.py",
    "python scripts/plot_detection.py": "codings of 24 payloads; tests/scripts/test_plot_detection.py",
    "python scripts/plot_score_map.py": "needs trained weights; tests/scripts/test_plot_score_map.py",
    "python scripts/plot_capacity.py": "39 searches a picture; tests/scripts/test_plot_capacity.py",
    "python scripts/benchmark.py network -opt options/train/invmihnet_4.yml": "needs the authors' code",
    "python test.py -opt options/test/codec_dct_1_attacks.yml --set name=dct_webp80": "like that for JPEG",
    "python test.py -opt options/test/smilenet_4_nano.yml --precision bf16": "needs a device that has bf16",
    "python scripts/collect.py --replace": "needs the results of hours; tests/scripts/test_collect.py",
    "python test.py -opt options/test/smilenet_l_9_nano.yml": "like the one for 4 secrets, which is run",
    "python test.py -opt options/test/smilenet_l_16_nano.yml": "like the one for 4 secrets, which is run",
    "python test.py -opt options/test/smilenet_l_25_nano.yml": "like the one for 4 secrets, which is run",
    "python test.py -opt options/test/smilenet_25_nano.yml": "like the one for 4 secrets, which is run",
}

# What the test writes for words that stand for something of the reader's.
MEANT = {
    "DIR": "pictures",
    "DIR2": "pictures",
    "TEST": "pictures",
    "FILE": "options/train/quickstart.yml",
    "FOLDER": "experiments/quickstart/results/samples",
    "COVERS": "covers",
    "STEGOS": "covers",
    "OUT": "out",
    "imagenet_sample": "pictures",
}

# What the test adds, so that a command takes seconds: by how the command begins, first match.
TINY = "--set network.growth=4 --set network.icdm_blocks=1 --set network.imse_blocks=1"
ONE_STEP = (
    "--set train.steps=1 --set train.batch_size=1 --set data.train.workers=0 --set data.validate.groups=1"
)
ONE_GROUP = "--set data.test.0.groups=1"
SMALL = f"{ONE_STEP} {TINY} --set data.train.crop=40 --set data.validate.crop=40"
ADDED = {
    "python train.py -opt options/train/smilenet_l_4_nano.yml": ONE_STEP,
    "python train.py": SMALL,
    "python test.py -opt options/test/smilenet_25.yml": f"{ONE_GROUP} --set data.test.0.crop=80",
    "python test.py -opt options/test/quickstart.yml": f"{ONE_GROUP} --set weights=smilenet_4_nano",
    "python test.py": ONE_GROUP,
    "python scripts/prepare_data.py --groups": "--num-secrets 4 --count 2",
    "python scripts/prepare_data.py --cut": "--size 128 --step 128",
    "python scripts/benchmark.py scoring": "--groups 1",
    "python scripts/benchmark.py network": "--repeat 1 --size 32 --no-train",
    "python scripts/plot_shaping.py": "--count 1 --size 32",
    "python scripts/plot_attacks.py": "--groups 1 --size 96 --stride 2",
    "python scripts/steganalysis.py --cover COVERS --stego STEGOS --detector cnn": "--crop 32 --steps 2",
    "python scripts/steganalysis.py --cover tried/keyed/cover": "--crop 32 --steps 2",
    "python scripts/make_stegos.py": "--count 16",
}
PHOTOS = (data.astronaut, data.chelsea, data.coffee, data.rocket)


def identity(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def of(table: dict[str, str], command: list[str]) -> str | None:
    """What a table says of a command: the first entry that it begins with."""
    text = shlex.join(command)
    return next((said for begins, said in table.items() if f"{text} ".startswith(f"{begins} ")), None)


def understood(command: list[str]) -> None:
    """Its program's own parser takes the words, and an option file that it names loads with them."""
    file = ROOT / command[1]
    spec = importlib.util.spec_from_file_location(f"command_{file.stem}", file)
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    parser = program.PARSER if hasattr(program, "PARSER") else program.make_parser()
    arguments = parser.parse_args(command[2:])
    if file.name in ("train.py", "test.py") and file.parent == ROOT and arguments.opt:
        from options import load_test, load_train

        load = load_train if file.name == "train.py" else load_test
        load(ROOT / arguments.opt, arguments.overrides)


@pytest.mark.parametrize("page", WITH_COMMANDS, ids=identity)
def test_options_are_understood(page, tmp_path, capsys):
    for command in commands(page, tmp_path, sys.executable):
        if command[0] == "make":
            words = ["make", "--dry-run", "--always-make", *command[1:]]
            done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            command = []
            for line in re.findall(r"python ((?:train|test)\.py .*)", done.stdout):
                understood(["python", *shlex.split(line)])
        try:
            if command:
                understood(command)
        except SystemExit:
            pytest.fail(f"{shlex.join(command)}\n{capsys.readouterr().err}")


def test_nothing_is_left_out_for_nothing(tmp_path):
    """Each entry of the two tables belongs to a command that stands on a page."""
    found = [command for page in WITH_COMMANDS for command in commands(page, tmp_path, sys.executable)]
    assert len(found) > 50
    for begins in (*NOT_RUN, *ADDED):
        assert [one for one in found if f"{shlex.join(one)} ".startswith(f"{begins} ")], begins


@pytest.fixture(scope="module")
def checkout(tmp_path_factory) -> Path:
    """A copy of the checkout with all the pictures that the pages speak of."""
    here = tmp_path_factory.mktemp("pages") / "checkout"
    left_out = (".git", ".venv", "datasets", "__pycache__", ".*_cache", "shared")

    def ignored(folder: str, names: list[str]) -> set[str]:
        runs = {name for name in names if Path(folder) == ROOT / "experiments" and name != "pretrained"}
        return shutil.ignore_patterns(*left_out)(folder, names) | runs

    shutil.copytree(ROOT, here, ignore=ignored)

    def write(name: str, k: int, height: int, width: int) -> None:
        picture = PHOTOS[k % len(PHOTOS)]()[(k * 3) % 40 :, (k * 7) % 100 :][:height, :width]
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.ascontiguousarray(picture)).save(here / name)

    write("beach.jpg", 0, 240, 320)
    write("cat.png", 1, 100, 120)
    write("dog.jpg", 2, 90, 120)
    for k in range(3):
        write(f"holiday/{k}.jpg", k, 80, 100)
        write(f"recipes/{k}.png", k + 1, 40, 40)
    for k in range(16):  # as many pairs as the rich detector needs
        write(f"covers/{k}.png", k, 128, 128)
    for k in range(30):
        write(f"pictures/{k:02}.png", k, 256, 256)
    for folder in ("DIV2K/DIV2K_train_HR", "DIV2K/DIV2K_valid_HR", "COCO/train2017", "ImageNet/val"):
        shutil.copytree(here / "pictures", here / "datasets" / folder)
    for k in range(5):
        for n, part in enumerate(("cover", "steg", "secret", "secret-rev")):
            write(f"image/{part}/{k}.png", k + n, 192, 192)
    (here / "notes.txt").write_text("Sunday: swim.\n")
    (here / "diary.txt").write_text("Monday: rain.\n")
    (here / "key").write_text("six random words are always safe\n")
    (here / "other").write_text("another six words for the decoy\n")
    return here


def as_run(command: list[str]) -> list[str]:
    """The command with real names for the page's placeholders, files for passphrases, and less to do."""
    words = [
        re.sub(r"^(.*=)?(\w+)$", lambda m: (m[1] or "") + MEANT.get(m[2], m[2]), word) for word in command
    ]
    if "--passphrase" in words:
        k = words.index("--passphrase")
        words[k : k + 1] = ["--passphrase-file", "key"]
        if "--decoy" in words:
            words += ["--decoy-passphrase-file", "other"]
    if words[1] in ("hide.py", "reveal.py") and "--list" not in words:
        words.append("--force")  # commands of one page write the same files
    return words + shlex.split(of(ADDED, command) or "")


@pytest.mark.slow
@pytest.mark.parametrize("page", WITH_COMMANDS, ids=identity)
def test_commands_run(page, checkout, tmp_path):
    called = [one for one in commands(page, tmp_path, sys.executable) if of(NOT_RUN, one) is None]
    if not called:
        pytest.skip("no command of this page is run here")
    here = tmp_path / "checkout"
    shutil.copytree(checkout, here)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    settings = os.environ | {"PATH": path, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    for command in called:
        words = as_run(command)
        if "what_arrived.jpg" in words:  # what a messenger made of the stego
            (stego,) = here.glob("stego.*")
            Image.open(stego).save(here / "what_arrived.jpg", quality=80)
        done = subprocess.run(words, cwd=here, env=settings, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, f"{shlex.join(words)}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
