"""Weights are data, never code; files are whole or the old ones."""

import errno
import os
import pickle

import pytest
import torch
from safetensors.torch import save_file

from data.files import write_beside
from engine import checkpoint
from engine.checkpoint import (
    default_weights,
    find_weights,
    load_model,
    load_state,
    save_state,
    save_weights,
    sha256,
    start_from,
    weights_that_hid,
)
from models import build_model

ARGUMENTS = dict(rows=1, cols=2, icdm_blocks=1, imse_blocks=1, growth=4, sis_blocks=0, sde_blocks=0)


class Bomb:
    """A pickle that leaves a trace when it is executed."""

    def __init__(self, trace):
        self.trace = str(trace)

    def __reduce__(self):
        return os.mkdir, (self.trace,)


@pytest.fixture
def weights(tmp_path):
    model = build_model("smilenet", **ARGUMENTS)
    path = tmp_path / "net.safetensors"
    save_weights(path, model, step=7)
    return path, model


def test_weights_round_trip(weights):
    path, model = weights
    loaded, about = load_model(path)
    assert about["step"] == "7" and len(about["sha256"]) == 64
    theirs = model.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in loaded.state_dict().items())


def test_truncated_weights(weights):
    path, _ = weights
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="net.safetensors: not a whole safetensors file"):
        load_model(path)


def test_a_pickle_is_refused_and_not_executed(tmp_path):
    trace = tmp_path / "executed"
    for name, content in (("a.pth", pickle.dumps(Bomb(trace))), ("b.safetensors", pickle.dumps(Bomb(trace)))):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match="not a whole safetensors file .*pickles are not opened"):
            load_model(tmp_path / name)
    torch.save({"model": Bomb(trace)}, tmp_path / "last.state")
    with pytest.raises(ValueError, match="not executed"):
        load_state(tmp_path / "last.state")
    assert not trace.exists()


def test_weights_of_another_method(weights):
    path, _ = weights
    with pytest.raises(ValueError, match="weights of 'smilenet', expected 'hinet'"):
        load_model(path, expect=("hinet", {}))
    with pytest.raises(ValueError, match="another 'smilenet': cols=2 instead of 5"):
        load_model(path, expect=("smilenet", {"rows": 1, "cols": 5}))


def test_a_deeper_network_starts_as_the_one_it_starts_from(tmp_path):
    arguments = dict(ARGUMENTS, sis_blocks=1, sis_width=4, sde_blocks=1, sde_width=4)
    old = build_model("smilenet", **arguments)
    with torch.no_grad():
        for p in old.parameters():
            p.add_(0.05 * torch.randn_like(p))
    save_weights(tmp_path / "old.safetensors", old)
    new = build_model("smilenet", **arguments | {"icdm_blocks": 3, "sis_blocks": 2, "sde_blocks": 4})
    done = start_from(new, tmp_path / "old.safetensors")
    total, taken = len(new.state_dict()), len(old.state_dict())
    assert f"{taken} tensors taken, {total - taken} fresh; " in done and total > taken
    assert done.endswith("icdm_blocks: 1 -> 3, sis_blocks: 1 -> 2, sde_blocks: 1 -> 4")
    cover, secrets = torch.rand(1, 3, 16, 18), torch.rand(1, 2, 3, 16, 18)
    with torch.no_grad():
        ours, theirs = new(cover, secrets), old(cover, secrets)
    assert torch.equal(ours.stego, theirs.stego) and torch.equal(ours.revealed, theirs.revealed)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"growth": 6}, r"icdm.blocks.0.* is [0-9x]+ there and [0-9x]+ in this network"),
        ({"rows": 2, "cols": 1}, r"weights of another mosaic \(rows: 1 -> 2, cols: 2 -> 1\)"),
        ({"icdm_blocks": 0}, "it has icdm.blocks.0.* which this network lacks"),
    ],
)
def test_weights_that_a_network_cannot_start_from(weights, changes, message):
    with pytest.raises(ValueError, match=message):
        start_from(build_model("smilenet", **ARGUMENTS | changes), weights[0])
    with pytest.raises(ValueError, match="weights of 'smilenet'; start_from needs weights of 'hinet'"):
        start_from(build_model("hinet"), weights[0])


def test_weights_do_not_depend_on_the_modulus(tmp_path):
    sizes = dict(rows=1, cols=2, growth=2, icdm_blocks=1, sis_blocks=0, sde_blocks=0, condition=0)
    save_weights(tmp_path / "l.safetensors", build_model("smilenet", embedding="lattice", **sizes))
    model, _ = load_model(tmp_path / "l.safetensors", expect=("smilenet", {"rows": 1, "modulus": 7}))
    assert model.modulus == 7 and load_model(tmp_path / "l.safetensors")[0].modulus == 12


def test_foreign_safetensors(tmp_path):
    save_file({"a": torch.zeros(2)}, tmp_path / "x.safetensors")
    with pytest.raises(ValueError, match="not weights that this project wrote"):
        load_model(tmp_path / "x.safetensors")


def test_names(tmp_path, weights):
    path, model = weights
    best = tmp_path / "runs/mine/checkpoints/best.safetensors"
    shipped = tmp_path / "runs/pretrained/theirs/theirs.safetensors"
    for place in (best, best.with_name("last.safetensors"), shipped):
        save_weights(place, model)
    assert find_weights("mine", tmp_path / "runs") == best
    assert find_weights("theirs", tmp_path / "runs") == shipped
    assert find_weights(str(path), tmp_path / "runs") == path
    with pytest.raises(ValueError, match="'yours': no such file, .*there are: mine, theirs"):
        find_weights("yours", tmp_path / "runs")


def test_state_round_trip_with_random_generators(tmp_path):
    save_state(tmp_path / "s", {"random": checkpoint.random_state(), "x": torch.arange(3), "best": -1.5})
    expected = torch.rand(3)
    loaded = load_state(tmp_path / "s")
    checkpoint.set_random_state(loaded["random"])
    assert torch.equal(torch.rand(3), expected) and loaded["best"] == -1.5


def test_truncated_state(tmp_path):
    save_state(tmp_path / "s", {"x": torch.arange(1000)})
    (tmp_path / "s").write_bytes((tmp_path / "s").read_bytes()[:-500])
    with pytest.raises(ValueError, match="not a whole training state"):
        load_state(tmp_path / "s")


def test_full_disk_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_beside(path, b"old")

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="written .No space left on device.; the one that is there"):
        write_beside(path, b"new")
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


# --- shipped weights --------------------------------------------------------------------------------


@pytest.fixture
def pretrained(tmp_path):
    """Two tiny SMILENet-L, for 2 and 4 secrets, as they are shipped: {name: weights file}."""
    tiny = dict(embedding="lattice", condition=0, icdm_blocks=0, sis_blocks=0, sde_blocks=0)
    files = {}
    for count in (2, 4):
        name = f"smilenet_l_{count}"
        file = tmp_path / "pretrained" / name / f"{name}.safetensors"
        save_weights(file, build_model("smilenet", rows=count // 2, cols=2, **tiny))
        file.with_name("SHA256SUMS").write_text(f"{sha256(file)}  {file.name}\n")
        files[name] = file
    return files


def test_the_smallest_shipped_network_that_holds_the_secrets(pretrained, tmp_path):
    two, four = pretrained.values()
    assert [default_weights(n, tmp_path) for n in (1, 2, 3, 4)] == [two, two, four, four]
    with pytest.raises(ValueError, match=r"secrets: 5; .*smilenet_l_4 \(4\).*codec_lsb"):
        default_weights(5, tmp_path)


def test_weights_are_found_by_what_a_stego_says(pretrained, tmp_path):
    model, _ = load_model("smilenet_l_4", experiments=tmp_path)
    assert weights_that_hid("smilenet", model.fingerprint, tmp_path) == str(pretrained["smilenet_l_4"])
    assert weights_that_hid("codec_lsb", bytes(8), tmp_path) == "codec_lsb"
    with pytest.raises(ValueError, match="not in .*--weights"):
        weights_that_hid("smilenet", b"12345678", tmp_path)


def test_a_run_of_the_same_name_does_not_stand_in_for_shipped_weights(pretrained, tmp_path):
    shipped_model, _ = load_model(default_weights(3, tmp_path))
    run = tmp_path / "smilenet_l_4" / "checkpoints" / "best.safetensors"
    save_weights(run, build_model("smilenet", rows=2, cols=2, embedding="lattice", condition=0))
    assert load_model(default_weights(3, tmp_path))[0].fingerprint == shipped_model.fingerprint
    hid = load_model("smilenet_l_4", experiments=tmp_path)[0].fingerprint
    assert hid != shipped_model.fingerprint  # by name the run is meant
    for fingerprint, path in ((shipped_model.fingerprint, pretrained["smilenet_l_4"]), (hid, run)):
        assert weights_that_hid("smilenet", fingerprint, tmp_path) == str(path)


def test_weights_with_a_wrong_checksum_are_refused(pretrained, tmp_path):
    file = pretrained["smilenet_l_4"]
    file.write_bytes(file.read_bytes()[:-1] + b"\x01")
    for read in (
        lambda: load_model("smilenet_l_4", experiments=tmp_path),
        lambda: default_weights(3, tmp_path),
    ):
        with pytest.raises(ValueError, match="not the weights that were shipped"):
            read()
