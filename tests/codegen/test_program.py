"""Whole programs: what they need from outside, how they are described, how they are kept."""

import pytest

from alula.codegen.packing import pack_weights
from alula.codegen.program import Program, assemble, compile_graph, lower_for
from alula.core.dims import symbol
from alula.core.dtype import DType
from alula.core.errors import CodegenError
from alula.ir.graph import Graph
from alula.ir.types import TensorType
from alula.ops.attention import Attention
from alula.ops.conv import Conv2d
from alula.ops.elementwise import Add, Cast, Exp, Gelu, Pow
from alula.ops.matmul import Linear, Matmul
from alula.ops.norm import LayerNorm
from alula.ops.outlook import OutlookAttention
from alula.ops.pool import AvgPool2d
from alula.ops.quantize import Quantize, QuantizeRows
from alula.ops.reduce import ReduceMean
from alula.ops.shape import Concat, Pad, Transpose
from alula.ops.softmax import Softmax
from tests.codegen.conftest import undefined_symbols
from tests.codegen.harness import N, bf16, f32, graph_of, joined, random_array, run

PROCESSORS = {"sched_getaffinity", "sched_getcpu", "sched_setaffinity"}
LIBC = {"aligned_alloc", "free", "getpid", "pthread_create", "pthread_join", "syscall", *PROCESSORS}
MADE_OF_LOOPS = {"memcpy", "memmove", "memset"}


def of_everything(target):
    """A graph with most kernels in it."""
    vectors = [random_array(f32(20), 1) for _ in range(2)]
    graph = joined(
        graph_of(Linear(), f32(N, 9, 20), random_array(f32(33, 20), 1), chain=[Gelu()]),
        graph_of(Conv2d(pad=(1, 1, 1, 1)), f32(N, 5, 6, 3), random_array(f32(8, 3, 3, 3), 1)),
        graph_of(Matmul(), f32(N, 9, 20), f32(N, 20, 9)),
        graph_of(Attention(2, 0.2), *[f32(N, 9, 16)] * 3),
        graph_of(OutlookAttention(2, (3, 3), (2, 2), (1, 1, 1, 1), 0.2), f32(N, 2, 2, 162), f32(N, 4, 4, 16)),
        graph_of(LayerNorm(1e-5), f32(N, 3, 20), *vectors),
        graph_of(Softmax(1), f32(N, 20), chain=[Exp()]),
        graph_of(AvgPool2d((2, 2), (2, 2)), f32(N, 4, 4, 20)),
        graph_of(ReduceMean((1,)), f32(N, 20)),
        graph_of(Transpose((0, 2, 1)), f32(N, 20, 30), chain=[Pad((0, 1, 1), (0, 0, 0))]),
        graph_of(Pow(), f32(N, 20), f32(N, 20)),
        *(graph_of(Concat(1), *[TensorType(dtype, (N, 20))] * 2) for dtype in DType),
        *(graph_of(Cast(dtype), f32(N, 20)) for dtype in (DType.I8, DType.BOOL)),
    )
    pack_weights(graph, target)
    return graph


def test_nothing_is_taken_from_outside_but_threads_their_places_and_memory(target):
    needed = set(undefined_symbols(compile_graph(of_everything(target), target).object))
    assert LIBC <= needed <= LIBC | MADE_OF_LOOPS


def of_narrow_types(target):
    """Kernels of bytes and of bfloat16, with all that narrows and widens."""
    u8, words = TensorType(DType.U8, (N, 9, 64)), TensorType(DType.BF16, (N, 9, 64))
    narrow, weight = Cast(DType.BF16), random_array(TensorType(DType.I8, (33, 64)), 1)
    pixels = Conv2d(pad=(1, 1, 1, 1), scale=(0.1,) * 3, shift=(-1.0,) * 3, wide=True)
    vectors = [random_array(f32(20), 1) for _ in range(2)]
    graph = joined(
        graph_of(Linear(), u8, weight, chain=[Cast(DType.F32), Gelu(), Quantize(0.1, 3)]),
        graph_of(Linear(wide=True), words, bf16(random_array(f32(33, 64), 1)), chain=[Gelu(), narrow]),
        graph_of(pixels, TensorType(DType.U8, (N, 5, 6, 3)), bf16(random_array(f32(8, 3, 3, 3), 1))),
        graph_of(Attention(2, 0.2, wide=True), *[words] * 3, chain=[narrow]),
        graph_of(Attention(2, 0.2, wide=True, byte_values=True), *[words] * 3, chain=[Quantize(0.1, 3)]),
        graph_of(LayerNorm(1e-5), f32(N, 3, 20), *vectors, chain=[narrow]),
        graph_of(narrow, f32(N, 20)),
        graph_of(Cast(DType.F32), TensorType(DType.BF16, (N, 20))),
    )
    rows = graph.input("rows", f32(N, 20))
    for value in graph.add_node(QuantizeRows(), rows).outputs:
        graph.output("q", value)
    pack_weights(graph, target)
    return graph


def test_narrow_types_take_nothing_more(every_target):
    """Casts of bfloat16 become library calls where LLVM is left to find them."""
    needed = set(undefined_symbols(compile_graph(of_narrow_types(every_target), every_target).object))
    assert needed <= LIBC | MADE_OF_LOOPS


def test_narrow_types_are_compiled_to_the_same_bytes(every_target):
    first, second = (compile_graph(of_narrow_types(every_target), every_target) for _ in range(2))
    assert first == second
    assert Program.from_parts(first.to_parts()) == first


def test_the_same_graph_gives_the_same_bytes(target):
    first, second = (compile_graph(of_everything(target), target) for _ in range(2))
    assert first == second


def test_parts_make_the_same_program(target):
    program = compile_graph(of_everything(target), target)
    assert Program.from_parts(program.to_parts()) == program


def test_without_steps_threads_touch_nothing(target):
    """None waits for another: they may come when the run is over, and its frame with it."""

    def of_program(graph):
        state = lower_for(graph, target)
        assemble(state)
        return "".join(str(state.code.made(name)) for name in ("alula_program", "alula_steps"))

    assert "store" not in of_program(graph_of(Exp(), f32(N, 0, 3)))
    assert "store" in of_program(graph_of(Exp(), f32(N, 3)))


def test_ports_and_steps_are_described(target):
    graph = Graph("described", {"N": (1, 64)})
    weight = graph.constant(random_array(f32(33, 20), 1))
    graph.output("logits", graph.add(Gelu(), graph.add(Linear(), graph.input("tokens", f32(N, 9, 20)), weight)))
    pack_weights(graph, target)
    program = compile_graph(graph, target)
    assert program.inputs == (("tokens", "f32[N,9,20]"),)
    assert program.outputs == (("logits", "f32[N,9,33]"),)
    (step,) = program.steps
    assert (step.label, step.shape, step.macs) == ("linear+gelu", "f32[N,9,33]", 9 * 20 * 33)
    assert program.constants == (0,)


def test_intermediates_share_memory(target, compiled):
    chain = [Softmax(1)] * 6
    result = run(compiled(graph_of(Softmax(1), f32(N, 160), chain=chain), target))
    assert result.compiled.program.arena_bytes == 2 * 160 * 4


def test_two_named_sizes_are_refused(target):
    graph = Graph("sizes", {"M": (1, 4), "N": (1, 4)})
    x, y = graph.input("x", f32(N, 1)), graph.input("y", f32(1, symbol("M")))
    graph.output("z", graph.add(Add(), x, y))
    with pytest.raises(CodegenError, match=r"graph sizes: expected at most one symbolic size, got \['M', 'N'\]"):
        compile_graph(graph, target)


def test_buffers_that_grow_with_the_square_of_the_batch_are_refused(target):
    graph = graph_of(Softmax(2), f32(N, N, 5), chain=[Softmax(2)])
    with pytest.raises(CodegenError, match=r"buffer of N\*N\*20 bytes: expected a size that grows evenly"):
        compile_graph(graph, target)
