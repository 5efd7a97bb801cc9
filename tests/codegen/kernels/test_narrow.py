"""Float32 to bfloat16 and to bytes: ties, extremes, NaN, subnormal numbers, on every target."""

import ctypes

import numpy as np

from alula.codegen.kernels.narrow import SHIFTER, from_bf16, to_bf16, to_bytes
from alula.codegen.module import I64, POINTER, VOID, Code
from alula.codegen.vector import Emitter, Int, Ptr
from alula.core.dtype import DType, from_bfloat16, to_bfloat16
from alula.ops.quantize import Quantize

TINY = np.float32(2.0**-126)  # the least normal number


def mapped(jit, target, x, dtype, emit, source=DType.F32):
    """emit(e, vector) of all elements of x, whose count is a multiple of 16."""
    code = Code(target)
    function = code.function("run", VOID, [POINTER, POINTER, I64], exported=True)
    e = Emitter(code, function)
    given, made = Ptr(e, function.args[0], source), Ptr(e, function.args[1], dtype)
    with e.loop(Int(e, function.args[2]), step=e.lanes) as loop:
        e.store(emit(e, e.load(given, loop.index)), made, loop.index)
    e.end()
    out = np.empty(x.shape, dtype.numpy)
    run = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)(jit(code, "run")["run"])
    run(x.ctypes.data, out.ctypes.data, x.size)
    return out


def float_bits():
    """Every sign and exponent with mantissas around each rounding boundary of bfloat16; infinities and NaN too."""
    high = np.arange(1 << 16, dtype=np.uint32) << 16
    low = np.array([0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF], np.uint32)
    return (high[:, None] | low).reshape(-1).view(np.float32)


def test_to_bfloat16(jit, every_target):
    x = float_bits()
    got, wanted = mapped(jit, every_target, x, DType.BF16, to_bf16), to_bfloat16(x)
    bits, right = got.view(np.uint16), wanted.view(np.uint16)
    nan, subnormal = np.isnan(x), (np.abs(x) < TINY) & (x != 0)
    assert np.isnan(from_bfloat16(got[nan])).all()
    normal = ~nan & ~subnormal
    assert np.array_equal(bits[normal], right[normal])
    if every_target.bf16_round:
        assert np.array_equal(bits[subnormal] & 0x7FFF, np.zeros(subnormal.sum()))
        assert np.array_equal(bits[subnormal] >> 15, np.signbit(x[subnormal]))
    else:
        assert np.array_equal(bits[subnormal], right[subnormal])


def test_from_bfloat16(jit, every_target):
    stored = np.arange(1 << 16, dtype=np.uint16)
    got = mapped(jit, every_target, stored, DType.F32, from_bf16, DType.BF16)
    assert np.array_equal(got.view(np.uint32), stored.astype(np.uint32) << 16)


def test_to_bytes(jit, every_target):
    levels = np.arange(-600, 1200, 0.25, np.float32)
    nudged = [np.nextafter(levels, np.float32(end)) for end in (-np.inf, np.inf)]
    ends = [np.nan, -np.nan, np.inf, -np.inf, 3.4e38, -3.4e38, 1e-45, -1e-45, 0.0, -0.0, 8388608.5, -8388609, 5e9]
    x = np.concatenate([levels, *nudged, np.array(ends, np.float32)])
    x = np.concatenate([x, np.zeros(-len(x) % 16, np.float32)])
    for scale in (1.0, 0.25, 0.0173, 3.0):
        for zero in (0, 1, 128, 255):
            op = Quantize(scale, zero)
            got = mapped(
                jit,
                every_target,
                x,
                DType.U8,
                lambda e, v, o=op: to_bytes(e, v, e.constant(o.factor), e.constant(SHIFTER + o.zero)),
            )
            wanted = op.reference(x)
            assert np.array_equal(got, wanted), (scale, zero, x[got != wanted][:5])
            assert got[len(levels) * 3] == 0  # NaN
