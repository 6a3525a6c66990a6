"""Muon and the sharing out of parameters: its law, and that no parameter is left untrained."""

import pytest
import torch
from torch import nn

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
    values = torch.linalg.svdvals(orthogonalised(matrix))
    assert 0.5 < values.min() and values.max() < 1.3


def test_an_update_keeps_the_singular_vectors():
    torch.manual_seed(0)
    matrix = torch.randn(12, 12)
    u, _, v = torch.linalg.svd(matrix)
    turned = u.T @ orthogonalised(matrix) @ v.T
    assert (turned - torch.diag(turned.diagonal())).abs().max() < 1e-3


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
