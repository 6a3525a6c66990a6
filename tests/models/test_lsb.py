"""LSB substitution against its definition."""

import pytest
import torch

from models import build_model
from tests.common import noise


@pytest.mark.parametrize("bits, count", [(1, 1), (4, 1), (7, 1), (3, 2), (1, 7)])
def test_every_bit_is_where_it_should_be(bits, count):
    net = build_model("lsb", num_secrets=count, bits=bits)
    cover, secrets = noise((2, 3, 40, 30)), noise((2, count, 3, 40, 30))
    stego = net.hide(cover, secrets)
    low = 0
    for secret in secrets.int().unbind(1):
        low = (low << bits) | (secret >> (8 - bits))
    assert torch.equal(stego.int(), (cover.int() >> bits * count << bits * count) | low)
    middle = 1 << (7 - bits)
    assert torch.equal(net.reveal(stego).int(), (secrets.int() >> (8 - bits) << (8 - bits)) + middle)


def test_errors_of_uniform_values():
    """k = 4: the stego is off by the difference of two uniform digits, the secret by -8 to 7."""
    net = build_model("lsb")
    cover, secrets = noise((1, 3, 300, 300)), noise((2, 3, 300, 300))[1:][:, None]
    stego = net.hide(cover, secrets)
    assert (stego.float() - cover.float()).square().mean().item() == pytest.approx((16**2 - 1) / 6, rel=0.02)
    error = net.reveal(stego).float() - secrets.float()
    assert error.square().mean().item() == pytest.approx(21.5, rel=0.02)


@pytest.mark.parametrize(
    "arguments, message",
    [
        (dict(bits=0), "bits: must be from 1 to 7, got 0"),
        (dict(bits=8), "bits: must be from 1 to 7, got 8"),
        (dict(bits=4, num_secrets=2), "1 to 1 secrets of 4 bits fit, got 2"),
        (dict(num_secrets=0), "1 to 1 secrets"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        build_model("lsb", **arguments)
