"""The hot loop of generated code, as text and as a function that NumPy arrays can be given to."""

import ctypes
import re

from llvmlite import ir

from alula.codegen.kernels.matrix import emit_configuration, emit_matrix_tile, emit_permission, emit_release
from alula.codegen.kernels.tile import Stretches, emit_tile
from alula.codegen.module import I64, POINTER, VOID, Code
from alula.codegen.vector import Emitter


def hot_loop(target, emit):
    """The instructions of the innermost loop of the function that `emit(code)` gives.

    It goes from a label to the jump back to it, without a label between.
    """
    code = Code(target)
    emit(code).linkage = "external"
    loop, name = [], ""
    for line in (line.split("#")[0].strip() for line in code.assembly().splitlines()):
        if label := re.fullmatch(r"(\.L\w+):", line):
            loop, name = [], label[1]
        elif name and re.fullmatch(rf"j\w+\s+{re.escape(name)}", line):
            return loop
        elif line:  # not so the comments around what is written as assembly
            loop.append(line)
    raise AssertionError("no loop")


def count(loop, *names):
    """Instructions whose names begin so."""
    return sum(line.startswith(names) for line in loop)


def spills(loop):
    """Vector instructions that read or write the stack; %rbp is free for addresses here."""
    return sum(line.startswith("v") and "(%rsp" in line for line in loop)


def call_tile(jit, target, tile, a, b, c, k, stretches=None, matrix=False):
    """Runs the tile on arrays; in tile registers where it is a `matrix` one."""
    code, stretches = Code(target), stretches or Stretches()
    function = emit_matrix_tile(code, tile, k, stretches) if matrix else emit_tile(code, tile)
    entry = code.function("run", VOID, [POINTER] * 3, exported=True)
    e = Emitter(code, entry)
    if matrix:
        emit_permission(e)
        emit_configuration(e)
    numbers = [] if matrix else [ir.Constant(I64, n) for n in (k, *stretches.arguments)]
    e.b.call(function, [*entry.args, *numbers])
    if matrix:
        emit_release(e)
    e.end()
    run = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 3)(jit(code, "run")["run"])
    run(*(array.ctypes.data for array in (a, b, c)))
