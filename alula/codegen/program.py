"""A whole graph as one object file: its steps, the native runtime, and the entry `alula_run` for C callers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from llvmlite import ir

from alula.codegen.arena import Lifetime, plan_arena
from alula.codegen.kernels.matrix import emit_configuration, emit_release
from alula.codegen.lowering import Lowering, Step, lower
from alula.codegen.module import F32, I8, I64, POINTER, VOID, Code
from alula.codegen.pieces import piece_size
from alula.codegen.spmd import Spmd, declare_spmd, emit_spmd
from alula.codegen.vector import ELEMENTS, Emitter, Int
from alula.codegen.views import Buffer, Space, View
from alula.core.dims import Dim, Expr, dim_at
from alula.core.dtype import DType
from alula.core.errors import CodegenError
from alula.core.target import CpuTarget
from alula.ir.graph import Graph

# The caller's program structure and the frame of one run: pointers; in the frame also its arrays and sizes.
CONSTANTS, ARENA, SCRATCH, POOL, STAMPS, INPUTS, OUTPUTS, THREADS, ALONE, SIZES = range(10)


@dataclass(frozen=True, slots=True)
class StepInfo:
    """One step for people: what it computes, on what shape; its multiply-adds and bytes read and written an image.

    `arithmetic` is what it multiplies: f32, bf16 or int8; `byte_macs` are those of `macs` that multiply bytes, `saved`
    those that its algorithm does without; `origin` is where in the source model it comes from.
    """

    label: str
    kernel: str
    shape: str
    macs: int
    arithmetic: str
    byte_macs: int
    bytes: int
    origin: str = ""
    saved: int = 0


@dataclass(frozen=True, slots=True)
class Program:
    """The machine code and what a caller must know to run it; all byte counts are for one image unless said."""

    object: bytes
    inputs: tuple[tuple[str, str], ...]  # names, and types as graphs print them
    outputs: tuple[tuple[str, str], ...]
    constants: tuple[int, ...]  # numbers of the graph's constants, in the order of the pointer table
    arena_bytes: int
    piece: int  # images of a batch that run at a time at most; 0: all
    spare_bytes: int  # beyond the arena, that may be read
    scratch_bytes: int  # of one thread
    steps: tuple[StepInfo, ...]

    def to_parts(self) -> dict[str, bytes]:
        """As named binary parts, for the object cache."""
        facts = asdict(replace(self, object=b""))
        del facts["object"]
        return {"object": self.object, "program": json.dumps(facts).encode()}

    @classmethod
    def from_parts(cls, parts: Mapping[str, bytes]) -> Program:
        """What `to_parts` gave."""
        facts: dict[str, Any] = json.loads(parts["program"])
        ports = {side: tuple((name, type) for name, type in facts[side]) for side in ("inputs", "outputs")}
        steps = tuple(StepInfo(**step) for step in facts["steps"])
        return cls(
            **{**facts, **ports, "object": parts["object"], "constants": tuple(facts["constants"]), "steps": steps}
        )


def compile_graph(graph: Graph, target: CpuTarget) -> Program:
    """The program of a final graph.  Raises CodegenError for an op without a kernel or more than one symbolic size."""
    return assemble(lower_for(graph, target))


def lower_for(graph: Graph, target: CpuTarget) -> Lowering:
    """The graph's steps, with their kernels in a module of their own."""
    if len(graph.symbols) > 1:
        raise CodegenError(f"graph {graph.name}: expected at most one symbolic size, got {sorted(graph.symbols)}")
    return lower(graph, Code(target))


def assemble(state: Lowering) -> Program:
    """Machine code for the steps and the runtime."""
    offsets, arena_bytes = _arena(state)
    piece = piece_size(state.graph, arena_bytes, state.target)
    emit_program(state, offsets, arena_bytes, piece)
    order = {value: number for number, value in enumerate(state.graph.constants())}
    ones = dict.fromkeys(state.graph.symbols, 1)
    steps = tuple(
        StepInfo(
            step.label,
            step.kernel,
            str(step.writes.type),
            dim_at(step.macs, ones),
            step.arithmetic,
            dim_at(step.macs if step.arithmetic == "int8" else step.byte_macs, ones),
            sum(dim_at(view.type.bytes, ones) for view in step.operands),
            step.origin,
            dim_at(step.saved, ones),
        )
        for step in state.steps
    )
    constants = tuple(order[value] for value in state.constants)
    inputs = tuple((value.name, str(value.type)) for value in state.graph.inputs)
    outputs = tuple((name, str(value.type)) for name, value in state.graph.outputs)
    sizes = arena_bytes, piece, state.spare_bytes, state.scratch_bytes
    return Program(state.code.object(), inputs, outputs, constants, *sizes, steps)


def emit_program(state: Lowering, offsets: Mapping[Buffer, int], arena_bytes: int, piece: int) -> None:
    """Fills the module in: a thunk for each step, what runs them in turn, the runtime, the entry."""
    code, graph = state.code, state.graph
    spmd = declare_spmd(code)
    steps = code.function("alula_steps", VOID, [POINTER, I64, I64])
    e = Emitter(code, steps)
    frame, thread, threads = steps.args
    e.sizes, e.threads = _sizes(e, graph, frame), Int(e, threads)
    if state.steps:  # without one no thread waits for another, and the frame may be gone
        e.b.store(threads, _slot(e, frame, THREADS))  # the same number by every thread, for its own steps
    if code.uses_matrix:
        emit_configuration(e)
    stamp = _stamper(e, frame, thread, len(state.steps))
    stamp(0)
    for number, step in enumerate(state.steps):
        thunk = _emit_thunk(state, number, step, offsets)
        e.b.call(spmd.parallel, [frame, thread, threads, step.count(e).value, thunk])
        stamp(number + 1)
    if code.uses_matrix:
        emit_release(e)
    e.end()
    alone = _emit_alone(state, steps, arena_bytes) if piece and state.steps else None
    _emit_program(spmd, steps, alone)
    emit_spmd(spmd, lambda emitter, frame: _field(emitter, frame, POOL))
    _emit_run(state, piece)


def _stamper(e: Emitter, frame: ir.Value, thread: ir.Value, last: int) -> Callable[[int], None]:
    """Notes in stamps[number] when the first thread came by, by the processor's clock, for who gave room for stamps.

    The first, not a certain one: while that one waits for its processor, the others do its share of the next step.
    The last stamp is thread 0's, who returns: afterwards the room may be gone.
    """
    stamps = _field(e, frame, STAMPS)
    wanted = e.b.icmp_unsigned("!=", stamps, ir.Constant(POINTER, None))
    first = e.b.icmp_unsigned("==", thread, ir.Constant(I64, 0))

    def stamp(number: int) -> None:
        with e.b.if_then(wanted if number < last else e.b.and_(wanted, first)):
            clock = e.b.call(e.code.declare("llvm.readcyclecounter", I64, []), [])
            e.b.atomic_rmw("min", e.b.gep(stamps, [ir.Constant(I64, number)], source_etype=I64), clock, "monotonic")

    return stamp


def _arena(state: Lowering) -> tuple[dict[Buffer, int], int]:
    """The place of each arena buffer and the arena's size, for one image; both grow with the batch."""
    first: dict[Buffer, int] = {}
    last: dict[Buffer, int] = {}
    for number, step in enumerate(state.steps):
        for view in (*step.operands, step.writes):
            if view.buffer.space is Space.ARENA:
                first.setdefault(view.buffer, number)
                last[view.buffer] = number
    buffers = list(first)
    lifetimes = [Lifetime(_bytes_an_image(buffer.bytes), first[buffer], last[buffer]) for buffer in buffers]
    offsets, total = plan_arena(lifetimes)
    return dict(zip(buffers, offsets, strict=True)), total


def _bytes_an_image(bytes: Dim) -> int:
    """A number that, times the batch, is at least `bytes`."""
    if not isinstance(bytes, Expr):
        return bytes
    if any(len(monomial) > 1 or not all(isinstance(atom, str) for atom in monomial) for monomial, _ in bytes.terms):
        raise CodegenError(f"buffer of {bytes} bytes: expected a size that grows evenly with the batch")
    return sum(max(coefficient, 0) for _, coefficient in bytes.terms)


def _emit_thunk(state: Lowering, number: int, step: Step, offsets: Mapping[Buffer, int]) -> ir.Function:
    """(frame, thread, chunk): the step's kernel with its operands' addresses."""
    function = state.code.function(f"step_{number}", VOID, [POINTER, I64, I64])
    e = Emitter(state.code, function)
    frame, thread, chunk = function.args
    e.sizes = _sizes(e, state.graph, frame)
    addresses = [_address(e, state.graph, frame, view, offsets) for view in step.operands]
    room = e.b.gep(_field(e, frame, SCRATCH), [(Int(e, thread) * state.scratch_bytes).value], source_etype=I8)
    sizes = [e.sizes[symbol].value for symbol in sorted(state.graph.symbols)]
    numbers = [ir.Constant(F32, float(np.float32(number))) for number in step.parameters]
    threads = e.b.load(_slot(e, frame, THREADS), typ=I64)
    e.b.call(state.code.made(step.kernel), [*addresses, *sizes, threads, chunk, room, *numbers])
    e.end()
    return function


def _address(e: Emitter, graph: Graph, frame: ir.Value, view: View, offsets: Mapping[Buffer, int]) -> ir.Value:
    buffer = view.buffer
    if buffer.space is Space.ARENA:
        batch = next(iter(e.sizes.values()), e.int(1))
        base: ir.Value = e.b.gep(_field(e, frame, ARENA), [(batch * offsets[buffer]).value], source_etype=I8)
    else:
        table = _field(e, frame, {Space.CONSTANT: CONSTANTS, Space.INPUT: INPUTS, Space.OUTPUT: OUTPUTS}[buffer.space])
        base = _field(e, table, buffer.index)
    if view.offset == 0:
        return base
    return e.b.gep(base, [e.dim(view.offset).value], source_etype=ELEMENTS[view.dtype])


def _emit_program(spmd: Spmd, steps: ir.Function, alone: ir.Function | None) -> None:
    """What each thread of a run executes: its share of every step, or pieces of the batch that it does alone."""
    e = Emitter(spmd.code, spmd.program)
    frame, thread, threads = spmd.program.args
    if alone is not None:
        pieces = e.b.load(_slot(e, frame, ALONE), typ=I64)
        with e.b.if_then(e.b.icmp_signed("!=", pieces, ir.Constant(I64, 0))):
            e.b.call(spmd.parallel, [frame, thread, threads, pieces, alone])
            e.b.ret_void()
    e.b.call(steps, [frame, thread, threads])
    e.end()


def _emit_alone(state: Lowering, steps: ir.Function, arena_bytes: int) -> ir.Function:
    """(frame, thread, piece): all steps of a piece by one thread, with an arena, scratch and frame of its own."""
    function = state.code.function("alula_alone", VOID, [POINTER, I64, I64])
    e = Emitter(state.code, function)
    frame, thread, number = function.args
    own = e.stack(SIZES + 1, DType.I64).value
    images = Int(e, e.b.load(_slot(e, frame, SIZES), typ=I64))
    for index, step in ((ARENA, images * arena_bytes), (SCRATCH, e.int(state.scratch_bytes))):
        place = e.b.gep(_field(e, frame, index), [(Int(e, thread) * step).value], source_etype=I8)
        e.b.store(place, _slot(e, own, index))
    for index in (CONSTANTS, POOL):
        e.b.store(_field(e, frame, index), _slot(e, own, index))
    e.b.store(images.value, _slot(e, own, SIZES))
    _take_piece(e, state, frame, own, Int(e, number) * images, Int(e, number))
    e.b.call(steps, [own, ir.Constant(I64, 0), ir.Constant(I64, 1)])
    e.end()
    return function


def _take_piece(e: Emitter, state: Lowering, whole: ir.Value, frame: ir.Value, first: Int, number: Int) -> None:
    """Points a frame to the arrays of the batch in `whole` from image `first` on, and to the stamps of a piece."""
    graph = state.graph
    for side, types in ((INPUTS, [v.type for v in graph.inputs]), (OUTPUTS, [v.type for _, v in graph.outputs])):
        table, moved = _field(e, whole, side), e.stack(max(1, len(types)), DType.I64).value
        for index, type in enumerate(types):
            bytes = first * _bytes_an_image(type.bytes)
            e.b.store(e.b.gep(_field(e, table, index), [bytes.value], source_etype=I8), _slot(e, moved, index))
        e.b.store(moved, _slot(e, frame, side))
    stamps = _field(e, whole, STAMPS)
    stamped = e.b.gep(stamps, [(number * (len(state.steps) + 1)).value], source_etype=I64)
    watched = e.b.icmp_unsigned("!=", stamps, ir.Constant(POINTER, None))
    e.b.store(e.b.select(watched, stamped, stamps), _slot(e, frame, STAMPS))


def _emit_run(state: Lowering, piece: int) -> None:
    """`alula_run(program, inputs, outputs, batch, threads)`: the program on a batch in pieces, as `pieces_of` has them.

    `program` points to {constants, arena, scratch, pool, stamps}; stamps may be null, or take those of every piece.
    """
    code = state.code
    function = code.function("alula_run", VOID, [POINTER, POINTER, POINTER, I64, I64], exported=True)
    e = Emitter(code, function)
    program, inputs, outputs, batch, threads = function.args
    whole, frame = (e.stack(SIZES + 1, DType.I64).value for _ in range(2))
    for index in (CONSTANTS, ARENA, SCRATCH, POOL, STAMPS):
        for copy in (whole, frame):
            e.b.store(_field(e, program, index), _slot(e, copy, index))
    for index, table in ((INPUTS, inputs), (OUTPUTS, outputs)):
        e.b.store(table, _slot(e, whole, index))
    total, zero = Int(e, batch), ir.Constant(I64, 0)
    e.b.store(zero, _slot(e, frame, ALONE))
    if not piece:
        e.b.store(batch, _slot(e, frame, SIZES))
        _take_piece(e, state, whole, frame, e.int(0), e.int(0))
        e.b.call(code.made("alula_start"), [frame, threads])
        e.end()
        return
    team = Int(e, threads).max(1)
    images = (total.min(piece) // team).max(1)
    alone = total // (team * images) * team
    e.b.store(images.value, _slot(e, whole, SIZES))
    e.b.store(alone.value, _slot(e, whole, ALONE))
    with e.when(alone >= 1):
        e.b.call(code.made("alula_start"), [whole, threads])
    start = alone * images
    with e.loop(total, start=start, step=piece) as loop:
        e.b.store((total - loop.index).min(piece).value, _slot(e, frame, SIZES))
        _take_piece(e, state, whole, frame, loop.index, alone + (loop.index - start) // piece)
        e.b.call(code.made("alula_start"), [frame, threads])
    e.end()


def _sizes(e: Emitter, graph: Graph, frame: ir.Value) -> dict[str, Int]:
    spots = {symbol: ir.Constant(I64, SIZES + n) for n, symbol in enumerate(sorted(graph.symbols))}
    return {
        symbol: Int(e, e.b.load(e.b.gep(frame, [spot], source_etype=I64), typ=I64)) for symbol, spot in spots.items()
    }


def _field(e: Emitter, structure: ir.Value, index: int) -> ir.Value:
    return e.b.load(_slot(e, structure, index), typ=POINTER)


def _slot(e: Emitter, structure: ir.Value, index: int) -> ir.Value:
    return e.b.gep(structure, [ir.Constant(I64, index)], source_etype=I64)
