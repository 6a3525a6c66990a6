"""A method with a critic, written as CONTRIBUTING.md says, for the tests of the step and the trainer."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.base import Hidden, HidingModel, check_positive
from models.layers.quantize import Channel, transmit
from models.losses import Losses, Objective, squared, weighted


class Critic(nn.Module):
    """Pictures (B,3,H,W) in [0,1] -> (B,1,H,W), above 0 where it sees a stego."""

    def __init__(self, width: int):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, 1, 3, padding=1),
        )

    def forward(self, pictures: Tensor) -> Tensor:
        return self.layers(pictures - 0.5)


class ToyObjective(Objective):
    """The method: |stego - cover|^2 + |revealed - secrets|^2, and a stego that the critic takes for a cover.

    The critic: binary cross-entropy, stego against cover. unseen: the weight of its word on the stego.
    """

    def __init__(self, imperceptibility: float = 1.0, reveal: float = 1.0, unseen: float = 0.01):
        super().__init__()
        self.imperceptibility, self.reveal, self.unseen = imperceptibility, reveal, unseen

    def forward(self, hidden: Hidden, cover: Tensor, secrets: Tensor, progress: float) -> Losses:
        measured = {
            "imperceptibility": squared(hidden.stego, cover),
            "reveal": squared(hidden.revealed, secrets),
            "unseen": F.softplus(hidden.parts["seen_in_stego"]).mean(),
        }
        losses = weighted(measured, vars(self))
        hits = F.softplus(-hidden.parts["seen_in_detached"]).mean()
        false_alarms = F.softplus(hidden.parts["seen_in_cover"]).mean()
        losses.critic = Losses(hits + false_alarms, {"hits": hits, "false_alarms": false_alarms})
        return losses


class Toy(HidingModel):
    """One secret, hidden by two convolutions and revealed by two; a critic looks at the stego."""

    Objective = ToyObjective
    num_secrets = 1

    def __init__(self, *, width: int = 8, critic_width: int = 4):
        super().__init__()
        check_positive(width=width, critic_width=critic_width)
        self.hiding = nn.Sequential(
            nn.Conv2d(6, width, 3, padding=1), nn.LeakyReLU(0.2), nn.Conv2d(width, 3, 3, padding=1)
        )
        self.revealing = nn.Sequential(
            nn.Conv2d(3, width, 3, padding=1), nn.LeakyReLU(0.2), nn.Conv2d(width, 3, 3, padding=1)
        )
        self.critic = Critic(critic_width)

    def encode(self, cover: Tensor, secrets: Tensor) -> Tensor:
        return cover + 0.1 * self.hiding(torch.cat((cover, secrets[:, 0]), dim=1)).to(cover.dtype)

    def decode(self, stego: Tensor) -> Tensor:
        return self.revealing(stego - 0.5).to(stego.dtype)[:, None] + 0.5

    def forward(self, cover: Tensor, secrets: Tensor, channel: Channel | None = None) -> Hidden:
        stego, received = transmit(self.encode(cover, secrets), channel)
        parts = {
            "seen_in_stego": self.critic(stego),
            "seen_in_detached": self.critic(stego.detach()),
            "seen_in_cover": self.critic(cover),
        }
        return Hidden(stego, self.decode(received), parts)


class GuidedToy(Toy):
    """The sender changes the cover less where the critic would see it, and so needs the critic."""

    critic_hides = True

    def encode(self, cover: Tensor, secrets: Tensor) -> Tensor:
        change = self.hiding(torch.cat((cover, secrets[:, 0]), dim=1)).to(cover.dtype)
        return cover + 0.1 * torch.sigmoid(-self.critic(cover).detach().to(cover.dtype)) * change


TOYS: dict[str, type[HidingModel]] = {"toy": Toy, "guided_toy": GuidedToy}
