"""The contract of a hiding method: what training, testing and a person's own pictures rely on."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from container.header import NO_WEIGHTS, PUBLIC, Key
from errors import UserError
from models.layers.quantize import quantize

EMPTY = 128  # grey level that fills the places of secrets that were not given


@dataclass
class Hidden:
    """What one training pass through sender and receiver gives.

    stego (B,3,H,W), on the grid of 8-bit values in [0,1]; revealed (B,N,3,H,W), not clamped;
    parts: what the method's criterion needs besides, by name (for SMILENet mosaic,
    mosaic_revealed, readable, z_mosaic, z_embed).
    """

    stego: Tensor
    revealed: Tensor
    parts: dict[str, Tensor] = field(default_factory=dict)


class HidingModel(nn.Module):
    """Base of all methods. A method sets these attributes and writes `encode`, `decode` and `forward`; a
    keyed one writes `_seal` and `_unseal`.

    num_secrets     N, how many secrets one cover takes
    patch_multiple  (rows, cols): training patches must be multiples of these
    smallest        (H, W): the smallest cover that the method can use, in pixels
    figure_columns  in how many columns figures show the secrets; 0: as near to a square as can be
    Criterion       the class of its training objective (models/losses.py)
    trainable       False: it has no parameters, its name stands for weights
    keyed           True: what it hides is encrypted, under a passphrase or the public key, in a container
                    that notices every change (container/header.py); it has `seal` and `unseal`
    own_sizes       True: `seal` takes secrets of any size; else they have the cover's
    most_secrets    how many secrets `seal` takes, where that is not num_secrets
    modulus         M, grey levels: how coarsely `seal` moves the cover's samples. May be set before it, a
                    stego says which it was; None for methods without
    fingerprint     8 bytes that tell its weights from others: set with the weights of a keyed method

    Floats are RGB in [0,1], (B,3,H,W) and (B,N,3,H,W). `hide` and `reveal` are the deployed path:
    uint8 in, uint8 out, deterministic, any H and W from `smallest` up; `reveal` has the stego and
    the weights, nothing else.
    """

    method: str  # its name in MODELS, and all arguments of its constructor: set by build_model
    arguments: dict
    num_secrets: int
    figure_columns: int = 0
    patch_multiple: tuple[int, int] = (1, 1)
    smallest: tuple[int, int] = (1, 1)
    Criterion: type[nn.Module]
    trainable: bool = True
    keyed: bool = False
    own_sizes: bool = False
    most_secrets: int | None = None
    modulus: int | None = None
    fingerprint: bytes = NO_WEIGHTS

    def encode(self, cover: Tensor, secrets: Tensor) -> Tensor:
        """Sender: (B,3,H,W) and (B,N,3,H,W) in [0,1] -> stego (B,3,H,W), before rounding."""
        raise NotImplementedError

    def decode(self, stego: Tensor) -> Tensor:
        """Receiver: stego (B,3,H,W) in [0,1] -> revealed (B,N,3,H,W), not clamped."""
        raise NotImplementedError

    def forward(self, cover: Tensor, secrets: Tensor) -> Hidden:
        """Training: encode, 8-bit quantisation with the gradient of `quantize`, decode, in one call."""
        stego = quantize(self.encode(cover, secrets))
        return Hidden(stego, self.decode(stego))

    @torch.no_grad()
    def hide(self, cover: Tensor, secrets: Tensor) -> Tensor:
        """Hide pictures: cover (B,3,H,W) and 1 to N secrets (B,n,3,H,W), uint8 -> stego (B,3,H,W) uint8.

        Secrets have the cover's size. Where fewer than N are given, the rest are mid-grey. Raises
        UserError for wrong shapes, types, too many secrets, and a cover below `smallest`. A keyed
        method seals under the public key.
        """
        self._check_picture("cover", cover)
        self._check_secrets(cover, secrets)
        if self.keyed:
            return torch.stack([self.seal(c, list(s)) for c, s in zip(cover, secrets, strict=True)])
        missing = self.num_secrets - secrets.shape[1]
        if missing:
            grey = secrets.new_full((len(secrets), missing, *secrets.shape[2:]), EMPTY)
            secrets = torch.cat((secrets, grey), dim=1)
        with _deployed(self):
            stego = self.encode(self._to_float(cover), self._to_float(secrets))
        return self._to_uint8(stego).to(cover.device)

    @torch.no_grad()
    def reveal(self, stego: Tensor) -> Tensor:
        """Reveal pictures: stego (B,3,H,W) uint8 -> secrets (B,N,3,H,W) uint8, from the stego alone."""
        self._check_picture("stego", stego, any_size=self.own_sizes)
        if self.keyed:
            return torch.stack([self._as_batch(self.unseal(one)[0], one) for one in stego])
        with _deployed(self):
            revealed = self.decode(self._to_float(stego))
        return self._to_uint8(revealed).to(stego.device)

    # --- keyed methods ---------------------------------------------------------------------------

    @torch.no_grad()
    def seal(
        self,
        cover: Tensor,
        secrets: list[Tensor],
        key: Key = PUBLIC,
        note: bytes = b"",
        marked: bool = True,
    ) -> Tensor:
        """Hide under a key: cover (3,H,W), secrets (3,h,w) each, uint8 -> stego (3,H,W) uint8.

        note: bytes that come back with the secrets, encrypted. marked: whether everybody may see that
        something is hidden. Two stegos of the same are never alike. Raises UserError as `hide` does,
        and where there is too little room.
        """
        self._check_picture("cover", cover[None], any_size=self.own_sizes)
        most = self.most_secrets or self.num_secrets
        if not 1 <= len(secrets) <= most:
            raise UserError(f"this method hides 1 to {most} secrets, got {len(secrets)}")
        for secret in secrets:
            if secret.dtype != torch.uint8 or secret.dim() != 3 or len(secret) != 3 or not secret.numel():
                raise UserError(f"secret: expected (3,h,w) uint8, got {tuple(secret.shape)} {secret.dtype}")
            if not self.own_sizes and secret.shape != cover.shape:
                raise UserError(
                    f"secrets must have the cover's size: expected {tuple(cover.shape)}, "
                    f"got {tuple(secret.shape)}"
                )
        with _deployed(self):
            return self._seal(cover, secrets, key, note, marked)

    @torch.no_grad()
    def unseal(
        self, stego: Tensor, key: Key = PUBLIC, damaged_ok: bool = False
    ) -> tuple[list[Tensor], bytes]:
        """Reveal under a key: stego (3,H,W) uint8 -> (the secrets that were given, (3,h,w) uint8, and note).

        Raises ContainerError's kinds: NoPayload, WrongKey, OtherWeights, Damaged (container/header.py).
        damaged_ok: reveal what can be revealed of a stego that was changed.
        """
        self._check_picture("stego", stego[None], any_size=self.own_sizes)
        with _deployed(self):
            return self._unseal(stego, key, damaged_ok)

    def _seal(self, cover: Tensor, secrets: list[Tensor], key: Key, note: bytes, marked: bool) -> Tensor:
        raise NotImplementedError

    def _unseal(self, stego: Tensor, key: Key, damaged_ok: bool) -> tuple[list[Tensor], bytes]:
        raise NotImplementedError

    def _as_batch(self, secrets: list[Tensor], stego: Tensor) -> Tensor:
        """What `unseal` gave -> (N,3,H,W), with mid-grey where fewer were hidden."""
        if len(secrets) > self.num_secrets or any(s.shape != stego.shape for s in secrets):
            raise UserError(
                f"here are {len(secrets)} secrets, not all of the stego's size, or more than "
                f"{self.num_secrets}: use `unseal`"
            )
        grey = [torch.full_like(stego, EMPTY)] * (self.num_secrets - len(secrets))
        return torch.stack(secrets + grey)

    # ---------------------------------------------------------------------------------------------

    @property
    def device(self) -> torch.device:
        """Where the parameters are; the CPU for a method without any."""
        return next((p.device for p in self.parameters()), torch.device("cpu"))

    def _to_float(self, x: Tensor) -> Tensor:
        weight = next(self.parameters(), torch.empty(0))
        return x.to(weight.device, weight.dtype) / 255

    @staticmethod
    def _to_uint8(x: Tensor) -> Tensor:
        return (x.clamp(0, 1) * 255).round().to(torch.uint8)

    def _check_picture(self, what: str, x: Tensor, any_size: bool = False) -> None:
        if x.dtype != torch.uint8 or x.dim() != 4 or x.shape[1] != 3:
            raise UserError(f"{what}: expected (B,3,H,W) uint8, got {tuple(x.shape)} {x.dtype}")
        height, width = x.shape[-2:]
        if not any_size and (height < self.smallest[0] or width < self.smallest[1]):
            raise UserError(
                f"{what}: {width}x{height} pixels (width x height) is too small for {self.num_secrets} "
                f"secrets, at least {self.smallest[1]}x{self.smallest[0]} are needed"
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


@contextmanager
def _deployed(model: HidingModel) -> Iterator[None]:
    """Evaluation mode, full float32 and fixed algorithms: both sides compute the same, run after run.

    A network that is being trained is in training mode again afterwards.
    """
    training = model.training
    exact = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
    model.eval()  # batch normalisation by running means: a picture's place in a batch does not matter
    try:
        with exact, torch.autocast(model.device.type, enabled=False):
            yield
    finally:
        model.train(training)
