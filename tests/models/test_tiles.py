"""SRIS-Net's tiles: cut and joined at any size, hidden and revealed one by one."""

import pytest
import torch
from skimage.data import astronaut, coffee

from engine.checkpoint import load_model
from errors import UserError
from models.layers.tiles import Tiles
from tests.common import group, photo, psnr
from tests.models.test_srisnet import rand, small


@pytest.mark.parametrize("most", [0, 4, 16, 18, 64])
@pytest.mark.parametrize("size", [(32, 48), (33, 47), (1, 1), (65, 200)])
def test_tiles_come_together_again(size, most):
    x = rand(2, 3, *size)
    tiles = Tiles(x, most, 4)
    cut = tiles.cut(x)
    assert torch.equal(tiles.joined(cut), x)
    if most:
        height, width = cut.shape[-2:]
        assert height % 4 == width % 4 == 0 and max(height, width) <= most
        assert len(cut) == 2 * tiles.rows * tiles.cols
        assert torch.equal(cut[0, :, : size[0], : size[1]], x[0, :, :height, :width])


def test_each_tile_is_hidden_and_revealed_by_itself():
    whole, tiled = small(critic="none"), small(critic="none", tile=16)
    tiled.load_state_dict(whole.state_dict())
    cover, secrets = group(whole, 32, 48)
    stego = tiled.hide(cover, secrets)
    revealed = tiled.reveal(stego)
    for top in (0, 16):
        for left in (0, 16, 32):
            here = (..., slice(top, top + 16), slice(left, left + 16))
            assert torch.equal(stego[here], whole.hide(cover[here], secrets[here]))
            assert torch.equal(revealed[here], whole.reveal(stego[here]))
    assert not torch.equal(stego, whole.hide(cover, secrets))


def test_tiles_of_a_picture_that_they_do_not_fill():
    net = small(tile=16)
    cover, secrets = group(net, 41, 53)
    stego = net.hide(cover, secrets)
    assert stego.shape == cover.shape and net.reveal(stego).shape == secrets.shape
    with pytest.raises(UserError, match="tile: must be at least 0, got -1"):
        small(tile=-1)


def test_cropping_whole_tiles_costs_nothing_and_moving_them_some_db():
    """docs/srisnet.md, with the shipped network."""
    net, _ = load_model("srisnet_1_nano")
    cover, secret = photo(coffee, 256, 256)[None], photo(astronaut, 256, 256)[None, None]
    stego = net.hide(cover, secret)

    def revealed(columns: int) -> float:
        shown = net.reveal(stego[..., columns:])[0, 0]
        return psnr(secret[0, 0, ..., columns:], shown)

    assert revealed(0) > 29
    assert abs(revealed(64) - revealed(0)) < 0.5
    assert 1 < revealed(0) - revealed(8) < 8
