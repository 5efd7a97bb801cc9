"""The register tile's machine code: one multiply-add for each sum and word, and no register spilled in its loop."""

import pytest

from alula.codegen.kernels.dot import DOT_BF16, DOT_F32, DOT_INT8, DOT_INT16
from alula.codegen.kernels.tile import Tile, emit_tile, panel_width, tile_shape
from alula.codegen.kernels.tiling import TAILS
from alula.core.target import AMX, AVX2, AVX512, AVX512_BF16, AVX512_VNNI

from .machine import count, hot_loop, spills

FULL = [(target, DOT_F32, "vfmadd") for target in (AVX2, AVX512)]
FULL += [(AVX512_BF16, DOT_BF16, "vdpbf16ps")]
FULL += [(target, DOT_INT8, "vpdpbusd") for target in (AVX512_VNNI, AVX512_BF16, AMX)]
FULL += [(target, DOT_INT16, "vpdpwssd") for target in (AVX512_VNNI, AVX512_BF16)]
FULL += [(target, DOT_INT16, "vpmaddwd") for target in (AVX2, AVX512)]
HALVED = [(target, DOT_BF16, "vfmadd") for target in (AVX2, AVX512, AVX512_VNNI, AMX)]
HALVED += [(target, DOT_INT8, "vpmaddwd") for target in (AVX2, AVX512)]


def tile_loop(target, dot, rows, vectors, turn=2, **attributes):
    """The instructions of a tile's innermost loop, which does `turn` words of k."""
    width = vectors * target.lanes()
    return hot_loop(
        target, lambda code: emit_tile(code, Tile(dot, rows, vectors, 512, width, width, turn, **attributes))
    )


def named(cases):
    return [pytest.param(*case, id=f"{case[0].name}-{case[1].name}") for case in cases]


@pytest.mark.parametrize("onward", [False, True])
@pytest.mark.parametrize("turn", [1, 2])
@pytest.mark.parametrize(("target", "dot", "name"), named(FULL))
def test_the_full_tile_keeps_its_sums_in_registers(target, dot, name, turn, onward):
    rows, vectors = tile_shape(target)
    loop = tile_loop(target, dot, rows, vectors, turn, onward=onward)
    assert count(loop, name) == turn * rows * vectors
    assert (spills(loop), count(loop, "vmova")) == (0, 0)
    assert count(loop, "vbroadcast", "vpbroadcast") == turn * rows
    assert Tile(dot, rows, vectors, 512, 1, 1, 1).registers() <= target.vector_registers
    assert panel_width(target) == vectors * target.lanes()


@pytest.mark.parametrize("turn", [1, 2])
@pytest.mark.parametrize(("target", "dot", "name"), named(FULL))
def test_an_early_tile_asks_for_more_with_each_word(target, dot, name, turn):
    """So that no line is left out where few rows share out a panel, and many words are to be asked for at a time."""
    rows, vectors = tile_shape(target)
    loop = tile_loop(target, dot, rows, vectors, turn, early=True)
    assert (count(loop, "prefetcht1"), count(loop, name), spills(loop)) == (turn, turn * rows * vectors, 0)


@pytest.mark.parametrize(("target", "dot", "name"), named(FULL))
def test_the_smaller_tiles_do_too(target, dot, name):
    vectors = tile_shape(target)[1]
    for rows in (8, 4, 2, 1):
        if rows < tile_shape(target)[0]:
            loop = tile_loop(target, dot, rows, vectors)
            assert (count(loop, name), spills(loop)) == (2 * rows * vectors, 0)


@pytest.mark.parametrize(("target", "dot", "name"), named(FULL))
def test_a_tile_too_large_for_the_registers_spills(target, dot, name):
    rows, vectors = tile_shape(target)
    tile = Tile(dot, rows + 4, vectors, 512, 1, 1, 1)
    assert tile.registers() > target.vector_registers
    assert spills(tile_loop(target, dot, tile.rows, vectors)) > 0


@pytest.mark.parametrize("turn", [1, 2])
@pytest.mark.parametrize(("target", "dot", "name"), named(HALVED))
def test_words_without_an_instruction_of_their_own_take_two(target, dot, name, turn):
    """Smaller tiles, which keep their sums in registers all the same: those that finish the rows, too."""
    full, vectors = tile_shape(target, dot)
    assert full < tile_shape(target)[0]
    for rows in (full, *(rows for rows in TAILS if rows < full)):
        loop = tile_loop(target, dot, rows, vectors, turn)
        assert (count(loop, name), spills(loop)) == (2 * turn * rows * vectors, 0)
        assert count(loop, "vpdp", "vdp", "call") == 0


@pytest.mark.parametrize(("target", "dot", "name"), named(HALVED))
def test_the_full_tile_of_whole_words_would_spill_halves(target, dot, name):
    assert spills(tile_loop(target, dot, *tile_shape(target))) > 0


def test_only_products_in_halves_have_smaller_tiles():
    for target, dot, _ in FULL:
        assert tile_shape(target, dot) == tile_shape(target)
    for target in (AVX2, AVX512, AMX):
        assert panel_width(target) == tile_shape(target, DOT_BF16)[1] * target.lanes()
