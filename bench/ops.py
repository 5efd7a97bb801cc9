"""`python -m bench.ops`: attention, outlook attention, norms and convolutions of VOLO-D2, one at a time."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial

from alula.ir.graph import Graph, Value
from alula.ops.attention import Attention
from alula.ops.conv import Conv2d
from alula.ops.elementwise import Gelu
from alula.ops.norm import LayerNorm
from alula.ops.outlook import OutlookAttention
from alula.ops.pool import AvgPool2d
from alula.ops.shape import Slice
from alula.ops.softmax import Softmax
from bench.command import command
from bench.single import Case, weight
from bench.table import measure_cases

HEAD = 32  # columns of one head
SCALE = HEAD**-0.5


def attention(heads: int, graph: Graph, qkv: Value) -> Value:
    """Self-attention on the merged projection, as the passes leave it."""
    width = heads * HEAD
    q, k, v = (graph.add(Slice(2, part * width, (part + 1) * width), qkv) for part in range(3))
    return graph.add(Attention(heads, SCALE), q, k, v)


def class_attention(heads: int, graph: Graph, q: Value, kv: Value) -> Value:
    """One token attends to all."""
    width = heads * HEAD
    k, v = (graph.add(Slice(2, part * width, (part + 1) * width), kv) for part in range(2))
    return graph.add(Attention(heads, SCALE), q, k, v)


def outlook(heads: int, graph: Graph, logits: Value, v: Value) -> Value:
    """Windows of 3x3, stride 2."""
    return graph.add(OutlookAttention(heads, (3, 3), (2, 2), (1, 1, 1, 1), SCALE), logits, v)


def layer_norm(width: int, graph: Graph, x: Value) -> Value:
    return graph.add(LayerNorm(1e-5), x, graph.constant(weight(width)), graph.constant(weight(width)))


def conv(channels: int, features: int, kernel: int, stride: int, pad: int, graph: Graph, x: Value) -> Value:
    w = graph.constant(weight(features, kernel, kernel, channels))
    return graph.add(Conv2d((stride, stride), (pad,) * 4), x, w, graph.constant(weight(features)))


CASES = [
    Case("attention 16 heads, 196 tokens", [(196, 1536)], partial(attention, 16)),
    Case("attention 16 heads, 1 of 197 tokens", [(1, 512), (197, 1024)], partial(class_attention, 16)),
    Case("outlook attention 8 heads, 28x28", [(14, 14, 648), (28, 28, 256)], partial(outlook, 8)),
    Case("conv 7x7/2, 3 to 64, 224x224", [(224, 224, 3)], partial(conv, 3, 64, 7, 2, 3)),
    Case("conv 3x3, 64 to 64, 112x112", [(112, 112, 64)], partial(conv, 64, 64, 3, 1, 1)),
    Case("conv 4x4/4, 64 to 256, 112x112", [(112, 112, 64)], partial(conv, 64, 256, 4, 4, 0)),
    Case("conv 2x2/2, 256 to 512, 28x28", [(28, 28, 256)], partial(conv, 256, 512, 2, 2, 0)),
    Case("layer norm 784 x 256", [(784, 256)], partial(layer_norm, 256)),
    Case("layer norm 196 x 512", [(196, 512)], partial(layer_norm, 512)),
    Case("softmax 196 x 1000", [(196, 1000)], lambda graph, x: graph.add(Softmax(2), x)),
    Case("gelu 196 x 1536", [(196, 1536)], lambda graph, x: graph.add(Gelu(), x)),
    Case("average pool 2x2, 28x28x256", [(28, 28, 256)], lambda graph, x: graph.add(AvgPool2d((2, 2), (2, 2)), x)),
]


def main(given: Sequence[str]) -> int:
    """Measures and prints."""
    return measure_cases("python -m bench.ops", __doc__ or "", CASES, given)


if __name__ == "__main__":
    sys.exit(command(main))
