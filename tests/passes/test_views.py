import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alula.core.dims import common_factors, symbol
from alula.core.dtype import Array
from alula.ops.shape import Reshape, Transpose
from alula.passes.views import View

N = symbol("N")


def applied(view: View, x: Array) -> Array:
    for op in view.ops():
        x = op.reference(x)
    return x


@st.composite
def factorisations(draw: st.DrawFn, size: int) -> tuple[int, ...]:
    """A shape of `size` elements, dimensions of 1 among them."""
    dims, rest = [], size
    for prime in (2, 2, 2, 3, 3, 5):
        if rest % prime == 0:
            rest //= prime
            if dims and draw(st.booleans()):
                dims[-1] *= prime
            else:
                dims.append(prime)
    dims = draw(st.permutations(dims))
    for _ in range(draw(st.integers(0, 2))):
        dims.insert(draw(st.integers(0, len(dims))), 1)
    return tuple(dims)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_chain_of_views_is_what_numpy_makes_of_it(data: st.DataObject) -> None:
    source = data.draw(factorisations(360))
    view, x = View.identity(source), np.arange(360).reshape(source)
    y = x
    for _ in range(data.draw(st.integers(1, 5))):
        if data.draw(st.booleans()):
            shape = data.draw(factorisations(360))
            view, y = view.reshaped(shape), y.reshape(shape)
            continue
        perm = tuple(data.draw(st.permutations(range(y.ndim))))
        turned = view.transposed(perm)
        if turned is not None:  # None: the shape cuts through factors, a new chain starts there
            view, y = turned, y.transpose(perm)
    assert view.shape == y.shape
    assert len(view.ops()) <= 3
    assert sum(isinstance(op, Transpose) for op in view.ops()) <= 1
    np.testing.assert_array_equal(applied(view, x), y)
    np.testing.assert_array_equal(applied(view.inverse(), y), x)
    np.testing.assert_array_equal(applied(view.merged(), x), y)
    whole = view.then(view.inverse())
    assert whole is not None
    assert whole.ops() == ()


@pytest.mark.parametrize(
    ("a", "b", "sizes"),
    [
        ((6, 4), (2, 12), [2, 3, 4]),
        ((6, 4), (8, 3), None),
        ((N, 196, 1536), (N, 14, 14, 3, 16, 32), [N, 14, 14, 3, 16, 32]),
        ((N * 4, 9), (N, 36), [N, 4, 9]),
        ((2, N), (N, 2), None),
        ((0, 4), (4, 0), None),
        ((1, 5, 1), (5,), [5]),
        ((), (1, 1), []),
    ],
)
def test_common_factors_are_the_coarsest(a: tuple, b: tuple, sizes: list | None) -> None:
    pieces = common_factors(a, b)
    assert (None if pieces is None else [size for _, _, size in pieces]) == sizes


def test_opposite_transposes_cancel_and_unit_axes_only_reshape() -> None:
    there = View.identity((N, 28, 28, 64)).transposed((0, 3, 1, 2))
    back = there.transposed((0, 2, 3, 1))
    assert there.ops() == (Transpose((0, 3, 1, 2)),)
    assert back.ops() == ()
    assert View.identity((N, 1, 1, 64)).transposed((0, 3, 1, 2)).ops() == (Reshape((N, 64, 1, 1)),)


def test_the_transpose_comes_last_where_both_orders_take_two_nodes() -> None:
    view = View.identity((N, 14, 14, 64)).transposed((0, 3, 1, 2)).reshaped((N, 64, 196))
    assert view.ops() == (Reshape((N, 196, 64)), Transpose((0, 2, 1)))


def test_keeps_axis() -> None:
    view = View.identity((N, 4, 6)).transposed((0, 2, 1)).reshaped((N, 6, 2, 2))
    assert view.keeps_axis(2, 1)
    assert not view.keeps_axis(1, 2)
