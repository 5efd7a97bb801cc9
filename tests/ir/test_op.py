"""Registration, attributes and operand counts of ops; the shape of a type."""

from dataclasses import FrozenInstanceError, dataclass
from typing import ClassVar

import pytest

from alula.core.dims import symbol
from alula.core.dtype import DType
from alula.core.errors import GraphError, ShapeError
from alula.ir.op import OPS, Op, infer_types, operand_counts, register
from alula.ir.types import TensorType, fixed
from alula.ops.conv import Conv2d
from alula.ops.elementwise import Add, Clip, Relu
from alula.ops.matmul import Linear
from alula.ops.shape import Concat, Pad, Reshape, Slice

N = symbol("N")


def test_a_name_is_registered_once() -> None:
    @dataclass(frozen=True, slots=True)
    class Second(Op):
        name: ClassVar[str] = "relu"

    with pytest.raises(GraphError, match="op relu: expected one definition, got Relu and Second"):
        register(Second)
    assert OPS["relu"] is Relu


def test_attributes_are_what_differs_from_defaults() -> None:
    assert Conv2d().attributes() == {}
    assert Conv2d(stride=(2, 2), groups=1).attributes() == {"stride": (2, 2)}
    assert Clip(0.0, 6.0).attributes() == {"low": 0.0, "high": 6.0}


def test_ops_are_values() -> None:
    assert Reshape((N, 4)) == Reshape((N, 4))
    assert len({Conv2d(), Conv2d(groups=1), Conv2d(groups=2)}) == 2
    with pytest.raises(FrozenInstanceError):
        Clip(0.0, 1.0).low = 2.0


def test_named_sizes_are_put_in_everywhere() -> None:
    assert Slice(0, N - 1, N * 2, 3).at({"N": 5}) == Slice(0, 4, 10, 3)
    assert Reshape((N, (N + 1) // 2)).at({"N": 5}) == Reshape((5, 3))
    assert Pad((1,), (2,), 3.0).at({"N": 5}) == Pad((1,), (2,), 3.0)


def test_operand_counts() -> None:
    assert operand_counts(Relu) == (1, 1)
    assert operand_counts(Add) == (2, 2)
    assert operand_counts(Linear) == (2, 3)
    assert operand_counts(Concat) == (1, None)
    with pytest.raises(ShapeError, match="expected at least 1 operands, got 0"):
        infer_types(Concat(0), [])


def test_types() -> None:
    type = TensorType(DType.BF16, (N, 3, 0))
    assert str(type) == "bf16[N,3,0]"
    assert (type.rank, type.elements, type.bytes) == (3, 0, 0)
    assert str(type.cast(DType.F32).reshaped(N * 3)) == "f32[N*3]"
    assert TensorType(DType.F32, (N, 3)).bytes == N * 12
    assert TensorType(DType.F32, ()).bytes == 4
    assert type.at({"N": 7}) == (7, 3, 0)
    assert type.symbols() == {"N"}
    assert type.dims("NCW") == (N, 3, 0)
    with pytest.raises(ShapeError, match=r"expected rank 2 \(n,c\), got bf16\[N,3,0\]"):
        type.dims("NC")
    with pytest.raises(ShapeError, match="expected a fixed width, got N"):
        fixed(N, "width")


@pytest.mark.parametrize("shape", [(-1,), (1.0,), (True,), ("N",), (None,), ((1 << 40) + 1,), (1,) * 33], ids=str)
def test_shapes_that_are_none(shape: tuple[object, ...]) -> None:
    with pytest.raises(ShapeError):
        TensorType(DType.F32, shape)
