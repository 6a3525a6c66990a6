"""The optimisers of a training run: Adam alone, or Muon for the kernels and Adam for the rest."""

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from options.schema import Train

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # Jordan's coefficients: singular values end near 1 in 5 rounds
FEWEST = 4  # rows and columns that a kernel must have for its singular values to say anything


class Muon(Optimizer):
    """Momentum, orthogonalised: all singular values of a kernel's update are near 1.

    K. Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024. torch.optim.Muon takes
    matrices only; here a convolution's kernel (out,in,kh,kw) is the matrix (out, in*kh*kw).

        m = mu m + (1 - mu) g,   u = (1 - mu) g + mu m,   W = W - lr max(1, rows / columns)^(1/2) U V^T

    where u = U S V^T, to the accuracy of five Newton-Schulz rounds. The gradient's scale drops out, so a
    run cannot explode by a large gradient.
    """

    def __init__(self, parameters: list[Tensor], lr: float, momentum: float = 0.95):
        super().__init__(parameters, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure=None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for kernel in group["params"]:
                if kernel.grad is None:
                    continue
                state = self.state[kernel]
                if not state:
                    state["momentum"] = torch.zeros_like(kernel)
                state["momentum"].lerp_(kernel.grad, 1 - group["momentum"])
                update = kernel.grad.lerp(state["momentum"], group["momentum"])
                rows, columns = update.flatten(1).shape
                update = orthogonalised(update.flatten(1)).reshape(kernel.shape)
                kernel.add_(update, alpha=-group["lr"] * max(1.0, rows / columns) ** 0.5)


def orthogonalised(matrix: Tensor) -> Tensor:
    """U V^T of matrix = U S V^T, nearly: (r,c) -> (r,c), singular values about 0.7 to 1.2.

    Those below a part in 500 of the matrix's norm come out smaller.
    """
    a, b, c = NEWTON_SCHULZ
    wide = matrix.shape[0] <= matrix.shape[1]
    x = matrix if wide else matrix.T
    x = x / (x.norm() + 1e-12)
    for _ in range(5):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x if wide else x.T


def build_optimizers(model: nn.Module, train: Train) -> list[tuple[Optimizer, float]]:
    """What a train section asks for: each optimiser, and its learning rate as a share of train.lr."""
    kernels: list[Tensor] = []
    if train.optimizer == "muon":
        kernels = [part.weight for part in model.modules() if isinstance(part, nn.Conv2d)]
        kernels = [k for k in kernels if min(k.flatten(1).shape) >= FEWEST]
    taken = {id(kernel) for kernel in kernels}
    rest = [p for p in model.parameters() if id(p) not in taken]
    optimizers: list[tuple[Optimizer, float]] = []
    if rest:
        adam = Adam(rest, lr=train.lr, betas=train.betas, weight_decay=train.weight_decay)
        optimizers.append((adam, 1.0))
    if kernels:
        optimizers.append((Muon(kernels, lr=train.muon_lr), train.muon_lr / train.lr))
    return optimizers
