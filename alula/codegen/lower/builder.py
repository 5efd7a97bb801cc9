"""Collects what a kernel computes element by element: its terms, and the views that they read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from alula.codegen.expression import Expression, Operand, Term
from alula.codegen.groups import Group, is_lazy
from alula.codegen.kernels.elementwise import parameters_of, without_parameters
from alula.codegen.lowering import Lowering
from alula.codegen.vector import Emitter, Vec
from alula.codegen.views import View, collapse
from alula.core.dims import Dim
from alula.core.dtype import DType
from alula.core.errors import CodegenError
from alula.ir.graph import Node, Value
from alula.ir.op import Op


@dataclass(frozen=True, slots=True)
class Ref:
    """A value of the expression being built: a seed, an operand, a parameter or a term, by its number among those."""

    kind: str
    number: int


Argument = Ref | float


@dataclass(slots=True)
class Builder:
    """An expression in the making.  `seeds` values are given by the kernel itself."""

    lowering: Lowering
    seeds: int = 0
    views: list[View] = field(default_factory=list)
    terms: list[tuple[Op, tuple[Argument, ...]]] = field(default_factory=list)
    known: dict[Value, Argument] = field(default_factory=dict)
    parameters: list[float] = field(default_factory=list)

    def seed(self, value: Value) -> Ref:
        """The kernel's own result stands for `value`."""
        ref = Ref("seed", 0)
        self.known[value] = ref
        return ref

    def term(self, op: Op, *arguments: Argument) -> Ref:
        """The result of one more op."""
        self.terms.append((op, arguments))
        return Ref("term", len(self.terms) - 1)

    def operand(self, value: Value) -> Argument:
        """`value` as it is read from memory, or as a number where it is a constant of one element."""
        if value not in self.known:
            scalar, node = scalar_constant(value), value.producer
            if node is not None and is_lazy(self.lowering.graph, node):
                self.nodes([node])
            elif scalar is None:
                self.views.append(self.lowering.view(value))
                self.known[value] = Ref("operand", len(self.views) - 1)
            else:
                self.known[value] = scalar
        return self.known[value]

    def nodes(self, nodes: Sequence[Node]) -> None:
        """Elementwise nodes, each after those it needs."""
        for node in nodes:
            numbers = parameters_of(node.op)
            first = len(self.parameters)
            self.parameters += numbers
            arguments = [self.operand(value) for value in node.inputs]
            arguments += [Ref("parameter", first + n) for n in range(len(numbers))]
            self.known[node.output] = self.term(without_parameters(node.op), *arguments)

    def numbered(self) -> tuple[Term, ...]:
        """The terms with every value numbered as `Expression` numbers them."""
        operands, parameters = self.seeds, self.seeds + len(self.views)
        first = {"seed": 0, "operand": operands, "parameter": parameters, "term": parameters + len(self.parameters)}

        def number(argument: Argument) -> int | float:
            return first[argument.kind] + argument.number if isinstance(argument, Ref) else argument

        return tuple(Term(op, tuple(map(number, arguments))) for op, arguments in self.terms)

    def expression(self, shape: tuple[Dim, ...]) -> Expression:
        """What is to be computed over the rows and columns of `shape`."""
        operands = tuple(operand(view, shape) for view in self.views)
        return Expression(self.seeds, operands, len(self.parameters), self.numbered())


def operand(view: View, shape: tuple[Dim, ...]) -> Operand:
    """How a view, broadcast to `shape`, follows its rows and columns."""
    if not shape:
        return Operand((), (), 0, view.dtype)
    wide = view.broadcast(shape)
    sizes, strides = collapse(shape[:-1], wide.strides[:-1])
    column = wide.strides[-1]
    if not isinstance(column, int):
        raise CodegenError(f"view {view.type}: expected a fixed stride of columns, got {column}")
    return Operand(sizes, tuple(step for (step,) in strides), column, view.dtype)


def scalar_constant(value: Value) -> float | None:
    """The number in a constant of one float32 element; None for any other value."""
    if value.data is None or value.type.elements != 1 or value.type.dtype is not DType.F32:
        return None
    return float(value.data.reshape(-1)[0])


def narrowing(lowering: Lowering, group: Group) -> Builder:
    """What a kernel that can only narrow does with each vector of its anchor's result: it reads nothing else."""
    builder = Builder(lowering, seeds=1)
    builder.seed(group.anchor.output)
    builder.nodes(group.nodes[1:])
    return builder


def narrow(e: Emitter, expression: Expression, value: Vec) -> Vec:
    """The vector as the kernel writes it."""
    return expression.emit(e, [value], lambda n: value)
