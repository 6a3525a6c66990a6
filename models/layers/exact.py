"""Full float32 and fixed algorithms, whatever the program around has chosen."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def exact_arithmetic() -> Iterator[None]:
    """No TF32 or bfloat16 in convolutions and matrix products, no choice of algorithm by timing.

    It restores the earlier settings at the end. torch has two interfaces to these; the newer one
    (fp32_precision) may be used whichever of them the program around uses, the older one may not.
    """
    backends = torch.backends
    cudnn = backends.cudnn
    products = (cudnn.conv, backends.cuda.matmul, backends.mkldnn.conv, backends.mkldnn.matmul)
    precisions = [one.fp32_precision for one in products]
    algorithms = cudnn.benchmark, cudnn.deterministic
    try:
        for one in products:
            one.fp32_precision = "ieee"
        cudnn.benchmark, cudnn.deterministic = False, True
        yield
    finally:
        for one, before in zip(products, precisions, strict=True):
            one.fp32_precision = before
        cudnn.benchmark, cudnn.deterministic = algorithms
