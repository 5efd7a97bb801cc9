"""Dot products of words: bytes exact at the ends of their range, bfloat16 within the rounding of its sums."""

import numpy as np
import pytest

from alula.codegen.kernels.dot import DOT_BF16, DOT_F32, DOT_INT8, DOT_INT16, dot_for, dot_parts
from alula.codegen.kernels.tile import Stretches, Tile
from alula.codegen.module import VOID, Code
from alula.codegen.vector import Emitter
from alula.core.dtype import DType, from_bfloat16, to_bfloat16
from alula.core.target import AMX, AVX2, AVX512, AVX512_BF16, AVX512_VNNI
from tests.codegen.harness import HALF_ULP, guarded, guarded_copy

from .machine import call_tile

RANDOM = np.random.default_rng(0)
ROWS, VECTORS = 3, 2
WORDS = 11  # of a stretch
STRETCHES = Stretches(2, 40, 3, 13)


def operands(dot, width):
    """(a as memory, its rows as the stretches read them, b as words, b[k,n]) of random elements and of extremes."""
    many, k = (ROWS - 1) * 100 + 40 + 2 * 13 + WORDS, WORDS * 6
    a, b = random(dot.a, (many, dot.group)), random(dot.b, (k, width, dot.group))
    starts = [outer * 40 + inner * 13 for outer in range(2) for inner in range(3)]
    rows = [np.concatenate([a[r * 100 + s : r * 100 + s + WORDS] for s in starts]).reshape(-1) for r in range(ROWS)]
    return a, np.stack(rows), b, b.transpose(0, 2, 1).reshape(k * dot.group, width)


def random(dtype, shape):
    if dtype is DType.BF16:
        return to_bfloat16(RANDOM.standard_normal(shape).astype(np.float32))
    bits = 8 * dtype.bytes
    low, high = (0, 256) if dtype is DType.U8 else (-(2 ** (bits - 1)) + (bits > 8), 2 ** (bits - 1))
    values = RANDOM.integers(low, high, shape)
    values[: len(values) // 3] = RANDOM.choice([low, high - 1], values[: len(values) // 3].shape)
    return values.astype(dtype.numpy)


def product(jit, target, dot):
    """What the tile makes of random operands, and those."""
    width = VECTORS * target.lanes()
    a, rows, b, columns = operands(dot, width)
    c = guarded(4 * ROWS * width).view(dot.sum.numpy).reshape(ROWS, width)
    tile = Tile(dot, ROWS, VECTORS, 100, width, width, 1)
    call_tile(jit, target, tile, guarded_copy(a), guarded_copy(b), c, WORDS, STRETCHES)
    return c, rows, columns


def test_bytes_are_exact(jit, every_target):
    c, rows, columns = product(jit, every_target, DOT_INT8)
    assert np.array_equal(c, rows.astype(np.int64) @ columns.astype(np.int64))


def test_sums_of_words_keep_their_lowest_bits(jit, every_target):
    c, rows, columns = product(jit, every_target, DOT_INT16)
    exact = rows.astype(np.int64) @ columns.astype(np.int64)
    assert np.abs(exact).max() > 2**32
    assert np.array_equal(c, exact.astype(np.int32))


def test_pairs_of_bytes_do_not_saturate(jit, every_target):
    """255 * -128 twice does not fit the 16 bits that vpmaddubsw would keep."""
    width = every_target.lanes()
    a, c = np.full((2, 4), 255, np.uint8), guarded(4 * width).view(np.int32)
    for level in (-128, 127):
        b = np.full((2, width, 4), level, np.int8)
        call_tile(jit, every_target, Tile(DOT_INT8, 1, 1, 2, width, width, 2), a, b, c, 2)
        assert c.tolist() == [8 * 255 * level] * width


def test_bfloat16_is_summed_in_float32(jit, every_target):
    c, rows, columns = product(jit, every_target, DOT_BF16)
    x, w = (from_bfloat16(array).astype(np.float64) for array in (rows, columns))
    bound = (x.shape[1] + 4) * HALF_ULP * (np.abs(x) @ np.abs(w))
    assert np.all(np.abs(c - x @ w) <= bound)


@pytest.mark.isa("avx512")
@pytest.mark.isa("avx2")
def test_bfloat16_without_an_instruction_is_one_chain_in_the_order_of_k(jit):
    """So that AVX2, AVX-512 and AVX-512 VNNI give the same bits."""
    totals = []
    for target in (AVX2, AVX512):
        width = target.lanes()
        a, b = (np.arange(1, 2 * n + 1, dtype=np.float32).reshape(-1, 2) ** -1.5 for n in (9, 9 * 8))
        words = np.ascontiguousarray(np.tile(to_bfloat16(b).reshape(9, 8, 2), (1, width // 8, 1)))
        c = guarded(4 * width).view(np.float32)
        call_tile(jit, target, Tile(DOT_BF16, 1, 1, 9, width, width, 1), to_bfloat16(a), words, c, 9)
        x, w = (from_bfloat16(to_bfloat16(array)).astype(np.float64).reshape(-1) for array in (a, b))
        total = np.zeros(8, np.float32)
        for k in range(18):  # products are exact in float64, and so are these sums of few bits
            total = (total + x[k] * w.reshape(9, 8, 2)[k // 2, :, k % 2]).astype(np.float32)
        assert np.array_equal(c[:8], total)
        totals.append(total.tobytes())
    assert totals[0] == totals[1]


def test_weights_choose_the_product_and_targets_the_passes():
    chosen = {dtype: dot_for(dtype) for dtype in (DType.F32, DType.F16, DType.BF16, DType.I8)}
    assert chosen == {DType.F32: DOT_F32, DType.F16: DOT_F32, DType.BF16: DOT_BF16, DType.I8: DOT_INT8}
    passes = {}
    for target in (AVX2, AVX512, AVX512_VNNI, AVX512_BF16, AMX):
        code = Code(target)
        e = Emitter(code, code.function("run", VOID, []))
        passes[target.name] = [len(dot_parts(e, dot)) for dot in (DOT_F32, DOT_BF16, DOT_INT8)]
    assert passes == {
        "avx2": [1, 2, 2],
        "avx512": [1, 2, 2],
        "avx512-vnni": [1, 2, 1],
        "avx512-bf16": [1, 1, 1],
        "amx": [1, 2, 1],  # whose vdpbf16ps is slower than two multiply-adds
    }


@pytest.mark.isa("avx512")
def test_rows_in_runs(jit):
    """Runs of two rows, a jump apart: as the last columns of a line and the first of the next."""
    a, b = RANDOM.integers(0, 256, (300, 4), np.uint8), RANDOM.integers(-128, 128, (6, 16, 4), np.int8)
    c = guarded(4 * 5 * 16).view(np.int32).reshape(5, 16)
    call_tile(jit, AVX512, Tile(DOT_INT8, 5, 1, 7, 16, 16, 2, run=2, jump=100), guarded_copy(a), b, c, 6)
    rows = np.stack([a[start : start + 6].reshape(-1) for start in (0, 7, 100, 107, 200)])
    assert np.array_equal(c, rows.astype(np.int64) @ b.transpose(0, 2, 1).reshape(24, 16).astype(np.int64))
