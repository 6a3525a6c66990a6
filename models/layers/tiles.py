"""Pictures cut into tiles of equal size, and put together again."""

from torch import Tensor

from models.layers.mosaic import tile, untile
from models.layers.sizes import extended


class Tiles:
    """How pictures of one size are cut: cut(x) and joined(y).

    (B,C,H,W) -> (B*n,C,h,w) and back. Law: joined(cut(x)) == x. There are as few tiles as possible, all of
    one size. If they do not fill the picture, copies of its last row and column do.

    like      a picture of this size (B,C,H,W)
    most      the largest side of a tile [px]; 0: the picture is one tile
    multiple  the sides of a tile are multiples of this [px]
    """

    def __init__(self, like: Tensor, most: int, multiple: int):
        self.height, self.width = like.shape[-2:]
        self.rows, self.tall = _divided(self.height, most, multiple)
        self.cols, self.wide = _divided(self.width, most, multiple)

    def cut(self, x: Tensor) -> Tensor:
        x = extended(x, self.rows * self.tall, self.cols * self.wide)
        return untile(x, self.rows, self.cols)

    def joined(self, y: Tensor) -> Tensor:
        return tile(y, self.rows, self.cols)[..., : self.height, : self.width]


def _divided(side: int, most: int, multiple: int) -> tuple[int, int]:
    """Return (number of tiles, their side) along one side of a picture."""
    if not most:
        return 1, side
    count = -(-side // max(multiple, most // multiple * multiple))
    return count, -(-side // (count * multiple)) * multiple
