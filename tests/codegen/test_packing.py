"""Weights in panels: the layout, ties, repacking for another target."""

import numpy as np
import pytest

from alula.codegen.packing import pack_weights, panels, plain_form
from alula.core.dtype import DType, cast_array
from alula.core.errors import CodegenError
from alula.core.target import AMX, AVX2, AVX512, AVX512_VNNI
from alula.ir.graph import Graph
from alula.ir.types import TensorType
from alula.ops.conv import Conv2d
from alula.ops.matmul import Linear, group_of
from alula.ops.reference import run_reference
from tests.codegen.harness import N, f32, random_array, same_bits
from tests.ops.cases import fill


def two_layers():
    """A conv2d of two groups and two linears that share a weight."""
    graph = Graph("layers", {"N": (1, 8)})
    picture, tokens = graph.input("p", f32(N, 4, 5, 6)), graph.input("t", f32(N, 20))
    graph.output("c", graph.add(Conv2d(groups=2), picture, graph.constant(random_array(f32(10, 2, 3, 3), 1))))
    tied = graph.constant(random_array(f32(20, 20), 1))
    graph.output("l", graph.add(Linear(), graph.add(Linear(), tokens, tied), tied))
    return graph


@pytest.mark.parametrize("n", [1, 15, 16, 17, 32])
def test_column_n_of_a_panel_is_row_n_of_the_weight(n):
    weight = random_array(f32(n, 7), 1)
    packed = panels(weight, 16)
    assert packed.shape == (-(-n // 16), 7, 16)
    for row in range(n):
        assert np.array_equal(packed[row // 16, :, row % 16], weight[row])
    assert not packed.transpose(0, 2, 1).reshape(-1, 7)[n:].any()
    assert np.array_equal(plain_form(Linear(n, 16), packed)[1], weight)


def narrow_layers(dtype):
    """A linear layer and convolutions of odd channels and of groups, in words of several elements."""
    graph = Graph("narrow", {"N": (1, 8)})
    x = DType.U8 if dtype is DType.I8 else dtype
    wide = dtype is DType.BF16

    def layer(name, op, shape, *weight):
        constant = graph.constant(random_array(TensorType(dtype, weight), 1, len(name)))
        graph.output(name, graph.add(op, graph.input(name, TensorType(x, (N, *shape))), constant))

    layer("linear", Linear(wide=wide), (3, 24), 20, 24)
    layer("odd", Conv2d(wide=wide), (4, 5, 3), 10, 2, 3, 3)
    layer("groups", Conv2d(groups=2, wide=wide), (4, 5, 16), 10, 2, 3, 8)
    return graph


@pytest.mark.parametrize("dtype", [DType.BF16, DType.I8], ids=str)
def test_words_change_no_result_and_repack_to_the_same_bytes(dtype):
    graph, direct, moved = (narrow_layers(dtype) for _ in range(3))
    inputs = [random_array(value.type, 3, n) for n, value in enumerate(graph.inputs)]
    wanted = [y.tobytes() for y in run_reference(graph, inputs)]
    for target in (AVX512, AMX, AVX2, AVX512_VNNI, AVX2):
        pack_weights(moved, target)
        assert [y.tobytes() for y in run_reference(moved, inputs)] == wanted
        assert {value.type.shape[-2:] for value in moved.constants()} == {(2 * target.lanes(), group_of(dtype))}
    pack_weights(direct, AVX2)
    assert str(moved) == str(direct)
    for ours, exact in zip(moved.constants(), direct.constants(), strict=True):
        assert ours.data.tobytes() == exact.data.tobytes()


@pytest.mark.parametrize(("dtype", "k"), [(DType.BF16, 5), (DType.I8, 6)], ids=str)
def test_rows_that_are_no_whole_words_are_refused(dtype, k):
    wanted = rf"weight {dtype}\[3,{k}\]: expected an inner size that is a multiple of {group_of(dtype)}"
    with pytest.raises(CodegenError, match=wanted):
        panels(random_array(TensorType(dtype, (3, k)), 1), 16)


def test_packing_changes_no_result_and_keeps_ties(target):
    graph, packed = two_layers(), two_layers()
    pack_weights(packed, target)
    inputs = [random_array(value.type, 3, n) for n, value in enumerate(graph.inputs)]
    for ours, exact in zip(run_reference(packed, inputs), run_reference(graph, inputs), strict=True):
        assert np.array_equal(ours, exact)
    assert len(packed.constants()) == 2
    assert [node.op.panel for node in packed.nodes] == [2 * target.lanes()] * 3


def test_repacking_for_another_target_is_packing_for_it():
    direct, moved = two_layers(), two_layers()
    pack_weights(direct, AVX2)
    pack_weights(moved, AVX512)
    pack_weights(moved, AVX2)
    assert str(moved) == str(direct)
    for ours, exact in zip(moved.constants(), direct.constants(), strict=True):
        assert ours.data.tobytes() == exact.data.tobytes()


@pytest.mark.parametrize(
    ("kernel", "channels", "dtype", "columns"),
    [
        (7, 3, DType.I8, 16),
        (7, 3, DType.BF16, 8),
        (3, 64, DType.I8, 3),
        (3, 4, DType.I8, 3),
        (7, 3, DType.F32, 7),
    ],
)
def test_rows_of_kernels_are_filled_up_for_matrix_tiles_alone(kernel, channels, dtype, columns):
    weight = cast_array(np.random.default_rng(0).integers(-9, 9, (5, kernel, kernel, channels)), dtype)
    x = TensorType(DType.U8 if dtype is DType.I8 else dtype, (N, 20, 20, channels))

    def packed(*targets):
        graph = Graph("fill", {"N": (1, 64)})
        op = Conv2d((2, 2), (3, 3, 2, 2) if kernel > 3 else (1, 1, 1, 1), wide=dtype is DType.BF16)
        graph.output("y", graph.add(op, graph.input("x", x), graph.constant(weight)))
        for target in targets:
            pack_weights(graph, target)
        return graph

    filled, plain = packed(AMX), packed(AVX512_VNNI)
    assert filled.nodes[0].op.kernel == (kernel, columns)
    assert filled.nodes[0].op.spare == columns - kernel
    assert plain.nodes[0].op.kernel == (kernel, kernel)
    assert filled.nodes[0].output.type == plain.nodes[0].output.type
    assert str(packed(AMX, AVX512_VNNI)) == str(plain)  # a file for one target becomes that for the other
    assert str(packed(AVX512_VNNI, AMX)) == str(filled)
    macs = [g.nodes[0].op.macs([v.type for v in g.nodes[0].inputs], [g.nodes[0].output.type]) for g in (filled, plain)]
    assert macs[0] == macs[1]
    pictures = fill(x, {"N": 2})
    same_bits(run_reference(filled, [pictures]), run_reference(plain, [pictures]))
