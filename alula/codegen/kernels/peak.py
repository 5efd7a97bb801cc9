"""The most that a target's arithmetic does: multiply-adds between registers, with nothing to wait for."""

from __future__ import annotations

from alula.codegen.module import I64, POINTER, VOID, Code
from alula.codegen.vector import Emitter, Int, Ptr

PEAK_FUNCTION = "alula_peak_f32"


def emit_peak(code: Code) -> int:
    """Makes the exported function (turns, room); returns the floating-point operations of one turn.

    `room` takes the results, at most 32 vectors of them: code whose result nobody takes would be dropped.
    """
    function = code.function(PEAK_FUNCTION, VOID, [I64, POINTER], exported=True)
    e = Emitter(code, function)
    chains = code.target.vector_registers - 4
    factor, seeds = e.constant(0.999), [e.constant(1.0 + n / 64) for n in range(chains)]
    with e.loop(Int(e, function.args[0]), carried=seeds) as loop:
        loop.carry([e.fma(value, factor, factor) for value in loop.carried])
    for spot, value in enumerate(loop.carried):
        e.store(value, Ptr(e, function.args[1]), spot * e.lanes)
    e.end()
    return 2 * chains * e.lanes
