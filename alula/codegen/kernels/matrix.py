"""The tile of processors that multiply matrices (AMX): up to 32 rows x 32 columns in four of the eight tile registers.

A tile register holds 16 rows of 64 bytes.  Every thread loads one configuration, eight whole tiles, before it runs a
program; a tile of fewer rows than 16 computes all the same, and what it reads beyond the last row comes to nothing:
a row of c depends on its own row of a alone.  Rows of a are best 64-byte aligned (four times slower if not).

Source: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 1, chapter 18; volume 2, TDPBF16PS (sums of
even and of odd places, added last, subnormal numbers as 0) and TDPBUSD (exact).
"""

from __future__ import annotations

from llvmlite import ir

from alula.codegen.kernels.dot import DOT_INT8
from alula.codegen.kernels.tile import Stretches, Tile
from alula.codegen.module import I8, I16, I64, POINTER, VOID, Code
from alula.codegen.vector import Emitter, Int, Ptr
from alula.core.dtype import DType

TILE_ROWS, TILE_WORDS = 16, 16
CONFIG_BYTES, PALETTE, COLUMN_BYTES_AT, ROWS_AT, TILES = 64, 1, 16, 48, 8
SUMS, LEFT, RIGHT = (0, 1, 2, 3), (4, 5), (6, 7)  # tile registers of c, a and b

SYS_ARCH_PRCTL, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA = 158, 0x1023, 18


def emit_matrix_tile(code: Code, tile: Tile, k: int, stretches: Stretches) -> ir.Function:
    """The function (a, b, c), and (ahead, pace) if early, of a tile of 16 or 32 rows and one or two vectors.

    k is a multiple of 16 words.  k and stretches stand in the code: a short product would else take as long as its
    loops.  Two tiles of a against two of b are four products for four loads.
    """
    name = f"matrix_{tile.name}_k{k}_s{'_'.join(map(str, stretches.arguments))}"
    if found := code.get(name):
        return found
    code.uses_matrix = True
    more: list[ir.Type] = [POINTER, I64] if tile.early else []
    function = code.function(name, VOID, [POINTER, POINTER, POINTER, *more])
    e = Emitter(code, function)
    a, b, c = (Ptr(e, argument, DType.I32) for argument in function.args[:3])
    downs, acrosses = range(tile.rows // TILE_ROWS), range(tile.vectors)
    for down in downs:
        for across in acrosses:
            _call(e, "tilezero", _sum(down, across))

    def step(stretch: Int | int, row: Ptr, at: Int | int) -> None:
        place = stretch * k + at
        if tile.early:
            ahead, pace = Ptr(e, function.args[3], DType.I32), Int(e, function.args[4])
            with e.loop(pace) as lines:  # each asks for a cache line, which is 16 words
                e.prefetch(ahead, pace * place + lines.index * TILE_WORDS)
        for across in acrosses:
            _load(e, RIGHT[across], b.at(place * tile.ldb + across * TILE_WORDS), tile.ldb)
        for down in downs:
            _load(e, LEFT[down], row.at(at + down * TILE_ROWS * tile.lda), tile.lda)
            for across in acrosses:
                _multiply(e, tile, _sum(down, across), LEFT[down], RIGHT[across])

    def steps(stretch: Int | int, row: Ptr) -> None:
        if k == TILE_WORDS:
            step(stretch, row, 0)
            return
        with e.loop(k, step=TILE_WORDS) as loop:
            step(stretch, row, loop.index)

    if stretches.outer * stretches.inner == 1:
        steps(0, a)
    else:
        with e.loop(stretches.outer) as far, e.loop(stretches.inner) as near:
            row = a.at(far.index * stretches.outer_step + near.index * stretches.inner_step)
            steps(far.index * stretches.inner + near.index, row)
    for down in downs:
        for across in acrosses:
            target = c.at(down * TILE_ROWS * tile.ldc + across * TILE_WORDS)
            _move(e, "tilestored64", _sum(down, across), target, tile.ldc)
    e.end()
    return function


def emit_configuration(e: Emitter) -> None:
    """Makes all tile registers of this thread 16 rows of 64 bytes."""
    room = e.stack(CONFIG_BYTES, DType.I8)
    with e.loop(CONFIG_BYTES) as loop:
        e.b.store(ir.Constant(I8, 0), room.at(loop.index).value)
    e.b.store(ir.Constant(I8, PALETTE), room.value)
    for tile in range(TILES):
        columns = e.b.gep(room.value, [ir.Constant(I64, COLUMN_BYTES_AT + 2 * tile)], source_etype=I8)
        e.b.store(ir.Constant(I16, 4 * TILE_WORDS), columns, align=1)
        e.b.store(ir.Constant(I8, TILE_ROWS), room.at(ROWS_AT + tile).value)
    e.intrinsic("llvm.x86.ldtilecfg", VOID, room.value)


def emit_release(e: Emitter) -> None:
    """Gives the tile registers back: what is not in use need not be saved when threads change."""
    e.intrinsic("llvm.x86.tilerelease", VOID)


def emit_permission(e: Emitter) -> ir.Value:
    """Asks Linux for the tile registers, once for a process; 0 where it gives them.

    Source: Linux, Documentation/arch/x86/xstate.rst.
    """
    call = e.code.declare("syscall", I64, [I64], variadic=True)
    return e.b.call(call, [ir.Constant(I64, n) for n in (SYS_ARCH_PRCTL, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA)])


def _sum(down: int, across: int) -> int:
    return SUMS[2 * down + across]


def _call(e: Emitter, name: str, *registers: int) -> None:
    e.intrinsic(f"llvm.x86.{name}", VOID, *(ir.Constant(I8, register) for register in registers))


def _load(e: Emitter, register: int, source: Ptr, step: int) -> None:
    _move(e, "tileloadd64", register, source, step)


def _move(e: Emitter, name: str, register: int, address: Ptr, step: int) -> None:
    """Sixteen rows of 16 words, `step` words apart."""
    function = e.code.declare(f"llvm.x86.{name}", VOID, [I8, POINTER, I64])
    e.b.call(function, [ir.Constant(I8, register), address.value, ir.Constant(I64, 4 * step)])


def _multiply(e: Emitter, tile: Tile, total: int, left: int, right: int) -> None:
    _call(e, "tdpbusd" if tile.dot is DOT_INT8 else "tdpbf16ps", total, left, right)
