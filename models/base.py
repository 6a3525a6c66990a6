"""The contract of a hiding method: what training, testing and a person's own pictures rely on."""

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

EMPTY = 128  # grey level that fills the places of secrets that were not given


@dataclass
class Hidden:
    """The result of one training pass through sender, channel and receiver.

    stego (B,3,H,W): as it was sent, on the grid of 8-bit values in [0,1], before the channel;
    revealed (B,N,3,H,W): from what came through the channel, not clamped;
    parts: what else the method's objective needs, by name (for SMILENet mosaic, mosaic_revealed,
    z_mosaic, z_embed).
    """

    stego: Tensor
    revealed: Tensor
    parts: dict[str, Tensor] = field(default_factory=dict)


class HidingModel(nn.Module):
    """Base of all methods. A method sets these attributes and writes `encode`, `decode` and `forward`.

    num_secrets     N, how many secrets one cover takes
    patch_multiple  (rows, cols): training patches must be multiples of these
    smallest        (H, W): the smallest cover that the method can use, in pixels
    figure_columns  in how many columns figures show the secrets; 0: as near to a square as possible
    Objective       the class of its training objective (models/losses.py)
    geometry        what the objective must know about the network, as its positional arguments: (rows, cols)
    grey            True: covers, secrets and stegos are grey, that is of three equal channels
    trainable       False: it has no parameters, its name stands for weights
    critic          a network that is trained against the method, or None. forward uses it and gives what it
                    said in `parts`; the objective makes a loss for each of the two
    critic_hides    True: the sender needs the critic, so it is part of the weights
    room            bytes of memory that hide and reveal may count on; None: unknown
    progress        True: hide and reveal show progress on stderr if that takes long
    sender_type, receiver_type
                    what the inside of the sub-networks is computed in at hide and at reveal: bfloat16,
                    float16, or None for float32 (engine/precision.py sets them)
    trained_channel what its training taught it to survive, from the weights' metadata: chains of attacks in
                    the notation of the option files; empty for a fresh network

    Floats are RGB in [0,1], (B,3,H,W) and (B,N,3,H,W). `hide` and `reveal` are the deployed path:
    uint8 in, uint8 out, deterministic, any H and W from `smallest` up; `reveal` has the stego and
    the weights, nothing else. Methods with a key derive from `KeyedMethod` (models/keyed.py).
    """

    method: str  # its name in MODELS, and all arguments of its constructor: set by build_model
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
    critic: nn.Module | None  # no default: it would hide the module of this name
    critic_hides: bool = False
    room: int | None = None
    progress: bool = False
    sender_type: torch.dtype | None = None
    receiver_type: torch.dtype | None = None

    def __init__(self) -> None:
        super().__init__()
        self.register_module("critic", None)

    def encode(self, cover: Tensor, secrets: Tensor) -> Tensor:
        """Sender: (B,3,H,W) and (B,N,3,H,W) in [0,1] -> stego (B,3,H,W), before rounding."""
        raise NotImplementedError

    def decode(self, stego: Tensor) -> Tensor:
        """Receiver: stego (B,3,H,W) in [0,1] -> revealed (B,N,3,H,W), not clamped."""
        raise NotImplementedError

    def forward(self, cover: Tensor, secrets: Tensor, channel: Channel | None = None) -> Hidden:
        """Training: encode, rounding to 8 bits (`quantize`), channel, decode, in one call."""
        stego, received = transmit(self.encode(cover, secrets), channel)
        return Hidden(stego, self.decode(received))

    @torch.no_grad()
    def hide(self, cover: Tensor, secrets: Tensor) -> Tensor:
        """Hide pictures: cover (B,3,H,W) and 1 to N secrets (B,n,3,H,W), uint8 -> stego (B,3,H,W) uint8.

        Secrets have the cover's size. If fewer than N are given, the rest are mid-grey. Raises
        UserError for wrong shapes, types, too many secrets, and a cover below `smallest`. A keyed
        method hides under the public key.
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
        """Reveal pictures: stego (B,3,H,W) uint8 -> secrets (B,N,3,H,W) uint8, from the stego alone."""
        self._check_picture("stego", stego)
        with deployed(self, self.receiver_type):
            revealed = self.decode(self._to_float(stego))
        return self._to_uint8(revealed).to(stego.device)

    # ---------------------------------------------------------------------------------------------

    @property
    def device(self) -> torch.device:
        """Where the parameters are; the CPU for a method without any."""
        return next((p.device for p in self.parameters()), torch.device("cpu"))

    @property
    def _slices(self) -> Slices:
        return Slices(self.room, self.progress)

    def _taken(self, secrets: Tensor) -> Tensor:
        """The secrets (B,N,3,H,W) uint8 as `encode` takes them: floats, unless a method saves memory here."""
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
                f"{what}: {width}x{height} pixels (width x height) is too small for {self.num_secrets} "
                f"secrets, at least {self.smallest[1]}x{self.smallest[0]} are needed"
            )

    def _check_grey(self, what: str, x: Tensor) -> None:
        if self.grey and (x != x[..., :1, :, :]).any():
            raise UserError(
                f"{what}: in colour, but this network hides grey pictures in grey ones; turn it to grey first"
            )

    def _check_secrets(self, cover: Tensor, secrets: Tensor) -> None:
        if secrets.dtype != torch.uint8 or secrets.dim() != 5:
            raise UserError(f"secrets: expected (B,N,3,H,W) uint8, got {tuple(secrets.shape)}")
        if not 1 <= secrets.shape[1] <= self.num_secrets:
            raise UserError(f"this network hides 1 to {self.num_secrets} secrets, got {secrets.shape[1]}")
        expected = (len(cover), secrets.shape[1], *cover.shape[1:])
        if tuple(secrets.shape) != expected:
            raise UserError(
                f"secrets must have the cover's size: expected {expected}, got {tuple(secrets.shape)}"
            )


def check_positive(**counts: int) -> None:
    """Raises UserError for a constructor's argument that is below 1."""
    for name, value in counts.items():
        if value < 1:
            raise UserError(f"{name}: must be at least 1, got {value}")


def check_between(**given: tuple[int, int, int]) -> None:
    """Raises UserError for a constructor's argument that is outside its range: name=(value, low, high)."""
    for name, (value, low, high) in given.items():
        if not low <= value <= high:
            raise UserError(f"{name}: must be from {low} to {high}, got {value}")


@contextmanager
def deployed(model: HidingModel, inner: torch.dtype | None) -> Iterator[None]:
    """Evaluation mode, full float32 (or `inner`) and fixed algorithms: the same result, run after run.

    It restores training mode at the end.
    """
    training = model.training
    model.eval()  # batch normalisation by running means: a picture's place in a batch does not matter
    try:
        with exact_arithmetic(), torch.autocast(model.device.type, inner, enabled=inner is not None):
            yield
    finally:
        model.train(training)
