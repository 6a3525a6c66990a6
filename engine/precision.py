"""Which precisions a device computes in, and which one a network uses."""

import torch

from engine.log import machine_name
from errors import UserError
from models import HidingModel

HALF = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
NEEDED = {  # what `has` checks, by precision and kind of device
    "bf16": {"cuda": "compute capability 8.0", "cpu": "AVX512-BF16 or AMX"},
    "fp16": {"cuda": "compute capability 7.0", "cpu": "AMX-FP16", "mps": "Apple's GPU"},
}


def has(device: torch.device, precision: str) -> bool:
    """Say whether a device computes convolutions in this precision in hardware; torch's emulation is slower.

    precision: fp32, bf16 or fp16. The compute capability decides for CUDA devices, the instruction set for
    CPUs. Apple's GPUs count as having fp16.
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


def bf16_is_faster(device: torch.device) -> bool:
    """Say whether a device that has bf16 computes networks faster in bf16 than in fp32.

    An Intel Xeon with AVX512-BF16 but no AMX takes about twice as long in bf16 (docs/benchmarks.md). The same
    is assumed of all Intel processors without AMX.
    """
    if device.type != "cpu" or torch.cpu._is_amx_tile_supported():
        return True
    return "intel" not in machine_name().lower()


def choose(precision: str, device: torch.device) -> torch.dtype | None:
    """Return the type to compute in inside the sub-networks; None means float32, as everywhere else.

    precision: fp32, bf16, fp16, or auto, which takes bf16 if the device has it and is faster in it, and
    fp32 otherwise. Raises UserError for a precision that the device lacks.
    """
    if precision == "auto":
        precision = "bf16" if has(device, "bf16") and bf16_is_faster(device) else "fp32"
    if not has(device, precision):
        needed = NEEDED[precision].get(device.type)
        why = f"it has no {needed}" if needed else "no such device has it"
        raise UserError(f"{precision}: this {device.type} device would only emulate it ({why}); use fp32")
    return HALF[precision]


def name_of(half: torch.dtype | None) -> str:
    """Return fp32, bf16 or fp16: the inverse of HALF."""
    return next(name for name, value in HALF.items() if value == half)


def set_precision(model: HidingModel, precision: str, receiver: str | None = None) -> None:
    """Make a model hide and reveal in fp32, bf16 or fp16.

    receiver: the precision for revealing; None takes the one for hiding. Raises UserError if the device lacks
    the precision, and for one below fp32 if the method has no network.
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
