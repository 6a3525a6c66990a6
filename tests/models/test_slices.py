"""How many secrets are worked on at a time, and that a person sees how long it takes."""

import torch

from models.layers.slices import Slices
from tests.common import group
from tests.models.test_methods import small

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def test_a_slice_follows_the_free_memory():
    assert Slices().at_once(2**16, 100, CPU) == 8  # more are no faster on a CPU
    assert Slices().at_once(2**16, 100, GPU) == 128
    assert Slices(room=2**21 * 100).at_once(2**16, 100, GPU) == 16  # half of the memory
    assert Slices(room=2**18 * 100).at_once(2**16, 100, CPU) == 2
    assert Slices(room=0).at_once(2**16, 100, CPU) == 1  # less than a secret is not possible
    assert Slices().at_once(2**24, 100, CPU) == 1


def test_slices_are_put_together_in_order():
    numbers = torch.arange(14).reshape(7, 2)
    seen = []

    def double(some: slice) -> torch.Tensor:
        seen.append(len(numbers[some]))
        return 2 * numbers[some]

    with torch.no_grad():
        assert torch.equal(Slices().map(double, 7, 3, "doubling"), 2 * numbers)
    assert seen == [3, 3, 1]
    assert torch.equal(Slices().map(double, 7, 3, "doubling"), 2 * numbers) and seen[3:] == [7]


def test_progress_is_shown_where_it_is_asked_for(capsys):
    net = small("smilenet")
    cover, secrets = group(net)
    stego = net.hide(cover, secrets)
    assert capsys.readouterr().err == ""
    net.progress, net.room = True, 0
    net.hide(cover, secrets)
    assert "shrinking" in capsys.readouterr().err
    net.reveal(stego)
    assert "growing" in (said := capsys.readouterr().err) and "secret/s" in said
