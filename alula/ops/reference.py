"""Executes graphs with the ops' NumPy references: the meaning that compiled code is compared to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from alula.core.dims import Expr, dim_at, symbol
from alula.core.dtype import Array, DType, from_bfloat16, to_bfloat16
from alula.core.errors import GraphError, ShapeError
from alula.ir.graph import Graph, Node, Value
from alula.ir.op import Op, infer_types
from alula.ir.types import TensorType


def run_reference(graph: Graph, inputs: Sequence[Array]) -> tuple[Array, ...]:
    """The graph's outputs, in order, for one array per input, in order.

    Raises ShapeError for inputs that do not fit the graph's input types and the ranges of its named sizes.
    """
    wanted = {value for _, value in graph.outputs}
    arrays = dict(zip(graph.inputs, inputs, strict=False))
    arrays.update((value, array) for value, array in reference_values(graph, inputs) if value in wanted)
    return tuple(arrays[value] if value.data is None else value.data for _, value in graph.outputs)


def reference_values(graph: Graph, inputs: Sequence[Array]) -> Iterator[tuple[Value, Array]]:
    """Every value that a node makes, in order, with its elements; what no later node takes is let go.

    Raises ShapeError for inputs that do not fit the graph's input types and the ranges of its named sizes.
    """
    sizes = bind_sizes(graph, inputs)
    arrays: dict[Value, Array] = dict(zip(graph.inputs, inputs, strict=True))
    last = last_users(graph)
    for node in graph.nodes:
        operands = [arrays[value] if value.data is None else value.data for value in node.inputs]
        results = apply_op(node.op.at(sizes), *operands)
        yield from zip(node.outputs, results, strict=True)
        arrays.update(zip(node.outputs, results, strict=True))
        for value in {*node.inputs, *node.outputs}:
            if last.get(value) in (node, None):
                arrays.pop(value, None)


def apply_op(op: Op, *operands: Array) -> tuple[Array, ...]:
    """The outputs of one op without named sizes, in the dtypes that it infers.

    bfloat16, which NumPy lacks, is widened to float32 for the reference and rounded back here and nowhere else.
    """
    types = infer_types(op, [TensorType.of(operand) for operand in operands])
    wide = [from_bfloat16(x) if DType.of(x) is DType.BF16 else x for x in operands]
    results = op.reference(*wide)
    outputs = results if isinstance(results, tuple) else (results,)
    return tuple(_stored(np.asarray(output), type) for output, type in zip(outputs, types, strict=True))


def bind_sizes(graph: Graph, inputs: Sequence[Array]) -> dict[str, int]:
    """What the inputs' shapes say about the graph's named sizes.

    Raises ShapeError for another number of inputs, another dtype or shape, and a size out of its range.
    """
    if len(inputs) != len(graph.inputs):
        raise ShapeError(f"graph {graph.name}: expected {len(graph.inputs)} inputs, got {len(inputs)}")
    sizes: dict[str, int] = {}
    for value, array in zip(graph.inputs, inputs, strict=True):
        for dim, size in zip(value.type.shape, array.shape, strict=False):
            if isinstance(dim, Expr) and (name := _name(dim)) is not None:
                sizes.setdefault(name, size)
    for value, array in zip(graph.inputs, inputs, strict=True):
        _check_input(value, array, sizes)
    for name, (low, high) in graph.symbols.items():
        if not low <= sizes.get(name, low) <= high:
            raise ShapeError(f"size {name}: expected {low}..{high}, got {sizes[name]}")
    return sizes


def _check_input(value: Value, array: Array, sizes: Mapping[str, int]) -> None:
    if missing := value.type.symbols() - set(sizes):
        raise GraphError(f"input {value.name}: expected sizes that inputs have by themselves, got {sorted(missing)}")
    wanted, got = tuple(dim_at(dim, sizes) for dim in value.type.shape), TensorType.of(array)
    if (value.type.dtype, wanted) != (got.dtype, got.shape):
        raise ShapeError(f"input {value.name}: expected {value.type}, got {got}")


def _name(dim: Expr) -> str | None:
    """The named size that `dim` is, if it is one by itself."""
    return next((name for name in dim.symbols() if dim == symbol(name)), None)


def last_users(graph: Graph) -> dict[Value, Node]:
    """The last node that takes each value; one that no node takes is not in it."""
    return {value: node for node in graph.nodes for value in node.inputs}


def _stored(output: Array, type: TensorType) -> Array:
    if type.dtype is DType.BF16 and DType.of(output) is not DType.BF16:
        return to_bfloat16(output)
    return output
