"""The optimisers of a training run: Adam for everything, or Muon for the kernels and Adam for the rest."""

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

from models import HidingModel
from options import Critic, Train

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # Jordan's coefficients: singular values end near 1 in 5 rounds
FEWEST = 4  # Adam trains a kernel with fewer rows or columns: its singular values say too little


class Muon(Optimizer):
    """Orthogonalised momentum: all singular values of a kernel's update are near 1.

    K. Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024. torch.optim.Muon
    accepts only matrices. Here, a convolution's kernel (out,in,kh,kw) is the matrix (out, in*kh*kw).

        m = mu m + (1 - mu) g,   u = (1 - mu) g + mu m,   W = W - lr max(1, rows / columns)^(1/2) U V^T

    where u = U S V^T, to the accuracy of five Newton-Schulz rounds. The scale of the gradient cancels out, so
    a large gradient cannot make a run explode.

    Kernels of the same shape are updated as one stack. A step therefore takes about thirty operations per
    shape, not per kernel.

    lr: above 0. momentum: mu, from 0 to below 1.
    """

    def __init__(self, parameters: list[Tensor], lr: float, momentum: float = 0.95):
        super().__init__(parameters, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure=None) -> None:  # type: ignore[override]
        """Update all kernels, or nothing if `found_inf` is set and above 0 (as in torch's fused Adam)."""
        found_inf = getattr(self, "found_inf", None)
        bad = None if found_inf is None else found_inf > 0
        for group in self.param_groups:
            shapes: dict[torch.Size, list[Tensor]] = {}
            for kernel in group["params"]:
                if kernel.grad is not None:
                    shapes.setdefault(kernel.shape, []).append(kernel)
            for kernels in shapes.values():
                self._update(kernels, group["lr"], group["momentum"], bad)

    def _update(self, kernels: list[Tensor], lr: float, decay: float, bad: Tensor | None) -> None:
        """Update kernels that all have the same shape."""
        for kernel in kernels:
            if not self.state[kernel]:
                self.state[kernel]["momentum"] = torch.zeros_like(kernel)
        momenta = [self.state[kernel]["momentum"] for kernel in kernels]
        gradient = torch.stack([kernel.grad for kernel in kernels])  # type: ignore[misc]
        momentum = torch.stack(momenta)
        if bad is not None:
            gradient = torch.where(bad, momentum, gradient)  # this leaves the momentum unchanged
        momentum.lerp_(gradient, 1 - decay)
        torch._foreach_copy_(momenta, momentum.unbind())
        update = gradient.lerp_(momentum, decay)
        update = orthogonalised(update.flatten(2)).reshape(update.shape)
        if bad is not None:
            update.masked_fill_(bad, 0)
        rows = len(kernels[0])
        columns = kernels[0].numel() // rows
        torch._foreach_add_(kernels, update.unbind(), alpha=-lr * max(1.0, rows / columns) ** 0.5)


def orthogonalised(matrices: Tensor) -> Tensor:
    """Approximate U V^T of each matrix U S V^T: (K,r,c) -> (K,r,c), with singular values of about 0.7 to 1.2.

    Singular values below 1/500 of the matrix's norm come out smaller.
    """
    a, b, c = NEWTON_SCHULZ
    wide = matrices.shape[1] <= matrices.shape[2]
    x = matrices if wide else matrices.mT
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-12)
    for _ in range(5):
        gram = torch.bmm(x, x.mT)
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x if wide else x.mT


class Player:
    """The parameters that one loss trains, divided among one or more optimisers.

    optimizers: pairs of an optimiser and its learning rate as a multiple of train.lr.
    every: the parameters are trained once in so many steps.
    """

    def __init__(self, optimizers: list[tuple[Optimizer, float]], every: int = 1):
        self.optimizers, self.every = optimizers, every
        self.parameters = [p for one, _ in optimizers for group in one.param_groups for p in group["params"]]

    def has_its_turn(self, number: int) -> bool:
        """Whether step `number` of the run trains these parameters: never while a phase freezes them all."""
        return number % self.every == 0 and any(p.requires_grad for p in self.parameters)

    def prepare(self, rate: float) -> None:
        """Clear the gradients and set the learning rates; `rate` is Adam's, the others scale with it."""
        for optimizer, share in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate * share
            optimizer.zero_grad(set_to_none=True)

    def clipped(self, limit: float) -> Tensor:
        """Scale the gradients down to a norm of at most `limit`; return their norm before that."""
        return torch.nn.utils.clip_grad_norm_(self.parameters, limit)

    def update(self, good: Tensor) -> None:
        """Step every optimiser. Nothing changes unless `good`, a boolean scalar on the device, is true."""
        for optimizer, _ in self.optimizers:
            # As torch's GradScaler does it: a fused Adam and our Muon skip the step unless this is 0.
            optimizer.found_inf = (~good).float()  # type: ignore[attr-defined]
            optimizer.step()


def method_player(model: HidingModel, train: Train) -> Player:
    """All parameters except the critic's, with the optimiser that the train section names."""
    its = {id(p) for p in critic_parameters(model)}
    mine = [p for p in model.parameters() if id(p) not in its]
    kernels: list[Tensor] = []
    if train.optimizer == "muon":
        # Only weights that are parameters: a normalised convolution computes its weight from others.
        convs = [part for part in model.modules() if isinstance(part, nn.Conv2d)]
        weights = {id(conv._parameters.get("weight")) for conv in convs}
        kernels = [p for p in mine if id(p) in weights and min(p.flatten(1).shape) >= FEWEST]
    taken = {id(kernel) for kernel in kernels}
    rest = [p for p in mine if id(p) not in taken]
    optimizers: list[tuple[Optimizer, float]] = []
    if rest:
        adam = Adam(rest, lr=train.lr, betas=train.betas, weight_decay=train.weight_decay, fused=True)
        optimizers.append((adam, 1.0))
    if kernels:
        optimizers.append((Muon(kernels, lr=train.muon_lr), train.muon_lr / train.lr))
    return Player(optimizers)


def critic_player(model: HidingModel, critic: Critic, train: Train) -> Player | None:
    """The critic's parameters with their own settings; None if the method has no critic."""
    parameters = critic_parameters(model)
    if not parameters:
        return None
    adam = Adam(parameters, lr=critic.lr, betas=critic.betas, fused=True)
    return Player([(adam, critic.lr / train.lr)], critic.every)


def critic_parameters(model: HidingModel) -> list[Tensor]:
    """The critic's parameters; an empty list if the method has no critic."""
    return [] if model.critic is None else list(model.critic.parameters())
