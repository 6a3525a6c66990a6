"""Muon and the sharing out of parameters: its law, and that no parameter is left untrained."""

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from engine.training.optimizers import Muon, orthogonalised
from engine.training.step import Step
from models import MODELS, build_model
from options.schema import Train
from tests.models.test_methods import SMALL


@pytest.mark.parametrize("shape", [(16, 144), (144, 16), (48, 48)])
def test_all_singular_values_come_near_1(shape):
    torch.manual_seed(0)
    u, s, v = torch.linalg.svd(torch.randn(shape), full_matrices=False)
    matrix = u @ torch.diag(torch.logspace(0, -1.2, len(s))) @ v  # far from orthogonal
    spread = torch.linalg.svdvals(matrix)
    assert spread[0] / spread[-1] > 10
    values = torch.linalg.svdvals(orthogonalised(matrix[None])[0])
    assert 0.5 < values.min() and values.max() < 1.3


def test_an_update_keeps_the_singular_vectors():
    torch.manual_seed(0)
    matrix = torch.randn(12, 12)
    u, _, v = torch.linalg.svd(matrix)
    turned = u.T @ orthogonalised(matrix[None])[0] @ v.T
    assert (turned - torch.diag(turned.diagonal())).abs().max() < 1e-3


def test_kernels_of_one_shape_are_updated_as_each_would_be_alone():
    """In three steps, one kernel without a gradient in the second, against Newton-Schulz matrix by matrix."""

    def alone(matrix: torch.Tensor) -> torch.Tensor:
        turned = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
        x = turned / turned.norm()
        for _ in range(5):
            gram = x @ x.T
            x = 3.4445 * x - 4.7750 * gram @ x + 2.0315 * gram @ gram @ x
        return x.T if matrix.shape[0] > matrix.shape[1] else x

    torch.manual_seed(0)
    shapes = [(8, 4, 3, 3), (40, 4, 3, 3), (8, 4, 3, 3), (8, 12, 1, 1), (8, 4, 3, 3)]
    kernels = [nn.Parameter(torch.randn(shape, dtype=torch.float64)) for shape in shapes]
    expected = [kernel.detach().clone() for kernel in kernels]
    momenta = [torch.zeros_like(kernel) for kernel in kernels]
    muon = Muon(kernels, lr=0.1, momentum=0.9)
    for step in range(3):
        for k, kernel in enumerate(kernels):
            kernel.grad = None if (step, k) == (1, 2) else torch.randn_like(kernel)
            if kernel.grad is None:
                continue
            momenta[k] = 0.9 * momenta[k] + 0.1 * kernel.grad
            update = (0.1 * kernel.grad + 0.9 * momenta[k]).flatten(1)
            taller = max(1.0, update.shape[0] / update.shape[1])
            expected[k] -= 0.1 * taller**0.5 * alone(update).reshape(kernel.shape)
        muon.step()
    for kernel, value, momentum in zip(kernels, expected, momenta, strict=True):
        torch.testing.assert_close(kernel.detach(), value, rtol=0, atol=1e-12)
        torch.testing.assert_close(muon.state[kernel]["momentum"], momentum, rtol=0, atol=1e-12)


def test_muon_needs_few_operations():
    """A step of the full SMILENet for 25 secrets: 8 + 16 coupling blocks, 12 modulation blocks."""
    model = build_model("smilenet")
    kernels = [part.weight for part in model.modules() if isinstance(part, nn.Conv2d)]
    kernels = [kernel for kernel in kernels if min(kernel.flatten(1).shape) >= 4]
    for kernel in kernels:
        kernel.grad = torch.zeros_like(kernel)
    muon = Muon(kernels, lr=0.1)
    muon.step()  # which makes its state
    muon.found_inf = torch.zeros(())
    with Operations() as operations:
        muon.step()
    assert len(kernels) > 400 and operations.count <= 1000


class Operations(TorchDispatchMode):
    """Counts what is called on tensors: on a GPU mostly a kernel each."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += 1
        return func(*args, **(kwargs or {}))


def test_the_scale_of_the_gradient_does_not_matter():
    kernels = [nn.Parameter(torch.zeros(8, 4, 3, 3)) for _ in range(2)]
    torch.manual_seed(0)
    gradient = torch.randn(8, 4, 3, 3)
    for kernel, scale in zip(kernels, (1.0, 1e6), strict=True):
        kernel.grad = gradient * scale
        Muon([kernel], lr=0.1).step()
    torch.testing.assert_close(kernels[0], kernels[1])
    assert kernels[0].abs().max() > 0.01


@pytest.mark.parametrize("optimizer", ["adam", "muon"])
@pytest.mark.parametrize("method", [name for name, method in MODELS.items() if method.trainable])
def test_every_trainable_parameter_is_in_exactly_one_optimizer(method, optimizer):
    model = build_model(method, **SMALL[method])
    step = Step(model, model, Train(steps=1, optimizer=optimizer, lr=1e-3, muon_lr=1e-2))
    given = [id(p) for player in step.players for p in player.parameters]
    assert sorted(given) == sorted(id(p) for p in model.parameters())
    shares = {type(one): share for one, share in step.method.optimizers}
    assert shares[torch.optim.Adam] == 1.0 and shares.get(Muon) in (None, pytest.approx(10.0))
    for player in step.players:
        for one, _ in player.optimizers:
            if isinstance(one, Muon):
                assert all(p.dim() == 4 for group in one.param_groups for p in group["params"])


@pytest.mark.parametrize("bad", [False, True])
def test_a_step_that_found_infinite_values_leaves_muon_as_it_was(bad):
    torch.manual_seed(0)
    kernel = nn.Parameter(torch.randn(8, 4, 3, 3))
    muon = Muon([kernel], lr=0.1)
    kernel.grad = torch.randn_like(kernel)
    muon.step()
    before = kernel.detach().clone(), muon.state[kernel]["momentum"].clone()
    kernel.grad = torch.full_like(kernel, torch.nan if bad else 1.0)
    muon.found_inf = torch.tensor(float(bad))
    muon.step()
    same = [torch.equal(x, y) for x, y in zip((kernel, muon.state[kernel]["momentum"]), before, strict=True)]
    assert same == [bad, bad] and kernel.isfinite().all()
