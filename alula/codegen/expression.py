"""Elementwise expressions over rows and columns: what an epilogue or a map kernel computes for one vector."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from llvmlite import ir

from alula.codegen.kernels.elementwise import emit_op, factors_of, is_narrowing, is_product
from alula.codegen.vector import Emitter, Int, Ptr, Vec
from alula.core.dims import Dim
from alula.core.dtype import DType
from alula.ir.op import Op
from alula.ops.elementwise import Add, Mul


@dataclass(frozen=True, slots=True)
class Operand:
    """How elements of an external operand follow the rows and columns of the kernel's iteration.

    A row number splits into one index for each of `sizes` (the first unbounded); `column` is the stride of a column.
    """

    sizes: tuple[Dim, ...]
    strides: tuple[Dim, ...]
    column: int
    dtype: DType = DType.F32

    def row_offset(self, e: Emitter, row: Int) -> Int:
        """Elements from the operand's start to where `row` begins."""
        offset, rest = e.int(0), row
        for position in reversed(range(len(self.sizes))):
            index = rest
            if position:
                size = e.dim(self.sizes[position])
                index, rest = rest % size, rest // size
            if self.strides[position] != 0:
                offset = index * e.dim(self.strides[position]) + offset
        return offset

    def load(self, e: Emitter, base: Ptr, column: Int | int, mask: ir.Value | None = None) -> Vec:
        """A vector of its elements from `column` of the row at `base`, as they are stored."""
        match self.column:
            case 0:
                return e.splat(base)
            case 1:
                return e.load(base, column, mask)
            case stride:
                return e.gather(base, e.int(column) * stride, stride, mask)


@dataclass(frozen=True, slots=True)
class Term:
    """One op of an expression; arguments are numbers of earlier values, or Python floats."""

    op: Op
    arguments: tuple[int | float, ...]


@dataclass(frozen=True, slots=True)
class Expression:
    """Values are numbered: `seeds` given by the kernel, operands, parameters, and the terms; the last is the result.

    Parameters are numbers that each step passes to the kernel, so that steps that differ in them alone share it.
    """

    seeds: int
    operands: tuple[Operand, ...] = ()
    parameters: int = 0
    terms: tuple[Term, ...] = ()

    def emit(self, e: Emitter, seeds: Sequence[Vec], load: Callable[[int], Vec]) -> Vec:
        """The result; `load(n)` gives the vector of operand n."""
        values = [*seeds, *(load(n) for n in range(len(self.operands))), *e.parameters[: self.parameters]]
        factors: dict[int | float, tuple[Vec, Vec]] = {}
        for number, term in enumerate(self.terms):
            vectors = [values[a] if isinstance(a, int) else e.constant(a) for a in term.arguments]
            place = len(values)
            if self._is_added(number, place):
                factors[place] = factors_of(e, term.op, vectors)
                values.append(factors[place][0])  # for the numbering: the sum takes the factors
            elif added := [position for position, a in enumerate(term.arguments) if a in factors]:
                (position,) = added
                values.append(e.fma(*factors[term.arguments[position]], vectors[1 - position]))
            else:
                values.append(emit_op(e, term.op, vectors, coarse=self._is_narrowed(number, place)))
        return values[-1]

    def emit_several(self, e: Emitter, seeds: Sequence[Vec], loads: Sequence[Callable[[int], Vec]]) -> list[Vec]:
        """`emit` for several vectors, each with one seed and a way to load operands.

        As many as the target's `chains` are one long vector, on all of which each operation is done before the next:
        it waits for the one before, and a processor looks no further ahead than a few vectors' worth of operations.
        """
        results: list[Vec] = []
        while rest := len(loads) - len(results):
            count = 1 << min(rest, e.target.chains).bit_length() - 1
            some = slice(len(results), len(results) + count)
            operands = [e.joined([load(n) for load in loads[some]]) for n in range(len(self.operands))]
            with e.long(count):
                result = self.emit(e, [e.joined(seeds[some])], operands.__getitem__)
            results += e.parted(result, count)
        return results

    def _is_added(self, number: int, value: int) -> bool:
        """True for a product that only a sum takes, to be rounded with it; of two that one does, the last."""
        users = [later for later in self.terms[number + 1 :] for a in later.arguments if a == value]
        if not is_product(self.terms[number].op) or len(users) != 1 or not isinstance(users[0].op, Add):
            return False
        first = value - number
        later = [a - first for a in users[0].arguments if isinstance(a, int) and a > value]
        return not any(self._is_added(other, first + other) for other in later)

    def _is_narrowed(self, number: int, value: int) -> bool:
        """True where the term, whose result is `value`, is narrowed next, multiplied before at most."""
        for later in self.terms[number + 1 :]:
            if is_narrowing(later.op):
                return later.arguments[0] == value
            if not isinstance(later.op, Mul) or value not in later.arguments:
                return False
            value += 1
        return False
