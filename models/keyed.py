"""Methods with a key: they encrypt what they hide, in a container that detects every change."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from container.header import NO_WEIGHTS
from container.keys import PUBLIC, Key
from container.payload import File
from container.trellis import states_for
from errors import UserError
from models.base import EMPTY, HidingModel, deployed


class Content(NamedTuple):
    """The content of a keyed stego: secrets (3,h,w) uint8, the sender's note, and files byte for byte."""

    secrets: list[Tensor]
    note: bytes = b""
    files: Sequence[File] = ()


class KeyedMethod(HidingModel):
    """Base of the methods that hide under a passphrase, or under the public key that everybody has.

    A method implements `_seal` and `_unseal`. `hide` and `reveal` call them with the public key. Besides the
    attributes of `HidingModel`, it sets:

    own_sizes       True: `seal` takes secrets of any size; otherwise they have the cover's size
    takes_files     True: `seal` also takes files, which come back byte for byte
    bytes_a_pixel   about how many bytes a pixel of the cover holds, if secrets have their own sizes
    most_secrets    the most secrets that `seal` takes; None: num_secrets
    modulus         M [grey levels]: how coarsely `seal` moves the cover's samples
    fingerprint     8 bytes that identify its weights (engine/checkpoint.py sets them)

    The sender chooses modulus and shaping before `seal`, and the stego stores them.
    """

    own_sizes: bool = False
    takes_files: bool = False
    bytes_a_pixel: float
    most_secrets: int | None = None
    modulus: int
    fingerprint: bytes = NO_WEIGHTS
    _shaping: int | None = None

    @property
    def shaping(self) -> int:
        """The number of states of the trellis that shapes the changes (container/trellis.py); 0: no trellis.

        Set it to 0, 8, 64 or 256, or to None for the default: 64, or 0 if the modulus is odd. Raises
        UserError for another number, and for a trellis with an odd modulus.
        """
        return states_for(self.modulus, self._shaping)

    @shaping.setter
    def shaping(self, wanted: int | None) -> None:
        states_for(self.modulus, wanted)
        self._shaping = wanted

    def hide(self, cover: Tensor, secrets: Tensor) -> Tensor:
        """Hide as in `HidingModel`, under the public key. Each call gives another stego.

        Raises UserError also if the secrets do not fit.
        """
        self._check_picture("cover", cover)
        self._check_secrets(cover, secrets)
        return torch.stack([self.seal(c, list(s)) for c, s in zip(cover, secrets, strict=True)])

    def reveal(self, stego: Tensor) -> Tensor:
        """Reveal as in `HidingModel`. Raises ContainerError if a stego does not open or was changed."""
        self._check_picture("stego", stego, any_size=self.own_sizes)
        return torch.stack([self._as_batch(self.unseal(one)[0], one) for one in stego])

    @torch.no_grad()
    def seal(
        self,
        cover: Tensor,
        secrets: list[Tensor],
        key: Key = PUBLIC,
        note: bytes = b"",
        marked: bool = True,
        files: Sequence[File] = (),
    ) -> Tensor:
        """Hide under a key: cover (3,H,W), secrets (3,h,w) each, uint8 -> stego (3,H,W) uint8.

        note: bytes that are encrypted and come back with the secrets. marked: whether anybody can see that
        something is hidden. files: for methods that take them; each counts as a secret. Two stegos of the
        same pictures always differ. Raises UserError as `hide` does, and if there is too little room.
        """
        self._check_picture("cover", cover[None], any_size=self.own_sizes)
        most = self.most_secrets or self.num_secrets
        if files and not self.takes_files:
            raise UserError(f"{files[0].name}: this method hides pictures only")
        if not 1 <= len(secrets) + len(files) <= most:
            raise UserError(f"this method hides 1 to {most} secrets, got {len(secrets) + len(files)}")
        for secret in secrets:
            if secret.dtype != torch.uint8 or secret.dim() != 3 or len(secret) != 3 or not secret.numel():
                raise UserError(f"secret: expected (3,h,w) uint8, got {tuple(secret.shape)} {secret.dtype}")
            if not self.own_sizes and secret.shape != cover.shape:
                raise UserError(
                    f"secrets must have the cover's size: expected {tuple(cover.shape)}, "
                    f"got {tuple(secret.shape)}"
                )
        with deployed(self, self.sender_type):
            return self._seal(cover, Content(secrets, note, files), key, marked)

    def unseal(
        self, stego: Tensor, key: Key = PUBLIC, damaged_ok: bool = False
    ) -> tuple[list[Tensor], bytes]:
        """Reveal pictures and note under a key: `opened` without the files."""
        content = self.opened(stego, key, damaged_ok)
        return content.secrets, content.note

    @torch.no_grad()
    def opened(self, stego: Tensor, key: Key = PUBLIC, damaged_ok: bool = False) -> Content:
        """Reveal under a key: stego (3,H,W) uint8 -> the content that `seal` was given.

        damaged_ok: also reveal what is left in a stego that was changed. Raises the kinds of ContainerError:
        NoPayload, WrongKey, OtherWeights, Damaged (container/header.py).
        """
        self._check_picture("stego", stego[None], any_size=self.own_sizes)
        with deployed(self, self.receiver_type):
            return self._unseal(stego, key, damaged_ok)

    def _seal(self, cover: Tensor, content: Content, key: Key, marked: bool) -> Tensor:
        raise NotImplementedError

    def _unseal(self, stego: Tensor, key: Key, damaged_ok: bool) -> Content:
        raise NotImplementedError

    def _as_batch(self, secrets: list[Tensor], stego: Tensor) -> Tensor:
        """Stack the result of `unseal` to (N,3,H,W); missing secrets are mid-grey."""
        if len(secrets) > self.num_secrets or any(s.shape != stego.shape for s in secrets):
            raise UserError(
                f"here are {len(secrets)} secrets, more than {self.num_secrets} or not all of the stego's "
                "size: use `unseal`"
            )
        grey = [torch.full_like(stego, EMPTY)] * (self.num_secrets - len(secrets))
        return torch.stack(secrets + grey)
