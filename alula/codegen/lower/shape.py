"""Ops that move elements and are no views: copies into parts of the output."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from alula.codegen.groups import Group
from alula.codegen.lower.map import CHUNK_ELEMENTS
from alula.codegen.lower.sharing import chunks
from alula.codegen.lowering import Chunk, Lowering, lowers
from alula.codegen.views import View, bits_of
from alula.core.dims import Dim
from alula.core.dtype import DType, cast_array
from alula.ops.shape import Concat, Pad


@lowers(Concat)
def lower_concat(state: Lowering, group: Group) -> None:
    """Each operand in its part of the output: copied, where it was not written there."""
    node = group.anchor
    assert isinstance(node.op, Concat)
    output, axis = state.output_rows(group.output), node.op.axis
    start: Dim = 0
    for value in node.inputs:
        if (part := output.sliced(axis, start, value.type)) != state.view(value):
            state.copy(state.view(value), part)
        start = start + value.type.shape[axis]


@lowers(Pad)
def lower_pad(state: Lowering, group: Group) -> None:
    """The value everywhere, then x over it."""
    node = group.anchor
    (x,), op = node.inputs, node.op
    assert isinstance(op, Pad)
    output = state.output(group.output)
    fill_step(state, output, op.value)
    inside = output
    for axis, (before, size) in enumerate(zip(op.before, x.type.shape, strict=True)):
        shape = (*inside.type.shape[:axis], size, *inside.type.shape[axis + 1 :])
        inside = inside.sliced(axis, before, inside.type.reshaped(*shape))
    state.copy(state.view(x), inside)


def fill_step(state: Lowering, output: View, value: float) -> None:
    """The same number in every element of a contiguous view."""
    total, dtype = output.type.elements, bits_of(output.dtype)
    bits = _bits(value, output.dtype)
    target = replace(output, type=output.type.cast(dtype))

    def body(chunk: Chunk) -> None:
        e = chunk.e
        first = chunk.number * CHUNK_ELEMENTS
        stop = (first + CHUNK_ELEMENTS).min(e.dim(total))
        pattern = e.constant(bits, dtype)
        whole = first + (stop - first) // e.lanes * e.lanes
        with e.loop(whole, start=first, step=e.lanes) as loop:
            e.store(pattern, chunk.operands[0], loop.index)
        with e.when(whole < stop):
            e.store(pattern, chunk.operands[0], whole, e.mask(stop - whole))

    kernel = state.kernel("fill", (bits, total), [target], body)
    state.step(kernel, [target], output, lambda e: chunks(e, total, CHUNK_ELEMENTS), "fill")


def _bits(value: float, dtype: DType) -> int:
    with np.errstate(over="ignore"):
        return int(cast_array(np.array([value]), dtype).view(f"u{dtype.bytes}")[0])
