import numpy as np
import pytest

from alula.core.dtype import DType
from alula.ir.graph import Value
from alula.ops.conv import Conv2d
from alula.ops.depthwise import DepthwiseConv2d
from alula.ops.matmul import Linear
from alula.ops.quantize import Dequantize
from alula.ops.shape import Reshape, Slice, Transpose
from alula.passes.byte_products import ByteProducts
from alula.passes.separate_depthwise import SeparateDepthwise
from tests.passes.graphs import TO_NHWC, Builder, N, changed, counts

BYTES = Dequantize(0.02, 117)
IN_BYTES = {"add": 1, "cast": 1, "mul": 1}


def whole(b: Builder, *shape: int) -> Value:
    """Weights of whole levels, with a step for each feature."""
    steps = b.random.uniform(0.001, 0.1, (shape[0], *[1] * (len(shape) - 1)))
    return b.graph.constant((b.random.integers(-127, 128, shape) * steps).astype(np.float32))


@pytest.mark.parametrize("bias", [False, True])
def test_linear(bias: bool) -> None:
    b = Builder((N, 5, 8), dtype=DType.U8)
    y = b(Linear(), b(BYTES, b.inputs[0]), whole(b, 6, 8), *([b.constant(6)] if bias else []))
    graph = b.finish(y)
    assert changed(graph, ByteProducts()) == 1
    assert counts(graph) == {**IN_BYTES, "linear": 1}


@pytest.mark.parametrize(("groups", "zero"), [(1, 117), (2, 117), (1, 0)])
def test_convolution_pads_with_the_byte_that_stands_for_0(groups: int, zero: int) -> None:
    b = Builder((N, 5, 6, 8), dtype=DType.U8)
    op = Conv2d(pad=(1, 0, 2, 1), stride=(2, 1), groups=groups)
    graph = b.finish(b(op, b(Dequantize(0.02, zero), b.inputs[0]), whole(b, 6, 3, 3, 8 // groups), b.constant(6)))
    assert changed(graph, ByteProducts()) == 1
    assert counts(graph) == {**IN_BYTES, "conv2d": 1}
    assert graph.nodes[0].op.border == ((zero,) * 8 if zero else ())


@pytest.mark.parametrize("bias", [False, True])
def test_depthwise_takes_whole_levels_in_16_bits(bias: bool) -> None:
    b = Builder((N, 5, 6, 7), dtype=DType.U8)
    op = Conv2d(pad=(1, 1, 1, 1), groups=7)
    y = b(op, b(BYTES, b.inputs[0]), whole(b, 7, 3, 2, 1), *([b.constant(7)] if bias else []))
    graph = b.finish(y)
    assert changed(graph, SeparateDepthwise(), ByteProducts()) == 2
    assert counts(graph) == {**IN_BYTES, "depthwise_conv2d": 1}
    assert graph.nodes[0].inputs[1].type.dtype is DType.I16
    assert graph.nodes[0].op.zero == 117


def test_through_views() -> None:
    b = Builder((N, 4, 6, 5), dtype=DType.U8)
    turned = b(Transpose(TO_NHWC), b(BYTES, b.inputs[0]))
    cut = b(Slice(1, 0, 4, 1), turned)
    graph = b.finish(b(Linear(), b(Reshape((N, 80)), cut), whole(b, 3, 80)))
    assert changed(graph, ByteProducts()) == 1
    assert counts(graph) == {**IN_BYTES, "linear": 1, "reshape": 1, "slice": 1, "transpose": 1}


def test_what_stays_float() -> None:
    b = Builder((N, 5, 8), (N, 5, 6), dtype=DType.U8)
    numbers = [b(BYTES, value) for value in b.inputs]
    graph = b.finish(
        b.linear(numbers[0], 6),  # any weight
        b(Linear(), numbers[1], whole(b, 3, 6)),  # rows of a word and a half
        b(Linear(), b(Reshape((N, 40)), b(BYTES, b.inputs[0])), b(Reshape((3, 40)), whole(b, 40, 3))),
        b(DepthwiseConv2d(), b(Reshape((N, 5, 8, 1)), numbers[0]), b.constant(2, 2, 1)),  # any weight
    )
    assert changed(graph, ByteProducts()) == 0
