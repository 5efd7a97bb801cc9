import numpy as np
import pytest

from alula.ir.graph import Value
from alula.ops.attention import Attention
from alula.ops.elementwise import Add, Div, Exp, Mul
from alula.ops.logic import IsNan, Where
from alula.ops.matmul import Matmul
from alula.ops.shape import Expand, Reshape, Transpose
from alula.ops.softmax import Softmax
from alula.passes.fuse_attention import FuseAttention
from alula.passes.pipeline import optimise
from tests.passes.graphs import Builder, N, attention_block, changed, counts, run_both

HEADS, SIZE, ROWS, KEYS = 2, 4, 5, 7


def split(b: Builder, x: Value, rows: int, size: int = SIZE) -> Value:
    """[b,rows,heads*size] -> [b,heads,rows,size]"""
    return b(Transpose((0, 2, 1, 3)), b(Reshape((N, rows, HEADS, size)), x))


def built(
    *,
    where: str = "scores",
    bias: tuple[int, ...] | None = None,
    axis: int = 3,
    probabilities: bool = False,
    values: int = SIZE,
) -> Builder:
    """Cross-attention as PyTorch models write it."""
    b = Builder((N, ROWS, HEADS * SIZE), (N, KEYS, HEADS * SIZE), (N, KEYS, HEADS * values))
    q, k, v = split(b, b.inputs[0], ROWS), split(b, b.inputs[1], KEYS), split(b, b.inputs[2], KEYS, values)
    if where in ("q", "both"):
        q = b(Mul(), q, b.number(0.5))
    if where in ("k", "both"):
        k = b(Div(), k, b.number(2))
    scores = b(Matmul(), q, b(Transpose((0, 1, 3, 2)), k))
    if where == "scores":
        scores = b(Mul(), b.number(0.5), scores)
    if bias is not None:
        scores = b(Add(), scores, b.constant(*bias))
    weights = b(Softmax(axis), scores)
    mixed = b(Matmul(), weights, v)
    out = b(Reshape((N, ROWS, HEADS * values)), b(Transpose((0, 2, 1, 3)), mixed))
    b.finish(out, *([weights] if probabilities else []))
    return b


@pytest.mark.parametrize(("where", "scale"), [("scores", 0.5), ("q", 0.5), ("k", 0.5), ("both", 0.25), ("none", 1.0)])
def test_wherever_the_scale_stands(where: str, scale: float) -> None:
    graph = built(where=where).graph
    assert changed(graph, FuseAttention()) == 1
    (fused,) = [node for node in graph.nodes if isinstance(node.op, Attention)]
    assert fused.op == Attention(HEADS, scale)
    optimise(graph)
    assert [node.inputs for node in graph.nodes] == [tuple(graph.inputs)]


def test_values_of_another_size() -> None:
    graph = built(values=3).graph
    run_both(graph, lambda: optimise(graph))
    assert counts(graph) == {"attention": 1}


@pytest.mark.parametrize("bias", [(1, HEADS, ROWS, KEYS), (ROWS, KEYS), (KEYS,), (1, 1, ROWS, KEYS), (HEADS, 1, KEYS)])
@pytest.mark.parametrize("where", ["scores", "q"])
def test_a_bias_of_the_scores(bias: tuple[int, ...], where: str) -> None:
    graph = built(bias=bias, where=where).graph
    run_both(graph, lambda: optimise(graph))
    assert counts(graph) == {"attention": 1}
    (fused,) = graph.nodes
    assert fused.inputs[3].type.shape == (1, 1, 1, *bias)[-4:]


def windows(*, per_image: int = 4, period: int = 4, mask_first: bool = False, reshaped: bool = False) -> Builder:
    """Attention within windows, with a position bias and a mask for each window, both as exporters leave them."""
    b = Builder(*((N, per_image, rows, HEADS * SIZE) for rows in (ROWS, KEYS, KEYS)))
    q, k, v = (
        b(Transpose((0, 2, 1, 3)), b(Reshape((N * per_image, rows, HEADS, SIZE)), x))
        for x, rows in zip(b.inputs, (ROWS, KEYS, KEYS), strict=True)
    )
    scores = b(Mul(), b(Matmul(), q, b(Transpose((0, 1, 3, 2)), k)), b.number(0.5))
    position, mask = b.constant(1, HEADS, ROWS, KEYS), b.constant(1, period, 1, ROWS, KEYS)
    apart = (N * (per_image // period), period, HEADS, ROWS, KEYS)
    if reshaped:  # as the paper's own program has it
        scores = b(Add(), b(Reshape(apart), b(Add(), scores, position)), mask)
        scores = b(Reshape((N * per_image, HEADS, ROWS, KEYS)), scores)
    else:  # as transformers has it
        repeated = b(Expand((*apart[:2], 1, *apart[3:])), mask)
        repeated = b(Reshape((N * per_image, 1, ROWS, KEYS)), repeated)
        both = (repeated, position) if mask_first else (position, repeated)
        scores = b(Add(), scores, b(Add(), *both))
    b.finish(b(Matmul(), b(Softmax(3), scores), v))
    return b


@pytest.mark.parametrize("form", [{}, {"mask_first": True}, {"reshaped": True}, {"per_image": 6, "period": 3}])
def test_windows_with_a_bias_and_a_mask_each(form: dict) -> None:
    graph = windows(**form).graph
    assert changed(graph, FuseAttention()) == 1
    optimise(graph)
    (fused,) = [node for node in graph.nodes if isinstance(node.op, Attention)]
    assert fused.op == Attention(HEADS, 0.5)
    assert fused.inputs[3].type.shape == (form.get("period", 4), HEADS, ROWS, KEYS)
    assert fused.inputs[3].is_constant


def test_a_bias_that_is_computed() -> None:
    b = Builder((N, ROWS, SIZE), (N, KEYS, SIZE), (N, KEYS, SIZE), (N, ROWS, KEYS))
    dots = b(Matmul(), b.inputs[0], b(Transpose((0, 2, 1)), b.inputs[1]))
    scores = b(Add(), b(Exp(), b.inputs[3]), dots)
    graph = b.finish(b(Matmul(), b(Softmax(2), scores), b.inputs[2]))
    assert changed(graph, FuseAttention()) == 1
    assert counts(graph) == {"attention": 1, "exp": 1, "reshape": 1}


@pytest.mark.parametrize("shape", [(1, HEADS, ROWS, 1), (ROWS, 1)], ids=str)
def test_a_bias_without_keys_is_refused(shape: tuple[int, ...]) -> None:
    assert changed(built(bias=shape).graph, FuseAttention()) == 0


def test_a_bias_before_the_scale_is_refused() -> None:
    b = Builder((N, ROWS, SIZE), (N, KEYS, SIZE), (N, KEYS, SIZE))
    scores = b(Add(), b(Matmul(), b.inputs[0], b(Transpose((0, 2, 1)), b.inputs[1])), b.constant(ROWS, KEYS))
    weights = b(Softmax(2), b(Mul(), scores, b.number(0.5)))
    assert changed(b.finish(b(Matmul(), weights, b.inputs[2])), FuseAttention()) == 0


@pytest.mark.parametrize("case", [{"axis": 2}, {"probabilities": True}])
def test_anything_else_is_refused(case: dict) -> None:
    assert changed(built(**case).graph, FuseAttention()) == 0


def test_heads_that_are_interleaved_with_their_columns_are_refused() -> None:
    b = Builder(*((N, rows, SIZE * HEADS) for rows in (ROWS, KEYS, KEYS)))
    q, k, v = (
        b(Transpose((0, 3, 1, 2)), b(Reshape((N, rows, SIZE, HEADS)), x))
        for x, rows in zip(b.inputs, (ROWS, KEYS, KEYS), strict=True)
    )
    weights = b(Softmax(3), b(Matmul(), q, b(Transpose((0, 1, 3, 2)), k)))
    assert changed(b.finish(b(Matmul(), weights, v)), FuseAttention()) == 0


def test_keys_that_are_shared_by_all_images_are_refused() -> None:
    b = Builder((N, HEADS, ROWS, SIZE), (1, HEADS, SIZE, KEYS), (N, HEADS, KEYS, SIZE))
    weights = b(Softmax(3), b(Matmul(), *b.inputs[:2]))
    assert changed(b.finish(b(Matmul(), weights, b.inputs[2])), FuseAttention()) == 0


@pytest.mark.parametrize("where", ["scores", "q", "k"])
def test_q_k_and_v_are_slices_of_one_tensor(where: str, golden: object) -> None:
    b = Builder((N, 5, 8))
    graph = b.finish(attention_block(b, b.inputs[0], 2, scale_on=where))
    run_both(graph, lambda: optimise(graph))
    assert str(graph) == golden("fuse_attention-block")


def test_heads_and_batch_in_one_axis() -> None:
    """As torch.baddbmm and nn.MultiheadAttention have it: [b*heads, n, d]."""
    b = Builder(*((N, rows, HEADS * SIZE) for rows in (ROWS, KEYS, KEYS)))
    q, k, v = (
        b(Reshape((N * HEADS, rows, SIZE)), split(b, x, rows))
        for x, rows in zip(b.inputs, (ROWS, KEYS, KEYS), strict=True)
    )
    scores = b(Reshape((N, HEADS, ROWS, KEYS)), b(Matmul(), q, b(Transpose((0, 2, 1)), k)))
    weights = b(Reshape((N * HEADS, ROWS, KEYS)), b(Softmax(3), scores))
    mixed = b(Transpose((0, 2, 1, 3)), b(Reshape((N, HEADS, ROWS, SIZE)), b(Matmul(), weights, v)))
    graph = b.finish(b(Reshape((N, ROWS, HEADS * SIZE)), mixed))
    run_both(graph, lambda: optimise(graph))
    assert counts(graph) == {"attention": 1}


def test_one_head_without_any_split() -> None:
    b = Builder((N, ROWS, SIZE), (N, KEYS, SIZE), (N, KEYS, SIZE))
    weights = b(Softmax(2), b(Matmul(), b.inputs[0], b(Transpose((0, 2, 1)), b.inputs[1])))
    graph = b.finish(b(Matmul(), weights, b.inputs[2]))
    assert changed(graph, FuseAttention()) == 1
    assert counts(graph) == {"attention": 1}


def test_weights_with_a_guard_against_rows_that_a_mask_hides() -> None:
    """where(isnan(w), 0, w), as PyTorch's exporter to ONNX writes it with or without a mask."""
    b = Builder((N, ROWS, SIZE), (N, KEYS, SIZE), (N, KEYS, SIZE))
    weights = b(Softmax(2), b(Matmul(), b.inputs[0], b(Transpose((0, 2, 1)), b.inputs[1])))
    guarded = b(Where(), b(IsNan(), weights), b.number(0.0), weights)
    graph = b.finish(b(Matmul(), guarded, b.inputs[2]))
    assert changed(graph, FuseAttention()) == 1
    assert counts(graph) == {"attention": 1}
    b = Builder((N, ROWS, SIZE), (N, KEYS, SIZE), (N, KEYS, SIZE))
    weights = b(Softmax(2), b(Matmul(), b.inputs[0], b(Transpose((0, 2, 1)), b.inputs[1])))
    guarded = b(Where(), b(IsNan(), weights), b.number(1.0), weights)
    assert changed(b.finish(b(Matmul(), guarded, b.inputs[2])), FuseAttention()) == 0


@pytest.mark.parametrize(("hidden", "fused"), [(KEYS - 1, 1), (KEYS, 0)])
def test_a_guard_is_needed_where_a_row_is_hidden_as_a_whole(hidden: int, fused: int) -> None:
    b = Builder((N, ROWS, SIZE), (N, KEYS, SIZE), (N, KEYS, SIZE))
    mask = np.zeros((ROWS, KEYS), np.float32)
    mask[2, :hidden] = -np.inf
    scores = b(Add(), b(Matmul(), b.inputs[0], b(Transpose((0, 2, 1)), b.inputs[1])), b.graph.constant(mask))
    weights = b(Softmax(2), scores)
    guarded = b(Where(), b(IsNan(), weights), b.number(0.0), weights)
    assert changed(b.finish(b(Matmul(), guarded, b.inputs[2])), FuseAttention()) == fused
