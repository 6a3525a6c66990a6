"""Which arithmetic a device has, and which of them a network is computed in."""

import torch

from errors import UserError
from models import HidingModel

HALF = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
NEEDED = {  # what `has` looks for, by precision and kind of device
    "bf16": {"cuda": "compute capability 8.0", "cpu": "AVX512-BF16 or AMX"},
    "fp16": {"cuda": "compute capability 7.0", "cpu": "AMX-FP16", "mps": "Apple's GPU"},
}


def has(device: torch.device, precision: str) -> bool:
    """Whether a device computes convolutions in this precision itself. What torch only emulates is slower.

    precision: fp32, bf16 or fp16. A CUDA device says it by its compute capability, a CPU by its
    instructions; Apple's GPUs count as having fp16.
    """
    if precision == "fp32":
        return True
    if device.type == "cuda":
        if precision == "bf16":
            return torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.cuda.get_device_capability(device) >= (7, 0)
    if device.type == "cpu":
        if precision == "bf16":
            return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
        return torch.cpu._is_amx_fp16_supported()
    return device.type == "mps" and precision == "fp16"


def choose(precision: str, device: torch.device) -> torch.dtype | None:
    """The type for the inside of the sub-networks; None: float32, as everywhere else.

    precision: fp32, bf16, fp16, or auto: bf16 where the device has it, else fp32. Raises UserError for one
    that the device lacks.
    """
    if precision == "auto":
        precision = "bf16" if has(device, "bf16") else "fp32"
    if not has(device, precision):
        needed = NEEDED[precision].get(device.type)
        why = f"it has no {needed}" if needed else "no such device has it"
        raise UserError(f"{precision}: this {device.type} device would only emulate it ({why}); use fp32")
    return HALF[precision]


def name_of(half: torch.dtype | None) -> str:
    """fp32, bf16 or fp16: the inverse of HALF."""
    return next(name for name, value in HALF.items() if value == half)


def set_precision(model: HidingModel, precision: str, receiver: str | None = None) -> None:
    """Hide and reveal in fp32, bf16 or fp16.

    receiver: the precision in which the model reveals; None: the one in which it hides. Raises UserError
    where device or method have no such choice.
    """
    receiver = receiver or precision
    for one in (precision, receiver):
        if one != "fp32" and not model.trainable:
            raise UserError(f"precision {one}: '{model.method}' has no network; leave it at fp32")
    try:
        model.sender_type = choose(precision, model.device)
        model.receiver_type = choose(receiver, model.device)
    except UserError as error:
        raise UserError(f"precision {error}") from error
