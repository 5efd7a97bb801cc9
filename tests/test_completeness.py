"""Every registered op is whole: inference, reference, cases for the property tests, and tests of its family."""

from pathlib import Path

import pytest

import alula.ops
from alula.ir.op import OPS, Op
from tests.ops.cases import CASES

HERE = Path(__file__).parent


@pytest.mark.parametrize("name", sorted(OPS))
def test_op_has_inference_reference_cases_and_tests(name: str) -> None:
    op = OPS[name]
    assert op.name == name
    assert op.infer is not Op.infer
    assert op.reference is not Op.reference
    assert name in CASES
    tests = HERE / "ops" / f"test_{op.__module__.rpartition('.')[2]}.py"
    assert op.__name__ in tests.read_text(encoding="utf-8")


def test_every_family_registers_something() -> None:
    families = {op.__module__.rpartition(".")[2] for op in OPS.values()}
    assert families == set(alula.ops.__all__)
