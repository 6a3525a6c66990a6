"""Laws of the building blocks, in float64 with random, non-zero weights."""

import pytest
import torch

from models.layers.coupling import CouplingBlock, CouplingStack
from models.layers.modulation import Modulation
from models.layers.mosaic import BlockTransform, dct_matrix, tile, untile
from models.layers.quantize import quantize
from models.layers.subnets import DenseBlock
from models.layers.wavelet import haar, ihaar

TILINGS = [(2, 2), (2, 3), (4, 2), (3, 3), (4, 4), (5, 5), (1, 2)]


def shaken(module: torch.nn.Module, by: float = 0.1) -> torch.nn.Module:
    """The module in float64, with noise on all weights: a fresh one would only test the identity."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in module.double().parameters():
            p.add_(torch.randn(p.shape, generator=generator, dtype=p.dtype) * by)
    return module


def rand(*shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(shape, generator=generator, dtype=torch.float64)


def test_haar_is_orthonormal_and_invertible():
    x = rand(2, 3, 10, 14)
    assert torch.allclose(ihaar(haar(x)), x, atol=1e-12)
    assert torch.allclose(haar(x).norm(), x.norm(), atol=1e-12)


def test_haar_bands_of_one_block():
    block = torch.tensor([[1.0, 2.0], [5.0, 11.0]])[None, None]  # a b / c d
    assert haar(block).flatten().tolist() == [9.5, 3.5, 6.5, 2.5]


def test_haar_refuses_odd_sizes():
    with pytest.raises(ValueError, match="even height and width, got 5x4"):
        haar(torch.zeros(1, 3, 5, 4))


@pytest.mark.parametrize("rows, cols", TILINGS)
def test_tile_and_untile(rows, cols):
    x = rand(2 * rows * cols, 3, 4, 6)
    mosaic = tile(x, rows, cols)
    assert mosaic.shape == (2, 3, 4 * rows, 6 * cols)
    assert torch.equal(untile(mosaic, rows, cols), x)
    # Small picture k of group 1 lies in tile (k // cols, k % cols).
    k = rows * cols - 1
    corner = mosaic[1, :, (k // cols) * 4 : (k // cols) * 4 + 4, (k % cols) * 6 : (k % cols) * 6 + 6]
    assert torch.equal(corner, x[rows * cols + k])


@pytest.mark.parametrize("rows, cols", TILINGS)
def test_block_transform_starts_with_the_block_mean(rows, cols):
    t = BlockTransform(rows, cols).double()
    x = rand(2, 3, 4 * rows, 6 * cols)
    y = t(x)
    assert y.shape == (2, 3 * rows * cols, 4, 6)
    assert torch.allclose(y[:, :3], torch.nn.functional.avg_pool2d(x, (rows, cols)), atol=1e-12)


@pytest.mark.parametrize("rows, cols", TILINGS)
def test_block_transform_is_orthonormal_with_any_weights(rows, cols):
    t = shaken(BlockTransform(rows, cols), by=0.5)
    x = rand(2, 3, 4 * rows, 6 * cols)
    size = rows * cols
    assert (t.matrix() - dct_matrix(rows, cols)).abs().max() > 0.01
    assert torch.allclose(t.matrix() @ t.matrix().T, torch.eye(size).double(), atol=1e-12)
    assert torch.allclose(t.inverse(t(x)), x, atol=1e-12)


@pytest.mark.parametrize("condition", [0, 4])
def test_coupling_block_inverts(condition):
    block = shaken(CouplingBlock(3, 9, condition, growth=6, clamp=2.0))
    a, b = rand(2, 3, 5, 7), rand(2, 9, 5, 7)
    c = rand(2, condition, 5, 7) if condition else None
    changed = block(a, b, c)
    assert (changed[0] - a).abs().mean() > 1e-2 and (changed[1] - b).abs().mean() > 1e-2
    back = block.inverse(*changed, c)
    assert torch.allclose(back[0], a, atol=1e-12) and torch.allclose(back[1], b, atol=1e-12)


def test_coupling_block_that_scales_both_branches_inverts():
    block = shaken(CouplingBlock(3, 9, growth=6, clamp=2.0, affine_a=True))
    a, b = rand(2, 3, 5, 7), rand(2, 9, 5, 7)
    changed = block(a, b)
    with torch.no_grad():  # a' - phi(b) is a, scaled
        assert not torch.allclose(changed[0] - block.phi(b), a)
    back = block.inverse(*changed)
    assert torch.allclose(back[0], a, atol=1e-12) and torch.allclose(back[1], b, atol=1e-12)


@pytest.mark.parametrize("affine_a", [False, True])
@pytest.mark.parametrize("blocks", [1, 3])
def test_coupling_stack_inverts_and_gives_each_result_alone(blocks, affine_a):
    settings = dict(growth=6, clamp=1.0, affine_a=affine_a)
    stack = shaken(CouplingStack(CouplingBlock(3, 9, 4, **settings) for _ in range(blocks)))
    a, b, c = rand(2, 3, 5, 7), rand(2, 9, 5, 7), rand(2, 4, 5, 7)
    changed = stack(a, b, c)
    back = stack.inverse(*changed, c)
    assert torch.allclose(back[0], a, atol=1e-11) and torch.allclose(back[1], b, atol=1e-11)
    assert torch.equal(stack.forward_a(a, b, c), changed[0])
    assert torch.equal(stack.inverse_b(*changed, c), back[1])


def test_coupling_block_needs_the_right_condition():
    block = shaken(CouplingBlock(3, 9, 4, growth=6))
    a, b, c = rand(2, 3, 5, 7), rand(2, 9, 5, 7), rand(2, 4, 5, 7)
    wrong = block.inverse(*block(a, b, c), 1 - c)
    assert (wrong[1] - b).abs().mean() > 1e-2


def formula(block: DenseBlock, x: torch.Tensor) -> torch.Tensor:
    """A dense block as the papers draw it: every convolution sees the input and all outputs before it."""
    for conv in (block.conv1, block.conv2, block.conv3, block.conv4):
        y = torch.nn.functional.conv2d(x, conv.weight, conv.bias, padding=1)
        x = torch.cat((x, torch.nn.functional.leaky_relu(y, 0.2)), dim=1)
    return torch.nn.functional.conv2d(x, block.conv5.weight, block.conv5.bias, padding=1)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype, within", [(torch.float64, 1e-13), (torch.float32, 2e-6)])
def test_dense_block_with_and_without_gradients(layout, dtype, within):
    block = shaken(DenseBlock(5, 7, growth=6)).to(dtype).to(memory_format=layout)
    x = rand(3, 5, 9, 11).to(dtype)
    before = x.clone()
    expected = formula(block, x)
    trained = block(x)
    with torch.no_grad():
        deployed = block(x)
    assert torch.equal(x, before) and trained.requires_grad and not deployed.requires_grad
    for given in (trained, deployed):
        assert (given - expected).abs().max() < within * expected.abs().max()
    (ours,) = torch.autograd.grad(trained.square().sum(), block.conv1.weight)
    (theirs,) = torch.autograd.grad(expected.square().sum(), block.conv1.weight)
    assert (ours - theirs).abs().max() < 10 * within * theirs.abs().max()


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_dense_block_works_in_one_layout(layout):
    """Its weights' with gradients, channels_last without them on a CPU; mixed layouts are the slowest."""
    block, strides = DenseBlock(5, 7, growth=6).to(memory_format=layout), []
    for conv in (block.conv1, block.conv2, block.conv3, block.conv4, block.conv5):
        conv.register_forward_pre_hook(lambda _, inputs: strides.append(inputs[0].stride(1)))
    block(torch.rand(2, 5, 8, 8))
    assert strides == [1 if layout == torch.channels_last else 64] * 5  # 1: channels lie side by side
    strides.clear()
    with torch.no_grad():
        block(torch.rand(2, 5, 8, 8))
    assert strides == [1] * 5


def test_dense_block_keeps_half_precision_inside():
    block, seen = DenseBlock(5, 7, growth=6), []
    block.conv5.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].dtype))
    with torch.autocast("cpu", torch.bfloat16):
        block(torch.rand(1, 5, 8, 8))
        with torch.no_grad():
            block(torch.rand(1, 5, 8, 8))
    assert seen == [torch.bfloat16] * 2


def test_fresh_coupling_block_and_modulation_are_the_identity():
    a, b = rand(2, 3, 5, 7), rand(2, 9, 5, 7)
    assert torch.equal(CouplingBlock(3, 9).double()(a, b)[1], b)
    assert torch.equal(Modulation(9, 8, 2, 3).double()(b, a), b)
    assert not torch.allclose(shaken(Modulation(9, 8, 2, 3))(b, a), b)


def test_scale_is_bounded_by_the_clamp():
    block = shaken(CouplingBlock(3, 3, growth=4, clamp=1.5), by=50.0)
    assert block._scale(block.rho, rand(1, 3, 8, 8)).abs().max() <= 1.5


def test_quantize_rounds_and_passes_the_gradient():
    x = torch.tensor([-0.5, 0.0, 0.4 / 255, 0.6 / 255, 0.5, 1.0, 3.0], requires_grad=True)
    y = quantize(x)
    assert (y * 255).tolist() == pytest.approx([0, 0, 0, 1, 128, 255, 255])
    (y * torch.arange(-1, 6)).sum().backward()
    assert torch.equal(x.grad, torch.arange(-1.0, 6.0))  # all of these lead inwards or stay inside


def test_quantize_pulls_values_back_but_never_pushes_them_further_out():
    x = torch.tensor([-0.1, -0.1, 1.1, 1.1], requires_grad=True)
    (quantize(x) * torch.tensor([-1.0, 1.0, 1.0, -1.0])).sum().backward()
    assert x.grad.tolist() == [-1, 0, 1, 0]
