"""Normalize that no convolution took in: pixels as float32, scaled and shifted by channel."""

from __future__ import annotations

from alula.codegen.groups import Group
from alula.codegen.lower.conv import Frame, emit_pixels
from alula.codegen.lower.sharing import chunks, rows_a_chunk, rows_of
from alula.codegen.lowering import Chunk, Lowering, lowers
from alula.core.dims import product
from alula.ir.types import fixed
from alula.ops.elementwise import Normalize


@lowers(Normalize)
def lower_normalize(state: Lowering, group: Group) -> None:
    """x[...,c] line by line; a line is the last two axes where they are fixed."""
    node = group.anchor
    (x,), op = node.inputs, node.op
    assert isinstance(op, Normalize)
    source, output = state.contiguous(x), state.output(group.output)
    shape = x.type.shape
    axes, channels = 2 if len(shape) > 1 and isinstance(shape[-2], int) else 1, len(op.scale)
    rows, count = product(shape[:-axes]), fixed(product(shape[-axes:]), "line")
    frame, block = Frame(0, 0, channels, channels, (0, 0, 0, 0), op.scale, op.shift, ()), rows_a_chunk(count)

    def body(chunk: Chunk) -> None:
        with rows_of(chunk, rows, block) as row:
            pixels, result = (pointer.at(row * count) for pointer in chunk.operands)
            emit_pixels(chunk.e, frame, pixels, result, count // max(channels, 1))

    kernel = state.kernel("normalize", (frame, rows, count), [source, output], body)
    state.step(kernel, [source, output], output, lambda e: chunks(e, rows, block), "normalize")
