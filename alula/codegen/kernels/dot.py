"""What a register tile multiplies: words of 32 bits that hold one float32, two bfloat16, two int16 or four bytes.

Weights are packed so that a lane holds the word of its column; the word of a row stands in every lane.  A processor
without the dot product takes a word in two halves, the elements at even and then at odd places: for bytes that is
exact, for bfloat16 it is two fused multiply-adds in the order of k.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from llvmlite import ir

from alula.codegen.vector import Emitter, Vec
from alula.core.dtype import DType
from alula.core.target import CpuTarget


@dataclass(frozen=True, slots=True)
class Dot:
    """sum += a * b: `group` elements of `a` and of `b` make a word, `sum` is the type of the totals."""

    name: str
    a: DType
    b: DType
    sum: DType
    group: int

    @property
    def word(self) -> DType:
        """As what words are loaded."""
        return DType.F32 if self.group == 1 else DType.I32


DOT_F32 = Dot("f32", DType.F32, DType.F32, DType.F32, 1)
DOT_BF16 = Dot("bf16", DType.BF16, DType.BF16, DType.F32, 2)
DOT_INT8 = Dot("int8", DType.U8, DType.I8, DType.I32, 4)
DOT_INT16 = Dot("int16", DType.I16, DType.I16, DType.I32, 2)  # sums keep their lowest 32 bits


def dot_for(weight: DType) -> Dot:
    """The product that weights of a type are multiplied by; f16 is widened to float32 first."""
    return {DType.BF16: DOT_BF16, DType.I8: DOT_INT8}.get(weight, DOT_F32)


def is_halved(target: CpuTarget, dot: Dot) -> bool:
    """True where a word takes two passes."""
    return (dot is DOT_BF16 and not target.bf16_dot) or (dot is DOT_INT8 and not target.int8_dot)


@dataclass(frozen=True, slots=True)
class Part:
    """One pass over the tile: what is made of a's and b's words, and how a sum takes in their product."""

    of_a: Callable[[Vec], Vec]
    of_b: Callable[[Vec], Vec]
    add: Callable[[Vec, Vec, Vec], Vec]


def dot_parts(e: Emitter, dot: Dot) -> Sequence[Part]:
    """The passes that multiply words: one where the processor has the instruction, else two."""
    if dot is DOT_F32:
        return [Part(_same, _same, lambda total, a, b: e.fma(a, b, total))]
    if dot is DOT_BF16:
        if not is_halved(e.target, dot):
            return [Part(_same, _same, lambda total, a, b: _dpbf16(e, total, a, b))]
        return [_widened(e, half) for half in range(2)]
    if dot is DOT_INT16:
        add = (lambda total, a, b: _dpwssd(e, total, a, b)) if e.target.int8_dot else _madd(e)
        return [Part(_same, _same, add)]
    if not is_halved(e.target, dot):
        return [Part(_same, _same, lambda total, a, b: _dpbusd(e, total, a, b))]
    return [
        Part(lambda a: e.arithmetic("and_", a, 0x00FF00FF), lambda b: _signed(e, b, even=True), _madd(e)),
        Part(lambda a: _unsigned_odd(e, a), lambda b: _signed(e, b, even=False), _madd(e)),
    ]


def _same(x: Vec) -> Vec:
    return x


def half_of(e: Emitter, words: Vec, half: int) -> Vec:
    """The first or second bfloat16 of each word as float32, whose upper half it is."""
    return e.bitcast(e.arithmetic("and_", words, -65536) if half else e.arithmetic("shl", words, 16), DType.F32)


def _widened(e: Emitter, half: int) -> Part:
    def wide(x: Vec) -> Vec:
        return half_of(e, x, half)

    return Part(wide, wide, lambda total, a, b: e.fma(a, b, total))


def _dpbusd(e: Emitter, total: Vec, a: Vec, b: Vec) -> Vec:
    """vpdpbusd: exact while the total fits 32 bits."""
    type = total.value.type
    name = f"llvm.x86.avx512.vpdpbusd.{32 * total.lanes}"
    bytes = [e.bitcast(x, DType.I8).value for x in (a, b)]
    return Vec(e, e.intrinsic(name, type, total.value, *bytes))


def _dpwssd(e: Emitter, total: Vec, a: Vec, b: Vec) -> Vec:
    """vpdpwssd, which came with the instruction for bytes.

    LLVM 22 makes vpmaddwd and vpaddd of the intrinsic where sums wait for each other: 1.17 times as long.
    """
    type = total.value.type
    asm = ir.InlineAsm(ir.FunctionType(type, [type] * 3), "vpdpwssd $2, $1, $0", "=v,v,v,0", side_effect=False)
    return Vec(e, e.b.call(asm, [a.value, b.value, total.value]))


class BFloat(ir.Type):
    """LLVM's bfloat, which llvmlite lacks; only the dot product's operands are of it."""

    def __str__(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BFloat)

    def __hash__(self) -> int:
        return hash(BFloat)


def _dpbf16(e: Emitter, total: Vec, a: Vec, b: Vec) -> Vec:
    """vdpbf16ps: subnormal numbers count as 0, each addition is rounded to nearest even."""
    pairs = ir.VectorType(BFloat(), 2 * total.lanes)
    words = [e.b.bitcast(x.value, pairs) for x in (a, b)]
    return Vec(
        e, e.intrinsic(f"llvm.x86.avx512bf16.dpbf16ps.{32 * total.lanes}", total.value.type, total.value, *words)
    )


def _madd(e: Emitter) -> Callable[[Vec, Vec, Vec], Vec]:
    """total + the sums of neighbouring products of 16-bit numbers."""

    def add(total: Vec, a: Vec, b: Vec) -> Vec:
        name = {8: "llvm.x86.avx2.pmadd.wd", 16: "llvm.x86.avx512.pmaddw.d.512"}[total.lanes]
        halves = [e.bitcast(x, DType.I16).value for x in (a, b)]
        return total + Vec(e, e.intrinsic(name, total.value.type, *halves))

    return add


def _signed(e: Emitter, b: Vec, *, even: bool) -> Vec:
    """Every second signed byte as 16 bits."""
    halves = e.bitcast(b, DType.I16)
    raised = e.arithmetic("shl", halves, 8) if even else halves
    return e.bitcast(e.arithmetic("ashr", raised, 8), DType.I32)


def _unsigned_odd(e: Emitter, a: Vec) -> Vec:
    return e.bitcast(e.arithmetic("lshr", e.bitcast(a, DType.I16), 8), DType.I32)
