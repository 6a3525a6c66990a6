"""Dense blocks by Winograd's minimal filtering: the same function as by convolutions, in less work."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch._subclasses import FakeTensorMode
from torch.nn.functional import conv2d

from engine.benchmark import flops_of
from models.layers import winograd
from models.layers.coupling import CouplingBlock, CouplingStack
from models.layers.recompute import recompute_blocks
from models.layers.subnets import DenseBlock

WITHIN = 1e-5  # of the norm


def shaken(inputs: int, outputs: int, growth: int = 6, slope: float = 0.2) -> DenseBlock:
    torch.manual_seed(0)
    block = DenseBlock(inputs, outputs, growth, slope)
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return block


def rand(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def distance(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    ours, theirs = ours.detach().double(), theirs.detach()
    return float((ours - theirs).norm() / theirs.norm())


def test_a_tile_is_a_convolution():
    patch, weights = rand(6, 6), rand(3, 3)
    ordered = torch.stack([patch[i, j] for i, j in winograd.ORDER])
    tile = winograd.OUTPUT @ ((winograd.FILTER @ weights.flatten()) * (winograd.PATCH @ ordered))
    assert torch.allclose(tile.view(4, 4), conv2d(patch[None, None], weights[None, None])[0, 0], atol=1e-4)


# The last tiles partly outside, many small maps, several chunks, several parts, one row of tiles.
SIZES = [(1, 64, 64), (1, 67, 65), (40, 11, 12), (3, 70, 131), (2, 260, 129), (1, 4, 1400)]


@pytest.mark.parametrize("count, height, width", SIZES)
@pytest.mark.parametrize("slope, kinks", [(1.0, WITHIN), (0.2, 2e-3)])
def test_values_and_gradients_are_those_of_convolutions_in_float64(count, height, width, slope, kinks):
    """Where rounding carries a value across the kink of LeakyReLU, its gradient is another; hence 2e-3."""
    block, x = shaken(5, 7, slope=slope), rand(count, 5, height, width).requires_grad_()
    exact, same = copy.deepcopy(block).double(), x.detach().double().requires_grad_()
    assert winograd.suits(x) and not winograd.suits(same)
    trained, expected = block(x), exact(same)
    with torch.no_grad():
        deployed = block(x)
    assert torch.equal(x.double(), same) and trained.requires_grad and not deployed.requires_grad
    assert trained.shape == deployed.shape == expected.shape
    assert distance(trained, expected) < WITHIN and distance(deployed, expected) < WITHIN

    weights = rand(*expected.shape, seed=1)
    (trained * weights).sum().backward()
    (expected * weights).sum().backward()
    assert distance(x.grad, same.grad) < kinks
    for ours, theirs in zip(block.parameters(), exact.parameters(), strict=True):
        assert distance(ours.grad, theirs.grad) < kinks


def test_weights_in_channels_last_and_strided_maps():
    block, x = shaken(5, 7), rand(2, 64, 64, 5).permute(0, 3, 1, 2)
    expected, exact = copy.deepcopy(block), copy.deepcopy(block).double()
    expected(x.contiguous()).square().sum().backward()
    block.to(memory_format=torch.channels_last)
    assert winograd.suits(x)
    assert distance(block(x), exact(x.double())) < WITHIN
    block(x).square().sum().backward()
    for ours, theirs in zip(block.parameters(), expected.parameters(), strict=True):
        assert distance(ours.grad, theirs.grad.double()) < WITHIN
    with torch.no_grad():
        assert distance(block(x), exact(x.double())) < WITHIN


def test_frozen_weights_and_maps_without_gradients():
    block, x = shaken(5, 7), rand(1, 5, 64, 64)
    frozen, only = copy.deepcopy(block).requires_grad_(False), copy.deepcopy(block)
    block(x.requires_grad_()).sum().backward()
    frozen(again := x.detach().clone().requires_grad_()).sum().backward()
    assert winograd.suits(x) and torch.equal(again.grad, x.grad)
    assert all(parameter.grad is None for parameter in frozen.parameters())
    only(x.detach()).sum().backward()
    for ours, theirs in zip(only.parameters(), block.parameters(), strict=True):
        assert torch.equal(ours.grad, theirs.grad)
    assert not frozen(x.detach()).requires_grad


def test_a_second_derivative_is_refused():
    block, x = shaken(5, 7), rand(1, 5, 64, 64).requires_grad_()
    (first,) = torch.autograd.grad(block(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


def test_recomputed_blocks_have_the_same_gradients_to_the_last_bit():
    a, b = rand(2, 3, 64, 64), rand(2, 9, 64, 64, seed=1)
    torch.manual_seed(0)
    stack = CouplingStack(CouplingBlock(3, 9, growth=6) for _ in range(3))
    for parameter in stack.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    gradients = []
    for again in (False, True):
        recompute_blocks(stack, again)
        stack.zero_grad()
        torch.cat(stack(a, b), dim=1).square().mean().backward()
        gradients.append([parameter.grad.clone() for parameter in stack.parameters()])
    assert winograd.suits(a) and all(one.any() for one in gradients[0])
    assert all(torch.equal(*pair) for pair in zip(*gradients, strict=True))


def test_it_takes_less_than_half_of_the_operations():
    block, x = shaken(12, 12, growth=32), rand(1, 12, 72, 72)

    def step():
        block(x.to(next(block.parameters()).dtype)).sum().backward()

    ours, convolutions = flops_of(step), flops_of(step, compiled=True)
    assert 0 < ours < 0.45 * convolutions
    block.double()
    assert convolutions == flops_of(step)


FAKE = FakeTensorMode()


@pytest.mark.parametrize(
    "x",
    [
        torch.zeros(1, 5, 63, 64),  # fewer than 256 tiles
        torch.zeros(80, 5, 9, 9),  # 81 of 144 pixels of the tiles
        torch.zeros(1, 5, 64, 64, dtype=torch.float64),
        torch.zeros(1, 5, 64, 64, dtype=torch.bfloat16),
        torch.zeros(1, 5, 64, 64, device="meta"),
        FAKE.from_tensor(torch.zeros(1, 5, 64, 64)),
    ],
    ids=["few", "unfilled", "float64", "bfloat16", "meta", "fake"],
)
def test_other_maps_take_convolutions(x):
    assert not winograd.suits(x)
    assert winograd.suits(torch.zeros(1, 5, 64, 64)) and winograd.suits(torch.zeros(80, 5, 11, 11))


def test_half_precision_takes_convolutions():
    block, seen = shaken(5, 7), []
    block.conv5.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].dtype))
    x = rand(1, 5, 64, 64)
    block(x)
    assert not seen  # Winograd's filtering does not call the convolutions
    with torch.autocast("cpu", torch.bfloat16):
        block(x)
    assert seen == [torch.bfloat16]


def test_an_exported_block_has_convolutions():
    block, x = shaken(5, 7).requires_grad_(False), rand(1, 5, 64, 64)
    exported = torch.export.export(block, (x,))
    targets = [str(node.target) for node in exported.graph.nodes]
    assert winograd.suits(x) and sum("conv2d" in target for target in targets) == 5
    assert distance(exported.module()(x), block.double()(x.double())) < WITHIN


def test_a_compiled_block_has_convolutions():
    block, x, targets = shaken(5, 7), rand(1, 5, 64, 64), []

    def backend(module, _):
        targets.extend(str(node.target) for node in module.graph.nodes)
        return module.forward

    result = torch.compile(block, backend=backend)(x)
    assert sum("conv2d" in target for target in targets) == 5
    assert distance(result, block.double()(x.double())) < WITHIN


@given(st.integers(1, 1000), st.integers(1, 6))
def test_the_parts_of_a_side_cover_it_once(side, halo):
    spans = list(winograd._spans(side, halo))
    assert [k for span in spans for k in range(side)[span.whole]] == list(range(side))
    for span in spans:
        whole, seen = range(side)[span.whole], range(side)[span.seen]
        assert seen == range(max(0, whole.start - halo), min(side, whole.stop + halo))
        assert seen[span.inner] == whole and len(whole) <= winograd.LARGEST
