"""XuNet and SRNet have the published layers, take pictures of any size, and look at noise, not content."""

import pytest
import torch

from metrics.steganalysis.cnn import NETWORKS, SRNet, UCNet, XuNet, srm_filters
from metrics.steganalysis.unet import UNet


def parameters(network) -> int:
    return sum(p.numel() for p in network.parameters())


def test_parameters_of_the_published_networks():
    """Counted from the papers' tables, one channel: convolutions without bias, two numbers a norm."""
    xunet = 25 * 8 + 25 * 8 * 16 + 16 * 32 + 32 * 64 + 64 * 128 + 2 * (8 + 16 + 32 + 64 + 128) + 129 * 2
    assert parameters(XuNet(channels=1)) == xunet
    convolutions = [(1, 64), (64, 16)] + [(16, 16)] * 10
    for a, b in ((16, 16), (16, 64), (64, 128), (128, 256)):
        convolutions += [(a, b), (b, b)]
    convolutions += [(256, 512), (512, 512)]
    srnet = sum(9 * a * b + 2 * b for a, b in convolutions)
    srnet += sum(a * b + 2 * b for a, b in ((16, 16), (16, 64), (64, 128), (128, 256))) + 512 * 2
    assert parameters(SRNet(channels=1)) == srnet == 4_776_960


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("size", [(32, 32), (45, 71)])
def test_any_size_in_two_logits_out(name, size):
    network = NETWORKS[name]().eval()
    assert network(torch.rand(2, 3, *size) * 255).shape == (2, 2)


def test_srnet_keeps_the_size_before_it_pools():
    network = SRNet().eval()
    x = torch.rand(1, 3, 64, 64)
    assert network.plain(x).shape == (1, 16, 64, 64)
    assert network.pooled(network.plain(x)).shape == (1, 256, 4, 4)


def test_xunet_does_not_see_brightness_or_gradients():
    """The KV filter takes out constants and planes (not at the border, where it meets zeros)."""
    network = XuNet().eval()
    seen = {}
    network.first.register_forward_hook(lambda module, inputs, output: seen.update(x=inputs[0]))
    noise = torch.randint(-2, 3, (1, 3, 40, 40)).float()
    slope = torch.arange(40.0)[None, None, :, None] * 2 + 30
    network(noise + 20)
    flat = seen["x"][..., 2:-2, 2:-2]
    network(noise + slope)
    assert torch.allclose(flat, seen["x"][..., 2:-2, 2:-2], atol=1e-3)
    assert flat.abs().max() > 1
    assert "kernel" not in network.state_dict()


def test_thirty_filters_see_no_flat_areas_and_are_all_different():
    kernels = srm_filters()
    assert kernels.shape == (30, 5, 5)
    assert abs(kernels.sum((1, 2))).max() < 1e-6
    assert (abs(kernels).max((1, 2)) == 1).all()  # the weight of the centre
    assert len({kernel.tobytes() for kernel in kernels}) == 30


def test_ucnet_filters_each_colour_by_itself():
    network = UCNet().eval()
    seen = {}
    network.body.register_forward_hook(lambda module, inputs, output: seen.update(x=inputs[0]))
    x = torch.zeros(1, 3, 40, 40)
    x[:, 1] = torch.randint(0, 256, (40, 40)).float()
    network(x)
    maps = seen["x"].reshape(3, 30, 40, 40)
    assert maps[1].abs().max() == UCNet.LIMIT and not maps[0].any() and not maps[2].any()


def test_unet_starts_as_the_flat_colour_and_takes_any_size():
    colour = torch.tensor([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    network = UNet(2, colour).eval()
    read = network(torch.rand(2, 3, 45, 31))
    assert read.shape == (2, 6, 45, 31)
    assert torch.equal(read, colour[None, :, None, None].expand_as(read))
