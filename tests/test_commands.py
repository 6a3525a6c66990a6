"""The commands as a person runs them: what they write, and what they say of a mistake."""

import os
import re
import resource
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from engine.states import load_state


def error(done, message: str) -> None:
    """Exit code 2 and one line on stderr that says `message`; no traceback."""
    assert done.returncode == 2, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert message in lines[-1] and "Traceback" not in done.stderr, done.stderr
    assert len(lines) == 1, done.stderr


@pytest.fixture
def trained(train_file, command, tmp_path):
    """A tiny trained run named `tiny`."""
    done = command("train.py", "-opt", train_file())
    assert done.returncode == 0, done.stderr
    return tmp_path / "runs/tiny"


@pytest.mark.slow
def test_train_test_hide_reveal(trained, command, tmp_path, pictures):
    test_file = tmp_path / "test.yml"
    content = {
        "name": "tiny",
        "weights": "tiny",
        "data": {"test": [{"name": "small", "folder": str(pictures), "crop": 32, "groups": 2}]},
    }
    test_file.write_text(yaml.safe_dump(content))
    done = command("test.py", "-opt", test_file)
    assert done.returncode == 0 and "secret/revealed" in done.stdout, done.stderr
    assert (trained / "results/small/metrics.json").exists()

    # Odd sizes, a JPEG cover, one secret less than there is room for, a grey one.
    Image.open(pictures / "a0.png").resize((61, 47)).save(tmp_path / "cover.jpg")
    Image.open(pictures / "b0.png").convert("L").save(tmp_path / "grey.png")
    words = ["--weights", "tiny", "--cover", "cover.jpg", "--secrets", "grey.png", "--out", "stego.png"]
    done = command("hide.py", *words)
    assert done.returncode == 0 and " dB" in done.stdout, done.stderr
    assert "1 of 2 places are empty" in done.stdout
    with Image.open(tmp_path / "stego.png") as stego:
        assert stego.size == (61, 47) and stego.mode == "RGB" and not stego.info

    reveal = ["reveal.py", "--weights", "tiny", "--stego", "stego.png", "--out", "out", "--all"]
    done = command(*reveal)
    assert done.returncode == 0, done.stderr
    files = sorted((tmp_path / "out").iterdir())
    assert [f.name for f in files] == ["secret_01.png", "secret_02.png"]
    assert Image.open(files[0]).size == (61, 47)
    first = [f.read_bytes() for f in files]
    done = command(*reveal, "--force")
    assert done.returncode == 0 and [f.read_bytes() for f in files] == first

    error(command("hide.py", *words), "stego.png: exists already; --force replaces it")
    error(command(*reveal), "secret_01.png: exists already")


@pytest.fixture
def test_file(tmp_path, pictures):
    """An option file that tests codec_lsb on one group, in the run `coded`."""
    content = {
        "name": "coded",
        "weights": "codec_lsb",
        "network": {"type": "codec_lsb", "num_secrets": 2},
        "data": {"test": [{"name": "small", "folder": str(pictures), "crop": 32, "groups": 1}]},
    }
    (tmp_path / "coded.yml").write_text(yaml.safe_dump(content))
    return tmp_path / "coded.yml"


def test_what_ends_a_test_is_in_its_log(command, test_file, tmp_path, pictures):
    (tmp_path / "broken").mkdir()
    for path in pictures.glob("*.png"):
        content = path.read_bytes()
        (tmp_path / "broken" / path.name).write_bytes(content[: len(content) // 2])
    done = command("test.py", "-opt", test_file, "--set", f"data.test.0.folder={tmp_path / 'broken'}")
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    log = (tmp_path / "runs/coded/test.log").read_text()
    assert log.splitlines()[-1].endswith(done.stderr.splitlines()[-1].removeprefix("test.py: "))
    assert "damaged or cut short" in log and "Traceback" not in log


def test_two_tests_of_one_name_at_a_time(command, test_file, tmp_path):
    options = tmp_path / "runs/coded/test_options.yml"
    first = command("test.py", "-opt", test_file, background=True)
    while not options.exists() and first.poll() is None:
        time.sleep(0.02)
    first.send_signal(signal.SIGSTOP)
    before = options.read_text()
    refused = command("test.py", "-opt", test_file, "--set", "save_images=0")
    first.send_signal(signal.SIGCONT)
    error(refused, "another test of this name is running; wait until it ends or change `name`")
    assert options.read_text() == before
    _, said = first.communicate(timeout=120)
    assert first.returncode == 0, said
    folder = tmp_path / "runs/coded/results/small"
    assert (folder / "report.html").exists() and list(folder.parent.iterdir()) == [folder]


@pytest.mark.slow
def test_kill_and_resume_ends_with_the_same_weights(command, train_file, tmp_path):
    whole = command("train.py", "-opt", train_file("whole", steps=40, checkpoint_every=3))
    assert whole.returncode == 0, whole.stderr
    file = train_file("killed", steps=40, checkpoint_every=3)
    state = tmp_path / "runs/killed/checkpoints/last.state"
    process = command("train.py", "-opt", file, background=True)
    deadline = time.monotonic() + 120
    while not (state.exists() and load_state(state)["step"] >= 6) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL and load_state(state)["step"] < 40
    done = command("train.py", "-opt", file, "--resume")
    assert done.returncode == 0, done.stderr
    ours, theirs = load_state(state), load_state(tmp_path / "runs/whole/checkpoints/last.state")
    assert ours["step"] == theirs["step"] == 40
    assert all(torch.equal(ours["model"][name], value) for name, value in theirs["model"].items())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_exits_cleanly(command, train_file, tmp_path, number):
    process = command("train.py", "-opt", train_file(steps=100000, validate_every=100000), background=True)
    state = tmp_path / "runs/tiny/checkpoints/last.state"
    deadline = time.monotonic() + 120
    while not (state.exists() and load_state(state)["step"] >= 2) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0 and "Traceback" not in err, err
    assert f"{number.name}: saved at step {load_state(state)['step']} of 100000" in out


@pytest.mark.slow
@pytest.mark.parametrize("validation, file", [("null", "last.state"), (None, "tb|images/.*png")])
def test_full_disk_keeps_the_old_checkpoint(command, train_file, tmp_path, validation, file):
    assert command("train.py", "-opt", train_file()).returncode == 0
    folder = tmp_path / "runs/tiny/checkpoints"
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    limit = len(before["last.state"]) // 2

    def small_disk():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    words = ["--resume"] + (["--set", f"data.validate={validation}"] if validation else [])
    words += ["--set", "train.checkpoint_every=100"] if file != "last.state" else []
    done = command("train.py", "-opt", train_file(steps=8), *words, preexec=small_disk)
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    last = done.stderr.splitlines()[-1]
    assert re.search(rf"{file}: could not be written \(File too large\)", last), last
    kept = {p.name: p.read_bytes() == before.get(p.name) for p in folder.iterdir()}
    assert kept == dict.fromkeys(before, True)  # names alone: pytest would compare megabytes letter by letter


@pytest.mark.slow
def test_two_runs_of_one_name_at_a_time(command, train_file, tmp_path):
    file = train_file(steps=100000, validate_every=100000)
    process = command("train.py", "-opt", file, background=True)
    state = tmp_path / "runs/tiny/checkpoints/last.state"
    while not state.exists() and process.poll() is None:
        time.sleep(0.05)
    for words in ((), ("--resume",)):
        error(command("train.py", "-opt", file, *words), "another run is writing there")
    assert process.poll() is None
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == 0 and state.exists()


def test_mistakes_in_an_option_file(command, train_file, tmp_path):
    file = train_file()
    file.write_text(file.read_text().replace("  lr: 0.001", "  lrr: fast\n  batch_size: x"))
    done = command("train.py", "-opt", file)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "train.lrr: unknown key, did you mean 'lr'?" in done.stderr
    assert "train.batch_size: expected an integer" in done.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    "overrides, message",
    [
        (["network.type=smilnet"], "unknown method 'smilnet'"),
        (["data.train.crop=15"], "15 is not a multiple of 2"),
        (["data.train.folder=nowhere"], "nowhere: no such folder"),
        (
            ["network.cols=9", "data.train.crop=36", "data.validate=null"],
            "a group needs 1 cover + 9 secrets = 10 pictures",
        ),
        (["device=cuda"], "no CUDA device was found"),
    ],
)
def test_mistakes_that_training_finds(command, train_file, tmp_path, overrides, message):
    words = [word for override in overrides for word in ("--set", override)]
    error(command("train.py", "-opt", train_file(), *words), message)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("workers", [0, 1])
def test_a_broken_picture_is_named(command, train_file, tmp_path, pictures, workers):
    folder = tmp_path / "broken"
    folder.mkdir()
    for path in pictures.glob("*.png"):
        content = path.read_bytes()
        (folder / path.name).write_bytes(content[: len(content) // 2])
    words = ["--set", f"data.train.folder={folder}", "--set", f"data.train.workers={workers}"]
    done = command("train.py", "-opt", train_file(), *words, "--set", "data.validate=null")
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr
    last = done.stderr.splitlines()[-1]
    assert "broken/" in last and ".png: " in last
    log = (tmp_path / "runs/tiny/train.log").read_text().splitlines()
    assert log[-1].endswith(last.removeprefix("train.py: ")) and not any("Traceback" in line for line in log)


def test_a_failure_of_the_program_is_in_the_log(command, train_file, tmp_path):
    done = command("train.py", "-opt", train_file(steps=100, lr=1e30))
    assert done.returncode == 1
    traceback = done.stderr[done.stderr.index("Traceback (most recent call last)") :]
    assert (
        "\nRuntimeError: gave up: still diverging after 8 returns to a checkpoint; try a lower" in traceback
    )
    log = (tmp_path / "runs/tiny/train.log").read_text()
    assert "Traceback (most recent call last)" in log and log.splitlines()[-1] == traceback.splitlines()[-1]


@pytest.mark.slow
def test_mistakes_in_hiding(trained, command, tmp_path, pictures):
    a, b, c = (str(pictures / name) for name in ("a0.png", "b0.png", "c0.png"))
    (tmp_path / "text.png").write_text("not a picture")
    (tmp_path / "cut.png").write_bytes((pictures / "a0.png").read_bytes()[:900])
    (tmp_path / "empty").mkdir()
    Image.fromarray(np.zeros((3, 90, 3), np.uint8)).save(tmp_path / "low.png")
    (tmp_path / "evil.pt").write_bytes(b"\x80\x04c__builtin__\neval\n.")

    def hide(weights="tiny", cover=a, secrets=(b,), out="s.png", *more):
        return command(
            "hide.py", "--weights", weights, "--cover", cover, "--secrets", *secrets, "--out", out, *more
        )

    cases = [
        (hide(out="s.jpg"), "must be lossless"),
        (hide(secrets=(a, b, c)), "3 secrets, but these weights of 'smilenet' hide at most 2"),
        (hide(cover="no.png"), "no.png"),
        (hide(secrets=("no.png",)), "no.png: no such picture"),
        (hide(cover="text.png"), "text.png"),
        (hide(secrets=("cut.png",)), "cut.png"),
        (hide(secrets=("empty",)), "empty: no pictures in it"),
        (hide(cover="low.png"), "low.png: 90x3 pixels are too few"),
        (hide(weights="tny"), "weights 'tny': no such file, run or pretrained network; there are: tiny"),
        (hide(weights="evil.pt"), "evil.pt: not a whole safetensors file"),
        (hide(out="nowhere/s.png"), "nowhere: no such folder"),
        (
            hide("codec_lsb", a, (b,), "s.png", "--precision", "bf16"),
            "precision bf16: 'codec_lsb' has no network",
        ),
    ]
    for done, message in cases:
        error(done, message)
    assert not list(tmp_path.glob("*.part")) and not (tmp_path / "s.png").exists()
    reveal = ["reveal.py", "--weights", "tiny", "--out", "out", "--stego"]
    error(command(*reveal, "low.png"), "low.png: 90x3 pixels; a stego of these weights has at least")
    Image.open(a).save(tmp_path / "stego.jpg")
    error(command(*reveal, "stego.jpg"), "stego.jpg: a JPEG file in mode RGB is not what hide.py wrote")
    assert not (tmp_path / "out").exists()


def test_python_door(trained, tmp_path, monkeypatch, pictures):
    import engine.checkpoint

    monkeypatch.setattr(engine.checkpoint.load_model, "__defaults__", ("cpu", tmp_path / "runs", None))
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    net = torch.hub.load(root, "load", "tiny", "cpu", source="local")
    cover = torch.zeros(1, 3, 20, 24, dtype=torch.uint8)
    assert net.reveal(net.hide(cover, cover[:, None])).shape == (1, 2, 3, 20, 24)
    assert torch.hub.load(root, "smilenet", rows=1, cols=3, growth=4, source="local").num_secrets == 3
    a, b = str(pictures / "a0.png"), str(pictures / "b0.png")
    done = torch.hub.load(root, "hide", "tiny", a, [b], str(tmp_path / "s.png"), source="local")
    assert done.stego.exists() and done.empty == 1
    stego, out = str(tmp_path / "s.png"), str(tmp_path / "o")
    back = torch.hub.load(root, "reveal", "tiny", stego, out, True, True, source="local")
    assert len(back.written) == 2
    with pytest.raises(ValueError, match="hide 2 secrets, expected 25"):
        torch.hub.load(root, "smilenet_25", "tiny", source="local")


@pytest.mark.parametrize("script", ["train.py", "test.py", "hide.py", "reveal.py"])
def test_help_teaches(command, script):
    done = command(script, "--help")
    assert done.returncode == 0 and "example" in done.stdout and "python " in done.stdout


@pytest.mark.parametrize("script", ["train.py", "test.py", "hide.py", "reveal.py"])
def test_help_is_quick(command, script):
    """Within 0.5 s of CPU time: torch alone takes 1.5 s to import."""

    def seconds() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert command(script, "--help").returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(seconds() for _ in range(3)) < 0.5
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    code = f"import sys; sys.path.insert(0, {root!r}); import {script[:-3]}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=60)
    assert done.stdout == "False\n", done.stderr


@pytest.mark.parametrize("script", ["train.py", "test.py"])
def test_help_options(command, script):
    done = command(script, "--help-options")
    assert done.returncode == 0 and "seed" in done.stdout and "[px]" in done.stdout
