"""Muon and the sharing out of parameters: its law, and that no parameter is left untrained."""

import pytest
import torch
from torch import nn

from engine.training.optimizers import Muon, build_optimizers, orthogonalised
from models import build_model
from options.schema import Train


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


def test_every_parameter_has_one_optimizer():
    model = build_model("smilenet", rows=2, cols=2, growth=4, icdm_blocks=1, imse_blocks=1)
    ways = build_optimizers(model, Train(steps=1, optimizer="muon", lr=1e-3, muon_lr=1e-2))
    (adam, share), (muon, muon_share) = ways
    assert (share, muon_share) == (1.0, pytest.approx(10.0))
    given = [id(p) for optimizer, _ in ways for group in optimizer.param_groups for p in group["params"]]
    assert sorted(given) == sorted(id(p) for p in model.parameters())
    kernels = [p for group in muon.param_groups for p in group["params"]]
    assert all(p.dim() == 4 for p in kernels) and len(kernels) > 20
    ((only, share),) = build_optimizers(model, Train(steps=1))
    assert isinstance(only, torch.optim.Adam) and share == 1.0
