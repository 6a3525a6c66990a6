"""Blocks that are computed again: the same gradients from less memory."""

import pytest
import torch

from models import build_model
from models.layers.recompute import recompute_blocks
from models.losses import losses_of
from tests.common import group, shaken
from tests.models.test_methods import SMALL

MADE_OF_BLOCKS = ["deepmih", "hinet", "invmihnet", "isn", "smilenet", "smilenet_l"]


def trained(net, size: int) -> tuple[int, list[torch.Tensor]]:
    """Bytes that a training pass keeps for its backward pass, without the weights; the gradients."""
    cover, secrets = group(net, size, size)
    objective = net.Objective(*net.geometry)
    weights = {p.untyped_storage().data_ptr() for p in net.parameters()}
    kept = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    torch.manual_seed(0)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        losses = losses_of(net, objective, cover / 255, secrets / 255, 0.1)
    losses.total.backward()
    gradients = [p.grad for p in net.parameters()]
    net.zero_grad()
    return sum(kept.values()), gradients


@pytest.mark.parametrize("method", MADE_OF_BLOCKS)
def test_gradients_are_the_same_to_the_last_bit(method):
    net = shaken(method, **SMALL[method])
    plain, expected = trained(net, 32)
    assert recompute_blocks(net, True) > 0
    less, gradients = trained(net, 32)
    assert less < plain
    for one, other in zip(gradients, expected, strict=True):
        assert one is None and other is None or torch.equal(one, other)


def test_full_size_smilenet_keeps_a_fraction():
    """Of the activations of the network for 25 secrets. Their share does not depend on the pictures' size."""
    net = build_model("smilenet")
    plain, _ = trained(net, 20)
    recompute_blocks(net, True)
    less, _ = trained(net, 20)
    assert plain > 4 * less


def test_methods_that_are_not_made_of_blocks_say_so():
    assert recompute_blocks(build_model("baluja", width=4), True) == 0
