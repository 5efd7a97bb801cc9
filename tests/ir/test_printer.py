"""The text of a graph: a golden one to read, and its way back for every graph that hypothesis thinks of."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alula.core.dims import symbol
from alula.core.dtype import DType
from alula.ir.literals import parse_literal
from alula.ir.parser import parse_graph
from alula.ir.printer import print_attribute, print_graph
from alula.ir.verifier import verify
from tests.ir.graphs import description, elements, graphs, small_network


def test_small_network(golden) -> None:
    assert print_graph(small_network(), origins=True) == golden


def test_str_leaves_origins_out() -> None:
    text = str(small_network())
    assert "#" not in text
    assert text == print_graph(small_network())


@settings(deadline=None, max_examples=150)
@given(graphs())
def test_parse_takes_back_what_print_wrote(graph) -> None:
    text = print_graph(graph, origins=True)
    parsed = parse_graph(text, elements(graph))
    assert description(parsed) == description(graph)
    assert print_graph(parsed, origins=True) == text
    verify(graph)
    verify(parsed)


literals = st.recursive(
    st.one_of(
        st.integers(-(1 << 40), 1 << 40),
        st.floats(allow_nan=False),
        st.booleans(),
        st.text(),
        st.sampled_from([*DType, symbol("N"), symbol("N") * 4 + 1, (symbol("N") + 1) // 2 * symbol("m_1")]),
    ),
    lambda inner: st.lists(inner, max_size=3).map(tuple),
)


@given(literals)
def test_literals_come_back(value: object) -> None:
    text = print_attribute(value)
    assert text.isprintable()
    parsed = parse_literal(text)
    assert parsed == value
    assert repr(parsed) == repr(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ((3,), "(3,)"),
        ((), "()"),
        (-math.inf, "-inf"),
        (1e-5, "1e-05"),
        ('a"b\\c\n\t\0é\ud800\u2028', r'"a\"b\\c\n\t\x00é\ud800\u2028"'),
        (True, "True"),
        (DType.BF16, "bf16"),
    ],
)
def test_spelling(value: object, text: str) -> None:
    assert print_attribute(value) == text


@pytest.mark.parametrize("value", [None, [1], {1: 2}, b"", 1j, np.float32(1), np.int64(1)], ids=repr)
def test_what_is_no_attribute(value: object) -> None:
    with pytest.raises(TypeError, match="expected a literal, dimension or dtype"):
        print_attribute(value)
