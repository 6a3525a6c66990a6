"""All methods by name. `build_model("smilenet", rows=2, cols=2)` makes one with fresh weights."""

import inspect

from errors import UserError
from models.baluja import Baluja
from models.base import Hidden, HidingModel
from models.codec_dct import CodecDCT
from models.codec_lsb import CodecLSB
from models.deepmih import DeepMIH
from models.hidden_image import HiddenImage
from models.hinet import HiNet
from models.invmihnet import InvMIHNet
from models.isn import ISN
from models.keyed import KeyedMethod
from models.lsb import LSB
from models.smilenet import SMILENet
from models.smilenet_l import SMILENetL
from models.srisnet import SRISNet
from models.thumbnails import Thumbnails
from models.weng import Weng

MODELS: dict[str, type[HidingModel]] = {
    "smilenet": SMILENet,
    "smilenet_l": SMILENetL,
    "invmihnet": InvMIHNet,
    "hinet": HiNet,
    "lsb": LSB,
    "codec_lsb": CodecLSB,
    "codec_dct": CodecDCT,
    "thumbnails": Thumbnails,
    "deepmih": DeepMIH,
    "isn": ISN,
    "baluja": Baluja,
    "hidden_image": HiddenImage,
    "weng": Weng,
    "srisnet": SRISNet,
}


def build_model(name: str, **arguments) -> HidingModel:
    """Build the method `name` with these constructor arguments. Raises UserError for an unknown name."""
    if name not in MODELS:
        raise UserError(f"unknown method '{name}'; the methods are: {', '.join(sorted(MODELS))}")
    constructor = MODELS[name]
    model = constructor(**arguments)
    bound = inspect.signature(constructor).bind(**arguments)
    bound.apply_defaults()  # weights store all arguments, so that they outlive a change of the defaults
    model.method, model.arguments = name, dict(bound.arguments)
    return model


__all__ = ["MODELS", "Hidden", "HidingModel", "KeyedMethod", "build_model"]
