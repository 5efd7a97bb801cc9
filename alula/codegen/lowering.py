"""From a graph to steps: which kernel runs when, on which views.  `@lowers(Op)` functions in lower/ do it op by op."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from llvmlite import ir

from alula.codegen.dtypes import check_dtypes, where
from alula.codegen.groups import Group, group_nodes, parts_of_concats, takes_rows
from alula.codegen.module import F32, I64, POINTER, VOID, Code
from alula.codegen.vector import Emitter, Int, Ptr
from alula.codegen.views import Buffer, Space, View, aligned
from alula.core.dims import Dim, product
from alula.core.dtype import DType
from alula.core.errors import CodegenError, ShapeError
from alula.core.target import CpuTarget
from alula.ir.graph import Graph, Value
from alula.ir.op import Op
from alula.ir.types import TensorType
from alula.ops.shape import Expand, Reshape, Slice, Transpose

Count = Callable[[Emitter], Int]
Lower = Callable[["Lowering", Group], None]
L = TypeVar("L", bound=Lower)

CACHE_LINE = 64  # bytes
SAME_SET = 4096  # bytes from a line to the next one of its set: 64 sets in the first-level cache of every target

LOWERINGS: dict[type[Op], Lower] = {}


def lowers(*kinds: type[Op]) -> Callable[[L], L]:
    """Makes a function the way to lower groups whose anchor is one of these ops."""

    def add(lower: L) -> L:
        LOWERINGS.update(dict.fromkeys(kinds, lower))
        return lower

    return add


@dataclass(slots=True)
class Chunk:
    """What a kernel's body works with: its operands' addresses, the chunk it is to do, and room of this thread."""

    e: Emitter
    operands: list[Ptr]
    number: Int
    scratch: Ptr


@dataclass(frozen=True, slots=True)
class Step:
    """One kernel over `count` chunks, with its operands and the numbers it is given as parameters.

    `label`, `macs`, their arithmetic and `origin`, where in the source model it comes from, are for people.
    """

    kernel: str
    operands: tuple[View, ...]
    writes: View
    count: Count
    label: str
    macs: Dim = 0
    arithmetic: str = "f32"
    byte_macs: Dim = 0  # those of bytes, where the arithmetic is another
    saved: Dim = 0  # those that the kernel's algorithm does without
    parameters: tuple[float, ...] = ()
    origin: str = ""


@dataclass(slots=True)
class Lowering:
    """The state of one graph's lowering."""

    graph: Graph
    code: Code
    steps: list[Step] = field(default_factory=list)
    origin: str = ""  # of the group that is being lowered
    constants: list[Value] = field(default_factory=list)
    arena: list[Buffer] = field(default_factory=list)
    scratch_bytes: int = 0
    spare_bytes: int = 0
    views: dict[Value, View] = field(default_factory=dict)
    kernels: dict[tuple[str, Hashable, tuple[DType, ...]], str] = field(default_factory=dict)
    outputs: dict[Value, Buffer] = field(default_factory=dict)
    parts: dict[Value, tuple[Value, Dim]] = field(default_factory=dict)

    @property
    def target(self) -> CpuTarget:
        """The processor that code is made for."""
        return self.code.target

    # Views

    def view(self, value: Value) -> View:
        """Where `value` lies."""
        if value not in self.views:
            if value.is_constant:
                self.views[value] = View.whole(self._constant(value), value.type)
            else:
                self.views[value] = self._derived(value)
        return self.views[value]

    def contiguous(self, value: Value) -> View:
        """Where `value` lies in row-major order, copied there if it must be."""
        view = self.view(value)
        return view if view.is_contiguous else self._copied(value, view)

    def with_columns(self, value: Value) -> View:
        """Where `value` lies with its last axis contiguous and rows anywhere, copied there if it must be."""
        view = self.view(value)
        return view if view.has_columns else self._copied(value, view)

    def with_rows(self, value: Value) -> View:
        """Where `value` lies with its last axis contiguous and rows evenly spaced, copied there if it must be."""
        view = self.view(value)
        return view if view.rows() is not None else self._copied(value, view)

    def output(self, value: Value) -> View:
        """Where a kernel is to write `value`: the caller's memory for an output of the graph, else the arena."""
        buffer = self.outputs.get(value) or self._temporary(value.type)
        self.views[value] = View.whole(buffer, value.type)
        return self.views[value]

    def output_rows(self, value: Value) -> View:
        """As `output`, for kernels that write rows anywhere.

        A part of a concatenation lies where that wants it.  Rows that would share sets of the cache lie apart, for
        register tiles read the same column of a dozen of them at once; what follows has to read rows anywhere.
        """
        if value in self.views:
            return self.views[value]
        if value in self.parts and value not in self.outputs:
            whole, start = self.parts[value]
            type = whole.type.reshaped(*whole.type.shape[:-1], value.type.shape[-1])
            part = self.output_rows(whole).sliced(type.rank - 1, start, type).reshaped(value.type.shape)
            if part is not None:
                self.views[value] = part
                return part
        row = value.type.shape[-1] if value.type.rank else 0
        if not isinstance(row, int) or row * value.type.dtype.bytes % SAME_SET or not row:
            return self.output(value)
        if value in self.outputs or not takes_rows(value):
            return self.output(value)
        spacing = row + CACHE_LINE // value.type.dtype.bytes
        bytes = product(value.type.shape[:-1]) * (spacing * value.type.dtype.bytes)
        self.views[value] = View.spaced(self._buffer(bytes), value.type, spacing)
        return self.views[value]

    def temporary(self, type: TensorType) -> View:
        """Room in the arena for something between two steps of one op."""
        return View.whole(self._temporary(type), type)

    def copy(self, source: View, target: View) -> None:
        """A step that copies elements from view to view."""
        from alula.codegen.lower.map import copy_step  # the map kernel is written against this module

        copy_step(self, source, target)

    # Kernels and steps

    def kernel(
        self, name: str, key: Hashable, operands: Sequence[View], body: Callable[[Chunk], None], parameters: int = 0
    ) -> str:
        """The function of a kernel, made once for each (name, key); `body` fills it in.

        It takes so many parameters: numbers that its steps differ in.
        """
        identity = (name, (key, parameters), tuple(view.dtype for view in operands))
        if identity not in self.kernels:
            label = f"{name}_{sum(1 for other in self.kernels if other[0] == name)}"
            symbols = sorted(self.graph.symbols)
            integers = [I64] * (len(symbols) + 2)
            types: list[ir.Type] = [*[POINTER] * len(operands), *integers, POINTER, *[F32] * parameters]
            function = self.code.function(label, VOID, types)
            e = Emitter(self.code, function)
            arguments = list(function.args)
            pointers = [Ptr(e, a, v.dtype) for a, v in zip(arguments, operands, strict=False)]
            e.sizes = {s: Int(e, a) for s, a in zip(symbols, arguments[len(operands) :], strict=False)}
            threads, number, scratch, *numbers = arguments[len(operands) + len(symbols) :]
            e.threads = Int(e, threads)
            e.parameters = [e.spread(value) for value in numbers]
            body(Chunk(e, pointers, Int(e, number), Ptr(e, scratch)))
            e.end()
            self.kernels[identity] = label
        return self.kernels[identity]

    def step(
        self,
        kernel: str,
        operands: Sequence[View],
        writes: View,
        count: Count,
        label: str,
        macs: Dim = 0,
        arithmetic: str = "f32",
        byte_macs: Dim = 0,
        saved: Dim = 0,
        parameters: Sequence[float] = (),
    ) -> None:
        """Run a kernel after the steps there are."""
        what = (label, macs, arithmetic, byte_macs, saved, tuple(parameters), self.origin)
        self.steps.append(Step(kernel, tuple(operands), writes, count, *what))

    def scratch(self, elements: int) -> None:
        """Every thread needs room for so many f32 elements, 64-byte aligned."""
        self.scratch_bytes = max(self.scratch_bytes, -(-elements * 4 // 64) * 64)

    def spare(self, bytes: int) -> None:
        """So much memory beyond the arena may be read; what it holds counts for nothing."""
        self.spare_bytes = max(self.spare_bytes, -(-bytes // 64) * 64)

    def in_arena(self, view: View) -> View:
        """The view, copied to the arena where it lies in memory that must not be read beyond its end."""
        if view.buffer.space is Space.ARENA:
            return view
        copy = self.temporary(view.type)
        self.copy(view, copy)
        return copy

    # Inside

    def _constant(self, value: Value) -> Buffer:
        self.constants.append(value)
        return Buffer(Space.CONSTANT, len(self.constants) - 1, value.type.bytes)

    def _temporary(self, type: TensorType) -> Buffer:
        return self._buffer(type.bytes)

    def _buffer(self, bytes: Dim) -> Buffer:
        self.arena.append(Buffer(Space.ARENA, len(self.arena), bytes))
        return self.arena[-1]

    def _copied(self, value: Value, view: View) -> View:
        copy = View.whole(self._temporary(value.type), value.type)
        self.copy(view, copy)
        self.views[value] = copy
        return copy

    def _reshaped(self, value: Value, source: Value) -> View:
        """Where `value`, a reshape of `source`, lies: in its part of a concatenation, else as the source lies."""
        view = self.view(source)
        if (shaped := view.reshaped(value.type.shape)) is not None:
            return shaped
        if value in self.parts:
            target = self.output_rows(value)
            if (pieces := aligned(view, target)) is not None:
                self.copy(*pieces)
                return target
        return View.whole(self.contiguous(source).buffer, value.type)

    def _derived(self, value: Value) -> View:
        node = value.producer
        assert node is not None, "inputs have views from the start"
        source = self.view(node.inputs[0])
        match node.op:
            case Reshape():
                return self._reshaped(value, node.inputs[0])
            case Transpose(perm=perm):
                return source.permuted(perm)
            case Slice(axis=axis, start=start, step=step):
                return source.sliced(axis, start, value.type, step)
            case Expand():
                return source.broadcast(value.type.shape)
        raise CodegenError(f"{node.op.name} {node.origin}: expected a value that was computed before")


def lower(graph: Graph, code: Code) -> Lowering:
    """The steps of a whole graph.  Raises CodegenError for an op that no kernel serves."""
    import alula.codegen.lower  # noqa: F401  fills LOWERINGS; the lowerings are written against this module

    check_dtypes(graph)
    state = Lowering(graph, code, parts=parts_of_concats(graph))
    for index, value in enumerate(graph.inputs):
        state.views[value] = View.whole(Buffer(Space.INPUT, index, value.type.bytes), value.type)
    computed = [value for _, value in graph.outputs]
    groups = group_nodes(graph)
    made = {value for group in groups for value in group.nodes[-1].outputs}
    for index, value in enumerate(computed):
        if value in made and value not in computed[:index]:
            state.outputs[value] = Buffer(Space.OUTPUT, index, value.type.bytes)
    for group in groups:
        _lower_group(state, group)
    for index, value in enumerate(computed):
        if value not in state.outputs or state.outputs[value].index != index:
            target = View.whole(Buffer(Space.OUTPUT, index, value.type.bytes), value.type)
            state.copy(state.view(value), target)
    return state


def _lower_group(state: Lowering, group: Group) -> None:
    node = group.anchor
    state.origin = node.origin
    rule = LOWERINGS.get(type(node.op))
    if rule is None:
        raise CodegenError(f"{where(node)}: expected an op with a kernel, got one without")
    outputs = group.nodes[-1].outputs
    if all(value.type.elements == 0 for value in outputs):
        for value in outputs:
            state.output(value)  # no elements, no step
        return
    try:
        rule(state, group)
    except ShapeError as error:  # a size that has to be fixed in the code is not
        raise CodegenError(f"{where(node)}: {error}") from None
