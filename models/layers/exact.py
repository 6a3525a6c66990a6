"""Full float32 and fixed algorithms, whatever the surrounding program has set."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def exact_arithmetic() -> Iterator[None]:
    """Turn off TF32 and bfloat16 in convolutions and matrix products, and the choice of algorithms by timing.

    Restores the earlier settings at the end. torch has two interfaces to them. The newer one
    (fp32_precision) works whichever of them the surrounding program uses; the older one does not.
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
