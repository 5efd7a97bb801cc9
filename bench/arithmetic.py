"""Products in each arithmetic, as `alula.quant` builds them: operands, the product, what it is rounded to."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from alula.core.dtype import Array, DType, to_bfloat16
from alula.ir.graph import Graph, Value
from alula.ops.conv import Conv2d
from alula.ops.elementwise import Add, Cast, Mul
from alula.ops.matmul import Linear
from alula.ops.quantize import Quantize

OPERANDS = {"f32": DType.F32, "bf16": DType.BF16, "int8": DType.U8}  # of a product in each arithmetic
ARITHMETICS = tuple(OPERANDS)
STEP, ZERO = 0.02, 100  # of bytes


def weight(*shape: int) -> Array:
    """Standard normal f32, always the same."""
    return np.random.default_rng(len(shape)).standard_normal(shape, dtype=np.float32)


def values(dtype: DType, *shape: int) -> Array:
    """The same rounded to `dtype`; bytes are spread evenly."""
    if dtype in (DType.U8, DType.I8):
        low, high = np.iinfo(dtype.numpy).min, np.iinfo(dtype.numpy).max
        return np.random.default_rng(len(shape)).integers(low, high + 1, shape, dtype.numpy)
    return to_bfloat16(weight(*shape)) if dtype is DType.BF16 else weight(*shape).astype(dtype.numpy)


def product(arithmetic: str, graph: Graph, op: Linear | Conv2d, x: Value, *shape: int) -> Value:
    """x times a weight of `shape`, whose first axis are features, plus a bias: f32, whatever it is computed in."""
    bias = graph.constant(weight(shape[0]))
    if arithmetic == "f32":
        return graph.add(op, x, graph.constant(weight(*shape)), bias)
    if arithmetic == "bf16":
        return graph.add(replace(op, wide=True), x, graph.constant(values(DType.BF16, *shape)), bias)
    if isinstance(op, Conv2d):
        op = replace(op, border=(ZERO,) * shape[-1])
    total = graph.add(Cast(DType.F32), graph.add(op, x, graph.constant(values(DType.I8, *shape))))
    return graph.add(Add(), graph.add(Mul(), total, graph.constant(weight(shape[0]))), bias)


def rounded(arithmetic: str, graph: Graph, x: Value) -> Value:
    """x as the next product takes it."""
    if arithmetic == "f32":
        return x
    return graph.add(Quantize(STEP, ZERO) if arithmetic == "int8" else Cast(DType.BF16), x)
