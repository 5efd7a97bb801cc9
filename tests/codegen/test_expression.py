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

    Expression(1, terms=tuple(terms)).emit(Numbers(), ["seed"], lambda n: n)
    assert seen[0] == (Gelu(), coarse)


class Numbers:
    """An emitter of texts."""

    parameters = ()

    def constant(self, number: float) -> float:
        return number

    def fma(self, a: object, b: object, c: object) -> str:
        return f"({a} * {b} + {c})"


PRODUCT = Term(Mul(), (0, 1))


@pytest.mark.parametrize(
    ("terms", "result"),
    [
        ([PRODUCT, Term(Add(), (3, 2))], "(a * b + c)"),
        ([PRODUCT, Term(Add(), (2, 3))], "(a * b + c)"),
        ([PRODUCT, Term(Mul(), (1, 2)), Term(Add(), (4, 3))], "(b * c + mul(a, b))"),
        ([PRODUCT, Term(Mul(), (1, 2)), Term(Add(), (3, 4))], "(b * c + mul(a, b))"),
        ([PRODUCT, Term(Add(), (3, 2)), Term(Mul(), (4, 1)), Term(Add(), (5, 2))], "((a * b + c) * b + c)"),
        ([PRODUCT, Term(Relu(), (3,)), Term(Add(), (4, 2))], "add(relu(mul(a, b)), c)"),
        ([PRODUCT, Term(Add(), (3, 3))], "add(mul(a, b), mul(a, b))"),
        ([PRODUCT, Term(Add(), (3, 2)), Term(Add(), (4, 3))], "add(add(mul(a, b), c), mul(a, b))"),
        ([PRODUCT, Term(Mul(), (3, 2))], "mul(mul(a, b), c)"),
    ],
)
def test_a_sum_takes_in_a_product_that_is_its_alone(terms: list, result: str, monkeypatch: pytest.MonkeyPatch) -> None:
    written = lambda e, op, vectors, coarse: f"{op.name}({', '.join(map(str, vectors))})"  # noqa: E731
    monkeypatch.setattr(expression, "emit_op", written)
    assert Expression(3, terms=tuple(terms)).emit(Numbers(), ["a", "b", "c"], lambda n: n) == result
