"""Each layer against its 8-bit attack and against another library; its gradient; what a channel draws."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage
from skimage.data import astronaut, chelsea
from torch._dynamo.testing import CompileCounter
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.transforms.v2 import functional as tv

from channel.attacks import ATTACKS, Chain, Jpeg, Mean, Noise, Nothing, Resize, Webp, label
from channel.layers import LAYERS, Layer, layer, straight_through, to_8_bit
from channel.notation import parse_attack
from channel.training import Channel, Drawn
from errors import UserError

HARD = np.random.default_rng(1)
PICTURES = {  # the hardest ones have every value at a clip, the smallest are smaller than the filters
    "photo": astronaut()[20:81, 100:178],
    "large": chelsea()[:256, :250],
    "random": HARD.integers(0, 256, (48, 48, 3)).astype(np.uint8),
    "black and white": HARD.integers(0, 2, (37, 50, 3)).astype(np.uint8) * 255,
    "tiny": HARD.integers(0, 256, (2, 5, 3)).astype(np.uint8),
    "one row": HARD.integers(0, 256, (1, 9, 3)).astype(np.uint8),
}
STRENGTHS = """
none mean:3 mean:7 mean:31 gaussian:0.5 gaussian:0.8,size=3 gaussian:1,size=5 gaussian:5 gaussian:50
sharpen:1 sharpen:20,sigma=2,size=3 noise:1 noise:60 brightness:0.7 brightness:1.3 flip flip:vertical
crop:0.9 crop:0.33 jpeg:80 webp:80 avif:60
resize:0.1 resize:0.3 resize:0.5 resize:0.6 resize:0.75 resize:0.9 resize:1.1 resize:2 resize:3.7
""".split()
CODECS = {"jpeg", "webp", "avif"}


def batch(*pictures) -> torch.Tensor:
    """(H,W,3) uint8 each -> (B,3,H,W) float in [0,1]."""
    return torch.stack([torch.from_numpy(p.copy()).permute(2, 0, 1).float() / 255 for p in pictures])


def levels(x: torch.Tensor) -> np.ndarray:
    """(B,3,H,W) -> (B,H,W,3) grey levels, not rounded."""
    return x.detach().permute(0, 2, 3, 1).numpy().astype(float) * 255


PHOTO = batch(PICTURES["photo"])


@pytest.mark.parametrize("picture", PICTURES.values(), ids=PICTURES)
@pytest.mark.parametrize("text", STRENGTHS)
def test_within_a_grey_level_of_the_attack(text, picture):
    attack = parse_attack(text)
    received = levels(layer(attack)(batch(picture), seed=5))[0]
    assert np.abs(received - attack(picture, 5)).max() <= 1


def test_every_attack_is_held():
    assert {parse_attack(text).type for text in STRENGTHS} == set(ATTACKS)
    assert set(LAYERS) == {*ATTACKS, "chain"}


def test_filters_against_scipy():
    values = levels(PHOTO)[0]

    def scipy(sigma, reach):
        return ndimage.gaussian_filter(values, (sigma, sigma, 0), mode="mirror", radius=(reach, reach, 0))

    def through(text):
        return levels(layer(parse_attack(text))(PHOTO))[0]

    mean = ndimage.uniform_filter(values, (5, 5, 0), mode="mirror")
    assert np.abs(through("mean:5") - mean).max() < 1e-3
    assert np.abs(through("gaussian:0.8,size=3") - scipy(0.8, 1)).max() < 1e-3
    assert np.abs(through("gaussian:1.5") - scipy(1.5, 6)).max() < 1e-3
    sharpened = np.clip(values + 0.7 * (values - scipy(1.5, 6)), 0, 255)
    assert np.abs(through("sharpen:0.7,sigma=1.5") - sharpened).max() < 1e-3


def test_against_torchvision():
    def apart(text, other):
        return (layer(parse_attack(text))(PHOTO) - other).abs().max() * 255

    assert apart("gaussian:0.8,size=5", tv.gaussian_blur(PHOTO, [5, 5], [0.8, 0.8])) < 1e-3
    assert apart("brightness:1.4", tv.adjust_brightness(PHOTO, 1.4)) < 1e-3
    assert apart("brightness:0.6", tv.adjust_brightness(PHOTO, 0.6)) < 1e-3
    assert apart("flip", tv.horizontal_flip(PHOTO)) == 0
    assert apart("flip:vertical", tv.vertical_flip(PHOTO)) == 0
    whole = torch.round(PHOTO * 255).byte()
    small = tv.resize(whole, [30, 39], tv.InterpolationMode.BICUBIC, antialias=True)  # of 61 x 78
    again = tv.resize(small, [61, 78], tv.InterpolationMode.BICUBIC, antialias=True)
    assert apart("resize:0.5", again.float() / 255) <= 1.001
    cropped = tv.pad(tv.center_crop(PHOTO, [31, 40]), [19, 15], fill=128 / 255)
    assert apart("crop:0.51", cropped) < 1e-3


def test_noise_has_its_deviation_and_differs_from_picture_to_picture():
    grey = torch.full((3, 3, 100, 100), 0.5, dtype=torch.float64)
    noise = (layer(Noise(6.0))(grey, seed=4) - 0.5) * 255
    assert noise.std().item() == pytest.approx(6, rel=0.02) and abs(noise.mean().item()) < 0.1
    assert np.corrcoef(noise.flatten(1).numpy()) == pytest.approx(np.eye(3), abs=0.03)
    assert torch.equal(layer(Noise(6.0))(grey, seed=4)[1:2], layer(Noise(6.0))(grey[:1], seed=5))


def test_chains():
    chain = parse_attack("mean:3+noise:2+noise:2+jpeg:80")
    picture = PICTURES["photo"]
    received = levels(layer(chain)(PHOTO, seed=9))[0]
    assert np.abs(received - chain(picture, 9)).max() <= 1e-3


SMOOTH = ["mean:3", "gaussian:1", "gaussian:0.8,size=3", "sharpen:1", "noise:1", "brightness:0.7", "flip"]


@pytest.mark.parametrize("text", [*SMOOTH, "flip:vertical", "crop:0.5", "none"])
def test_gradients(text):
    """Against finite differences, on values that no clip touches."""
    x = 0.4 + 0.2 * torch.rand(1, 3, 4, 5, generator=torch.manual_seed(0), dtype=torch.float64)
    assert torch.autograd.gradcheck(layer(parse_attack(text)), x.requires_grad_())


@pytest.mark.parametrize("scale", [0.3, 0.5, 0.75, 1.5])
def test_the_gradient_of_resize(scale):
    """It rounds on its way; its gradient is that of scaling without rounding."""
    grey = (0.4 + 0.2 * torch.rand(1, 3, 20, 31, generator=torch.manual_seed(0))).double()
    probe = torch.randn_like(grey)
    resized, plain = grey.clone().requires_grad_(), grey.clone().requires_grad_()
    (layer(Resize(scale))(resized) * probe).sum().backward()
    both = {"mode": "bicubic", "antialias": True}
    small = torch.nn.functional.interpolate(plain, (round(20 * scale), round(31 * scale)), **both)
    (torch.nn.functional.interpolate(small, (20, 31), **both) * probe).sum().backward()
    assert (resized.grad - plain.grad).abs().max() < 1e-5


@pytest.mark.parametrize("kind", sorted(CODECS))
def test_codecs_pass_the_gradient_straight_through(kind):
    x = PHOTO.clone().requires_grad_()
    probe = torch.randn_like(x)
    (layer(ATTACKS[kind]())(x) * probe).sum().backward()
    assert torch.equal(x.grad, probe)


def test_the_gradient_never_pushes_outwards():
    x = torch.tensor([-0.2, -0.2, 0.5, 1.3, 1.3], requires_grad=True)
    straight_through(x, torch.zeros(5)).backward(torch.tensor([1.0, -1.0, 1.0, 1.0, -1.0]))
    assert x.grad.tolist() == [0, -1, 1, 1, 0]
    outside = torch.full((1, 3, 2, 2), 1.2, requires_grad=True)
    for text in ("brightness:1.5", "noise:1", "sharpen:1", "jpeg:90", "resize:0.5"):
        outside.grad = None
        layer(parse_attack(text))(outside).sum().backward()
        assert (outside.grad > 0).any(), text  # it can be pulled back
        outside.grad = None
        (-layer(parse_attack(text))(outside)).sum().backward()
        assert not outside.grad.any(), text


def test_8_bit():
    x = torch.tensor([-0.1, 0.4999, 1.2])
    assert torch.equal(to_8_bit(x) * 255, torch.tensor([0.0, 127.0, 255.0]))


# --- the channel -------------------------------------------------------------------------------

WRITTEN = [
    {"type": "none", "weight": 2},
    {"type": "jpeg", "quality": [70, 95]},
    {"type": "gaussian", "sigma": [0.5, 1.0], "size": 3},
    [{"type": "mean"}, {"type": "noise", "sigma": [1.0, 3.0]}],
]


def test_a_step_is_drawn_from_seed_and_number_alone():
    one, two = Channel(WRITTEN), Channel(WRITTEN)
    steps = [one.drawn(7, step) for step in range(40)]
    assert [two.drawn(7, step) for step in reversed(range(40))] == steps[::-1]
    assert [one.drawn(8, step) for step in range(40)] != steps
    assert len({drawn.seed for drawn in steps}) == 40


def test_nothing_draws_from_the_global_generators():
    torch.manual_seed(3)
    np.random.seed(3)
    before = torch.get_rng_state(), np.random.get_state()[1].copy()
    for step in range(8):
        Channel(WRITTEN).drawn(0, step)(PHOTO)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])


def test_weights():
    channel = Channel(WRITTEN)
    found = Counter(label(channel.drawn(0, step).attack).split()[0] for step in range(1000))
    assert {kind: pytest.approx(count, abs=50) for kind, count in found.items()} == {
        "none": 400,
        "jpeg": 200,
        "gaussian": 200,
        "mean": 200,
    }


def test_what_arrives_is_the_attacked_8_bit_picture():
    channel = Channel(WRITTEN)
    pictures = PICTURES["photo"], PICTURES["photo"][::-1]
    for step in range(12):
        drawn = channel.drawn(1, step)
        received = drawn(batch(*pictures))
        assert torch.equal(received, torch.round(received * 255) / 255)
        for b, picture in enumerate(pictures):
            # Where the layer and OpenCV are at two sides of a half, they round to neighbours.
            apart = np.abs(levels(received)[b] - drawn.attack(picture, drawn.seed + b))
            assert apart.max() <= 1.001 and (apart > 0.5).mean() < 1e-3


def test_the_batch_may_be_shared_among_processes():
    noise = Channel([{"type": "noise"}])
    whole = noise.drawn(3, 4)(PHOTO.expand(4, -1, -1, -1))
    assert torch.equal(whole[2:], noise.drawn(3, 4, first=2)(PHOTO.expand(2, -1, -1, -1)))


def test_half_precision_around_a_channel():
    """Under autocast, and from bfloat16, the channel works with float32: a grey level is finer."""
    stego = PHOTO.bfloat16().requires_grad_()
    for attack in (Mean(), Noise(), Jpeg(), parse_attack("resize:0.5")):
        plain = Drawn(attack, 0)(stego.float())
        with torch.autocast("cpu", torch.bfloat16):
            received = Drawn(attack, 0)(stego)
        assert received.dtype == torch.float32 and torch.equal(received, plain)
    received.sum().backward()
    assert stego.grad.dtype == torch.bfloat16 and stego.grad.abs().sum() > 0


class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x, channel):
        return self.conv(channel(to_8_bit(self.conv(x).sigmoid())))


def test_torch_compile_does_not_compile_anew_for_each_draw():
    counter = CompileCounter()
    net = Network()
    compiled = torch.compile(net, backend=counter)
    channel = Channel([*WRITTEN, {"type": "resize", "scale": [0.4, 0.9]}])
    gradients = []
    for step in range(20):
        for forward in (net, compiled):
            net.zero_grad()
            forward(PHOTO, channel.drawn(0, step)).square().mean().backward()
            gradients.append(net.conv.weight.grad.clone())
        torch.testing.assert_close(gradients[-1], gradients[-2], rtol=1e-4, atol=1e-6)
    assert counter.frame_count <= 3  # before and after the channel, and once more for batches of another kind


class Operators(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.seen: set[str] = set()

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        self.seen.add(str(operator))
        return operator(*args, **(kwargs or {}))


@pytest.mark.parametrize("text", [text for text in STRENGTHS if parse_attack(text).type not in CODECS])
def test_on_a_gpu_without_waiting_for_it(text):
    """With fake CUDA tensors: no tensor of another device is mixed in, and no value is asked for."""
    with FakeTensorMode(), Operators() as operators:
        received = Drawn(parse_attack(text), 1)(torch.empty(2, 3, 32, 30, device="cuda"))
    assert received.device.type == "cuda" and received.shape == (2, 3, 32, 30)
    assert operators.seen and not any("_local_scalar_dense" in name for name in operators.seen)


class Halved(Layer):
    def forward(self, x, seed=0):
        return x[..., ::2]


def test_another_size_is_refused(monkeypatch):
    monkeypatch.setitem(LAYERS, "mean", Halved)
    for attack in (Mean(), Chain((Nothing(), Mean()))):
        with pytest.raises(UserError, match="mean size=3' changes the pictures' size"):
            Drawn(attack, 0)(PHOTO)


def test_a_channel_of_nothing_is_refused():
    with pytest.raises(UserError, match="a channel without attacks; write {type: none}"):
        Channel([])
    with pytest.raises(UserError, match="no attack is called 'jpg', did you mean 'jpeg'"):
        Channel([{"type": "jpg"}])


def test_a_chain_through_codecs_alone():
    attack = Chain((Jpeg(80), Webp(80)))
    received = levels(Drawn(attack, 0)(PHOTO))[0]
    assert np.abs(received - attack(PICTURES["photo"], 0)).max() < 1e-3


def test_the_example_of_the_page():
    page = (Path(__file__).parents[2] / "docs" / "channel.md").read_text()
    names = {"stego": PHOTO}
    exec(page.partition("```python\n")[2].partition("```")[0], names)
    assert names["received"].shape == PHOTO.shape and names["drawn"].attack in (
        Nothing(),
        *(Jpeg(quality) for quality in range(70, 96)),
    )
