"""Linear lowered: every tail of rows and columns, epilogues, packed weights."""

import ctypes
import re
from dataclasses import replace

import numpy as np
import pytest

from alula.codegen.expression import Expression
from alula.codegen.kernels.dot import DOT_F32
from alula.codegen.kernels.tile import panel_width, tile_shape
from alula.codegen.kernels.tiling import tiling_for
from alula.codegen.lower import gemm as lower
from alula.codegen.lower.gemm import (
    LEAST_ROWS,
    Gemm,
    Panels,
    attention_parts,
    block_start,
    blocks,
    row_block,
    stretches,
)
from alula.codegen.module import I64, POINTER, VOID, Code
from alula.codegen.packing import pack_weights
from alula.codegen.program import assemble, compile_graph, lower_for
from alula.codegen.vector import Emitter, Int, Ptr
from alula.codegen.views import Space
from alula.core.dtype import DType
from alula.core.errors import CodegenError
from alula.core.target import AVX2, AVX512, AVX512_BF16, AVX512_VNNI
from alula.ir.graph import Graph
from alula.ir.types import TensorType
from alula.ops.attention import Attention
from alula.ops.elementwise import Add, Cast, Gelu, Mul, Neg, Relu, Silu
from alula.ops.matmul import Linear
from alula.ops.quantize import Quantize
from alula.ops.shape import Reshape, Slice, Transpose
from alula.quant.float16 import store_float16
from tests.codegen.harness import (
    N,
    assert_close,
    assert_equal,
    assert_narrowed,
    assert_summed,
    bf16,
    f32,
    joined,
    random_array,
    random_bytes,
    run,
    same_bits,
)


def linear(target, rows, k, n, f=lambda x: x, bias=True):
    """x[N,rows,k] through one packed linear, `f` applied to its weights."""
    graph = Graph("linear", {"N": (1, 64)})
    weights = [f(random_array(f32(n, k), 1, 8)), f(random_array(f32(n), 1, 9))][: 1 + bias]
    x = graph.input("x", f32(N, rows, k))
    graph.output("y", graph.add(Linear(), x, *(graph.constant(weight) for weight in weights)))
    pack_weights(graph, target)
    return graph


def checked(compiled, target, cases):
    """Linears of several (rows, k, n, bias), in one program."""

    def build(f):
        return joined(*(linear(target, rows, k, n, f, bias) for rows, k, n, bias in cases))

    result = run(compiled(build(lambda x: x), target))
    assert_summed(result, build, terms=max(k for _, k, _, _ in cases) + 1)
    assert result.compiled.labels == ["linear"] * len(cases)


def test_rows_around_the_tile(target, compiled):
    checked(compiled, target, [(rows, 10, 40, True) for rows in (1, 2, 5, 6, 7, 13, 14, 15, 29)])


def test_columns_around_vectors_and_panels(target, compiled):
    checked(compiled, target, [(3, 10, n, n % 2 == 0) for n in (1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 65)])


def test_inner_sizes(target, compiled):
    for k in (0, 1, 2, 300):
        checked(compiled, target, [(3, k, 20, True)])


def test_no_rows_need_no_step(target, compiled):
    result = run(compiled(linear(target, 0, 4, 5), target))
    assert result.outputs[0].shape == (5, 0, 5)
    assert result.compiled.labels == []


def test_rows_beyond_one_block_of_the_cache(target, compiled):
    k = 4096  # few rows of it fit the second-level cache
    rows = target.l2_bytes // 2 // (4 * k) * 2 + 3
    graph = linear(target, rows, k, 20)
    result = run(compiled(graph, target), batch=3)
    assert_summed(result, lambda f: linear(target, rows, k, 20, f), terms=k + 1)


def test_epilogue_runs_on_the_tile(target, compiled):
    graph = Graph("epilogue", {"N": (1, 64)})
    x, residual = graph.input("x", f32(N, 9, 20)), graph.input("r", f32(N, 9, 37))
    weight, bias, scale = (graph.constant(random_array(f32(*s), 1, n)) for n, s in enumerate(((37, 20), (37,), (37,))))
    value = graph.add(Gelu(), graph.add(Linear(), x, weight, bias))
    graph.output("y", graph.add(Add(), residual, graph.add(Mul(), value, scale)))
    pack_weights(graph, target)
    result = run(compiled(graph, target))
    assert_close(result, ulps=60, floor=8.0)
    assert result.compiled.labels == ["linear+gelu+mul+add"]


def test_a_value_used_twice_ends_the_epilogue(target, compiled):
    graph = Graph("twice", {"N": (1, 64)})
    weight = graph.constant(random_array(f32(37, 20), 1))
    value = graph.add(Linear(), graph.input("x", f32(N, 9, 20)), weight)
    graph.output("y", graph.add(Mul(), graph.add(Relu(), value), value))
    pack_weights(graph, target)
    assert run(compiled(graph, target)).compiled.labels == ["linear", "relu+mul"]


def test_a_number_for_each_row_times_a_row_is_done_where_it_is_read(target, compiled):
    """As rows of bytes take back their zeros; an output, and what no expression takes, is stored."""
    graph = Graph("outer", {"N": (1, 64)})
    x, numbers = graph.input("x", f32(N, 3, 20)), graph.input("numbers", f32(N, 3, 1))
    weight, row = (graph.constant(random_array(f32(*shape), 1)) for shape in ((33, 20), (33,)))
    outer = graph.add(Mul(), numbers, row)
    graph.output("y", graph.add(Relu(), graph.add(Add(), graph.add(Linear(), x, weight), outer)))
    stored = graph.add(Mul(), graph.add(Neg(), numbers), row)
    graph.output("z", graph.add(Linear(), stored, graph.constant(random_array(f32(5, 33), 1))))
    pack_weights(graph, target)
    result = run(compiled(graph, target))
    assert_close(result, ulps=40, floor=1.0)
    assert result.compiled.labels == ["linear+add+relu", "neg", "mul", "linear"]


@pytest.mark.parametrize(
    ("view", "labels"),
    [
        (Slice(1, 2, 7), ["copy", "linear"]),
        (Slice(2, 3, 19), ["linear"]),
        (Transpose((0, 2, 1)), ["transpose", "linear"]),
        (Reshape((N * 4, 5, 10)), ["linear"]),
    ],
)
def test_rows_of_views(view, labels, target, compiled):
    def build(f):
        graph = Graph("views", {"N": (1, 64)})
        x = graph.add(view, graph.input("x", f32(N, 10, 20)))
        weight = graph.constant(f(random_array(f32(33, x.type.shape[-1]), 1)))
        graph.output("y", graph.add(Linear(), x, weight))
        pack_weights(graph, target)
        return graph

    result = run(compiled(build(lambda x: x), target))
    assert_summed(result, build, terms=20)
    assert result.compiled.labels == labels


NARROW_SIZES = [  # rows, k, n: in tile registers where k is whole tiles of words, else in vectors
    (1, 64, 1),
    (13, 64, 15),
    (15, 64, 16),
    (16, 64, 17),
    (17, 64, 31),
    (31, 64, 32),
    (32, 64, 33),
    (33, 64, 65),
    (6, 36, 7),
    (7, 36, 8),
    (14, 36, 9),
    (5, 4, 20),
    (3, 320, 20),
]


def narrow_linear(target, dtype, rows, k, n, f=lambda x: x, bias=False, chain=(), seed=0):
    """x[N,rows,k] through a packed linear of bytes, or of bfloat16 that it is rounded to, and then `chain`."""
    graph = Graph("narrow", {"N": (1, 64)})
    if dtype is DType.I8:
        x, weight = graph.input("x", TensorType(DType.U8, (N, rows, k))), random_bytes(DType.I8, n, k, seed=seed)
    else:
        x = graph.add(Cast(DType.BF16), graph.input("x", f32(N, rows, k)))
        weight = bf16(f(random_array(f32(n, k), 1, 8)))
    biases = [graph.constant(f(random_array(f32(n), 1, 9)))] if bias else []
    value = graph.add(Linear(wide=dtype is DType.BF16), x, graph.constant(weight), *biases)
    for op in chain:
        value = graph.add(op, value)
    graph.output("y", value)
    pack_weights(graph, target)
    return graph


def bytes_for(graph, batch=5):
    """A quarter of the bytes are 0 or 255."""
    return [random_bytes(DType.U8, *value.type.at({"N": batch}), seed=n) for n, value in enumerate(graph.inputs)]


def test_bytes_are_exact(every_target, compiled):
    program = compiled(joined(*(narrow_linear(every_target, DType.I8, *size) for size in NARROW_SIZES)), every_target)
    result = run(program, bytes_for(program.graph))
    assert_equal(result)
    assert {step.arithmetic for step in program.program.steps if step.macs} == {"int8"}
    assert [label for label in program.labels if label != "copy"] == ["linear"] * len(NARROW_SIZES)


def test_sums_of_bytes_reach_beyond_24_bits(every_target, compiled):
    graph = Graph("long", {"N": (1, 64)})
    weight = np.stack([np.full(4096, level, np.int8) for level in (-128, 127)])
    graph.output("y", graph.add(Linear(), graph.input("x", TensorType(DType.U8, (N, 4096))), graph.constant(weight)))
    pack_weights(graph, every_target)
    (sums,) = compiled(graph, every_target)(np.full((3, 4096), 255, np.uint8))
    assert sums.tolist() == [[-128 * 255 * 4096, 127 * 255 * 4096]] * 3


def test_bfloat16_is_summed_in_float32(every_target, compiled):
    def build(f):
        return joined(*(narrow_linear(every_target, DType.BF16, *s, f, s[0] % 2 == 1) for s in NARROW_SIZES))

    result = run(compiled(build(lambda x: x), every_target))
    assert_summed(result, build, terms=321)
    labels = [label for label in result.compiled.labels if label not in ("cast", "copy")]
    assert labels == ["linear"] * len(NARROW_SIZES)


def test_epilogues_of_bytes(every_target, compiled):
    """Widening, scales by feature and by row, a bias, GELU, and bytes again: all on the tile."""
    graph = Graph("epilogue", {"N": (1, 64)})
    x = graph.input("x", TensorType(DType.U8, (N, 9, 64)))
    rows, residual = graph.input("s", f32(N, 9, 1)), graph.input("r", f32(N, 9, 37))
    scale, shift = (graph.constant(random_array(f32(37), 1, n)) for n in range(2))
    total = graph.add(Cast(DType.F32), graph.add(Linear(), x, graph.constant(random_bytes(DType.I8, 37, 64))))
    scaled = graph.add(Mul(), graph.add(Mul(), graph.add(Add(), total, shift), scale), rows)
    value = graph.add(Add(), graph.add(Gelu(), scaled), residual)
    graph.output("y", graph.add(Quantize(100.0, 100), value))
    pack_weights(graph, every_target)
    program = compiled(graph, every_target)
    (x,) = bytes_for(joined(narrow_linear(every_target, DType.I8, 9, 64, 37)))
    result = run(program, [x, *(random_array(value.type, 5, n) for n, value in enumerate(graph.inputs[1:]))])
    assert_narrowed(result, share=0.001)
    assert np.unique(result.outputs[0]).size > 100
    assert program.labels[-1] == "linear+cast+add+mul+mul+gelu+add+quantize"
    assert set(program.labels[:-1]) <= {"copy"}


def assembly_of(graph, target):
    """The lines of a graph's program."""
    state = lower_for(graph, target)
    assemble(state)
    return state.code.assembly().splitlines()


@pytest.mark.parametrize(("target", "vectors"), [(AVX2, 2), (AVX512_VNNI, 4), (AVX512_BF16, 4)])
@pytest.mark.parametrize("narrowing", [Quantize(0.3, 20), Cast(DType.BF16)], ids=lambda op: op.name)
def test_vectors_of_an_epilogue_are_computed_side_by_side(target, vectors, narrowing):
    """Sums of several are made floats before the first of them is through: their chains of operations overlap."""
    lines = assembly_of(
        narrow_linear(target, DType.I8, 64, 2048, 64, chain=[Cast(DType.F32), Silu(), narrowing]), target
    )
    first = next(n for n, line in enumerate(lines) if "vcvtdq2ps" in line)
    last = next(n for n, line in enumerate(lines[first:], first) if re.search(r"\tj\w+\t", line))
    of_a_turn = [line.split()[0] for line in lines[first:last] if line.startswith("\tv")]
    assert of_a_turn.count("vcvtdq2ps") == vectors
    assert "vcvtdq2ps" not in of_a_turn[len(of_a_turn) // 2 :]


@pytest.mark.parametrize("target", [AVX512_VNNI, AVX512_BF16])
@pytest.mark.parametrize(("k", "stays"), [(64, True), (1024, True), (1028, False)])
def test_sums_of_short_rows_stay_in_registers(target, k, stays):
    """Where a panel fits the first-level cache; else a tile of 14 rows of two vectors goes through the stack."""
    chain = [Cast(DType.F32), Relu(), Quantize(0.3, 0)]
    lines = assembly_of(narrow_linear(target, DType.I8, 64, k, 64, chain=chain), target)
    stores = [line for line in lines if re.search(r"\tvmov\w+\t%zmm\d+, .*\(", line)]
    assert len(stores) < 14 if stays else len(stores) >= 28


@pytest.mark.parametrize(("target", "name"), [(AVX512, "vfmadd"), (AVX512_VNNI, "vpdpbusd")])
def test_a_panel_of_few_columns_is_multiplied_by_one_vector(target, name):
    """The last one, or the only one."""

    def products(n):
        graph = linear(target, 560, 64, n) if name == "vfmadd" else narrow_linear(target, DType.I8, 560, 64, n)
        return sum(line.startswith(f"\t{name}") for line in assembly_of(graph, target))

    whole, lanes = products(2 * target.lanes()), target.lanes()
    assert products(lanes + 1) == whole
    assert products(1) == products(lanes) == whole / 2
    assert products(2 * lanes + 1) == products(3 * lanes) == whole * 1.5


@pytest.mark.parametrize(("target", "tile"), [(AVX2, "6x1"), (AVX512, "14x1")])
def test_so_it_is_where_sums_go_through_memory(target, tile):
    for n, few in ((1, True), (2 * target.lanes() + 1, True), (2 * target.lanes(), False)):
        made = lower_for(linear(target, 560, 4096, n), target).code.module.globals
        assert any(f"_{tile}_" in name for name in made) == few


def test_epilogues_of_bfloat16(every_target, compiled):
    chains = [[Gelu(), Cast(DType.BF16)], [Relu(), Quantize(0.3, 20)], [Cast(DType.BF16)], [Quantize(0.1, 128)]]
    graphs = [narrow_linear(every_target, DType.BF16, 9, 64, 37, bias=True, chain=chain) for chain in chains]
    result = run(compiled(joined(*graphs), every_target))
    assert_narrowed(result, share=0.1)  # of GELU, which is coarse where it is narrowed, and still the next one at most
    assert_narrowed(replace(result, outputs=result.outputs[1:], expected=result.expected[1:]), share=0.002)
    wanted = ["linear+gelu+cast", "linear+relu+quantize", "linear+cast", "linear+quantize"]
    assert [label for label in result.compiled.labels if label != "cast"] == wanted


def test_float32_is_narrowed_as_it_is_written(target, compiled):
    def build(op):
        graph = linear(target, 9, 20, 37)
        ((_, value),) = graph.outputs
        graph.outputs = [("y", graph.add(op, value))]
        return graph

    result = run(compiled(joined(build(Cast(DType.BF16)), build(Quantize(0.1, 128))), target))
    assert_narrowed(result, share=0.001)
    assert result.compiled.labels == ["linear+cast", "linear+quantize"]


def test_rows_of_bytes_in_views(every_target, compiled):
    """Read where they lie only where rows are evenly spaced, in whole words."""

    def build(view, columns):
        graph = Graph("views", {"N": (1, 64)})
        x = graph.add(view, graph.input("x", TensorType(DType.U8, (N, 64, columns))))
        graph.output("y", graph.add(Linear(), x, graph.constant(random_bytes(DType.I8, 33, x.type.shape[-1]))))
        pack_weights(graph, every_target)
        return graph

    read = [build(*view) for view in ((Slice(2, 4, 68), 72), (Slice(2, 3, 67), 72), (Slice(2, 1, 9), 12))]
    copied = [build(*view) for view in ((Slice(1, 2, 7), 64), (Transpose((0, 2, 1)), 8), (Slice(2, 0, 64), 67))]
    program = compiled(joined(*read, *copied), every_target)
    assert_equal(run(program, bytes_for(program.graph)))
    beyond = 2 if every_target.matrix else 0  # which read rows beyond the last: never in the caller's memory
    assert sorted(program.labels) == ["copy"] * (3 + beyond) + ["linear"] * 6


def test_tile_registers_are_used_where_they_are(every_target, compiled):
    graphs = [narrow_linear(every_target, dtype, 40, 64, 32) for dtype in (DType.I8, DType.BF16)]
    state = lower_for(joined(*graphs), every_target)
    assemble(state)
    text = state.code.assembly()
    found = [name in text for name in ("tdpbusd", "tdpbf16ps", "vpdpbusd", "vdpbf16ps")]
    matrix, dots = every_target.matrix, (every_target.int8_dot, every_target.bf16_dot)
    assert found == [matrix, matrix, *(dot and not matrix for dot in dots)]
    assert ("vpmaddwd" in text) == (not every_target.int8_dot)


def test_weights_must_be_packed_constants(target, compiled):
    graph = Graph("weights", {"N": (1, 64)})
    graph.output("y", graph.add(Linear(), graph.input("x", f32(N, 4)), graph.input("w", f32(3, 4)), origin="m.py:7"))
    with pytest.raises(CodegenError, match=r"linear m\.py:7: expected a constant weight, got one computed at run time"):
        pack_weights(graph, target)


def test_sums_of_bytes_take_no_bias_of_their_own(every_target):
    graph = Graph("bias", {"N": (1, 64)})
    constants = (random_bytes(DType.I8, 3, 8), np.arange(3, dtype=np.int32))
    x = graph.input("x", TensorType(DType.U8, (N, 8)))
    graph.output("y", graph.add(Linear(), x, *map(graph.constant, constants), origin="m.py:7"))
    pack_weights(graph, every_target)
    with pytest.raises(CodegenError, match=r"linear m\.py:7: expected f32, got i32"):
        compile_graph(graph, every_target)


def test_macs_are_reported(target, compiled):
    (step,) = compiled(linear(target, 9, 20, 37), target).program.steps
    assert step.macs == 9 * 20 * 37
    assert step.shape == "f32[N,9,37]"


def test_tiles_fit_the_registers(target):
    rows, vectors = tile_shape(target)
    assert rows * vectors + vectors + 1 <= target.vector_registers
    assert panel_width(target) == vectors * target.lanes()
    assert np.dtype(np.float32).itemsize * target.lanes() * 8 == target.vector_bits


def gemm_of(target, rows, k=64, n=40, parts=0):
    """A product as its kernel knows it."""
    tiling = tiling_for(target, DOT_F32, k)
    panels = Panels(n, n, panel_width(target), Expression(1))
    return Gemm(k, k, row_block(tiling, target, k, n), rows, parts, tiling, panels)


def cut(jit, target, gemm):
    """f(rows, threads): the first rows of all blocks, and the end, as the code computes them."""
    code = Code(target)
    function = code.function("cut", VOID, [I64, I64, POINTER], exported=True)
    e = Emitter(code, function)
    rows, e.threads = (Int(e, argument) for argument in function.args[:2])
    e.sizes = {"N": rows}
    count, out = blocks(e, gemm), Ptr(e, function.args[2], DType.I64)
    e.b.store(count.value, out.value)
    with e.loop(count + 1) as loop:
        e.b.store(block_start(rows, gemm.tiling.rows, loop.index, count).value, out.at(loop.index + 1).value)
    e.end()
    call = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)(jit(code, "cut")["cut"])

    def run(rows, threads):
        starts = np.zeros(4096, np.int64)
        call(rows, threads, starts.ctypes.data)
        return starts[1 : starts[0] + 2].tolist()

    return run


AROUND = [1, 63, 64, 65, 127, 128, 129, 191, 192, 193, 195, 196, 197, 255, 256, 257, 784, 3000]


def test_each_thread_has_its_rows_where_there_are_enough(jit, target):
    gemm = gemm_of(target, N)
    starts, tile = cut(jit, target, gemm), gemm.tiling.rows
    for rows in AROUND:
        for threads in (1, 2, 3, 4, 16):
            *firsts, end = starts(rows, threads)
            assert len(firsts) == max(1, min(threads, rows // LEAST_ROWS), -(-rows // gemm.block))
            assert (firsts[0], end) == (0, -(-rows // tile) * tile)
            sizes = np.diff([*firsts, end])
            assert set(sizes % tile) == {0}
            assert sizes.max() - sizes.min() <= tile
            assert 0 < sizes.min() <= sizes.max() <= gemm.block


def test_threads_share_panels_where_attention_follows(jit, target):
    """And where there are few rows: blocks are then as many as the cache asks for."""
    gemm = gemm_of(target, N, parts=3)
    starts = cut(jit, target, gemm)
    assert [len(starts(rows, 4)) - 1 for rows in AROUND] == [-(-rows // gemm.block) for rows in AROUND]


def test_long_rows_come_in_blocks_that_leave_room_for_panels(target):
    tiling = tiling_for(target, DOT_F32, 64)
    for k, n in ((64, 40), (64, 4096), (768, 768), (4096, 20), (10**6, 10)):
        block = row_block(tiling, target, k, n)
        assert block % tiling.rows == 0
        longest = max(length for _, length in stretches(tiling, target, k))
        assert block == tiling.rows or 4 * block * longest <= target.l2_bytes // 2
        small = 4 * k * n * 8 <= target.l2_bytes
        assert not small or block <= 128


@pytest.mark.parametrize("dtype", [DType.F32, DType.BF16, DType.I8], ids=str)
def test_blocks_of_threads_have_the_same_bits(dtype, every_target, compiled):
    """`run` holds 1, 2, 3 and 4 threads, and pictures alone, to the bits of all."""
    if dtype is DType.F32 and every_target.int8_dot:
        pytest.skip("float32 is the same on these targets")
    sizes = [(rows, 64, 70) for rows in (63, 64, 65, 127, 128, 129, 195, 196, 197)]

    def build(f):
        if dtype is DType.F32:
            return joined(*(linear(every_target, *size, f) for size in sizes))
        return joined(*(narrow_linear(every_target, dtype, *size, f) for size in sizes))

    program = compiled(build(lambda x: x), every_target, threads=4)
    batch = 3  # so that 1, 2 and 3 times as many rows are shared out
    inputs = bytes_for(program.graph, batch) if dtype is DType.I8 else None
    result = run(program, inputs, batch)
    if dtype is DType.I8:
        assert_equal(result)
    else:
        assert_summed(result, build, terms=65)
    assert [label for label in program.labels if label not in ("cast", "copy")] == ["linear"] * len(sizes)


def test_panels_of_the_same_heads_follow_each_other(jit):
    """A permutation of the panels, whatever their count; in order where parts are no whole panels."""
    code = Code(AVX2)
    counts = [(0, 7), (2, 4), (2, 6), (3, 6), (3, 9), (3, 7)]
    function = code.function("order", VOID, [POINTER], exported=True)
    e, spot = Emitter(code, function), 0
    for parts, count in counts:
        gemm = gemm_of(AVX2, N, n=count * panel_width(AVX2), parts=parts)
        out = Ptr(e, function.args[0], DType.I64)
        for number in range(count):
            e.b.store(gemm.panel(e.int(number)).value, out.at(spot + number).value)
        spot += count
    e.end()
    orders = np.zeros(spot, np.int64)
    ctypes.CFUNCTYPE(None, ctypes.c_void_p)(jit(code, "order")["order"])(orders.ctypes.data)
    found = [part.tolist() for part in np.split(orders, np.cumsum([count for _, count in counts])[:-1])]
    assert found == [
        [0, 1, 2, 3, 4, 5, 6],
        [0, 2, 1, 3],
        [0, 3, 1, 4, 2, 5],
        [0, 2, 4, 1, 3, 5],
        [0, 3, 6, 1, 4, 7, 2, 5, 8],
        [0, 1, 2, 3, 4, 5, 6],
    ]


def projected(parts, size=32, f=None, target=None):
    """x[N,9,20] through one projection into `parts` that attention takes; with two, q has one of its own."""
    graph = Graph("projected", {"N": (1, 64)})
    x = graph.input("x", f32(N, 9, 20))
    merged = graph.add(Linear(), x, graph.constant(random_array(f32(parts * size, 20), 1)))
    pieces = [graph.add(Slice(2, start * size, (start + 1) * size), merged) for start in range(parts)]
    if parts == 2:
        pieces = [graph.add(Linear(), x, graph.constant(random_array(f32(size, 20), 2))), *pieces]
    graph.output("y", graph.add(Attention(2, 0.25), *pieces))
    if f:
        f(graph, merged)
    if target:
        pack_weights(graph, target)
    return graph, merged


@pytest.mark.parametrize("parts", [2, 3])
def test_parts_that_attention_takes_are_counted(parts):
    assert attention_parts(projected(parts)[1]) == parts


def test_a_projection_of_one_part_and_parts_through_reshapes():
    graph, merged = projected(2)
    query = next(node for node in graph.nodes if isinstance(node.op, Linear) and node.output is not merged)
    assert attention_parts(query.output) == 1
    graph = Graph("shaped", {"N": (1, 64)})
    x = graph.add(Linear(), graph.input("x", f32(N, 3, 3, 20)), graph.constant(random_array(f32(96, 20), 1)))
    rows = graph.add(Reshape((N, 9, 96)), x)
    graph.output("y", graph.add(Attention(2, 0.25), *(graph.add(Slice(2, s, s + 32), rows) for s in (0, 32, 64))))
    assert attention_parts(x) == 3


@pytest.mark.parametrize(
    "other",
    [
        lambda g, x: g.output("z", g.add(Gelu(), x)),
        lambda g, x: g.output("z", g.add(Relu(), g.add(Slice(2, 0, 32), x))),
        lambda g, x: g.output("z", g.add(Linear(), x, g.constant(random_array(f32(4, 96), 1)))),
    ],
    ids=["gelu", "part", "linear"],
)
def test_other_uses_want_rows_in_order(other):
    assert attention_parts(projected(3, f=other)[1]) == 0


def test_what_nothing_takes_has_no_parts(target):
    graph = linear(target, 9, 20, 96)
    assert attention_parts(graph.outputs[0][1]) == 0


@pytest.mark.parametrize("parts", [2, 3])
def test_the_order_of_panels_leaves_every_bit(parts, target, compiled):
    """Beside the same projection, alone, whose panels are done in order."""
    graph, _ = projected(parts, 64, target=target)
    merged = next(node.inputs[0] for node in graph.nodes if isinstance(node.op, Slice))
    weight = merged.producer.inputs[1]
    alone = Graph("alone", {"N": (1, 64)})
    x = alone.input("x", f32(N, 9, 20))
    alone.output("m", alone.add(Linear(), x, alone.constant(random_array(f32(parts * 64, 20), 1))))
    pack_weights(alone, target)
    assert weight.data.tobytes() == alone.outputs[0][1].producer.inputs[1].data.tobytes()
    state = lower_for(graph, target)
    found = [key[1][0] for key in state.kernels if key[0] == "linear"]
    assert max(gemm.parts for gemm in found) == parts
    assert all(gemm.panels.count % gemm.parts == 0 for gemm in found)
    graph.output("m", merged)
    both = compiled(graph, target)  # an output changes nothing of how the projection is done
    found = [key[1][0] for key in lower_for(graph, target).kernels if key[0] == "linear"]
    assert max(gemm.parts for gemm in found) == parts
    result = run(both)
    np.testing.assert_allclose(result.outputs[0], result.expected[0], rtol=1e-3, atol=1e-3)  # of scores up to 100
    same_bits(compiled(alone, target)(*result.inputs), result.outputs[1:])


LONG = (1026, 2048, 3074)  # words: two and four parts for a megabyte of cache, the last one shorter or not


def test_parts_of_long_rows_are_equal_and_even():
    tiling = tiling_for(AVX512, DOT_F32, 1)
    assert stretches(tiling, AVX512, 1024) == [(0, 1024)]
    assert [stretches(tiling, AVX512, k) for k in LONG] == [
        [(0, 514), (514, 512)],
        [(0, 1024), (1024, 1024)],
        [(0, 770), (770, 770), (1540, 770), (2310, 764)],
    ]
    assert len(stretches(tiling_for(AVX2, DOT_F32, 1), AVX2, LONG[0])) == 3


@pytest.mark.parametrize("weights", ["f32", "f16"])
def test_long_rows_in_parts_have_the_same_bits(weights, target, compiled, monkeypatch):
    def graph(f=lambda x: x):
        whole = joined(*(linear(target, rows, k, 40, f) for rows, k in zip((1, 15, 30), LONG, strict=True)))
        if weights == "f16":
            store_float16(whole)
        return whole

    result = run(compiled(graph(), target))
    assert_summed(result, graph, terms=max(LONG) + 1)
    monkeypatch.setattr(lower, "PANEL_PART", 0.1)
    same_bits(compiled(graph(), target)(*result.inputs), result.outputs)


@pytest.mark.parametrize("n", [1024, 1023])
def test_rows_that_share_sets_of_the_cache_lie_further_apart(n, target, compiled):
    def graph(f=lambda x: x):
        whole = Graph("rows", {"N": (1, 64)})
        first, second = (whole.constant(f(random_array(f32(*s), 1, s[0]))) for s in ((n, 8), (12, n)))
        wide = whole.add(Relu(), whole.add(Linear(), whole.input("x", f32(N, 2, 9, 8)), first))
        flat = whole.add(Linear(), whole.add(Reshape((N * 18, n)), wide), second)
        whole.output("y", whole.add(Reshape((N, 2, 9, 12)), flat))
        whole.output("z", whole.add(Add(), wide, whole.input("r", f32(N, 2, 9, n))))
        whole.output("s", whole.add(Relu(), whole.add(Slice(1, 1, 2), wide)))
        pack_weights(whole, target)
        return whole

    result = run(compiled(graph(), target))
    assert_summed(result, graph, terms=n + 9)
    assert result.compiled.labels == ["linear+relu", "linear", "add", "relu", "copy"]  # the reshaped output
    views = lower_for(graph(), target).views.values()
    spacings = {view.strides[-2] for view in views if view.type.shape[-1] == n and view.buffer.space is Space.ARENA}
    assert spacings == ({1024 + 16} if n == 1024 else {1023})
