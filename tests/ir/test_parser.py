"""Hostile graph texts: GraphError and nothing else, soon, whatever they hold."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alula.core.errors import AlulaError, GraphError
from alula.ir.literals import parse_keywords, parse_literal
from alula.ir.parser import parse_graph, parse_op, parse_type
from alula.ir.printer import print_graph
from alula.ir.verifier import verify
from alula.ops.shape import Slice
from tests.ir.graphs import graphs, parse, small_network, zeros

TEXT = print_graph(small_network(), origins=True)
SECONDS = 2.0


def graph_of(*lines: str, sizes: str = "N in 1..8") -> str:
    return "\n".join([f'graph "g" ({sizes}) {{', *(f"  {line}" for line in lines), "}", ""])


INPUT = '%0 = input "x" : f32[N,4]'


def refused(text: str) -> str:
    """The one line of the GraphError that parsing and verifying `text` raises, soon."""
    start = time.perf_counter()
    with pytest.raises(GraphError) as caught:
        verify(parse(text))
    assert time.perf_counter() - start < SECONDS
    assert len(str(caught.value)) < 2000
    return str(caught.value)


def test_the_smallest_graphs() -> None:
    verify(parse(graph_of(sizes="")))
    verify(parse(graph_of(INPUT, "%1 = relu(%0) : f32[N,4]", 'output "y" = %1')))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "graph text: expected 'graph \"name\" (...) {' ... '}'"),
        ('graph "g" () {\n}', "graph text: expected 'graph \"name\" (...) {' ... '}'"),
        ("graph g () {\n}\n", "graph text: expected 'graph \"name\" (...) {' ... '}'"),
        (graph_of("nonsense"), "graph text line 2: expected an input, constant, node or output, got '  nonsense'"),
        (graph_of(INPUT, INPUT), "graph text line 3: %0: expected one definition"),
        (graph_of(INPUT, "%0 = relu(%0) : f32[N,4]"), "graph text line 3: %0: expected one definition"),
        (graph_of("%1 = relu(%0) : f32[4]"), "graph text line 2: expected a value defined above, got %0"),
        (graph_of(INPUT, "%1 = relu(%1) : f32[N,4]"), "graph text line 3: expected a value defined above, got %1"),
        (graph_of('output "y" = %7'), "graph text line 2: expected a value defined above, got %7"),
        (graph_of(INPUT, "%1 = rm(%0) : f32[N,4]"), "graph text line 3: expected a known op, got 'rm'"),
        (graph_of(INPUT, "%1 = relu(%0) : f32[N,5]"), "graph text line 3: relu: expected f32[N,4], got f32[N,5]"),
        (graph_of(INPUT, "%1, %2 = relu(%0) : f32[N,4]"), "graph text line 3: relu: expected f32[N,4], got f32[N,4]"),
        (graph_of(INPUT, "%1 = relu() : f32[N,4]"), "graph text line 3: relu %0: expected 1 operands, got 0"),
        (graph_of(INPUT, "%1 = relu(%0, %0) : f32[4]"), "graph text line 3: relu %0: expected 1 operands, got 2"),
        (
            graph_of(INPUT, "%1 = relu(%0) {x=1} : f32[N,4]"),
            "graph text line 3: relu: expected attributes among [], got 'x'",
        ),
        (graph_of(INPUT, "%1 = cast(%0) : f32[N,4]"), "graph text line 3: cast: expected attribute dtype, got none"),
        (
            graph_of(INPUT, '%1 = cast(%0) {dtype="f32"} : f32[N,4]'),
            "graph text line 3: cast dtype: expected dtype, got 'f32'",
        ),
        (graph_of('%0 = input "x" : f32[M]'), "graph text line 2: expected sizes among ['N'], got ['M']"),
        (graph_of('%0 = input "x" : f99[4]'), "graph text line 2: expected dtype[shape], got 'f99[4]'"),
        (
            graph_of('%0 = input "x" : f32[-4]'),
            "graph text line 2: expected dimensions of 0..1099511627776, got f32[-4]",
        ),
        (graph_of('%0 = input "x" : f32[4.0]'), "graph text line 2: expected a dimension, got '4.0'"),
        (graph_of('%0 = input "x" : f32[u8]'), "graph text line 2: expected a dimension, got 'u8'"),
        (graph_of('%0 = input "x" : f32[N,]'), "graph text line 2: expected a literal, got 'the end'"),
        (graph_of(sizes="N in 0..8"), "size N: expected 1 <= low <= high <= 1099511627776, got 0..8"),
        (graph_of(sizes="N in 9..8"), "size N: expected 1 <= low <= high <= 1099511627776, got 9..8"),
        (graph_of(sizes="f32 in 1..8"), "size 'f32': expected an identifier that is no dtype"),
        (
            graph_of(sizes="N in 1..8, N in 1..8"),
            "graph text line 1: expected 'name in low..high' once each, got 'N in 1..8'",
        ),
    ],
)
def test_messages(text: str, message: str) -> None:
    assert refused(text) == message


def test_arithmetic_across_sizes_and_attributes() -> None:
    """Shapes that only hold for some sizes, sizes that no input gives, tensors beyond any memory."""
    assert "certainly >= 0" in refused(graph_of('%0 = input "x" : f32[N,N*-1+7]'))
    assert "certainly >= 0" in refused(graph_of('%0 = input "x" : f32[N]', '%1 = input "y" : f32[N*-1]'))
    assert "has as a dimension ['N'], got ['M']" in refused(
        graph_of('%0 = input "x" : f32[N,0]', "%1 = reshape(%0) {shape=(M, 0)} : f32[M,0]")
    )
    assert "has as a dimension [], got ['N']" in refused(graph_of('%0 = input "x" : f32[N*2]'))
    assert "at most 70368744177664 bytes" in refused(graph_of('%0 = input "x" : f32[N,3,1099511627776]'))
    wide = graph_of(
        '%0 = input "x" : f32[1]', "%1 = expand(%0) {shape=(1048576, 1048576, 1048576)} : f32[1048576,1048576,1048576]"
    )
    assert "at most 70368744177664 bytes" in refused(wide)


@pytest.mark.parametrize("text", ["nan", "None", "_", "inf", "u8", "True", "4.0", '"N"', "(4,)", ""])
def test_words_that_are_no_dimension(text: str) -> None:
    """Names of no size of the graph, and literals of another kind."""
    refused(graph_of(f'%0 = input "x" : f32[4,{text}]'))
    refused(graph_of(INPUT, f"%1 = reshape(%0) {{shape=(4, {text})}} : f32[4]"))


LONG = 60_000
HOSTILE_LITERALS = [
    "(" * LONG,
    "(" * LONG + ")" * LONG,
    "(" * 33 + "1" + ")" * 33,
    "-" * LONG + "1",
    "--1",
    "-N",
    "+".join(["1"] * 10000) + "+",
    "*".join(["N"] * 10000),
    "+".join(f"s{i}" for i in range(5000)),
    "*".join(f"(s{i}+1)" for i in range(5000)),
    "N" + "//2*3" * 5000,
    "(" * 30 + "N" + "//3+1)" * 30 + "//",
    "9" * LONG,
    "99999999999999999999",
    "1_000",
    "0x10",
    "1e",
    ".5",
    "1.",
    "1e5.5",
    "1j",
    "[1]",
    "{}",
    "f(1)",
    "N.real",
    "N // 0",
    "N // N",
    "N / 2",
    "N - 1",
    "N ** 9",
    "1 if 1 else 1",
    "lambda: 1",
    "u8 + 1",
    '"a" * 9',
    "1.5 + 1",
    "True + 1",
    "(1, 2) + (3,)",
    "(,)",
    "(1,,2)",
    "(1 2)",
    "1 2",
    '"open',
    "'a'",
    r'"\q"',
    r'"\x4"',
    r'"\U00110000"',
    '"' + "\\" * LONG,
    '"a\nb"',
    "\0",
    "é",
    "\u0661",
    "１",
    "N\u200b",
    "\ud800",
    "#",
    "%0",
]


@pytest.mark.parametrize("text", HOSTILE_LITERALS, ids=lambda text: ascii(text[:20]))
def test_hostile_literals(text: str) -> None:
    start = time.perf_counter()
    with pytest.raises(AlulaError) as caught:
        parse_literal(text)
    assert len(str(caught.value)) < 300
    refused(graph_of(f'%0 = input "x" : f32[{text}]'))
    refused(graph_of(INPUT, f"%1 = reshape(%0) {{shape=({text},)}} : f32[4]"))
    refused(graph_of(INPUT, f"%1 = leaky_relu(%0) {{slope={text}}} : f32[N,4]"))
    assert time.perf_counter() - start < SECONDS


@pytest.mark.parametrize(
    "text", ["a", "a=", "=1", "a=1 b=2", "a=1,", "a=1, a=1", "1=1", "a==1", ",", "a=1,,b=2", "**a=1"]
)
def test_hostile_keywords(text: str) -> None:
    with pytest.raises(GraphError):
        parse_keywords(text)


HOSTILE_ATTRIBUTES = [
    ("max_pool2d", "kernel=(2, 2), stride=(0, 1)"),
    ("max_pool2d", "kernel=(-2, 2), stride=(1, 1)"),
    ("max_pool2d", "kernel=2, stride=(1, 1)"),
    ("max_pool2d", "kernel=(2, 2, 2), stride=(1, 1)"),
    ("max_pool2d", 'kernel=("2", 2), stride=(1, 1)'),
    ("max_pool2d", "kernel=(2, 2), stride=(1, 1), ceil_mode=1"),
    ("max_pool2d", "kernel=(True, True), stride=(1, 1)"),
    ("max_pool2d", "kernel=(1.0, 1.0), stride=(1, 1)"),
    ("max_pool2d", "kernel=(N, N), stride=(1, 1)"),
    ("max_pool2d", "kernel=(1099511627776, 1), stride=(1, 1)"),
    ("unfold", "kernel=(1, 1), stride=(1, 1), pad=(0, 0, 0, 0), dilation=(0, 0)"),
    ("transpose", "perm=(0, 1, 2, 2)"),
    ("transpose", "perm=(0, 1, 2, -1)"),
    ("transpose", "perm=(3, 2, 1, N)"),
    ("softmax", "axis=4"),
    ("softmax", "axis=-1"),
    ("softmax", 'axis="1"'),
    ("reduce_sum", "axes=(1, 1)"),
    ("reduce_sum", "axes=(1,), keepdims=0"),
    ("slice", "axis=1, start=0, stop=4"),
    ("slice", "axis=1, start=0, stop=3, step=0"),
    ("slice", "axis=0, start=0, stop=N+1"),
    ("slice", "axis=0, start=N*-1, stop=N"),
    ("slice", "axis=0, start=0, stop=9"),
    ("concat", "axis=4"),
    ("expand", "shape=(N, 3, 3)"),
    ("reshape", "shape=(N*-1, -9, 4)"),
    ("pad", "before=(0, 0, 0, -1), after=(0, 0, 0, 0)"),
    ("clip", "low=1.0, high=0.0"),
    ("clip", "low=nan, high=nan"),
    ("gelu", 'approximate="no"'),
    ("cast", "dtype=complex64"),
    ("normalize", "scale=(1.0,), shift=(1.0,)"),
]


@pytest.mark.parametrize(("name", "attributes"), HOSTILE_ATTRIBUTES)
def test_hostile_attributes(name: str, attributes: str) -> None:
    refused(graph_of('%0 = input "x" : f32[N,3,3,4]', f"%1 = {name}(%0) {{{attributes}}} : f32[N,3,3,4]"))


@pytest.mark.parametrize("heads", ["0", "-1", "5", "1.0", "True", "1099511627776"])
def test_hostile_heads(heads: str) -> None:
    refused(
        graph_of('%0 = input "x" : f32[N,3,4]', f"%1 = attention(%0, %0, %0) {{heads={heads}, scale=1.0}} : f32[N,3,4]")
    )


HOSTILE_LINES = [
    "%1 = relu(%0) {" + "}  : f32[1]" * 5000,
    "%1 = relu(%0) {" + '"' * LONG + "} : f32[1]",
    "%1 = relu(%0) {" + '"a" ' * 15000,
    "%1 = relu(%0) : " + "f32[1], " * 8000,
    "%1 = relu(%0) : " + "  # " * 15000,
    "%1 = relu(" + "%0, " * 15000 + ") : f32[1]",
    ", ".join(f"%{i}" for i in range(5000)) + " = relu(%0) : f32[1]",
    "%1 = relu(%0" + "9" * LONG + ") : f32[1]",
    '%1 = input "' + "\\\\" * 30000,
    "%1 = " + "a" * LONG + "(%0) : f32[1]",
    "x" * 70_000,
    "%\u0661 = relu(%0) : f32[N,4]",
    "%1 = rel\u00fc(%0) : f32[N,4]",
    "%1 = relu(%0) : f32[N,4] # short",
    "%1 = relu(%0) : f32[N,4]  # \\q",
    "%1 = relu(%0) {approximate='none'} : f32[N,4]",
    "%1 = __class__(%0) : f32[N,4]",
]


@pytest.mark.parametrize("line", HOSTILE_LINES, ids=lambda line: ascii(line[:20]))
def test_hostile_lines(line: str) -> None:
    refused(graph_of(INPUT, line))


def test_dimensions_that_grow_from_line_to_line() -> None:
    """Each line would double, deepen or lengthen a dimension; none may take time or memory without end."""
    lines, type = [INPUT], "f32[N,4]"
    lines += [f"%{i + 1} = concat(%{i}, %{i}) {{axis=1}} : f32[N,{4 << (i + 1)}]" for i in range(60)]
    assert "expected dimensions" in refused(graph_of(*lines))
    lines = ['%0 = input "x" : f32[N,4]', '%1 = input "m" : f32[M]', '%2 = input "t" : f32[((N)//3),4]']
    grown = "((N)//3)"
    for i in range(2, 400):
        grown = f"(({grown}+N+M*{i})//3)"
        lines.append(f'%{i + 1} = input "t" : {type.replace("N", grown)}')
    assert refused(graph_of(*lines, sizes="N in 1..8, M in 1..8"))


def test_many_lines_take_linear_time() -> None:
    lines = [INPUT] + [f"%{i + 1} = relu(%{i}) : f32[N,4]" for i in range(5000)]
    start = time.perf_counter()
    verify(parse(graph_of(*lines)))
    assert time.perf_counter() - start < 5


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_damaged_texts_are_refused_or_are_graphs(data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(TEXT)))
    cut = data.draw(st.integers(0, 12))
    inserted = data.draw(
        st.text(max_size=6) | st.sampled_from(["(", ")", "{", "}", "%", '"', "-", "N", "0", ", ", "\n"])
    )
    try:
        graph = parse_graph(TEXT[:place] + inserted + TEXT[place + cut :], zeros)
        verify(graph)
    except GraphError:
        return
    assert parse(print_graph(graph, origins=True)).nodes


@settings(deadline=None, max_examples=100)
@given(graphs(), st.data())
def test_lines_in_another_order_are_refused_or_are_graphs(graph, data: st.DataObject) -> None:
    head, *lines = print_graph(graph, origins=True).split("\n")[:-2]
    shuffled = "\n".join([head, *data.draw(st.permutations(lines)), "}", ""])
    try:
        parsed = parse(shuffled)
    except GraphError:
        return
    assert len(parsed.nodes) == len(graph.nodes)


def test_pieces() -> None:
    assert str(parse_type("bf16[N,((N+1)//2),0]")) == "bf16[N,((N+1)//2),0]"
    assert parse_type("f32[]").shape == ()
    assert parse_op("slice", "axis=1, start=0, stop=3") == Slice(1, 0, 3)
    for text in ("f32", "f32[", "[4]", "f32[4]]", " f32[4]", "F32[4]", "f32[(4]"):
        with pytest.raises(GraphError):
            parse_type(text)


def test_constants_are_what_the_text_says() -> None:
    text = graph_of('%0 = constant "w" : f32[2]', 'output "y" = %0')
    with pytest.raises(GraphError, match=r"graph text line 2: constant w: expected f32\[2\], got u8\[2\]"):
        parse_graph(text, lambda index, name, type: zeros(index, name, parse_type("u8[2]")))
