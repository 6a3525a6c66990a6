"""The channel of a training: one of several attacks, drawn anew for each step.

It is separate from channel/layers.py, because it loads torch's compiler, which takes a second.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from channel.attacks import Attack, label
from channel.entry import Entry
from channel.layers import layer, to_8_bit
from channel.notation import Written
from errors import UserError


class Channel:
    """What a stego may pass through in training: one of several attacks, drawn anew for each step.

    written: the entries in the notation of the option files, such as
        [{"type": "none", "weight": 2}, {"type": "jpeg", "quality": [70, 95]},
         [{"type": "mean"}, {"type": "webp", "quality": 80}]]. The last one is a chain.
    Raises UserError as `Entry.read` does, and if there are no entries.
    """

    def __init__(self, written: Sequence[Written]):
        self.entries = [Entry.read(one) for one in written]
        if not self.entries:
            raise UserError(
                "a channel without attacks; write {type: none} for a stego that arrives unchanged"
            )

    def drawn(self, seed: int, step: int, first: int = 0) -> "Drawn":
        """Draw what happens in one step. It depends only on the arguments, so a resumed run draws the same.

        seed: of the run. first: the number of this process's first picture in the step's whole batch.
        """
        rng = np.random.default_rng((seed, step))
        weights = np.array([entry.weight for entry in self.entries])
        entry = self.entries[rng.choice(len(weights), p=weights / weights.sum())]
        attack = entry.draw(rng)
        return Drawn(attack, int(rng.integers(2**31)) + first)


@dataclass(frozen=True)
class Drawn:
    """A channel at one step: drawn(stego) returns what arrives. A method's forward takes it as `channel`.

    attack: what happens to the pictures. seed: of its random choices for the batch's first picture.
    """

    attack: Attack
    seed: int

    def from_picture(self, first: int) -> "Drawn":
        """Return the same for the part of the batch that begins with picture number `first`."""
        return replace(self, seed=self.seed + first)

    @torch.compiler.disable  # otherwise torch.compile recompiles for each attack and strength
    def __call__(self, stego: Tensor) -> Tensor:
        """Attack a batch (B,3,H,W) in [0,1] -> the same shape, float32, multiples of 1/255.

        Raises UserError if the attack changed the pictures' size.
        """
        with torch.autocast(stego.device.type, enabled=False):  # bfloat16 is coarser than a grey level
            received = to_8_bit(layer(self.attack)(stego.float(), self.seed))
        if received.shape != stego.shape:
            raise UserError(f"'{label(self.attack)}' changes the pictures' size; an attack must keep it")
        return received
