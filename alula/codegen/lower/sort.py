"""The first elements of a row in order: each is put in its place among those that lead so far."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from llvmlite import ir

from alula.codegen.groups import Group
from alula.codegen.kernels.native import UNSIGNED
from alula.codegen.lower.sharing import chunks, rows_a_chunk, rows_of
from alula.codegen.lowering import Chunk, Lowering, lowers
from alula.codegen.vector import Emitter, Int, Ptr
from alula.core.dims import product
from alula.core.dtype import DType
from alula.ops.sort import TopK

LARGER: Literal[">"] = ">"
SMALLER: Literal["<"] = "<"


@lowers(TopK)
def lower_top_k(state: Lowering, group: Group) -> None:
    """A row is looked at once; most elements are beaten by the last one that leads."""
    node = group.anchor
    (x,), op = node.inputs, node.op
    assert isinstance(op, TopK)
    source, (values, places) = state.contiguous(x), (state.output(value) for value in node.outputs)
    rows, columns = product(x.type.shape[:-1]), x.type.shape[-1]
    views, block = [source, values, places], rows_a_chunk(columns * 4)

    def body(chunk: Chunk) -> None:
        e, (given, best, at) = chunk.e, chunk.operands
        leaders = Leaders(e, x.type.dtype, op)
        with rows_of(chunk, rows, block) as row:
            line, start = given.at(row * e.dim(columns)), row * op.k
            with e.loop(e.dim(columns)) as loop:
                leaders.offer(e.scalar(line, loop.index), loop.index, best.at(start), at.at(start))

    kernel = state.kernel("top_k", (op, rows, columns), views, body)
    state.step(kernel, views, values, lambda e: chunks(e, rows, block), node.op.name)


@dataclass(frozen=True, slots=True)
class Leaders:
    """The code that keeps the best k elements of a row in order."""

    e: Emitter
    dtype: DType
    op: TopK

    def before(self, a: ir.Value, b: ir.Value) -> ir.Value:
        """One bit: a stands before b.  NaN is larger than every number."""
        build, sign = self.e.b, LARGER if self.op.largest else SMALLER
        if not self.dtype.is_float:
            return (build.icmp_unsigned if self.dtype in UNSIGNED else build.icmp_signed)(sign, a, b)
        known = b if self.op.largest else a
        return build.and_(build.fcmp_unordered(sign, a, b), build.fcmp_ordered("ord", known, known))

    def offer(self, element: ir.Value, number: Int, values: Ptr, places: Ptr) -> None:
        """Puts element `number` of the row among the leaders, where it beats the last of them or there is room."""
        e, b, k = self.e, self.e.b, self.op.k
        look, move, put, done = (e.function.append_basic_block() for _ in range(4))
        last = number.min(k - 1)
        room = b.icmp_signed("<", number.value, e.int(k).value)
        beaten = self.before(element, e.scalar(values, k - 1))
        entry = b.block
        b.cbranch(b.or_(room, beaten), look, done)

        b.position_at_end(look)
        spot = b.phi(number.value.type)
        spot.add_incoming(last.value, entry)
        place = Int(e, spot)
        above = place - 1
        neighbour = e.scalar(values, above.max(0))
        goes = b.and_((above >= 0).value, self.before(element, neighbour))
        b.cbranch(goes, move, put)

        b.position_at_end(move)
        self._store(neighbour, values, place)
        self._store(e.scalar(places, above), places, place)
        spot.add_incoming(above.value, move)
        b.branch(look)

        b.position_at_end(put)
        self._store(element, values, place)
        self._store(number.value, places, place)
        b.branch(done)
        b.position_at_end(done)

    def _store(self, value: ir.Value, ptr: Ptr, index: Int) -> None:
        self.e.b.store(value, ptr.at(index).value, align=1)
