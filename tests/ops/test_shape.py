"""Movement of elements against PyTorch, and what would read outside of an operand."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from alula.core.dims import symbol
from alula.core.dtype import DType
from alula.core.errors import GraphError, ShapeError
from alula.ops.reference import apply_op
from alula.ops.shape import Concat, Expand, Pad, Reshape, Slice, Transpose
from tests.ops.cases import fill, infer, refusal, types

N, M = symbol("N"), symbol("M")
X = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 4)
T = torch.from_numpy(X)


def test_references_against_pytorch() -> None:
    assert np.array_equal(Reshape((4, 6)).reference(X), T.reshape(4, 6).numpy())
    assert np.array_equal(Transpose((2, 0, 1)).reference(X), T.permute(2, 0, 1).numpy())
    assert np.array_equal(Slice(2, 1, 4, 2).reference(X), T[:, :, 1:4:2].numpy())
    assert np.array_equal(Slice(1, 3, 3).reference(X), T[:, 3:3].numpy())
    assert np.array_equal(Concat(1).reference(X, X[:, :1], X), torch.cat([T, T[:, :1], T], 1).numpy())
    assert np.array_equal(Expand((5, 2, 3, 4)).reference(X), T.expand(5, 2, 3, 4).numpy())
    assert np.array_equal(Expand((2, 3)).reference(X[:, :1, 0]), T[:, :1, 0].expand(2, 3).numpy())
    wanted = F.pad(T, (3, 0, 2, 1, 0, 1), value=-1.5).numpy()
    assert np.array_equal(Pad((0, 2, 3), (1, 1, 0), -1.5).reference(X), wanted)


@pytest.mark.parametrize("dtype", DType)
def test_every_dtype_keeps_its_bits(dtype: DType) -> None:
    (type,) = types(dtype, (2, 3))
    x = fill(type, {})
    (turned,) = apply_op(Transpose((1, 0)), x)
    (around,) = apply_op(Pad((1, 0), (0, 2)), turned)
    (back,) = apply_op(Slice(0, 1, 4), around)
    (back,) = apply_op(Slice(1, 0, 2), back)
    assert back.dtype == x.dtype
    assert np.array_equal(back, turned)
    assert np.array_equal(back.T, x)


def test_rank_0_and_empty() -> None:
    assert Reshape(()).reference(np.ones((1, 1))).shape == ()
    assert Transpose(()).reference(np.array(3)).shape == ()
    assert Expand((2, 0)).reference(np.array(3)).shape == (2, 0)
    assert Pad((), (), 2.0).reference(np.array(3)) == 3
    assert Pad((1,), (2,), 7.0).reference(np.zeros(0, np.int8)).tolist() == [7, 7, 7]


def test_inferred_types() -> None:
    assert infer(Reshape((N * 4, 3)), "f32[N,2,6]") == "f32[N*4,3]"
    assert infer(Reshape((0, 7)), "f32[5,0]") == "f32[0,7]"
    assert infer(Transpose((1, 2, 0)), "u8[N,2,6]") == "u8[2,6,N]"
    assert infer(Slice(0, 0, N), "f32[N]") == "f32[N]"
    assert infer(Slice(0, 1, N, 2), "f32[N]") == "f32[((N)//2)]"
    assert infer(Slice(0, 0, 1), "f32[N]") == "f32[1]"
    assert infer(Slice(1, 2, 7, 3), "f32[N,7]") == "f32[N,2]"
    assert infer(Concat(0), "f32[N,2]", "f32[1,2]", "f32[N,2]") == "f32[N*2+1,2]"
    assert infer(Concat(0), "f32[3]") == "f32[3]"
    assert infer(Expand((N, 2, 3)), "f32[2,1]") == "f32[N,2,3]"
    assert infer(Pad((1, 0), (2, 3)), "f32[N,5]") == "f32[N+3,8]"


def test_refusals() -> None:
    assert refusal(Reshape((2, 5)), "f32[N,2]") == "expected a shape of N*2 elements for f32[N,2], got f32[2,5]"
    assert refusal(Reshape((-2, -3)), "f32[6]") == f"expected dimensions of 0..{1 << 40}, got f32[-2,-3]"
    assert refusal(Transpose((0, 0)), "f32[2,3]") == "expected a permutation of the 2 axes of f32[2,3], got (0, 0)"
    assert "permutation" in refusal(Transpose((-1, 0)), "f32[2,3]")
    assert "permutation" in refusal(Transpose((0,)), "f32[2,3]")
    assert refusal(Slice(2, 0, 1), "f32[2,3]") == "expected an axis of 0..1, got 2 for f32[2,3]"
    assert "expected an axis" in refusal(Slice(-1, 0, 1), "f32[2,3]")
    assert "expected an axis" in refusal(Slice(0, 0, 0), "f32[]")
    assert refusal(Slice(0, 0, 3), "f32[2]") == "expected axis 0 of 3 or more, got 2"
    assert refusal(Slice(0, 0, 2), "f32[N]") == "expected axis 0 of 2 or more, got N"
    assert refusal(Slice(0, 0, M), "f32[N]") == "expected axis 0 of M or more, got N"
    assert refusal(Slice(0, 2, 1), "f32[5]") == "expected stop of 2 or more, got 1"
    assert refusal(Slice(0, -1, 1), "f32[5]") == "expected start of 0 or more, got -1"
    assert refusal(Slice(0, 0, 1, 0), "f32[5]") == "expected step of 1 or more, got 0"
    assert refusal(Slice(0, 0, 1, -1), "f32[5]") == "expected step of 1 or more, got -1"
    assert refusal(Concat(0)) == "expected at least 1 operands, got 0"
    assert (
        refusal(Concat(1), "f32[2,3]", "f32[3,3]") == "expected the shape of f32[2,3] except for axis 1, got f32[3,3]"
    )
    assert "except for axis 0" in refusal(Concat(0), "f32[2,3]", "f32[2]")
    assert refusal(Concat(0), "f32[2]", "f16[2]") == "expected f32, got f16[2]"
    assert refusal(Expand((3,)), "f32[2]") == "expected shapes that broadcast, got [2] and [3]"
    assert refusal(Expand((2,)), "f32[3,2]") == "expected a shape that f32[3,2] broadcasts to, got f32[2]"
    assert refusal(Expand((1,)), "f32[3]") == "expected a shape that f32[3] broadcasts to, got f32[1]"
    assert "expected 2 counts" in refusal(Pad((0,), (0,)), "f32[2,3]")
    assert refusal(Pad((-1,), (0,)), "f32[2]") == "expected a count of 0 or more, got -1"
    assert refusal(Pad((0,), (0,), 0.5), "u8[2]") == "expected a value that u8 holds, got 0.5"
    assert refusal(Pad((0,), (0,), -1.0), "u8[2]") == "expected a value that u8 holds, got -1.0"
    assert refusal(Pad((0,), (0,), 2.0), "bool[2]") == "expected a value that bool holds, got 2.0"
    assert refusal(Pad((0,), (0,), float("inf")), "i32[2]") == "expected a value that i32 holds, got inf"
    assert "expected rank 32 or less" in refusal(Expand((1,) * 33), "f32[]")


def test_attributes_of_wrong_types() -> None:
    for make in (
        lambda: Slice(0.0, 0, 1),
        lambda: Slice(True, 0, 1),
        lambda: Slice(0, "0", 1),
        lambda: Slice(0, 0, 1.5),
    ):
        with pytest.raises(GraphError, match=r"slice [a-z]+: expected (int|dimension), got"):
            make()
    with pytest.raises(GraphError, match=r"transpose perm: expected \(int, \.\.\.\), got \[0, 1\]"):
        Transpose([0, 1])
    with pytest.raises(GraphError, match=r"reshape shape: expected \(dimension, \.\.\.\), got"):
        Reshape((1, 1 << 41))


def test_named_sizes_are_put_in_before_the_reference_runs() -> None:
    op = Reshape((N, 6))
    assert op.at({"N": 4}) == Reshape((4, 6))
    assert op.at({"N": 4}).reference(X).shape == (4, 6)
    with pytest.raises(ShapeError, match="expected a fixed shape, got N"):
        op.reference(X)
