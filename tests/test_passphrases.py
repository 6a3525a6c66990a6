"""hide.py and reveal.py with methods that need no weights, with and without a passphrase."""

import os
import pty
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.data import astronaut, chelsea, coffee

import hide as hide_py
import reveal as reveal_py
from container.header import Damaged, read_header, write_header
from container.keys import Key, new_nonce
from engine.command import MISTAKES, one_line
from engine.own.hiding import hide_files
from engine.own.revealing import reveal_files
from models import build_model
from models.keyed import Content, KeyedMethod
from tests.common import ROOT


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with cover.png, secrets of other sizes, and passphrase files; tests run in it."""
    monkeypatch.chdir(tmp_path)
    Image.fromarray(astronaut()[:120, :150]).save("cover.png")
    Image.fromarray(chelsea()[50:130, 100:170]).save("cat.jpg", quality=95)
    Image.fromarray(coffee()[100:150, 200:290]).save("a cup.png")
    (tmp_path / "right").write_text("the right one\nand a second line\n")
    (tmp_path / "wrong").write_text("the wrong one\n")
    (tmp_path / "empty").write_text("\nfoo\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00\xd8")
    return tmp_path


@pytest.fixture
def run(here, capsys):
    """Run hide.py or reveal.py as `command` does, but in this process: a tenth of the time."""

    def inside(script, words):
        code = 0
        try:
            script.main(script.PARSER.parse_args([str(word) for word in words]))
        except MISTAKES as error:
            print(one_line(error), file=sys.stderr)
            code = 2
        except SystemExit as error:
            code = error.code
        shown = capsys.readouterr()
        return SimpleNamespace(returncode=code, stdout=shown.out, stderr=shown.err)

    return inside


def hide(run, *more, weights="codec_lsb", out="s.png", cover="cover.png", secrets=("cat.jpg", "a cup.png")):
    words = ["--weights", weights, "--cover", cover, "--secrets", *secrets, "--out", out]
    return run(hide_py, [*words, *more])


def reveal(run, *more, weights="codec_lsb", stego="s.png", out="out"):
    return run(reveal_py, ["--weights", weights, "--stego", stego, "--out", out, *more])


def refused(done, message):
    assert done.returncode == 2 and done.stdout == "", done.stdout
    assert message in done.stderr and done.stderr.count("\n") == 1, done.stderr


def test_with_a_passphrase(run, here):
    done = hide(run, "--passphrase-file", "right")
    assert done.returncode == 0 and "--passphrase-file right" in done.stdout, done.stderr
    assert "anyone" not in done.stdout and "the right one" not in done.stdout + done.stderr
    done = reveal(run, "--passphrase-file", "right")
    assert done.returncode == 0, done.stderr
    files = sorted((here / "out").iterdir())
    assert [f.name for f in files] == ["a cup.png", "cat.png"]
    cup = np.asarray(Image.open(files[0])).astype(float)
    assert np.square(cup - coffee()[100:150, 200:290]).mean() < 20

    refused(reveal(run, "--passphrase-file", "right"), "exists already; --force replaces it")
    refused(reveal(run, out="new"), "s.png: hidden under a key (or the first rows")
    refused(
        reveal(run, "--passphrase-file", "wrong", out="new"),
        "s.png: hidden under another key (or the first rows",
    )
    refused(reveal(run, "--passphrase-file", "empty", out="new"), "empty: the first line is empty")
    refused(reveal(run, "--passphrase-file", "binary", out="new"), "binary: not a text file in UTF-8")
    refused(reveal(run, "--passphrase-file", "none", out="new"), "none: No such file")
    refused(reveal(run, "--passphrase-file", "right", "--passphrase", out="new"), "not allowed with")

    stego = np.array(Image.open("s.png"))
    for name, row, col in (("first", 0, 0), ("middle", 60, 70), ("last", -1, -1)):
        changed = stego.copy()
        changed[row, col, 1] += 1 if changed[row, col, 1] < 255 else -1
        Image.fromarray(changed).save(f"{name}.png")
        done = reveal(run, "--passphrase-file", "right", stego=f"{name}.png", out="new")
        refused(done, f"{name}.png: changed after hiding")
    Image.fromarray(stego).save("lossy.jpg", quality=95)
    Image.open("lossy.jpg").save("lossy.png")
    Image.fromarray(stego).resize((100, 100)).save("small.png")
    Image.fromarray(stego[:60]).save("half.png")
    for name, message in (
        ("lossy.jpg", "a JPEG file"),
        ("lossy.png", "nothing is hidden here, or the hidden data was lost (recompressed"),
        ("small.png", "nothing is hidden here, or the hidden data was lost (recompressed, resized"),
        ("half.png", "cut or resized after hiding, from 150x120 to 150x60"),
        ("cover.png", "nothing is hidden here"),
    ):
        refused(reveal(run, "--passphrase-file", "right", stego=name, out="new"), f"{name}: {message}")
    assert not (here / "new").exists()


def test_without_a_passphrase_it_is_said_who_can_reveal(run, here):
    done = hide(run)
    assert done.returncode == 0 and "anyone who has this program can reveal" in done.stdout, done.stderr
    refused(
        reveal(run, "--passphrase-file", "right"),
        "hidden without a key: reveal it without --passphrase and --keyfile",
    )
    assert reveal(run).returncode == 0
    # Names that are twice there, one with bars around it in other methods: kept apart.
    done = hide(run, "--unmarked", out="t.png", secrets=("cat.jpg", "cat.jpg"))
    assert done.returncode == 0, done.stderr
    assert reveal(run, stego="t.png", out="twice").returncode == 0
    assert sorted(os.listdir("twice")) == ["cat.png", "cat_2.png"]


def test_the_sender_chooses_the_modulus(run, here):
    done = hide(run, "--modulus", "4")
    assert done.returncode == 0, done.stderr
    assert 45 < float(done.stdout.split("PSNR to the cover ")[1].split()[0]) < 52
    assert reveal(run).returncode == 0 and len(os.listdir("out")) == 2


def test_the_default_needs_no_weights_and_the_reveal_command_says_none(run, here):
    words = ["--cover", "cover.png", "--secrets", "cat.jpg", "a cup.png", "--out", "s.png"]
    done = run(hide_py, words)
    assert done.returncode == 0, done.stderr
    assert "reveal:    python reveal.py --stego s.png --out revealed" in done.stdout
    done = run(hide_py, [*words, "--force", "--experiments", "runs"])
    assert "reveal:    python reveal.py --experiments runs --stego s.png --out revealed" in done.stdout
    assert run(reveal_py, ["--stego", "s.png", "--out", "out"]).returncode == 0
    assert sorted(os.listdir("out")) == ["a cup.png", "cat.png"]


def test_an_unmarked_stego_without_its_key_is_told_of(run, here):
    done = hide(run, "--unmarked", "--passphrase-file", "right")
    assert done.returncode == 0, done.stderr
    for words, missing in (((), "needs a --passphrase"), (("--passphrase-file", "wrong"), "needs another")):
        done = run(reveal_py, ["--stego", "s.png", "--out", "out", *words])
        refused(done, "s.png: nothing is hidden here")
        refused(done, f"it is unmarked and {missing}")
        refused(done, "say which with --weights")


def test_the_sender_chooses_the_shaping_and_the_payload(run, here):
    scores = {}
    for words, said in (
        ((), "changes:   modulo 12, shaped by a trellis of 64 states"),
        (("--shaping", "8"), "changes:   modulo 12, shaped by a trellis of 8 states"),
        (("--shaping", "0"), "changes:   modulo 12, not shaped\n"),
        (("--modulus", "11"), "changes:   modulo 11, not shaped (a trellis needs an even modulus)"),
        (("--payload", "1.5"), "changes:   modulo 12, shaped by a trellis of 64 states"),
    ):
        done = hide(run, "--force", *words)
        assert done.returncode == 0 and said in done.stdout, done.stderr
        scores[words] = float(done.stdout.split("PSNR to the cover ")[1].split()[0])
        assert reveal(run, out=f"out{len(scores)}").returncode == 0
    assert scores[()] > scores["--shaping", "8"] + 0.05 > scores["--shaping", "0"] + 1
    assert scores["--payload", "1.5"] > scores[()] + 3
    for words, message in (
        (("--shaping", "7"), "shaping: must be one of 0, 8, 64, 256 states, got 7"),
        (("--shaping", "64", "--modulus", "11"), "shaping: needs an even modulus from 2 to 128, got 11"),
        (("--payload", "0"), "payload: must be above 0 bits a pixel"),
        (("--payload", "0.01"), "cover.png: payload: nothing fits into 0.01 bits a pixel of this cover; "),
    ):
        refused(hide(run, *words, out="z.png"), message)
    lsb = dict(weights="lsb", out="z.png", secrets=("cat.jpg",))
    refused(hide(run, "--shaping", "8", **lsb), "shaping: 'lsb' has no such setting")
    refused(hide(run, "--payload", "1", **lsb), "payload: 'lsb' has no such setting")


def test_what_was_revealed_of_a_changed_stego_is_not_vouched_for(run, here):
    assert hide(run, "--modulus", "4", "--shaping", "0").returncode == 0
    done = reveal(run, "--damaged", out="whole")
    assert done.returncode == 0 and "may be wrong" not in done.stdout
    changed = np.array(Image.open("s.png"))
    value = int(changed[-1, -1, 1])
    changed[-1, -1, 1] = value + 4 if value < 128 else value - 4  # by the modulus: its digit stays
    Image.fromarray(changed).save("c.png")
    refused(reveal(run, stego="c.png", out="new"), "c.png: changed after hiding")
    done = reveal(run, "--damaged", stego="c.png", out="new")
    assert done.returncode == 0 and "what was revealed may be wrong" in done.stdout
    assert len(os.listdir("new")) == 2


def test_mistakes(run, here):
    Image.fromarray(astronaut()[:20, :20]).save("tiny.png")
    done = hide(run, cover="tiny.png")
    refused(done, "tiny.png: the cover is too small for these secrets (2): ")
    numbers = [int(word) for word in done.stderr.split() if word.isdigit()]
    fit, needed = numbers
    assert 0 < fit < needed
    refused(hide(run, "--passphrase-file", "right", weights="lsb", secrets=("cat.jpg",)), "'lsb' has no key")
    refused(
        hide(run, "--unmarked", weights="lsb", secrets=("cat.jpg",)),
        "methods with a key are: smilenet_l, codec_lsb",
    )
    assert hide(run, weights="lsb", secrets=("cat.jpg",)).returncode == 0
    refused(reveal(run, "--damaged", weights="lsb"), "--damaged: 'lsb' has no key")
    assert reveal(run, weights="lsb").returncode == 0
    assert os.listdir("out") == ["secret_01.png"]
    refused(
        hide(run, "--modulus", "8", weights="lsb", out="z.png", secrets=("cat.jpg",)),
        "modulus: 'lsb' has no such setting",
    )
    refused(hide(run, "--modulus", "99", out="z.png"), "modulus: must be a whole number of grey levels")
    refused(hide(run, weights="no", out="z.png"), "without weights: lsb, codec_lsb")


def test_the_first_line_of_a_passphrase_file_ends_at_a_line_feed(run, here):
    odd = "one\u2028two\x85three\x0bfour"
    (here / "odd").write_text(f"{odd}\r\nsecond line", encoding="utf-8")
    assert hide(run, "--passphrase-file", "odd").returncode == 0
    reveal_files(build_model("codec_lsb"), "s.png", "out", key=Key(odd))
    with pytest.raises(ValueError, match="another key"):
        reveal_files(build_model("codec_lsb"), "s.png", "other", key=Key("one"))


@pytest.mark.parametrize("out", ["s.png", "s.tif"])
def test_the_covers_colours_are_kept(run, here, out):
    profile = bytes(16) + b"RGB " + b"Display P3" * 30
    Image.open("cover.png").save("wide.jpg", quality=95, icc_profile=profile)
    assert hide(run, cover="wide.jpg", out=out).returncode == 0
    with Image.open(out) as stego:
        assert stego.info["icc_profile"] == profile
    assert reveal(run, stego=out).returncode == 0


def typed(words, answers):
    """Run a command at a terminal of its own and type the answers: (exit code, all that it showed)."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
        os.execv(sys.executable, [sys.executable, *words])
    shown = b""
    answers = list(answers)
    while True:
        try:
            shown += os.read(terminal, 1000)
        except OSError:  # the command is done and has closed its end
            break
        if answers and shown.endswith((b"passphrase: ", b"again: ")):
            os.write(terminal, answers.pop(0) + b"\n")
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown.decode()


@pytest.mark.slow
def test_a_passphrase_that_is_typed_is_not_shown(here):
    words = ["--weights", "codec_lsb", "--passphrase", "--cover", "cover.png", "--secrets", "cat.jpg"]
    words = [f"{ROOT}/hide.py", *words, "--out", "s.png"]
    code, shown = typed(words, [b"the right one", b"the rihgt one"])
    assert code == 2 and "the two passphrases differ" in shown and not (here / "s.png").exists()
    code, shown = typed(words, [b"the right one"] * 2)
    assert code == 0 and "right one" not in shown, shown
    words = [f"{ROOT}/reveal.py", *words[1:4], "--stego", "s.png", "--out", "out"]
    code, shown = typed(words, [b""])
    assert code == 2 and "an empty passphrase protects nothing" in shown
    code, shown = typed(words, [b"the right one"])
    assert code == 0 and os.listdir("out") == ["cat.png"], shown


def test_no_terminal(command, here):
    words = ["--weights", "codec_lsb", "--cover", "cover.png", "--secrets", "cat.jpg", "--out", "s.png"]
    done = command("hide.py", *words, "--passphrase", preexec=os.setsid)
    refused(done, "--passphrase asks at a terminal, but there is none; use --passphrase-file")


def test_python_door(here):
    done = torch.hub.load(
        str(ROOT), "hide", "codec_lsb", "cover.png", ["cat.jpg"], "s.png", passphrase="x", source="local"
    )
    assert done.empty == 0 and done.psnr > 36
    with pytest.raises(ValueError, match="s.png: hidden under a key"):
        torch.hub.load(str(ROOT), "reveal", "codec_lsb", "s.png", "out", source="local")
    back = torch.hub.load(str(ROOT), "reveal", "codec_lsb", "s.png", "out", passphrase="x", source="local")
    assert [path.name for path in back.written] == ["cat.png"]


@pytest.mark.slow
def test_a_test_file_without_weights(command, here, pictures):
    sets = f'data.test=[{{"name":"small","folder":"{pictures}","crop":64,"groups":1}}]'
    words = ["-opt", f"{ROOT}/options/test/codec_lsb_4.yml", "--set", sets]
    done = command("test.py", *words)
    assert done.returncode == 0 and "secret/revealed" in done.stdout, done.stderr
    done = command("test.py", *words, "--set", "weights=lsb")
    refused(done, "'lsb' is a method without weights, expected weights of 'codec_lsb'")


def test_there_is_nothing_to_train(command):
    words = ["-opt", f"{ROOT}/options/train/quickstart.yml", "--set", "network.type=codec_lsb"]
    refused(command("train.py", *words), "'codec_lsb' has nothing to train: hide with python hide.py")


class Fitted(KeyedMethod):
    """A keyed method whose secrets have the cover's size, as networks have: it keeps them in its hand."""

    num_secrets, method, arguments = 3, "fitted", {}
    fingerprint = b"12345678"

    def _seal(self, cover, content, key, marked):
        self.kept, nonce = content, new_nonce()
        samples = cover.permute(1, 2, 0).numpy().copy().reshape(-1)
        write_header(
            samples,
            cover.shape[1:],
            key.derive(nonce),
            nonce,
            "fitted",
            self.fingerprint,
            content.note,
            marked,
        )
        return torch.from_numpy(samples.reshape(*cover.shape[1:], 3)).permute(2, 0, 1)

    def _unseal(self, stego, key, damaged_ok):
        samples = stego.permute(1, 2, 0).numpy().copy().reshape(-1)
        header = read_header(samples, stego.shape[1:], key, "fitted", self.fingerprint, damaged_ok)
        return Content(self.kept.secrets, header.note)


@pytest.mark.parametrize("fit", ["stretch", "pad"])
def test_fitted_secrets_come_back_at_their_own_sizes(here, fit):
    net, key = Fitted(), Key("x")
    done = hide_files(net, "cover.png", ["cat.jpg", "a cup.png"], "s.png", fit, key=key)
    assert done.empty == 1 and len(done.resized) == 2
    back = reveal_files(net, "s.png", "out", key=key)
    assert [path.name for path in back.written] == ["secret_01.png", "secret_02.png"] and not back.empty
    for path, name in zip(back.written, ("cat.jpg", "a cup.png"), strict=True):
        ours, theirs = (np.asarray(Image.open(p)).astype(float) for p in (path, name))
        assert ours.shape == theirs.shape and np.square(ours - theirs).mean() < 30
    changed = np.array(Image.open("s.png"))
    changed[50, 50, 0] ^= 1
    Image.fromarray(changed).save("c.png")
    with pytest.raises(Damaged, match="c.png: changed after hiding"):
        reveal_files(net, "c.png", "o2", key=key)
    assert not reveal_files(net, "s.png", "o1", key=key, damaged_ok=True).damaged
    back = reveal_files(net, "c.png", "o2", key=key, damaged_ok=True)
    assert len(back.written) == 2 and back.damaged


@pytest.mark.parametrize("out, what", [("cover.png", "the cover"), ("a cup.png", "a secret")])
def test_nobody_loses_a_picture(run, here, out, what):
    before = (here / out).read_bytes()
    refused(hide(run, "--force", out=out), f"this file is {what}")
    assert (here / out).read_bytes() == before
