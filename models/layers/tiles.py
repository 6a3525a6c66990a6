"""Pictures cut into tiles of equal size, and put together again."""

import torch.nn.functional as F
from torch import Tensor


class Tiles:
    """How pictures of one size are cut: tiles(x) and joined(y).

    (B,C,H,W) -> (B*n,C,h,w) and back. Law: joined(tiles(x)) == x. There are as few tiles as possible, all of
    one size. Where they do not fill the picture, its last row and column are repeated.

    like      a picture of this size (B,C,H,W)
    most      the largest side of a tile [px]; 0: the picture is one tile
    multiple  the sides of a tile are multiples of this [px]
    """

    def __init__(self, like: Tensor, most: int, multiple: int):
        self.height, self.width = like.shape[-2:]
        self.whole = not most
        most = max(multiple, most // multiple * multiple)
        self.rows, self.cols = -(-self.height // most), -(-self.width // most)
        self.tall = -(-self.height // (self.rows * multiple)) * multiple
        self.wide = -(-self.width // (self.cols * multiple)) * multiple

    def __call__(self, x: Tensor) -> Tensor:
        if self.whole:
            return x
        gap = (0, self.cols * self.wide - self.width, 0, self.rows * self.tall - self.height)
        x = F.pad(x, gap, mode="replicate")
        x = x.unflatten(3, (self.cols, self.wide)).unflatten(2, (self.rows, self.tall))
        return x.permute(0, 2, 4, 1, 3, 5).flatten(0, 2)  # (B,C,rows,h,cols,w) -> (B*rows*cols,C,h,w)

    def joined(self, y: Tensor) -> Tensor:
        if self.whole:
            return y
        y = y.unflatten(0, (-1, self.rows, self.cols)).permute(0, 3, 1, 4, 2, 5)
        return y.flatten(4, 5).flatten(2, 3)[..., : self.height, : self.width]
