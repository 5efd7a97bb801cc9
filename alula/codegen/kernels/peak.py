"""The most that a target's arithmetic does: multiply-adds between registers, with nothing to wait for."""

from __future__ import annotations

from llvmlite import ir

from alula.codegen.kernels.dot import DOT_F32, DOT_INT8, DOT_INT16, Dot, dot_parts
from alula.codegen.kernels.matrix import (
    LEFT,
    RIGHT,
    SUMS,
    TILE_ROWS,
    TILE_WORDS,
    emit_configuration,
    emit_permission,
    emit_release,
)
from alula.codegen.module import I8, I64, POINTER, Code
from alula.codegen.vector import Emitter, Int, Ptr
from alula.core.dtype import DType

PEAK_FUNCTION = "alula_peak"
PEAK_BYTES = 32 * 64  # what the function writes, at most
TWO_HALVES = 0x3F403F60  # as bfloat16 0.875 and 0.75, as bytes no zero either: nothing to leave out


def emit_peak(code: Code, dot: Dot) -> int:
    """Makes the exported function (turns, room) -> 0; returns the operations of one turn, two for a multiply-add.

    `room` takes PEAK_BYTES of results: code whose result nobody takes would be dropped.  The function gives another
    number where the system does not give the processor's tile registers.
    """
    function = code.function(PEAK_FUNCTION, I64, [I64, POINTER], exported=True)
    e = Emitter(code, function)
    turns, room = Int(e, function.args[0]), Ptr(e, function.args[1])
    if code.target.matrix and dot not in (DOT_F32, DOT_INT16):
        multiplications = _emit_tiles(e, dot, turns)
    else:
        multiplications = _emit_vectors(e, dot, turns, room)
    e.b.ret(ir.Constant(I64, 0))
    return 2 * multiplications


def _emit_vectors(e: Emitter, dot: Dot, turns: Int, room: Ptr) -> int:
    """As many sums as registers hold beside the factors, each taking in one word a lane.

    Integers have their own sum for a factor: a product that is the same in every turn would be computed once.
    """
    parts = dot_parts(e, dot)
    chains = e.target.vector_registers - 2 * len(parts) - 2
    word = e.constant(0.75) if dot is DOT_F32 else e.constant(TWO_HALVES, dot.word)
    lefts, rights = [part.of_a(word) for part in parts], [part.of_b(word) for part in parts]
    seeds = [e.constant(1 + n, dot.sum) for n in range(chains)]
    with e.loop(turns, carried=seeds) as loop:
        sums = loop.carried
        for part, a, b in zip(parts, lefts, rights, strict=True):
            sums = [part.add(total, total if dot.sum is DType.I32 else a, b) for total in sums]
        loop.carry(sums)
    for spot, value in enumerate(loop.carried):
        e.store(value, room.cast(dot.sum), spot * e.lanes)
    return chains * e.lanes * dot.group


def _emit_tiles(e: Emitter, dot: Dot, turns: Int) -> int:
    """Four sums of 16 x 16 in the tile registers, as the matrix kernel has them."""
    with e.b.if_then(e.b.icmp_signed("!=", given := emit_permission(e), ir.Constant(I64, 0))):
        e.b.ret(given)
    emit_configuration(e)
    for register in (*SUMS, *LEFT, *RIGHT):
        _tiles(e, "tilezero", register)
    with e.loop(turns):
        for register in SUMS:
            left, right = LEFT[register // 2], RIGHT[register % 2]
            _tiles(e, "tdpbusd" if dot is DOT_INT8 else "tdpbf16ps", register, left, right)
    emit_release(e)
    return len(SUMS) * TILE_ROWS * TILE_WORDS * TILE_WORDS * dot.group


def _tiles(e: Emitter, name: str, *registers: int) -> None:
    e.b.call(
        e.code.declare(f"llvm.x86.{name}", ir.VoidType(), [I8] * len(registers)),
        [ir.Constant(I8, register) for register in registers],
    )
