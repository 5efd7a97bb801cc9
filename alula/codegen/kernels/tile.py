"""The register tile that matrix products, convolutions and attention share: c[mr,nr] = a[mr,k] @ b[k,nr] in float32."""

from __future__ import annotations

from dataclasses import dataclass

from llvmlite import ir

from alula.codegen.module import I64, POINTER, VOID, Code
from alula.codegen.vector import Emitter, Int, Ptr
from alula.core.target import CpuTarget


@dataclass(frozen=True, slots=True)
class Tile:
    """rows x vectors accumulators; `lda`, `ldb` and `ldc` are the elements from a row to the next of a, b and c.

    They are fixed so that addresses fold into the instructions: fourteen row pointers would not fit the registers.
    With `early` the tile also asks the second-level cache for what the next panel will need.
    """

    rows: int
    vectors: int
    lda: int
    ldb: int
    ldc: int
    early: bool = False

    def registers(self) -> int:
        """Vector registers it needs: the accumulators, a row of b, one element of a."""
        return self.rows * self.vectors + self.vectors + 1

    @property
    def name(self) -> str:
        """Of its function."""
        return f"tile_f32_{self.rows}x{self.vectors}_a{self.lda}_b{self.ldb}_c{self.ldc}{'_early' * self.early}"


@dataclass(frozen=True, slots=True)
class Stretches:
    """How a row of a lies in memory: `outer` x `inner` stretches of k elements, so many elements apart.

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


def tile_shape(target: CpuTarget) -> tuple[int, int]:
    """(rows, vectors) of the full tile: enough accumulators to hide the latency of two multiply-adds a cycle."""
    return (14, 2) if target.vector_registers >= 32 else (6, 2)


def panel_width(target: CpuTarget) -> int:
    """Columns of a packed panel of float32 weights."""
    return tile_shape(target)[1] * target.lanes()


def tile_f32(code: Code, tile: Tile) -> ir.Function:
    """(a, b, c, k, outer, outer step, inner, inner step): c = the sum over all stretches of a, each k elements long.

    a is row-major; b goes on from stretch to stretch; c is overwritten.  Every element of c is one chain of fused
    multiply-adds in the order of k, whatever the tile.  An early tile takes two arguments more, (ahead, pace): for each
    k of a stretch it asks for `pace` elements more from `ahead`; addresses beyond all memory do no harm.
    """
    if found := code.get(tile.name):
        return found
    function = code.function(tile.name, VOID, [POINTER] * 3 + [I64] * 5 + [POINTER, I64] * tile.early)
    e = Emitter(code, function)
    a, b, c = (Ptr(e, argument) for argument in function.args[:3])
    k, outer, outer_step, inner, inner_step = (Int(e, argument) for argument in function.args[3:8])
    zeros = [e.constant(0.0)] * (tile.rows * tile.vectors)
    with e.loop(outer, carried=zeros) as far:
        with e.loop(inner, carried=far.carried) as near:
            stretch = far.index * inner + near.index
            a_row = a.at(far.index * outer_step + near.index * inner_step)
            b_row = b.at(stretch * k * tile.ldb)
            with e.loop(k, carried=near.carried) as loop:
                if tile.early:
                    ahead, pace = Ptr(e, function.args[8]), Int(e, function.args[9])
                    e.prefetch(ahead.at(stretch * k * pace), loop.index * pace)
                sums = iter(loop.carried)
                columns = [e.load(b_row, loop.index * tile.ldb + v * e.lanes) for v in range(tile.vectors)]
                rows = (e.splat(a_row, loop.index + tile.lda * r) for r in range(tile.rows))  # lazy: one row live
                loop.carry([e.fma(row, column, next(sums)) for row in rows for column in columns])
            near.carry(loop.carried)
        far.carry(near.carried)
    for spot, total in enumerate(far.carried):
        e.store(total, c, spot // tile.vectors * tile.ldc + spot % tile.vectors * e.lanes)
    e.end()
    return function
