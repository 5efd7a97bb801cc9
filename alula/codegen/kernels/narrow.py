"""Float32 to the narrower types that products take, and back."""

from __future__ import annotations

from llvmlite import ir

from alula.codegen.kernels.dot import BFloat
from alula.codegen.kernels.math import SHIFTER, SHIFTER_BITS
from alula.codegen.vector import Emitter, Vec
from alula.core.dtype import DType


def from_bf16(e: Emitter, x: Vec) -> Vec:
    """bfloat16 is the upper half of a float32."""
    return e.bitcast(e.arithmetic("shl", e.convert(x, "zext", DType.I32), 16), DType.F32)


def to_bf16(e: Emitter, x: Vec) -> Vec:
    """The nearest bfloat16, ties to even; NaN stays NaN.

    Where the processor has the instruction, subnormal numbers become 0; else they are rounded as all others are.
    """
    if e.target.bf16_round:
        return e.joined([_instruction(e, part) for part in e.parted(x, max(1, x.lanes // e.target.lanes()))])
    bits = e.bitcast(x, DType.I32)
    odd = e.arithmetic("and_", e.arithmetic("lshr", bits, 16), 1)
    rounded = e.arithmetic("lshr", bits + 0x7FFF + odd, 16)
    quiet = e.arithmetic("or_", e.arithmetic("lshr", bits, 16), 0x40)
    nan = e.b.fcmp_unordered("uno", x.value, x.value)
    return e.convert(e.blend(nan, quiet, rounded), "trunc", DType.I16)


def _instruction(e: Emitter, x: Vec) -> Vec:
    name = f"llvm.x86.avx512bf16.cvtneps2bf16.{32 * x.lanes}"
    rounded = e.intrinsic(name, ir.VectorType(BFloat(), x.lanes), x.value)
    return Vec(e, e.b.bitcast(rounded, e.type(DType.I16, x.lanes)))


def exact(e: Emitter, x: Vec, dtype: DType) -> Vec:
    """Float32 numbers that f32, bf16 or u8 holds as they are, in that type."""
    match dtype:
        case DType.BF16:
            return e.convert(e.arithmetic("lshr", e.bitcast(x, DType.I32), 16), "trunc", DType.I16)
        case DType.U8:
            return e.convert(e.truncated(x), "trunc", DType.I8)
    return x


def to_bytes(e: Emitter, x: Vec, factor: Vec, shifter: Vec) -> Vec:
    """round(x * factor) + zero as unsigned bytes, ties to even, held within 0..255; 0 for NaN.

    `shifter` is SHIFTER + zero.  Rounding is by a number so large that its last bit is 1: the product, zero and it are
    added with one rounding.
    """
    shifted = e.max(e.fma(x, factor, shifter), SHIFTER)
    held = e.binary("umin", e.bitcast(shifted, DType.I32), SHIFTER_BITS + 255)
    return e.convert(held, "trunc", DType.I8)
