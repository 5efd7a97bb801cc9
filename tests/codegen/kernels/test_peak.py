"""The loop that a peak is measured with: nothing but multiply-adds in registers, all of them really done."""

import ctypes

import numpy as np
import pytest

from alula.codegen.kernels.dot import DOT_BF16, DOT_F32, DOT_INT8, DOT_INT16
from alula.codegen.kernels.peak import PEAK_BYTES, PEAK_FUNCTION, TWO_HALVES, emit_peak
from alula.codegen.module import Code
from alula.core.target import AMX, AVX2, AVX512, AVX512_BF16, AVX512_VNNI
from tests.codegen.conftest import running

from .machine import count, hot_loop, spills

DOTS = [pytest.param(dot, id=dot.name) for dot in (DOT_F32, DOT_BF16, DOT_INT16, DOT_INT8)]
CASES = [  # instruction, how many of them a turn has, multiply-adds of one
    (AVX2, DOT_F32, "vfmadd", 12, 8),
    (AVX2, DOT_BF16, "vfmadd", 20, 8),
    (AVX2, DOT_INT8, "vpmaddwd", 20, 16),
    (AVX2, DOT_INT16, "vpmaddwd", 12, 16),
    (AVX512, DOT_F32, "vfmadd", 28, 16),
    (AVX512, DOT_BF16, "vfmadd", 52, 16),
    (AVX512, DOT_INT8, "vpmaddwd", 52, 32),
    (AVX512, DOT_INT16, "vpmaddwd", 28, 32),
    (AVX512_VNNI, DOT_INT8, "vpdpbusd", 28, 64),
    (AVX512_VNNI, DOT_INT16, "vpdpwssd", 28, 32),
    (AVX512_VNNI, DOT_BF16, "vfmadd", 52, 16),
    (AVX512_BF16, DOT_BF16, "vdpbf16ps", 28, 32),
    (AMX, DOT_F32, "vfmadd", 28, 16),
    (AMX, DOT_INT16, "vpdpwssd", 28, 32),
    (AMX, DOT_BF16, "tdpbf16ps", 4, 16 * 16 * 32),
    (AMX, DOT_INT8, "tdpbusd", 4, 16 * 16 * 64),
]


@pytest.mark.parametrize(
    ("target", "dot", "name", "number", "macs"),
    [pytest.param(*case, id=f"{case[0].name}-{case[1].name}") for case in CASES],
)
def test_a_turn_is_multiply_adds_in_registers(target, dot, name, number, macs):
    operations = []

    def emit(code):
        operations.append(emit_peak(code, dot))
        return code.made(PEAK_FUNCTION)

    loop = hot_loop(target, emit)
    assert count(loop, name) == number
    assert operations == [2 * number * macs]
    others = [line for line in loop if not line.startswith((name, "vpaddd"))]
    assert len(others) <= 3  # counting the turns
    assert spills(loop) == 0
    assert "(%" not in "".join(loop)


def peak_sums(jit, target, dot, turns):
    """What the function leaves behind after so many turns, one row a chain."""
    code = Code(target)
    chains = emit_peak(code, dot) // (2 * target.lanes() * dot.group)
    room = np.zeros(PEAK_BYTES, np.uint8)
    run = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)(jit(code, PEAK_FUNCTION)[PEAK_FUNCTION])
    assert run(turns, room.ctypes.data) == 0
    return room.view(dot.sum.numpy)[: chains * target.lanes()].reshape(chains, target.lanes())


@pytest.mark.parametrize("target", running(AVX2, AVX512, AVX512_VNNI, AVX512_BF16))
@pytest.mark.parametrize("dot", DOTS)
def test_every_turn_is_counted_in_the_sums(jit, target, dot):
    turns = 10
    sums = peak_sums(jit, target, dot, turns)
    expected = np.arange(1, len(sums) + 1, dtype=np.int64)
    weights = np.array([TWO_HALVES], np.uint32).view(np.int8).astype(np.int64)
    if dot is DOT_INT8:
        for _ in range(turns):
            words = words_taken(target, expected.astype(np.int32), weights)
            expected = words.astype(np.int64)
    elif dot is DOT_INT16:
        halves = np.array([TWO_HALVES], np.uint32).view(np.int16).astype(np.int64)
        for _ in range(turns):
            pairs = expected.astype(np.int32)[:, None].view(np.int16).astype(np.int64)
            expected = (expected + pairs @ halves).astype(np.int32).astype(np.int64)
    else:
        expected = expected + turns * (0.75**2 if dot is DOT_F32 else 0.75**2 + 0.875**2)
    assert (sums == expected[:, None]).all()


def words_taken(target, sums, weights):
    """Sums after a turn: four unsigned bytes of the sum itself against the four weights; in two halves, one by one."""
    if target.int8_dot:
        return sums + (sums[:, None].view(np.uint8).astype(np.int64) @ weights).astype(np.int32)
    for places in (weights[0::2], weights[1::2]):
        halves = sums[:, None].view(np.int16).astype(np.int64)
        sums = (sums + halves @ places).astype(np.int32)
    return sums


@pytest.mark.isa("amx")
@pytest.mark.parametrize("dot", [DOT_BF16, DOT_INT8], ids=lambda dot: dot.name)
def test_tiles_are_given_and_given_back(jit, dot):
    for _ in range(2):  # permission asked for again is given again
        code = Code(AMX)
        emit_peak(code, dot)
        run = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)(jit(code, PEAK_FUNCTION)[PEAK_FUNCTION])
        assert run(3, np.zeros(PEAK_BYTES, np.uint8).ctypes.data) == 0
