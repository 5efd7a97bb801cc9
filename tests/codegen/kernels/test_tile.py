"""The register tile's machine code: one multiply-add for each accumulator and k and no register spilled in its loop."""

import re

import pytest

from alula.codegen.kernels.tile import Tile, panel_width, tile_f32, tile_shape
from alula.codegen.module import Code
from alula.core.target import AVX2, AVX512

TARGETS = [pytest.param(target, id=target.name) for target in (AVX2, AVX512)]


def hot_loop(target, rows, vectors, turn=2):
    """The instructions of a tile's innermost loop, which does `turn` elements of k.

    It goes from a label to the jump back to it, without a label between.
    """
    code = Code(target)
    width = vectors * target.lanes()
    tile_f32(code, Tile(rows, vectors, 512, width, width, turn)).linkage = "external"
    loop, name = [], ""
    for line in (line.split("#")[0].strip() for line in code.assembly().splitlines()):
        if label := re.fullmatch(r"(\.L\w+):", line):
            loop, name = [], label[1]
        elif name and re.fullmatch(rf"j\w+\s+{re.escape(name)}", line):
            return loop
        else:
            loop.append(line)
    raise AssertionError("no loop")


def multiply_adds(loop):
    return sum(line.startswith("vfmadd") for line in loop)


def spills(loop):
    return sum(line.startswith("v") and "(%rsp" in line for line in loop)  # %rbp is free for addresses here


def moves(loop):
    return sum(line.startswith("vmova") for line in loop)


@pytest.mark.parametrize("turn", [1, 2])
@pytest.mark.parametrize("target", TARGETS)
def test_the_full_tile_keeps_its_sums_in_registers(target, turn):
    rows, vectors = tile_shape(target)
    loop = hot_loop(target, rows, vectors, turn)
    assert multiply_adds(loop) == turn * rows * vectors
    assert (spills(loop), moves(loop)) == (0, 0)
    assert Tile(rows, vectors, 512, 1, 1, 1).registers() <= target.vector_registers
    assert panel_width(target) == vectors * target.lanes()


@pytest.mark.parametrize("target", TARGETS)
def test_the_smaller_tiles_do_too(target):
    vectors = tile_shape(target)[1]
    for rows in (8, 4, 2, 1):
        if rows < tile_shape(target)[0]:
            loop = hot_loop(target, rows, vectors)
            assert (multiply_adds(loop), spills(loop)) == (2 * rows * vectors, 0)


@pytest.mark.parametrize("target", TARGETS)
def test_a_tile_too_large_for_the_registers_spills(target):
    rows, vectors = tile_shape(target)
    tile = Tile(rows + 4, vectors, 512, 1, 1, 1)
    assert tile.registers() > target.vector_registers
    assert spills(hot_loop(target, tile.rows, vectors)) > 0
