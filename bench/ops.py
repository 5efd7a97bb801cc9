"""`python -m bench.ops`: attention, outlook attention, norms and convolutions of VOLO-D2, one at a time."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial

from alula.core.dtype import DType
from alula.ir.graph import Graph, Value
from alula.ops.attention import Attention
from alula.ops.conv import Conv2d
from alula.ops.elementwise import Gelu
from alula.ops.norm import LayerNorm
from alula.ops.outlook import OutlookAttention
from alula.ops.pool import AvgPool2d
from alula.ops.shape import Slice
from alula.ops.softmax import Softmax
from bench.arithmetic import OPERANDS, product, rounded, weight
from bench.command import command
from bench.single import Case
from bench.table import measure_cases

HEAD = 32  # columns of one head
SCALE = HEAD**-0.5


def attention(arithmetic: str, heads: int, graph: Graph, qkv: Value) -> Value:
    """Self-attention on the merged projection, as the passes leave it."""
    return _attention(arithmetic, heads, graph, *_parts(graph, qkv, heads * HEAD))


def class_attention(arithmetic: str, heads: int, graph: Graph, q: Value, kv: Value) -> Value:
    """One token attends to all."""
    return _attention(arithmetic, heads, graph, q, *_parts(graph, kv, heads * HEAD))


def _parts(graph: Graph, merged: Value, width: int) -> list[Value]:
    columns = merged.type.dims("NTC")[2]
    assert isinstance(columns, int)
    return [graph.add(Slice(2, start, start + width), merged) for start in range(0, columns, width)]


def _attention(arithmetic: str, heads: int, graph: Graph, q: Value, k: Value, v: Value) -> Value:
    """Rounded for the projection after it; of int8 the second product alone is one of bytes."""
    op = Attention(heads, SCALE, wide=arithmetic != "f32", byte_values=arithmetic == "int8")
    return rounded(arithmetic, graph, graph.add(op, q, k, v))


def outlook(heads: int, graph: Graph, logits: Value, v: Value) -> Value:
    """Windows of 3x3, stride 2."""
    return graph.add(OutlookAttention(heads, (3, 3), (2, 2), (1, 1, 1, 1), SCALE), logits, v)


def layer_norm(width: int, graph: Graph, x: Value) -> Value:
    return graph.add(LayerNorm(1e-5), x, graph.constant(weight(width)), graph.constant(weight(width)))


def conv(arithmetic: str, shape: tuple[int, ...], stride: int, pad: int, graph: Graph, x: Value) -> Value:
    """The weight is [features, kernel, kernel, channels]."""
    return product(arithmetic, graph, Conv2d((stride, stride), (pad,) * 4), x, *shape)


def attention_cases(arithmetic: str) -> list[Case]:
    """Attention in f32, in bf16, or with values in int8."""
    dtype = DType.F32 if arithmetic == "f32" else DType.BF16
    made, made_of_one = partial(attention, arithmetic, 16), partial(class_attention, arithmetic, 16)
    return [
        Case("attention 16 heads, 196 tokens", [(196, 1536)], made, dtype),
        Case("attention 16 heads, 1 of 197 tokens", [(1, 512), (197, 1024)], made_of_one, dtype),
    ]


def conv_cases(arithmetic: str) -> list[Case]:
    """Convolutions in f32, bf16 or int8."""
    shapes = (
        ("7x7/2, 3 to 64, 224x224", (224, 224, 3), (64, 7, 7, 3), 2, 3),
        ("3x3, 64 to 64, 112x112", (112, 112, 64), (64, 3, 3, 64), 1, 1),
        ("4x4/4, 64 to 256, 112x112", (112, 112, 64), (256, 4, 4, 64), 4, 0),
        ("2x2/2, 256 to 512, 28x28", (28, 28, 256), (512, 2, 2, 256), 2, 0),
    )
    return [
        Case(f"conv {name}", [x], partial(conv, arithmetic, w, stride, pad), OPERANDS[arithmetic])
        for name, x, w, stride, pad in shapes
    ]


FLOAT_CASES = [
    Case("outlook attention 8 heads, 28x28", [(14, 14, 648), (28, 28, 256)], partial(outlook, 8)),
    Case("layer norm 784 x 256", [(784, 256)], partial(layer_norm, 256)),
    Case("layer norm 196 x 512", [(196, 512)], partial(layer_norm, 512)),
    Case("softmax 196 x 1000", [(196, 1000)], lambda graph, x: graph.add(Softmax(2), x)),
    Case("gelu 196 x 1536", [(196, 1536)], lambda graph, x: graph.add(Gelu(), x)),
    Case("average pool 2x2, 28x28x256", [(28, 28, 256)], lambda graph, x: graph.add(AvgPool2d((2, 2), (2, 2)), x)),
]


def cases(arithmetic: str) -> list[Case]:
    """The ops that there are in an arithmetic: norms and their like are in f32 whatever the model is in."""
    products = attention_cases(arithmetic) + conv_cases(arithmetic)
    return products + FLOAT_CASES if arithmetic == "f32" else products


def main(given: Sequence[str]) -> int:
    """Measures and prints."""
    return measure_cases("python -m bench.ops", __doc__ or "", cases, given)


if __name__ == "__main__":
    sys.exit(command(main))
