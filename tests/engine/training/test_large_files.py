"""Every option file for a GPU takes one real step, on a patch as small as its network can be trained on."""

import pytest
import torch

from engine.build import build_channels, build_network, build_objectives
from engine.training.step import Step
from options import load_train
from tests.common import ROOT, noise

SMALL_ONES = ("_nano.yml", "quickstart.yml")
LARGE = [p for p in sorted((ROOT / "options/train").glob("*.yml")) if not p.name.endswith(SMALL_ONES)]


@pytest.mark.slow
@pytest.mark.parametrize("file", LARGE, ids=lambda file: file.stem)
def test_one_step(file):
    options = load_train(file)
    net = build_network(options).train()
    if options.train.channels_last:
        net.to(memory_format=torch.channels_last)
    step = Step(net, net, options.train, options.critic)
    pairs = zip(net.patch_multiple, net.smallest, strict=True)
    height, width = (multiple * -(-max(least, 16) // multiple) for multiple, least in pairs)
    pictures = noise((1, net.num_secrets + 1, 3, height, width))
    objective, channel = build_objectives(options, net)[0], build_channels(options)[0]
    before = [p.detach().clone() for p in net.parameters()]
    drawn = channel and channel.drawn(options.seed, 0)
    terms, _ = step(pictures[:, 0], pictures[:, 1:], objective, 0.0, options.train.lr, 0, drawn)
    assert all(torch.isfinite(value) for value in terms.values()) and step.skipped == 0
    assert any(not torch.equal(p, old) for p, old in zip(net.parameters(), before, strict=True))


def test_each_method_has_a_large_file():
    assert len(LARGE) >= 15 and {load_train(p).network.type for p in LARGE} >= {"smilenet", "hinet", "weng"}
