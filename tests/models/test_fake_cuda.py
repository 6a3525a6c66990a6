"""Nothing in a method stays behind on the CPU when it is moved to a GPU: shown without one.

torch's fake tensors have a shape, a type and a device but no values, and refuse to mix devices.
"""

import pytest
import torch
from torch import nn
from torch._subclasses import FakeTensorMode

from channel.training import Channel
from models import HidingModel
from models.losses import losses_of
from tests.common import shaken
from tests.models.test_methods import KEYED, METHODS, SMALL, TRAINABLE

SIZE = (48, 64)
ATTACKS = "noise", "mean", "gaussian", "sharpen", "brightness", "flip", "resize", "crop"


@pytest.fixture
def fake():
    with FakeTensorMode(allow_non_fake_inputs=False) as mode:
        yield mode


def on_fake_cuda(module: nn.Module) -> nn.Module:
    """Its parameters and buffers as fake CUDA tensors; other tensors stay, as `to("cuda")` leaves them."""
    for part in module.modules():
        for name, value in part._parameters.items():
            if value is not None:
                there = torch.empty(value.shape, dtype=value.dtype, device="cuda")
                part._parameters[name] = nn.Parameter(there, value.requires_grad)
        for name, value in part._buffers.items():
            if value is not None:
                part._buffers[name] = torch.empty(value.shape, dtype=value.dtype, device="cuda")
    return module


@pytest.fixture(params=METHODS)
def built(request) -> HidingModel:
    """Built before the mode of `fake` is entered."""
    return shaken(request.param, **SMALL[request.param])


@pytest.fixture
def net(built, fake) -> HidingModel:
    return on_fake_cuda(built)


def pictures(net: HidingModel, device: str, dtype: torch.dtype, batch: int = 2):
    height, width = (max(x) for x in zip(SIZE, net.smallest, strict=True))
    cover = torch.empty((batch, 3, height, width), dtype=dtype, device=device)
    return cover, torch.empty((batch, net.num_secrets, 3, height, width), dtype=dtype, device=device)


def only(chosen: list[str]):
    return pytest.mark.parametrize("built", chosen, indirect=True)


@only(TRAINABLE)
def test_forward_and_objective(net):
    assert net.device.type == "cuda"
    cover, secrets = pictures(net, "cuda", torch.float32)
    objective = on_fake_cuda(net.Objective(*net.geometry))
    for progress in (0.0, 1.0):
        losses = losses_of(net, objective, cover, secrets, progress)
        assert losses.total.device.type == "cuda" and losses.total.shape == ()
        assert {x.device.type for x in losses.terms.values()} == {"cuda"}


@only(["hinet"])  # a method never knows which channel it is
def test_forward_under_a_channel(net):
    cover, secrets = pictures(net, "cuda", torch.float32)
    for attack in ATTACKS:
        hidden = net(cover, secrets, Channel([{"type": attack}]).drawn(0, 0))
        assert hidden.revealed.device.type == "cuda" and hidden.revealed.shape == secrets.shape


NUMPY = [*KEYED, "thumbnails"]  # these compute on the CPU when they are deployed


@only([name for name in METHODS if name not in NUMPY])
def test_hide_and_reveal(net, monkeypatch):
    """Pictures from the CPU come back to the CPU. Whether values are finite cannot be asked here."""
    monkeypatch.setattr("models.base.finite", lambda x: x)
    where = "cuda" if list(net.parameters()) else "cpu"
    seen, decode = [], net.decode
    net.decode = lambda stego: (seen.append(stego.device.type), decode(stego))[1]
    cover, secrets = pictures(net, "cpu", torch.uint8)
    stego = net.hide(cover, secrets)
    revealed = net.reveal(stego)
    assert seen == [where]
    assert stego.device.type == revealed.device.type == "cpu"
    assert stego.shape == cover.shape and revealed.shape == secrets.shape


@only(TRAINABLE)
def test_mixed_devices_raise(net):
    cover, secrets = pictures(net, "cpu", torch.float32)
    with pytest.raises(RuntimeError, match="device"):
        net(cover, secrets)
