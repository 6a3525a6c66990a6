"""What the user asks for: the options of hide.py that both --plan and hiding follow."""

from collections.abc import Sequence
from dataclasses import dataclass

from engine.own.decoy import check_takes_decoy
from engine.own.hiding import check_keyed, set_sender, takes_files
from engine.own.secrets import Secrets
from engine.own.surviving import set_promise
from engine.own.telling import changes
from engine.precision import set_precision
from errors import UserError
from models import HidingModel
from models.codec_dct import CodecDCT

DEFAULT = "codec_lsb"


@dataclass(frozen=True)
class Wish:
    """The options of hide.py under their own names; None leaves the choice to the method.

    passphrase: whether there is a key. marked: whether the stego has the public mark. jpeg: whether the stego
    is written as JPEG (codec_dct). decoy: what to hide beside the secrets.
    """

    weights: str | None = None
    survive: Sequence[str] | None = None
    least_psnr: float | None = None
    modulus: int | None = None
    shaping: int | None = None
    payload: float | None = None
    precision: str = "fp32"
    fit: str = "stretch"
    longest_side: int | None = None
    passphrase: bool = False
    marked: bool = True
    jpeg: bool = False
    decoy: Secrets | None = None

    @property
    def named(self) -> str | None:
        """The method or network that the options choose; None if they leave it open."""
        return "codec_dct" if self.survive else self.weights

    @property
    def chosen(self) -> str:
        """The method or network that hide.py uses."""
        return self.named or DEFAULT

    def set_on(self, model: HidingModel) -> None:
        """Set these options on a model. Raises UserError for one that the model does not have or take."""
        set_precision(model, self.precision)
        set_promise(model, self.weights, self.survive, self.least_psnr)
        set_sender(model, self.modulus, self.shaping, self.payload)
        changes(model)  # raises UserError if modulus and shaping do not fit together
        check_keyed(model, self.passphrase, self.marked)
        if self.decoy is not None:
            check_takes_decoy(model)
        if isinstance(model, CodecDCT):
            model.sent_as_jpeg = self.jpeg

    def check_takes(self, model: HidingModel, wanted: Secrets) -> None:
        """Raise UserError if there are files to hide but the method only takes pictures."""
        if wanted.files and not takes_files(model):
            raise UserError(f"{wanted.files[0]}: not a picture, but this method hides pictures only")
