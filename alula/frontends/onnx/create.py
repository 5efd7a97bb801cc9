"""Importers of tensors that come from nothing."""

from __future__ import annotations

import numpy as np

from alula.core.dtype import DType
from alula.frontends.onnx.call import Call, imports
from alula.ir.graph import Value

LARGEST = 1 << 24


@imports("Constant")
def constant(call: Call) -> Value:
    """The tensor or number that the node holds."""
    kinds = [name for name in call.attributes if name.startswith("value")]
    if len(kinds) != 1:
        call.refuse(f"with {len(kinds)} values")
    data = call.get(kinds[0])
    match kinds[0]:
        case "value":
            return call.graph.constant(data)
        case "value_float" | "value_floats":
            return call.constant(data, DType.F32)
        case "value_int" | "value_ints":
            return call.graph.constant(np.asarray(data, np.int64))
    return call.refuse(f"with {kinds[0]}")


@imports("Range")
def range_(call: Call, start: Value, limit: Value, delta: Value) -> Value:
    """start, start + delta, ... before limit."""
    first, last, step = (call.number(value, "a range") for value in (start, limit, delta))
    if step == 0 or not np.isfinite([first, last, step]).all():
        call.refuse(f"from {first} to {last} by {step}")
    count = max(0, int(np.ceil((last - first) / step)))
    if count > LARGEST:
        call.refuse(f"of {count} numbers")
    return call.constant(first + step * np.arange(count), start.type.dtype)


@imports("EyeLike")
def eye_like(call: Call, x: Value) -> Value:
    """Ones on a diagonal, zeros elsewhere, in the shape of x."""
    from alula.frontends.onnx.source import DTYPES

    code = call.get("dtype", None)
    rows, columns = x.type.dims("MN")
    if not isinstance(rows, int) or not isinstance(columns, int) or rows * columns > LARGEST:
        call.refuse(f"of an input {x.type}")
    if code is not None and code not in DTYPES:
        call.refuse(f"of type {code}")
    return call.constant(np.eye(rows, columns, call.get("k", 0)), x.type.dtype if code is None else DTYPES[code])
