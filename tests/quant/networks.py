"""Networks whose precision the tests lower, and how far the lowered ones may be off."""

import numpy as np

from alula.core.dims import symbol
from alula.core.dtype import Array, DType
from alula.ir.graph import Graph
from alula.ir.types import TensorType
from alula.ops.attention import Attention
from alula.ops.conv import Conv2d
from alula.ops.depthwise import DepthwiseConv2d
from alula.ops.elementwise import Gelu, Relu
from alula.ops.matmul import Linear
from alula.ops.norm import LayerNorm
from alula.ops.reference import run_reference
from alula.ops.shape import Reshape, Slice

N = symbol("N")
SCALE, SHIFT = (0.0174, 0.0175, 0.0171), (-2.118, -2.036, -1.804)


def normal(*shape: int, seed: int = 0) -> Array:
    values = np.random.default_rng(seed).standard_normal(shape)
    return (values / np.sqrt(np.prod(shape[1:]))).astype(np.float32)


def network() -> Graph:
    """Pixels, two convolutions, LayerNorm, attention and a hidden layer: some of everything a VOLO has."""
    graph = Graph("test", {"N": (1, 64)})
    x = graph.input("x", TensorType(DType.U8, (N, 16, 16, 3)))
    stem = Conv2d((2, 2), (1, 1, 1, 1), scale=SCALE, shift=SHIFT)
    bias = lambda n, seed: graph.constant(0.3 * normal(n, seed=seed))  # noqa: E731
    y = graph.add(Relu(), graph.add(stem, x, graph.constant(3 * normal(16, 3, 3, 3, seed=1), "stem"), bias(16, 2)))
    y = graph.add(
        Conv2d((2, 2), (1, 1, 1, 1)), y, graph.constant(2 * normal(32, 3, 3, 16, seed=3), "second"), bias(32, 4)
    )
    y = graph.add(Reshape((N, 16, 32)), y)
    norm = graph.add(LayerNorm(1e-5), y, graph.constant(1 + 0.1 * normal(32, seed=5)), bias(32, 6))
    qkv = graph.add(Linear(), norm, graph.constant(normal(96, 32, seed=7), "qkv"))
    parts = [graph.add(Slice(2, start, start + 32), qkv) for start in (0, 32, 64)]
    mixed = graph.add(Attention(2, 0.25), *parts)
    hidden = graph.add(Gelu(), graph.add(Linear(), mixed, graph.constant(normal(64, 32, seed=8), "up"), bias(64, 9)))
    graph.output("y", graph.add(Linear(), hidden, graph.constant(normal(10, 64, seed=10), "down"), bias(10, 11)))
    return graph


def separable() -> Graph:
    """A convolution of each channel by itself, after a linear layer that can write narrow elements."""
    graph = Graph("test", {"N": (1, 64)})
    x = graph.add(Linear(), graph.input("x", TensorType(DType.F32, (N, 6, 5, 8))), graph.constant(normal(12, 8)))
    taps = graph.constant(normal(12, 3, 3, seed=3).transpose(1, 2, 0).copy())
    graph.output("y", graph.add(DepthwiseConv2d((2, 1), (1, 1, 1, 1)), x, taps, graph.constant(normal(12, 1)[:, 0])))
    return graph


def pictures(count: int, seed: int = 0) -> Array:
    """Smooth pictures with some noise: of independent pixels a mean is all that is left."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (count, 4, 4, 3)).repeat(4, axis=1).repeat(4, axis=2)
    return np.clip(coarse + random.integers(-20, 21, coarse.shape), 0, 255).astype(np.uint8)


def one_linear(weight: Array, bias: Array | None = None, rows: int = 3) -> Graph:
    """x[N,rows,k] through a linear layer."""
    graph = Graph("test", {"N": (1, 64)})
    x = graph.input("x", TensorType(DType.F32, (N, rows, weight.shape[1])))
    constants = [weight] if bias is None else [weight, bias]
    graph.output("y", graph.add(Linear(), x, *map(graph.constant, constants)))
    return graph


def by_reference(graph: Graph) -> object:
    """A `Runner` that needs no code generator."""
    return lambda inputs: run_reference(graph, inputs)


def error(lowered: Graph, exact: Graph, *inputs: Array) -> float:
    """The largest difference of the outputs, of the largest number."""
    (y,), (wanted,) = run_reference(lowered, inputs), run_reference(exact, inputs)
    return float(np.abs(y.astype(np.float64) - wanted).max() / np.abs(wanted).max())


def ops(graph: Graph) -> list[str]:
    return [node.op.name for node in graph.nodes]
