"""Baluja, HiDDeN with a picture, Weng et al.: what is particular to each."""

import pytest
import torch

from models import build_model
from models.baluja import MultiScale
from models.weng import UNet

CNN_PAIRS = ("baluja", "hidden_image", "weng")


def count(net):
    return sum(p.numel() for p in net.parameters())


def multi_scale(inputs, width=50):
    return (9 + 16 + 25) * inputs * width + 3 * width


def test_baluja_has_2_5_and_5_layers_of_three_filter_sizes():
    net = build_model("baluja")
    layers = [m for m in net.modules() if isinstance(m, MultiScale)]
    assert len(layers) == 2 + 5 + 5
    for layer in layers:
        convs = [m for m in layer.modules() if isinstance(m, torch.nn.Conv2d)]
        assert [c.kernel_size for c in convs] == [(3, 3), (4, 4), (5, 5)]
        assert all(c.out_channels == 50 for c in convs)
    expected = 2 * multi_scale(3) + multi_scale(153) + 9 * multi_scale(150) + 2 * (9 * 150 * 3 + 3)
    assert count(net) == expected


def test_hidden_image_is_4_blocks_1_with_the_secret_and_7():
    net = build_model("hidden_image")
    assert len(net.features) == 4 and len(net.revealing) == 7 + 1
    assert net.hiding[0][0].in_channels == 64 + 3 + 3
    norms = [m for m in net.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert len(norms) == 12 and count(net) == pytest.approx(0.377e6, rel=1e-2)


def test_weng_has_a_u_net_of_7_halvings_and_6_convolutions():
    net = build_model("weng")
    widths = [layer[0].out_channels for layer in net.hiding.down]
    assert widths == [64, 128, 256, 512, 512, 512, 512]
    reveal = [m.out_channels for m in net.revealing if isinstance(m, torch.nn.Conv2d)]
    assert reveal == [64, 128, 256, 128, 64, 3]
    assert net.patch_multiple == (128, 128) and count(net) == pytest.approx(42.57e6, rel=1e-3)


@pytest.mark.parametrize("depth", [2, 3, 5])
def test_u_net_sees_the_whole_picture(depth):
    torch.manual_seed(0)
    net = UNet(6, 3, depth, 4).eval()
    x = torch.rand(1, 6, 2**depth, 2 ** (depth + 1), requires_grad=True)
    y = net(x)
    assert y.shape == (1, 3, *x.shape[-2:])
    y[..., 0, 0].sum().backward()
    assert x.grad[..., -1, 2**depth - 1].abs().max() > 0


def test_stego_and_revealed_of_weng_are_within_the_range():
    net = build_model("weng", depth=2, hide_width=4, reveal_width=4)
    with torch.no_grad():
        for p in net.parameters():
            p.mul_(20)
        hidden = net(torch.rand(1, 3, 9, 13), torch.rand(1, 1, 3, 9, 13))
    assert 0 <= hidden.stego.min() < 0.01 and 0.99 < hidden.stego.max() <= 1
    assert 0 <= hidden.revealed.min() and hidden.revealed.max() <= 1


@pytest.mark.parametrize("method", ["hidden_image", "weng"])
def test_training_normalises_by_the_batch_and_hide_by_running_means(method):
    torch.manual_seed(0)
    net = build_model(method)
    cover, secrets = torch.rand(2, 3, 32, 32), torch.rand(2, 1, 3, 32, 32)
    u8 = (cover * 255).round().to(torch.uint8), (secrets * 255).round().to(torch.uint8)
    means = {name: x.clone() for name, x in net.state_dict().items() if "running_mean" in name}
    assert means
    net.hide(*u8)
    assert all(torch.equal(net.state_dict()[name], x) for name, x in means.items())
    before = net.hide(*u8)
    with torch.no_grad():
        net(cover, secrets)
    assert not any(torch.equal(net.state_dict()[name], x) for name, x in means.items())
    assert not torch.equal(net.hide(*u8), before)


@pytest.mark.parametrize(
    "method, name",
    [
        ("baluja", "width"),
        ("hidden_image", "width"),
        ("hidden_image", "encoder_blocks"),
        ("hidden_image", "decoder_blocks"),
        ("weng", "hide_width"),
        ("weng", "reveal_width"),
    ],
)
def test_constructor_refuses(method, name):
    with pytest.raises(ValueError, match=f"{name}: must be at least 1, got 0"):
        build_model(method, **{name: 0})


def test_weng_refuses_a_u_net_of_one_halving():
    with pytest.raises(ValueError, match="depth: must be at least 2, got 1"):
        build_model("weng", depth=1)


@pytest.mark.parametrize("method", CNN_PAIRS)
def test_one_secret(method):
    with pytest.raises(TypeError):
        build_model(method, num_secrets=2)
