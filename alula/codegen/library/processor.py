"""Whether this processor and its system have what a target's code uses, asked before any of that code runs.

Source: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2, CPUID and XGETBV; volume 1, chapter 13.
"""

from __future__ import annotations

from llvmlite import ir

from alula.codegen.module import I32, Code
from alula.codegen.vector import Emitter
from alula.core.errors import CodegenError
from alula.core.target import CpuTarget

EAX, EBX, ECX, EDX = range(4)
Leaf = tuple[int, int]  # what cpuid is asked: eax and ecx
BASIC, FEATURES, EXTENDED, EXTENDED_1 = (0, 0), (1, 0), (7, 0), (7, 1)
XGETBV_ENABLED = FEATURES, ECX, 27  # without it the question which registers the system saves is an illegal one

FLAGS: dict[str, tuple[Leaf, int, int]] = {  # of CpuTarget.flags: leaf, register and bit
    "fma": (FEATURES, ECX, 12),
    "f16c": (FEATURES, ECX, 29),
    "avx2": (EXTENDED, EBX, 5),
    "avx512f": (EXTENDED, EBX, 16),
    "avx512dq": (EXTENDED, EBX, 17),
    "avx512cd": (EXTENDED, EBX, 28),
    "avx512bw": (EXTENDED, EBX, 30),
    "avx512vl": (EXTENDED, EBX, 31),
    "avx512_vnni": (EXTENDED, ECX, 11),
    "amx_bf16": (EXTENDED, EDX, 22),
    "amx_tile": (EXTENDED, EDX, 24),
    "amx_int8": (EXTENDED, EDX, 25),
    "avx512_bf16": (EXTENDED_1, EAX, 5),
}
SAVED = {"avx2": 0b110, "avx512f": 0b11100110, "amx_tile": 0b11 << 17}  # registers that the system saves, in XCR0


def emit_processor(code: Code, target: CpuTarget) -> ir.Function:
    """The function () -> i32: 1 where code for `target` may run here, else 0.

    Raises CodegenError for a flag whose bit is not known.
    """
    function = code.function("alula_processor", I32, [])
    e = Emitter(code, function)
    if unknown := set(target.flags) - set(FLAGS):
        raise CodegenError(f"target {target.name}: expected flags whose bits are known, got {sorted(unknown)}")
    highest = _cpuid(e, BASIC)[EAX]
    with e.b.if_then(e.b.icmp_unsigned("<", highest, ir.Constant(I32, EXTENDED[0]))):
        e.b.ret(ir.Constant(I32, 0))
    for leaf in (FEATURES, EXTENDED, EXTENDED_1):
        registers = _cpuid(e, leaf)
        wanted = [FLAGS[flag] for flag in target.flags] + [XGETBV_ENABLED]
        for register, value in enumerate(registers):
            bits = sum({1 << bit for where, place, bit in wanted if (where, place) == (leaf, register)})
            _require(e, value, bits)
    saved = 0
    for flag, registers_saved in SAVED.items():
        saved |= registers_saved if flag in target.flags else 0
    _require(e, _xgetbv(e), saved)
    e.b.ret(ir.Constant(I32, 1))
    return function


def _require(e: Emitter, value: ir.Value, bits: int) -> None:
    """Returns 0 unless all of `bits` are set."""
    if not bits:
        return
    mask = ir.Constant(I32, bits)
    with e.b.if_then(e.b.icmp_unsigned("!=", e.b.and_(value, mask), mask)):
        e.b.ret(ir.Constant(I32, 0))


def _cpuid(e: Emitter, leaf: Leaf) -> list[ir.Value]:
    four = ir.LiteralStructType([I32] * 4)
    arguments = [ir.Constant(I32, number) for number in leaf]
    answer = e.b.asm(
        ir.FunctionType(four, [I32, I32]), "cpuid", "={ax},={bx},={cx},={dx},{ax},{cx}", arguments, side_effect=False
    )
    return [e.b.extract_value(answer, register) for register in range(4)]


def _xgetbv(e: Emitter) -> ir.Value:
    """The low half of XCR0."""
    pair = ir.LiteralStructType([I32, I32])
    answer = e.b.asm(
        ir.FunctionType(pair, [I32]), "xgetbv", "={ax},={dx},{cx}", [ir.Constant(I32, 0)], side_effect=True
    )
    return e.b.extract_value(answer, 0)
