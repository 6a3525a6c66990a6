"""The interface of a hiding method, for training, for testing and for users' own pictures."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from errors import UserError
from models.layers.exact import exact_arithmetic
from models.layers.quantize import Channel, finite, transmit
from models.layers.slices import Slices

if TYPE_CHECKING:
    from models.losses import Objective

EMPTY = 128  # grey level that fills the places of missing secrets


@dataclass
class Hidden:
    """The result of one training pass through sender, channel and receiver.

    stego (B,3,H,W): the stego as sent, before the channel: multiples of 1/255 in [0,1].
    revealed (B,N,3,H,W): the secrets, revealed from what came through the channel, not clamped.
    parts: whatever else the method's objective needs, by name (for SMILENet: mosaic, mosaic_revealed,
    z_mosaic, z_embed).
    """

    stego: Tensor
    revealed: Tensor
    parts: dict[str, Tensor] = field(default_factory=dict)


class HidingModel(nn.Module):
    """Base of all methods. A method sets these attributes and implements `encode`, `decode` and `forward`.

    num_secrets     N, the number of secrets in one cover
    patch_multiple  (rows, cols): the sides of training patches must be multiples of these
    smallest        (H, W): the smallest cover that the method can use, in pixels
    figure_columns  the number of columns in which figures show the secrets; 0: the grid closest to a square
    Objective       the class of its training objective (models/losses.py)
    geometry        what the objective must know about the network, as its positional arguments: (rows, cols)
    grey            True: covers, secrets and stegos are grey: their three channels are equal
    trainable       False: it has no parameters, and its name stands for its weights
    critic          a network that is trained against the method, or None. forward runs it and puts its
                    output into `parts`; the objective computes a loss for both
    critic_hides    True: the sender needs the critic, so it is part of the weights
    room            bytes of memory that hide and reveal may use; None: unknown
    progress        True: hide and reveal show their progress on stderr if they take long
    sender_type, receiver_type
                    the type in which the sub-networks compute in hide and in reveal: bfloat16, float16, or
                    None for float32 (engine/precision.py sets them)
    trained_channel what its training taught it to survive, from the weights' metadata: chains of attacks in
                    the notation of the option files; empty for a fresh network

    Floats are RGB in [0,1], (B,3,H,W) and (B,N,3,H,W). `hide` and `reveal` are the deployed path: uint8 in,
    uint8 out, deterministic without a key, for any H and W from `smallest` up. `reveal` uses only the stego
    and the weights. Methods with a key derive from `KeyedMethod` (models/keyed.py).
    """

    method: str  # its name in MODELS; build_model sets this and `arguments`, all constructor arguments
    arguments: dict
    trained_channel: list[list[dict]] = []
    num_secrets: int
    figure_columns: int = 0
    patch_multiple: tuple[int, int] = (1, 1)
    smallest: tuple[int, int] = (1, 1)
    Objective: "type[Objective]"
    geometry: tuple = ()
    grey: bool = False
    trainable: bool = True
    critic: nn.Module | None  # without a default, which would shadow the module of this name
    critic_hides: bool = False
    room: int | None = None
    progress: bool = False
    sender_type: torch.dtype | None = None
    receiver_type: torch.dtype | None = None

    def __init__(self) -> None:
        super().__init__()
        self.register_module("critic", None)

    def encode(self, cover: Tensor, secrets: Tensor) -> Tensor:
        """Sender: cover (B,3,H,W), secrets (B,N,3,H,W) in [0,1] -> stego (B,3,H,W), before rounding."""
        raise NotImplementedError

    def decode(self, stego: Tensor) -> Tensor:
        """Receiver: stego (B,3,H,W) in [0,1] -> revealed (B,N,3,H,W), not clamped."""
        raise NotImplementedError

    def forward(self, cover: Tensor, secrets: Tensor, channel: Channel | None = None) -> Hidden:
        """Training: encode, round to 8 bits (`quantize`), pass through the channel, and decode."""
        stego, received = transmit(self.encode(cover, secrets), channel)
        return Hidden(stego, self.decode(received))

    @torch.no_grad()
    def hide(self, cover: Tensor, secrets: Tensor) -> Tensor:
        """Hide pictures: cover (B,3,H,W) and 1 to N secrets (B,n,3,H,W), uint8 -> stego (B,3,H,W) uint8.

        Secrets have the cover's size. If there are fewer than N, the others are mid-grey. A keyed method
        hides under the public key. Raises UserError for wrong shapes or types, too many secrets, and a cover
        below `smallest`; NotFinite if the network gives NaN or infinite values.
        """
        self._check_picture("cover", cover)
        self._check_secrets(cover, secrets)
        self._check_grey("cover", cover)
        self._check_grey("secrets", secrets)
        missing = self.num_secrets - secrets.shape[1]
        if missing:
            grey = secrets.new_full((len(secrets), missing, *secrets.shape[2:]), EMPTY)
            secrets = torch.cat((secrets, grey), dim=1)
        with deployed(self, self.sender_type):
            stego = self.encode(self._to_float(cover), self._taken(secrets))
        return self._to_uint8(stego).to(cover.device)

    @torch.no_grad()
    def reveal(self, stego: Tensor) -> Tensor:
        """Reveal pictures from the stego alone: (B,3,H,W) uint8 -> secrets (B,N,3,H,W) uint8.

        Raises UserError for wrong shapes or types and a stego below `smallest`; NotFinite if the network
        gives NaN or infinite values.
        """
        self._check_picture("stego", stego)
        with deployed(self, self.receiver_type):
            revealed = self.decode(self._to_float(stego))
        return self._to_uint8(revealed).to(stego.device)

    # ---------------------------------------------------------------------------------------------

    @property
    def device(self) -> torch.device:
        """The device of the parameters; the CPU for a method without any."""
        return next((p.device for p in self.parameters()), torch.device("cpu"))

    @property
    def _slices(self) -> Slices:
        return Slices(self.room, self.progress)

    def _taken(self, secrets: Tensor) -> Tensor:
        """Convert secrets (B,N,3,H,W) uint8 for `encode`: to floats, unless the method saves memory here."""
        return self._to_float(secrets)

    def _to_float(self, x: Tensor) -> Tensor:
        weight = next(self.parameters(), torch.empty(0))
        return x.to(weight.device, weight.dtype) / 255

    @staticmethod
    def _to_uint8(x: Tensor) -> Tensor:
        x = finite(x)
        x = x.float() if x.element_size() < 4 else x  # a grey level is finer than bfloat16
        return x.clamp(0, 1).mul_(255).round_().to(torch.uint8)

    def _check_picture(self, what: str, x: Tensor, any_size: bool = False) -> None:
        if x.dtype != torch.uint8 or x.dim() != 4 or x.shape[1] != 3:
            raise UserError(f"{what}: expected (B,3,H,W) uint8, got {tuple(x.shape)} {x.dtype}")
        height, width = x.shape[-2:]
        if not any_size and (height < self.smallest[0] or width < self.smallest[1]):
            raise UserError(
                f"{what}: {width}x{height} pixels (width x height) is too small; expected "
                f"at least {self.smallest[1]}x{self.smallest[0]}"
            )

    def _check_grey(self, what: str, x: Tensor) -> None:
        if self.grey and (x != x[..., :1, :, :]).any():
            raise UserError(
                f"{what}: in colour, but this network hides grey pictures in grey ones; convert it to grey"
            )

    def _check_secrets(self, cover: Tensor, secrets: Tensor) -> None:
        if secrets.dtype != torch.uint8 or secrets.dim() != 5:
            raise UserError(
                f"secrets: expected (B,N,3,H,W) uint8, got {tuple(secrets.shape)} {secrets.dtype}"
            )
        if not 1 <= secrets.shape[1] <= self.num_secrets:
            takes = f"1 to {self.num_secrets} secrets" if self.num_secrets > 1 else "1 secret"
            raise UserError(f"this network hides {takes}, got {secrets.shape[1]}")
        expected = (len(cover), secrets.shape[1], *cover.shape[1:])
        if tuple(secrets.shape) != expected:
            raise UserError(
                f"secrets must have the cover's size: expected {expected}, got {tuple(secrets.shape)}"
            )


def check_positive(**counts: int) -> None:
    """Raise UserError if an argument of a constructor is below 1."""
    for name, value in counts.items():
        if value < 1:
            raise UserError(f"{name}: must be at least 1, got {value}")


def check_between(**given: tuple[int, int, int]) -> None:
    """Raise UserError if an argument of a constructor is outside its range: name=(value, low, high)."""
    for name, (value, low, high) in given.items():
        if not low <= value <= high:
            raise UserError(f"{name}: must be from {low} to {high}, got {value}")


@contextmanager
def deployed(model: HidingModel, inner: torch.dtype | None) -> Iterator[None]:
    """Switch to evaluation mode, full float32 (or `inner`) and fixed algorithms: every run gives the same.

    Restores training mode at the end.
    """
    training = model.training
    model.eval()  # batch normalisation uses running means, so the other pictures of a batch do not matter
    try:
        with exact_arithmetic(), torch.autocast(model.device.type, inner, enabled=inner is not None):
            yield
    finally:
        model.train(training)
