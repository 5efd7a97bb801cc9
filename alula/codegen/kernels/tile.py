"""The register tile that matrix products, convolutions and attention share: c[mr,nr] = a[mr,k] @ b[k,nr].

k counts words of 32 bits (`kernels/dot.py`): one float32, two bfloat16 or four bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llvmlite import ir

from alula.codegen.kernels.dot import DOT_F32, Dot, dot_parts, is_halved
from alula.codegen.module import I64, POINTER, VOID, Code
from alula.codegen.vector import Emitter, Int, Ptr, Vec
from alula.core.target import CpuTarget


@dataclass(frozen=True, slots=True)
class Tile:
    """rows x vectors accumulators; `lda`, `ldb` and `ldc` are the words from a row to the next of a, b and c.

    They are fixed so that addresses fold into the instructions: fourteen row pointers would not fit the registers.
    A turn of the loop does `turn` words of k, which divides it.  With `early` the tile also asks the second-level
    cache for what the next panel will need.  With `run` > 0 rows of a come in runs of so many, `jump` words apart.
    With `onward` the sums go on from what c holds.
    """

    dot: Dot
    rows: int
    vectors: int
    lda: int
    ldb: int
    ldc: int
    turn: int
    early: bool = False
    run: int = 0
    jump: int = 0
    onward: bool = False

    def registers(self) -> int:
        """Vector registers it needs: the accumulators, a row of b, one word of a."""
        return self.rows * self.vectors + self.vectors + 1

    def row(self, number: int) -> int:
        """Words from a to its row `number`."""
        runs, place = divmod(number, self.run) if self.run else (0, number)
        return runs * self.jump + place * self.lda

    @property
    def name(self) -> str:
        """Of its function."""
        strides = f"a{self.lda}_b{self.ldb}_c{self.ldc}" + (f"_r{self.run}_j{self.jump}" if self.run else "")
        flags = "_early" * self.early + "_onward" * self.onward
        return f"tile_{self.dot.name}_{self.rows}x{self.vectors}_{strides}_t{self.turn}{flags}"


@dataclass(frozen=True, slots=True)
class Stretches:
    """How a row of a lies in memory: `outer` x `inner` stretches of k words, so many words apart.

    A matrix has one stretch; the window of a convolution has one for each of its rows, or for each of its places.
    """

    outer: int = 1
    outer_step: int = 0
    inner: int = 1
    inner_step: int = 0

    @property
    def arguments(self) -> tuple[int, int, int, int]:
        """As the tile's function takes them."""
        return self.outer, self.outer_step, self.inner, self.inner_step


@dataclass(frozen=True, slots=True)
class Early:
    """What to ask the cache for meanwhile: `pace` words from `ahead` for each word of k."""

    ahead: Ptr
    pace: Int


FULL_ROWS = {32: 14, 16: 6}  # by registers: accumulators that hide the latency of two multiply-adds a cycle
HALVED_ROWS = {("bf16", 32): 12, ("bf16", 16): 5, ("int8", 32): 7, ("int8", 16): 3}  # with more, LLVM spills sums


def tile_shape(target: CpuTarget, dot: Dot = DOT_F32) -> tuple[int, int]:
    """(rows, vectors) of the full tile; fewer rows where a word is taken in two halves, which need registers too."""
    registers = target.vector_registers
    return HALVED_ROWS[dot.name, registers] if is_halved(target, dot) else FULL_ROWS[registers], 2


def turn_of(k: int | Int) -> int:
    """Words of k in a turn of the loop: two where k allows it, which is 3 % faster; four are no faster.

    A k that only a run knows is even.
    """
    return 2 if isinstance(k, Int) or k % 2 == 0 else 1


def panel_width(target: CpuTarget) -> int:
    """Columns of a packed panel of weights."""
    return tile_shape(target)[1] * target.lanes()


def emit_tile(code: Code, tile: Tile) -> ir.Function:
    """(a, b, c, k, outer, outer step, inner, inner step): c = the sum over all stretches of a, each k words long.

    a is row-major; b goes on from stretch to stretch; c is overwritten, or gone on from by an onward tile.  Every
    element of c is one chain of sums in the order of k, whatever the tile.  An early tile takes two arguments more,
    (ahead, pace): for each k of a stretch it asks for `pace` words more from `ahead`; addresses beyond all memory do no
    harm.
    """
    if found := code.get(tile.name):
        return found
    function = code.function(tile.name, VOID, [*[POINTER] * 3, *[I64] * 5, *([POINTER, I64] if tile.early else [])])
    e = Emitter(code, function)
    a, b = (Ptr(e, argument, tile.dot.word) for argument in function.args[:2])
    c = Ptr(e, function.args[2], tile.dot.sum)
    k, outer, outer_step, inner, inner_step = (Int(e, argument) for argument in function.args[3:8])
    spots = [row * tile.ldc + v * e.lanes for row in range(tile.rows) for v in range(tile.vectors)]
    start = [e.load(c, spot) if tile.onward else e.constant(0, tile.dot.sum) for spot in spots]
    early = Early(Ptr(e, function.args[8], tile.dot.word), Int(e, function.args[9])) if tile.early else None
    totals = accumulate(e, tile, a, b, k, (outer, outer_step, inner, inner_step), start, early)
    for spot, total in zip(spots, totals, strict=True):
        e.store(total, c, spot)
    e.end()
    return function


def accumulate(
    e: Emitter,
    tile: Tile,
    a: Ptr,
    b: Ptr,
    k: Int,
    stretches: tuple[Int, Int, Int, Int],
    start: Sequence[Vec],
    early: Early | None,
) -> Sequence[Vec]:
    """The tile's sums, row by row: `start` and the products of k words of each of the stretches."""
    outer, outer_step, inner, inner_step = stretches
    with e.loop(outer, carried=start) as far:
        with e.loop(inner, carried=far.carried) as near:
            stretch = far.index * inner + near.index
            a_row = a.at(far.index * outer_step + near.index * inner_step)
            b_row = b.at(stretch * k * tile.ldb)
            with e.loop(k, carried=near.carried, step=tile.turn) as loop:
                totals: Sequence[Vec] = loop.carried
                for n in range(tile.turn):
                    if early is not None:
                        e.prefetch(early.ahead.at(stretch * k * early.pace), (loop.index + n) * early.pace)
                    totals = _word(e, tile, a_row, b_row, loop.index + n, totals, first=n == 0)
                loop.carry(totals)
            near.carry(loop.carried)
        far.carry(near.carried)
    return far.carried


def _word(
    e: Emitter, tile: Tile, a_row: Ptr, b_row: Ptr, at: Int, totals: Sequence[Vec], *, first: bool
) -> Sequence[Vec]:
    """The sums with the products of one word of k."""
    for number, part in enumerate(dot_parts(e, tile.dot)):
        if number or not first:
            e.keep_order()  # loads that come early would take registers, and sums would be spilled
        sums = iter(totals)
        columns = [part.of_b(e.load(b_row, at * tile.ldb + v * e.lanes)) for v in range(tile.vectors)]
        rows = (part.of_a(e.splat(a_row, at + tile.row(r))) for r in range(tile.rows))  # lazy: one row live at a time
        totals = [part.add(next(sums), row, column) for row in rows for column in columns]
    return totals
