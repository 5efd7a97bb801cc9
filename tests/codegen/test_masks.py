"""Masked loads and stores touch their lanes alone, narrowed values too, with masks known here or at run time."""

import ctypes

import numpy as np
import pytest

from alula.codegen.kernels.elementwise import as_f32
from alula.codegen.kernels.narrow import SHIFTER, to_bf16, to_bytes
from alula.codegen.module import I64, POINTER, VOID, Code
from alula.codegen.vector import Emitter, Int, Ptr
from alula.core.dtype import DType
from tests.codegen.harness import bf16, guarded, guarded_copy

NARROWED = {
    DType.U8: lambda e, x: to_bytes(e, x, e.constant(1.0), e.constant(SHIFTER)),
    DType.I8: lambda e, x: e.convert(e.truncated(x), "trunc", DType.I8),
    DType.BF16: to_bf16,
    DType.F32: lambda e, x: x,
}
COUNTS = (1, 2, 3, 7, 8, 9, 15)


def moved(jit, target, given, taken, x, y, folded):
    """y[:n] = x[:n] in another type, under a mask: known to LLVM where it is `folded`."""
    code = Code(target)
    function = code.function("run", VOID, [POINTER, POINTER, I64], exported=True)
    e = Emitter(code, function)
    count = len(x) if folded else Int(e, function.args[2])
    mask = e.mask(count)
    value = as_f32(e, e.load(Ptr(e, function.args[0], given), 0, mask), given)
    e.store(NARROWED[taken](e, value), Ptr(e, function.args[1], taken), 0, mask)
    e.end()
    run = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)(jit(code, "run")["run"])
    run(x.ctypes.data, y.ctypes.data, len(x))


@pytest.mark.parametrize("folded", [True, False])
@pytest.mark.parametrize("dtype", list(NARROWED), ids=str)
def test_stores(dtype, folded, jit, every_target):
    """Before a page that may not be written, and before bytes that must stay; LLVM 22 alone would fail for one lane."""
    for count in (n for n in COUNTS if n <= every_target.lanes()):
        x = np.arange(1, count + 1, dtype=np.float32)
        wanted = bf16(x) if dtype is DType.BF16 else x.astype(dtype.numpy)
        y = guarded(count * dtype.bytes)
        moved(jit, every_target, DType.F32, dtype, guarded_copy(x), y, folded)
        assert y.tobytes() == wanted.tobytes()
        y = guarded(64 * dtype.bytes)
        moved(jit, every_target, DType.F32, dtype, x, y, folded)
        assert y.tobytes() == wanted.tobytes() + b"\xff" * (y.size - wanted.nbytes)


@pytest.mark.parametrize("folded", [True, False])
@pytest.mark.parametrize("dtype", [DType.U8, DType.I8, DType.BF16, DType.F16, DType.I32], ids=str)
def test_loads(dtype, folded, jit, every_target):
    for count in (n for n in COUNTS if n <= every_target.lanes()):
        wanted = np.arange(1, count + 1, dtype=np.float32)
        x = bf16(wanted) if dtype is DType.BF16 else wanted.astype(dtype.numpy)
        y = guarded(count * 4).view(np.float32)
        moved(jit, every_target, dtype, DType.F32, guarded_copy(x), y, folded)
        assert np.array_equal(y, wanted)
