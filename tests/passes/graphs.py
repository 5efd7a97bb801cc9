"""Small graphs as importers build them, and the comparison that every pass has to stand."""

from collections.abc import Callable, Sequence

import numpy as np

from alula.core.dims import Dim, symbol
from alula.core.dtype import BFLOAT16_STORAGE, Array, DType, from_bfloat16
from alula.ir.graph import Graph, Value
from alula.ir.op import Op
from alula.ir.types import TensorType
from alula.ir.verifier import verify
from alula.ops.attention import Attention
from alula.ops.conv import Conv2d
from alula.ops.elementwise import Mul
from alula.ops.matmul import Linear, Matmul
from alula.ops.reference import run_reference
from alula.ops.shape import Reshape, Slice, Transpose
from alula.ops.softmax import Softmax
from alula.ops.unfold import Fold, Unfold
from alula.passes.rewrite import Pass, run_verified

N = symbol("N")
TO_NCHW, TO_NHWC = (0, 3, 1, 2), (0, 2, 3, 1)


class Builder:
    """A graph with its inputs at hand, and random constants from one seed."""

    def __init__(self, *shapes: tuple[Dim, ...], dtype: DType = DType.F32) -> None:
        self.graph = Graph("test", {"N": (1, 8)})
        self.random = np.random.default_rng(7)
        self.inputs = [self.graph.input(f"x{i}", TensorType(dtype, shape)) for i, shape in enumerate(shapes)]

    def __call__(self, op: Op, *inputs: Value) -> Value:
        return self.graph.add(op, *inputs)

    def constant(self, *shape: int, low: float = -1.0) -> Value:
        return self.graph.constant(self.random.uniform(low, 1.0, shape).astype(np.float32))

    def number(self, value: float) -> Value:
        return self.graph.constant(np.float32(value).reshape(()))

    def linear(self, x: Value, n: int, *, bias: bool = True) -> Value:
        weight = self.constant(n, x.type.shape[-1])
        return self(Linear(), x, weight, *([self.constant(n)] if bias else []))

    def conv(self, x: Value, o: int, kernel: int, *, bias: bool = True, groups: int = 1, **attributes: object) -> Value:
        weight = self.constant(o, kernel, kernel, x.type.shape[-1] // groups)
        return self(Conv2d(groups=groups, **attributes), x, weight, *([self.constant(o)] if bias else []))

    def finish(self, *outputs: Value) -> Graph:
        for i, value in enumerate(outputs):
            self.graph.output(f"y{i}", value)
        verify(self.graph)
        return self.graph


def counts(graph: Graph) -> dict[str, int]:
    """How many nodes of each op, sorted by name."""
    names = sorted(node.op.name for node in graph.nodes)
    return {name: names.count(name) for name in dict.fromkeys(names)}


def random_inputs(graph: Graph, batch: int = 2, seed: int = 3) -> list[Array]:
    random = np.random.default_rng(seed)
    arrays = []
    for value in graph.inputs:
        shape = value.type.at(dict.fromkeys(graph.symbols, batch))
        if value.type.dtype is DType.U8:
            arrays.append(random.integers(0, 256, shape, np.uint8))
        else:
            arrays.append(random.uniform(-2, 2, shape).astype(value.type.dtype.numpy))
    return arrays


def run_both(graph: Graph, change: Callable[[], object], batches: Sequence[int] = (1, 3)) -> None:
    """The outputs before `change` equal those after it, but for rounding."""
    inputs = [random_inputs(graph, batch) for batch in batches]
    before = [run_reference(graph, arrays) for arrays in inputs]
    change()
    for wanted, arrays in zip(before, inputs, strict=True):
        for a, b in zip(wanted, run_reference(graph, arrays), strict=True):
            assert a.dtype == b.dtype
            assert a.shape == b.shape
            a, b = (from_bfloat16(x) if x.dtype == BFLOAT16_STORAGE else x for x in (a, b))
            np.testing.assert_allclose(b, a, rtol=2e-5, atol=2e-5 * max(1.0, float(np.abs(a).max(initial=0))))


def changed(graph: Graph, *passes: Pass) -> int:
    """How many changes the passes make; they must keep the outputs, and the last one finds nothing to do again."""
    totals = []
    run_both(graph, lambda: totals.extend(run_verified(step, graph) for step in passes))
    for step in passes[-1:]:
        text = str(graph)
        assert step.run(graph) == 0
        assert str(graph) == text
    return sum(totals)


def attention_block(b: Builder, x: Value, heads: int, *, scale_on: str = "scores") -> Value:
    """Self-attention of x[b,n,c] as PyTorch models write it: one linear for q, k and v, split into heads."""
    batch, n, c = x.type.shape
    size = c // heads
    qkv = b(Reshape((batch, n, 3, heads, size)), b.linear(x, 3 * c, bias=False))
    parts = b(Transpose((2, 0, 3, 1, 4)), qkv)
    q, k, v = (b(Reshape((batch, heads, n, size)), b(Slice(0, i, i + 1), parts)) for i in range(3))
    scale = b.number(size**-0.5)
    if scale_on == "q":
        q = b(Mul(), q, scale)
    if scale_on == "k":
        k = b(Mul(), scale, k)
    scores = b(Matmul(), q, b(Transpose((0, 1, 3, 2)), k))
    if scale_on == "scores":
        scores = b(Mul(), scores, scale)
    mixed = b(Matmul(), b(Softmax(3), scores), v)
    return b.linear(b(Reshape((batch, n, c)), b(Transpose((0, 2, 1, 3)), mixed)), c)


def outlook_block(b: Builder, x: Value, logits: Value, heads: int, **window: object) -> Value:
    """Outlook attention of x[b,h,w,c] with logits[b,oh,ow,heads*81], as importers bring PyTorch's Unfold and Fold."""
    batch, h, w, c = x.type.shape
    oh, ow = logits.type.shape[1:3]
    size, windows = c // heads, oh * ow
    window = {"kernel": (3, 3), "stride": (2, 2), "pad": (1, 1, 1, 1), **window}
    weights = b(Transpose((0, 2, 1, 3, 4)), b(Reshape((batch, windows, heads, 9, 9)), logits))
    weights = b(Softmax(4), b(Mul(), weights, b.number(size**-0.5)))
    v = b(Transpose(TO_NHWC), b(Transpose(TO_NCHW), b.linear(x, c, bias=False)))
    columns = b(Reshape((batch, c * 9, windows)), b(Transpose((0, 4, 3, 1, 2)), b(Unfold(**window), v)))
    values = b(Transpose((0, 1, 4, 3, 2)), b(Reshape((batch, heads, size, 9, windows)), columns))
    mixed = b(Transpose((0, 1, 4, 3, 2)), b(Matmul(), weights, values))
    back = b(Reshape((batch, c, 9, oh, ow)), b(Reshape((batch, c * 9, windows)), mixed))
    folded = b(Fold((h, w), **window), b(Transpose((0, 3, 4, 2, 1)), back))
    return b(Transpose(TO_NHWC), b(Transpose(TO_NCHW), folded))


__all__ = [
    "Attention",
    "Builder",
    "N",
    "attention_block",
    "changed",
    "counts",
    "outlook_block",
    "random_inputs",
    "run_both",
]
