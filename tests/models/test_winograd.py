"""Dense blocks by Winograd's minimal filtering: the same function as by convolutions, in less work."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import conv2d
from torch.utils.flop_counter import FlopCounterMode

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
SIZES = [(1, 64, 64), (1, 67, 65), (40, 9, 11), (3, 70, 131), (2, 260, 129), (1, 3, 1400)]


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
    expected = copy.deepcopy(block).double()(x.double())
    block.to(memory_format=torch.channels_last)
    assert distance(block(x), expected) < WITHIN
    with torch.no_grad():
        assert distance(block(x), expected) < WITHIN


def test_frozen_weights_and_maps_without_gradients():
    block, x = shaken(5, 7), rand(1, 5, 64, 64)
    frozen, only = copy.deepcopy(block).requires_grad_(False), copy.deepcopy(block)
    block(x.requires_grad_()).sum().backward()
    frozen(again := x.detach().clone().requires_grad_()).sum().backward()
    assert torch.equal(again.grad, x.grad)
    assert all(parameter.grad is None for parameter in frozen.parameters())
    only(x.detach()).sum().backward()
    for ours, theirs in zip(only.parameters(), block.parameters(), strict=True):
        assert torch.equal(ours.grad, theirs.grad)


def test_a_map_is_the_same_alone_and_among_others():
    block, x = shaken(5, 7), rand(5, 5, 64, 64)
    with torch.no_grad():
        together, alone = block(x), torch.cat([block(one[None]) for one in x])
    assert distance(together, alone.double()) < WITHIN


def test_recomputed_blocks_have_the_same_gradients_to_the_last_bit():
    a, b = rand(2, 3, 64, 64), rand(2, 9, 64, 64, seed=1)
    torch.manual_seed(0)
    stack = CouplingStack(CouplingBlock(3, 9, growth=6) for _ in range(3))
    gradients = []
    for again in (False, True):
        recompute_blocks(stack, again)
        stack.zero_grad()
        torch.cat(stack(a, b), dim=1).square().mean().backward()
        gradients.append([p.grad.clone() for p in stack.parameters() if p.grad is not None])
    assert all(torch.equal(*pair) for pair in zip(*gradients, strict=True))


def test_it_takes_less_than_half_of_the_operations():
    block, x = shaken(12, 12, growth=32), rand(1, 12, 72, 72)
    with FlopCounterMode(display=False) as ours:
        block(x).sum().backward()
    with FlopCounterMode(display=False) as theirs:
        block.double()(x.double()).sum().backward()
    assert 0 < ours.get_total_flops() < 0.45 * theirs.get_total_flops()


@pytest.mark.parametrize(
    "x",
    [
        torch.zeros(1, 5, 60, 60),  # 225 tiles
        torch.zeros(1, 5, 64, 64, dtype=torch.float64),
        torch.zeros(1, 5, 64, 64, dtype=torch.bfloat16),
        torch.zeros(1, 5, 64, 64, device="meta"),
    ],
)
def test_other_maps_take_convolutions(x):
    assert not winograd.suits(x)
    assert winograd.suits(torch.zeros(1, 5, 61, 61))


def test_half_precision_takes_convolutions():
    block, seen = shaken(5, 7), []
    block.conv5.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].dtype))
    with torch.autocast("cpu", torch.bfloat16):
        block(rand(1, 5, 64, 64))
    assert seen == [torch.bfloat16]


@given(st.integers(1, 1000))
def test_the_parts_of_a_side_cover_it_once(side):
    spans = list(winograd._spans(side))
    assert [k for span in spans for k in range(side)[span.whole]] == list(range(side))
    for span in spans:
        seen = range(side)[span.seen]
        assert list(seen[span.inner]) == list(range(side)[span.whole])
        assert seen[0] in (0, span.whole.start - winograd.HALO)
        assert seen[-1] in (side - 1, span.whole.stop + winograd.HALO - 1)
        assert len(range(side)[span.whole]) <= winograd.LARGEST
