"""Tiles in matrix registers: their sums, what their loop is, and rows beyond those that count."""

import numpy as np
import pytest

from alula.codegen.kernels.dot import DOT_BF16, DOT_F32, DOT_INT8
from alula.codegen.kernels.matrix import TILE_ROWS, TILE_WORDS, emit_matrix_tile
from alula.codegen.kernels.tile import Stretches, Tile
from alula.codegen.kernels.tiling import tiling_for
from alula.core.dtype import DType, from_bfloat16, to_bfloat16
from alula.core.target import AMX, AVX512_BF16
from tests.codegen.harness import HALF_ULP, guarded, guarded_copy

from .machine import call_tile, count, hot_loop, spills

RANDOM = np.random.default_rng(0)
DOTS = [pytest.param(dot, name, id=dot.name) for dot, name in ((DOT_BF16, "tdpbf16ps"), (DOT_INT8, "tdpbusd"))]


@pytest.mark.parametrize("vectors", [1, 2])
@pytest.mark.parametrize("rows", [16, 32])
@pytest.mark.parametrize(("dot", "name"), DOTS)
def test_the_loop_loads_each_operand_once_and_multiplies_all_pairs(dot, name, rows, vectors):
    tile = Tile(dot, rows, vectors, 512, 32, 32, 2)
    loop = hot_loop(AMX, lambda code: emit_matrix_tile(code, tile, 64, Stretches()))
    downs = rows // TILE_ROWS
    assert (count(loop, name), count(loop, "tileload")) == (downs * vectors, downs + vectors)
    assert (spills(loop), count(loop, "tilestore", "tilezero", "call", "v")) == (0, 0)
    assert len({line.rpartition(" ")[2] for line in loop if line.startswith(name)}) == downs * vectors


@pytest.mark.isa("amx")
@pytest.mark.parametrize("vectors", [1, 2])
@pytest.mark.parametrize("rows", [16, 32])
def test_stretches_are_summed(jit, rows, vectors):
    words, places = 2 * TILE_WORDS, [outer * 200 + inner * 40 for outer in range(2) for inner in range(3)]
    width, lda = vectors * TILE_WORDS, 300
    k, stretches = words * len(places), Stretches(2, 200, 3, 40)
    a = RANDOM.integers(0, 256, ((rows - 1) * lda + places[-1] + words, 4), np.uint8)
    b = RANDOM.integers(-128, 128, (k, width, 4), np.int8)
    c = guarded(4 * rows * width).view(np.int32).reshape(rows, width)
    a[::3], b[::2] = 255, -128
    call_tile(
        jit, AMX, Tile(DOT_INT8, rows, vectors, lda, width, width, 2), guarded_copy(a), b, c, words, stretches, True
    )
    gathered = [np.concatenate([a[r * lda + s : r * lda + s + words] for s in places]).reshape(-1) for r in range(rows)]
    wanted = np.stack(gathered).astype(np.int64) @ b.transpose(0, 2, 1).reshape(4 * k, width).astype(np.int64)
    assert np.array_equal(c, wanted)


@pytest.mark.isa("amx")
def test_bfloat16_is_summed_in_float32(jit):
    x, w = (to_bfloat16(RANDOM.standard_normal(shape).astype(np.float32)) for shape in ((32, 128), (64, 32, 2)))
    c = guarded(4 * 32 * 32).view(np.float32).reshape(32, 32)
    call_tile(jit, AMX, Tile(DOT_BF16, 32, 2, 64, 32, 32, 2), x, w, c, 64, matrix=True)
    a, b = from_bfloat16(x).astype(np.float64), from_bfloat16(w).astype(np.float64).transpose(0, 2, 1).reshape(128, 32)
    assert np.all(np.abs(c - a @ b) <= (128 + 4) * HALF_ULP * (np.abs(a) @ np.abs(b)))


@pytest.mark.isa("amx")
def test_a_row_depends_on_itself_alone(jit):
    """What tiles of too many rows read beyond the last one, NaN among it, comes to nothing."""
    w = to_bfloat16(RANDOM.standard_normal((16, 16, 2)).astype(np.float32))
    x = to_bfloat16(RANDOM.standard_normal((16, 32)).astype(np.float32))
    sums = []
    for rest in (0.0, np.nan, np.inf):
        x[5:] = to_bfloat16(np.full((11, 32), rest, np.float32))
        c = guarded(4 * 16 * 16).view(np.float32).reshape(16, 16)
        call_tile(jit, AMX, Tile(DOT_BF16, 16, 1, 16, 16, 16, 2), x, w, c, 16, matrix=True)
        sums.append(c[:5].tobytes())
    assert len(set(sums)) == 1


def test_stretches_of_whole_tiles_use_them_and_nothing_else_does():
    assert DType.BF16 is DOT_BF16.a
    for words in (16, 32, 160):
        assert tiling_for(AMX, DOT_BF16, words).matrix
        assert tiling_for(AMX, DOT_INT8, words).matrix
        assert not tiling_for(AMX, DOT_F32, words).matrix
        assert not tiling_for(AVX512_BF16, DOT_BF16, words).matrix
    for words in (0, 1, 8, 15, 17, 24, 40):
        assert not tiling_for(AMX, DOT_INT8, words).matrix
