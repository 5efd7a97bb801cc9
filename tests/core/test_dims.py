"""Polynomial dimensions against plain integer arithmetic: what they evaluate to, and when they compare equal."""

import operator
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alula.core.dims import (
    LARGEST_SIZE,
    Dim,
    Expr,
    at_least,
    bounds,
    dim_at,
    dim_symbols,
    known_multiple,
    product,
    quotient,
    symbol,
)
from alula.core.errors import ShapeError
from alula.ir.literals import parse_literal

N, M = symbol("N"), symbol("M")
SIZES = {"N": 7, "M": 3}


class Tree:
    """The same formula twice: over dimensions and over integers."""

    def __init__(self, dim: Dim, value: int) -> None:
        self.dim, self.value = dim, value


def polynomial(trees: st.SearchStrategy[Tree]) -> st.SearchStrategy[Tree]:
    def apply(operation: operator, a: Tree, b: Tree) -> Tree:
        return Tree(operation(a.dim, b.dim), operation(a.value, b.value))

    return st.builds(apply, st.sampled_from([operator.add, operator.sub, operator.mul]), trees, trees)


def divided(trees: st.SearchStrategy[Tree]) -> st.SearchStrategy[Tree]:
    return st.builds(lambda a, d: Tree(a.dim // d, a.value // d), trees, st.integers(1, 6))


leaves = st.sampled_from([Tree(N, SIZES["N"]), Tree(M, SIZES["M"])]) | st.integers(-4, 9).map(lambda i: Tree(i, i))
polynomials = st.recursive(leaves, polynomial, max_leaves=5)
trees = st.recursive(leaves, lambda inner: polynomial(inner) | divided(inner), max_leaves=7)


@given(trees)
def test_arithmetic_is_that_of_integers(tree: Tree) -> None:
    assert dim_at(tree.dim, SIZES) == tree.value
    assert dim_symbols(tree.dim) <= {"N", "M"}


@given(trees)
def test_printed_dimension_parses_back(tree: Tree) -> None:
    assert parse_literal(str(tree.dim)) == tree.dim


@given(trees, trees)
def test_equal_expressions_share_one_form(a: Tree, b: Tree) -> None:
    assert a.dim + b.dim == b.dim + a.dim
    assert a.dim * b.dim == b.dim * a.dim
    assert (a.dim + b.dim) * 2 - b.dim * 2 == a.dim * 2
    assert hash(a.dim + b.dim) == hash(b.dim + a.dim)


@given(polynomials, st.integers(1, 6), st.integers(1, 6))
def test_floor_divisions_share_one_form(tree: Tree, a: int, b: int) -> None:
    assert (tree.dim // a + N) // b == (tree.dim + N * a) // (a * b)
    assert tree.dim // a // b == tree.dim // (a * b)
    assert (tree.dim + a) // a == tree.dim // a + 1
    assert (tree.dim * a) // (a * b) == tree.dim // b


@given(trees, st.integers(1, 6))
def test_quotient_is_exact(tree: Tree, divisor: int) -> None:
    assert quotient(tree.dim * divisor, divisor) == tree.dim
    assert known_multiple(tree.dim * divisor, divisor)


@given(trees, st.integers(1, 20), st.integers(1, 20))
def test_bounds_hold(tree: Tree, n: int, m: int) -> None:
    low, high = bounds(tree.dim, {"N": (1, 20), "M": (1, 20)})
    assert low <= dim_at(tree.dim, {"N": n, "M": m}) <= high


@given(trees, trees)
def test_what_is_certain_holds(a: Tree, b: Tree) -> None:
    if at_least(a.dim, b.dim):
        assert a.value >= b.value


@pytest.mark.parametrize(
    ("dim", "text"),
    [
        (N, "N"),
        (N * 4 * M, "M*N*4"),
        (N + 1, "N+1"),
        (3 - N, "N*-1+3"),
        ((N + 1) // 2, "((N+1)//2)"),
        ((N - 3) // 2 + 1, "((N+1)//2)+-1"),
        (((N - 1) // 2 + 1 - 1) // 2 + 1, "((N+3)//4)"),
        (N * 0, "0"),
    ],
)
def test_text(dim: Dim, text: str) -> None:
    assert str(dim) == text


def test_quotients() -> None:
    assert quotient(N * 12 * M, N * 3) == M * 4
    assert quotient(12, 4) == 3
    assert (N * M) // N == M
    assert product([N, 3, M]) == N * M * 3
    assert product([]) == 1
    for value, divisor in [(N, 2), (N + 1, N), (7, 2), (7, 0), (N, 0), (5, N), (N, N + 1)]:
        with pytest.raises(ValueError, match="expected a multiple"):
            quotient(value, divisor)


def test_certainty() -> None:
    assert at_least(N, 1)
    assert at_least(N * M + 2, 3)
    assert at_least(N + 1, N)
    assert not at_least(N, 2)
    assert not at_least(N, M)
    assert bounds(N) == (1, LARGEST_SIZE)
    assert bounds(10 - N, {"N": (1, 12)}) == (-2, 9)


@pytest.mark.parametrize("divisor", [0, -1, -2, 1 << 80])
def test_strange_divisors_are_refused(divisor: int) -> None:
    with pytest.raises(ShapeError, match="expected a divisor of 1"):
        N // divisor


def grow_degree() -> Dim:
    dim: Dim = N
    for _ in range(1000):
        dim = dim * N
    return dim


def grow_terms() -> Dim:
    return sum((symbol(f"s{i}") for i in range(1000)), start=N)


def grow_products() -> Dim:
    dim: Dim = 1
    for i in range(1000):
        dim = dim * (symbol(f"s{i}") + 1)
    return dim


def grow_divisions() -> Dim:
    dim: Dim = N
    for i in range(1000):
        dim = (dim + M) // 2 + (dim * 2 + N * (i + 1)) // 3
    return dim


def grow_coefficients() -> Dim:
    dim: Dim = N
    for _ in range(1000):
        dim = dim * 3
    return dim


def grow_divisor() -> Dim:
    dim: Dim = N + M
    for _ in range(1000):
        dim = (dim + 1) // 3
    return dim


@pytest.mark.parametrize(
    "grow", [grow_degree, grow_terms, grow_products, grow_divisions, grow_coefficients, grow_divisor]
)
def test_what_would_grow_without_end_is_refused_soon(grow) -> None:
    start = time.perf_counter()
    with pytest.raises(ShapeError, match="dimension: expected"):
        grow()
    assert time.perf_counter() - start < 2


def test_evaluation_needs_every_size() -> None:
    assert isinstance(N + M, Expr)
    with pytest.raises(KeyError):
        (N + M).at({"N": 1})
