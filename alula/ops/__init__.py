"""All ops, each with its attributes, type inference and NumPy reference; importing this package registers them."""

from alula.ops import (
    attention,
    conv,
    depthwise,
    elementwise,
    gather,
    logic,
    matmul,
    norm,
    outlook,
    pool,
    quantize,
    reduce,
    shape,
    softmax,
    unfold,
)

__all__ = [
    "attention",
    "conv",
    "depthwise",
    "elementwise",
    "gather",
    "logic",
    "matmul",
    "norm",
    "outlook",
    "pool",
    "quantize",
    "reduce",
    "shape",
    "softmax",
    "unfold",
]
