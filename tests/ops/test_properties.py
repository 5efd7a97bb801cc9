"""What holds for every op: types inferred are types computed, and hostile attributes or operands raise AlulaError."""

import warnings
from dataclasses import fields

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alula.core.dims import symbol
from alula.core.dtype import DType
from alula.core.errors import AlulaError
from alula.ir.op import OPS, infer_types
from alula.ir.types import TensorType
from alula.ops.reference import apply_op
from tests.ops.cases import CASES, Case, concrete, fill


@pytest.mark.parametrize("name", sorted(OPS))
@settings(max_examples=40, deadline=None)
@given(data=st.data(), size=st.integers(1, 3))
def test_inferred_types_are_computed_types(name: str, data: st.DataObject, size: int) -> None:
    case: Case = data.draw(CASES[name])
    sizes = {"N": size}
    inferred = infer_types(*case)
    op, operands = concrete(case, sizes)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        outputs = apply_op(op, *(fill(type, {}, seed) for seed, type in enumerate(operands)))
    wanted = tuple(type.reshaped(*type.at(sizes)) for type in inferred)
    assert wanted == infer_types(op, operands) == tuple(TensorType.of(output) for output in outputs)


HOSTILE = st.one_of(
    st.integers(-2, 3),
    st.integers(-(1 << 70), 1 << 70),
    st.floats(),
    st.booleans(),
    st.text(max_size=3),
    st.sampled_from([DType.F32, DType.BF16, DType.U8, symbol("N"), symbol("M") * -1 + 3, None, 1j, b""]),
)
ATTRIBUTES = st.one_of(HOSTILE, st.lists(st.one_of(st.integers(-1, 3), HOSTILE), max_size=4).map(tuple))
OPERANDS = st.builds(
    TensorType,
    st.sampled_from([DType.F32, DType.F32, DType.F32, DType.U8, DType.BOOL, DType.BF16]),
    st.lists(st.one_of(st.integers(0, 4), st.sampled_from([symbol("N"), symbol("M"), 1 << 40])), max_size=5).map(tuple),
)


@pytest.mark.parametrize("name", sorted(OPS))
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_hostile_attributes_and_operands_raise_only_our_errors(name: str, data: st.DataObject) -> None:
    op, operands = data.draw(CASES[name])
    attributes = {field.name: getattr(op, field.name) for field in fields(op)}
    for key in data.draw(st.sets(st.sampled_from(sorted(attributes)))) if attributes else ():
        attributes[key] = data.draw(ATTRIBUTES)
    strange = data.draw(st.one_of(st.just(operands), st.lists(OPERANDS, max_size=4)))
    message = ""
    try:
        infer_types(type(op)(**attributes), strange)
    except AlulaError as error:
        message = str(error)
    assert len(message) < 2000
    assert "\n" not in message
