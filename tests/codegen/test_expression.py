"""Which terms of an expression need not be exact: those that are narrowed next."""

import pytest

from alula.codegen import expression
from alula.codegen.expression import Expression, Term
from alula.core.dtype import DType
from alula.ops.elementwise import Add, Cast, Gelu, Mul, Relu
from alula.ops.quantize import Quantize

NARROW, BYTES = Cast(DType.BF16), Quantize(1.0, 0)


@pytest.mark.parametrize(
    ("terms", "coarse"),
    [
        ([Term(Gelu(), (0,)), Term(NARROW, (1,))], True),
        ([Term(Gelu(), (0,)), Term(BYTES, (1, 0.5, 3.0))], True),
        ([Term(Gelu(), (0,)), Term(Mul(), (1, 0)), Term(BYTES, (2, 0.5, 3.0))], True),
        ([Term(Gelu(), (0,)), Term(Mul(), (2.0, 1)), Term(Mul(), (2, 0)), Term(NARROW, (3,))], True),
        ([Term(Gelu(), (0,))], False),
        ([Term(Gelu(), (0,)), Term(Relu(), (1,))], False),
        ([Term(Gelu(), (0,)), Term(Add(), (1, 0)), Term(NARROW, (2,))], False),
        ([Term(Gelu(), (0,)), Term(NARROW, (0,))], False),
        ([Term(Gelu(), (0,)), Term(BYTES, (0, 1, 3.0))], False),
        ([Term(Gelu(), (0,)), Term(Mul(), (0, 0)), Term(NARROW, (2,))], False),
    ],
    ids=lambda value: value if isinstance(value, bool) else "-".join(term.op.name for term in value),
)
def test_what_is_narrowed_next_is_coarse(terms: list, coarse: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(expression, "emit_op", lambda e, op, vectors, coarse: seen.append((op, coarse)) or op)

    class Numbers:
        parameters = ()

        def constant(self, number: float) -> float:
            return number

    Expression(1, terms=tuple(terms)).emit(Numbers(), ["seed"], lambda n: n)
    assert seen[0] == (Gelu(), coarse)
