"""Weights are data, never code; files are whole or the old ones."""

import errno
import json
import os
import pickle

import pytest
import torch
from safetensors.torch import save_file

from data.files import sha256, write_beside
from engine.checkpoint import (
    find_weights,
    fingerprint,
    keep_used,
    load_model,
    save_weights,
    start_from,
    weights_that_hid,
)
from engine.earlier import read_format1
from engine.states import load_state, random_state, save_state, set_random_state
from errors import UserError
from models import build_model

SIZES = dict(rows=1, cols=2, growth=2, icdm_blocks=1, sis_blocks=0, sde_blocks=0)  # of a tiny SMILENet-L
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


def test_weights_that_are_not_finite_are_not_written(weights):
    path, model = weights
    before = path.read_bytes()
    for value in (torch.nan, torch.inf):
        with torch.no_grad():
            model.imse.blocks[0].rho.conv2.bias[1] = value
        with pytest.raises(UserError, match=r"imse.blocks.0.rho.conv2.bias holds NaN or infinite"):
            save_weights(path, model)
    assert path.read_bytes() == before


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
    with pytest.raises(ValueError, match="nothing was executed"):
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
    assert f"{taken} tensors copied, {total - taken} fresh; " in done and total > taken
    assert done.endswith("icdm_blocks: 1 -> 3, sis_blocks: 1 -> 2, sde_blocks: 1 -> 4")
    cover, secrets = torch.rand(1, 3, 16, 18), torch.rand(1, 2, 3, 16, 18)
    with torch.no_grad():
        ours, theirs = new(cover, secrets), old(cover, secrets)
    assert torch.equal(ours.stego, theirs.stego) and torch.equal(ours.revealed, theirs.revealed)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"growth": 6}, r"imse.blocks.0.* is [0-9x]+, but [0-9x]+ in this network"),
        ({"rows": 2, "cols": 1}, r"weights of another mosaic \(rows: 1 -> 2, cols: 2 -> 1\)"),
        ({"icdm_blocks": 0}, "contains mosaic.icdm.blocks.0.* which this network lacks"),
    ],
)
def test_weights_that_a_network_cannot_start_from(weights, changes, message):
    with pytest.raises(ValueError, match=message):
        start_from(build_model("smilenet", **ARGUMENTS | changes), weights[0])
    with pytest.raises(ValueError, match="weights of 'smilenet'; start_from needs weights of 'hinet'"):
        start_from(build_model("hinet"), weights[0])


@pytest.mark.parametrize("modulus, shaping, used", [(7, None, 0), (8, 0, 0), (8, 256, 256)])
def test_weights_do_not_depend_on_what_the_sender_chooses(tmp_path, modulus, shaping, used):
    save_weights(tmp_path / "l.safetensors", build_model("smilenet_l", **SIZES))
    chosen = {"modulus": modulus, "shaping": shaping}
    model, _ = load_model(tmp_path / "l.safetensors", expect=("smilenet_l", {"rows": 1, **chosen}))
    plain, _ = load_model(tmp_path / "l.safetensors")
    assert (model.modulus, model.shaping) == (modulus, used) and (plain.modulus, plain.shaping) == (12, 64)
    assert fingerprint(model) == fingerprint(plain) == model.fingerprint == plain.fingerprint


def test_the_fingerprint_is_of_the_weights_and_not_of_the_file(tmp_path):
    """Saved again, in half precision, or after the method has got new arguments: the same weights."""
    net = build_model("smilenet_l", **SIZES)
    files = [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
    save_weights(files[0], net, step=1)
    save_weights(files[1], net, half=True, step=2, run="shipped")
    assert sha256(files[0]) != sha256(files[1])
    found = {load_model(file)[0].fingerprint for file in files}
    assert found == {fingerprint(net)} and len(fingerprint(net)) == 8
    arguments = dict(net.arguments)
    del net.arguments["z_std"]  # as a version would have written it that did not know this argument
    assert fingerprint(net) in found
    net.arguments = arguments | {"icdm_clamp": 2.0}
    assert fingerprint(net) not in found
    net.arguments = arguments
    with torch.no_grad():
        net.lattice.companding.colours[0, 0] *= 1.01
    assert fingerprint(net) not in found


def test_what_was_hidden_outlives_its_weights_file(tmp_path):
    """A run trains on and replaces its weights: those that something was hidden with are kept."""
    best = tmp_path / "mine" / "checkpoints" / "best.safetensors"
    save_weights(best, build_model("smilenet_l", **SIZES))
    hid, about = load_model("mine", experiments=tmp_path)
    keep_used(about["path"], hid)
    keep_used(about["path"], hid)
    save_weights(best, build_model("smilenet_l", **SIZES))  # freshly drawn: other weights
    assert load_model("mine", experiments=tmp_path)[0].fingerprint != hid.fingerprint
    found = weights_that_hid("smilenet_l", hid.fingerprint, tmp_path)
    assert load_model(found)[0].fingerprint == hid.fingerprint
    cover, secrets = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    assert len(load_model(found)[0].unseal(hid.seal(cover, [secrets]))[0]) == 1


def test_weights_of_format_1(tmp_path):
    """SMILENet with the lattice was a flag of SMILENet; the file says what to do, and can be brought over."""
    new = build_model("smilenet_l", **SIZES)
    old_arguments = {**new.arguments, "embedding": "lattice", "condition": 0, "headroom": 4.0}
    old_arguments |= {"imse_blocks": 16, "imse_clamp": 2.0}
    metadata = {"format": "1", "method": "smilenet", "arguments": json.dumps(old_arguments), "step": "5"}
    tensors = {name.removeprefix("mosaic."): value for name, value in new.state_dict().items()}
    save_file(tensors, tmp_path / "old.safetensors", metadata)
    with pytest.raises(ValueError, match="weights of format 1.*convert_weights.py --from format1"):
        load_model(tmp_path / "old.safetensors")
    model, about = read_format1(tmp_path / "old.safetensors")
    assert model.method == "smilenet_l" and about == {"step": "5"} and fingerprint(model) == fingerprint(new)
    with pytest.raises(ValueError, match="not weights of format 1"):
        save_weights(tmp_path / "new.safetensors", new)
        read_format1(tmp_path / "new.safetensors")


def test_foreign_safetensors(tmp_path):
    save_file({"a": torch.zeros(2)}, tmp_path / "x.safetensors")
    with pytest.raises(ValueError, match="not weights that this project wrote"):
        load_model(tmp_path / "x.safetensors")


@pytest.mark.parametrize("arguments", ["{", "[]", "3"])
def test_weights_whose_arguments_are_damaged(tmp_path, arguments):
    metadata = {"format": "2", "method": "hinet", "arguments": arguments, "fingerprint": "00"}
    save_file({"a": torch.zeros(2)}, tmp_path / "x.safetensors", metadata)
    with pytest.raises(ValueError, match="x.safetensors: its arguments are not"):
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
    save_state(tmp_path / "s", {"random": random_state(), "x": torch.arange(3), "best": -1.5})
    expected = torch.rand(3)
    loaded = load_state(tmp_path / "s")
    set_random_state(loaded["random"])
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
    with pytest.raises(OSError, match="written .No space left on device.; the old file is kept"):
        write_beside(path, b"new")
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


# --- shipped weights --------------------------------------------------------------------------------


@pytest.fixture
def pretrained(tmp_path):
    """Two tiny SMILENet-L, for 2 and 4 secrets, as they are shipped: {name: weights file}."""
    tiny = dict(icdm_blocks=0, sis_blocks=0, sde_blocks=0)
    files = {}
    for count in (2, 4):
        name = f"smilenet_l_{count}"
        file = tmp_path / "pretrained" / name / f"{name}.safetensors"
        save_weights(file, build_model("smilenet_l", rows=count // 2, cols=2, **tiny))
        files[name] = file
    return files


def test_weights_are_found_by_what_a_stego_says(pretrained, tmp_path):
    model, _ = load_model("smilenet_l_4", experiments=tmp_path)
    assert weights_that_hid("smilenet_l", model.fingerprint, tmp_path) == str(pretrained["smilenet_l_4"])
    assert weights_that_hid("codec_lsb", bytes(8), tmp_path) == "codec_lsb"
    with pytest.raises(ValueError, match="not in .*--weights"):
        weights_that_hid("smilenet_l", b"12345678", tmp_path)


def test_a_run_of_the_same_name_does_not_stand_in_for_shipped_weights(pretrained, tmp_path):
    shipped_model, _ = load_model(pretrained["smilenet_l_4"])
    run = tmp_path / "smilenet_l_4" / "checkpoints" / "best.safetensors"
    save_weights(run, build_model("smilenet_l", rows=2, cols=2))
    hid = load_model("smilenet_l_4", experiments=tmp_path)[0].fingerprint
    assert hid != shipped_model.fingerprint  # by name the run is meant
    for identity, path in ((shipped_model.fingerprint, pretrained["smilenet_l_4"]), (hid, run)):
        assert weights_that_hid("smilenet_l", identity, tmp_path) == str(path)


def test_weights_with_a_changed_byte_are_refused(pretrained, tmp_path):
    file = pretrained["smilenet_l_4"]
    file.write_bytes(file.read_bytes()[:-1] + b"\x01")
    with pytest.raises(ValueError, match="not the weights that were originally written .* get the file"):
        load_model("smilenet_l_4", experiments=tmp_path)


def test_a_broken_file_among_the_runs_does_not_keep_others_from_being_found(pretrained, tmp_path):
    broken = tmp_path / "a_run" / "checkpoints" / "best.safetensors"
    write_beside(broken, b"no weights")
    model, _ = load_model("smilenet_l_2", experiments=tmp_path)
    assert weights_that_hid("smilenet_l", model.fingerprint, tmp_path) == str(pretrained["smilenet_l_2"])
    with pytest.raises(ValueError, match="not in .*--weights"):
        weights_that_hid("smilenet_l", bytes(8), tmp_path)
