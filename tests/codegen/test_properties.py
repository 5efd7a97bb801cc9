"""Every op on drawn operands: the generated code gives what the reference gives, or refuses in words."""

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from alula.codegen.lowering import lower
from alula.codegen.module import Code
from alula.codegen.packing import pack_weights
from alula.core.dims import Expr
from alula.core.dtype import DType
from alula.core.errors import CodegenError, GraphError, ShapeError
from alula.core.target import CpuTarget
from alula.ir.graph import Graph
from alula.ir.op import OPS, infer_types, operand_counts
from alula.ir.verifier import verify
from alula.ops.attention import Attention
from alula.ops.conv import Conv2d
from alula.ops.elementwise import Cast, Pow
from alula.ops.matmul import Linear
from alula.ops.reference import run_reference
from tests.codegen.harness import N, f32, graph_of, joined
from tests.ops.cases import CASES, Case, fill

EXAMPLES, BATCH = 5, 3
MOVERS = {"reshape", "transpose", "slice", "concat", "expand", "pad", "unfold", "gather", "cast", "dequantize"}
FAMILIES = defaultdict(list)
for _name, _op in sorted((name, op) for name, op in OPS.items() if operand_counts(op) != (0, 0)):
    FAMILIES[_op.__module__.rpartition(".")[2]].append(_name)


def graph_for(case: Case) -> Graph:
    """The case in float32 where its op computes with no narrow type; weights are constants, N an input of its own."""
    op, types = case
    if op.name not in MOVERS and not (is_narrow(case) and types[0].dtype in (DType.BF16, DType.F32, DType.U8)):
        types = tuple(type.cast(DType.F32) for type in types)
    weights = range(1, len(types)) if isinstance(op, Linear | Conv2d) else ()
    graph = graph_of(op, *(fill(t, {"N": BATCH}, n) if n in weights else t for n, t in enumerate(types)))
    graph.output("n", graph.input("n", f32(N)))
    return graph


def is_narrow(case: Case) -> bool:
    """True for products of bfloat16 with float32 sums, of bytes, and of what becomes such."""
    op, types = case
    if isinstance(op, Linear | Conv2d) and types[1].dtype is DType.I8:
        return True
    return isinstance(op, Linear | Conv2d | Attention) and (op.wide or getattr(op, "byte_values", False))


def is_even(case: Case) -> bool:
    """True where every buffer grows evenly with N, which the arena asks for."""
    types = (*case[1], *infer_types(case[0], list(case[1])))
    terms = [term for type in types if isinstance(type.elements, Expr) for term in type.elements.terms]
    return all(len(monomial) <= 1 for monomial, _ in terms)


def compilable(case: Case, target: CpuTarget) -> bool:
    """False for a case that is refused in words."""
    try:
        graph = graph_for(case)
        verify(graph)
        pack_weights(graph, target)
        lower(graph, Code(target))
    except (CodegenError, GraphError, ShapeError) as error:
        refusal = str(error)
    else:
        return True
    assert ": expected " in refusal
    return False


def drawn(name: str, target: CpuTarget) -> list[Case]:
    """Some cases of an op."""
    found: list[Case] = []

    @settings(max_examples=EXAMPLES, database=None, deadline=None, derandomize=True, suppress_health_check=HealthCheck)
    @given(CASES[name])
    def collect(case: Case) -> None:
        if is_even(case) and compilable(case, target):
            found.append(case)

    collect()
    return found


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_ops_give_what_their_references_give(family, target, compiled):
    cases = [case for name in FAMILIES[family] for case in drawn(name, target)]
    assert cases
    graphs = [graph_for(case) for case in cases]
    owners = [case for case, graph in zip(cases, graphs, strict=True) for _ in graph.outputs]
    graph = joined(*graphs)
    pack_weights(graph, target)
    program = compiled(graph, target, 2)
    inputs = [fill(value.type, {"N": BATCH}, n) for n, value in enumerate(graph.inputs)]
    for value, array in zip(graph.inputs, inputs, strict=True):
        if value.uses and isinstance(value.uses[0].op, Cast | Pow) and array.dtype.kind == "f":
            np.abs(array, out=array)
    outputs, expected = program(*inputs), run_reference(graph, inputs)
    for number, (ours, exact) in enumerate(zip(outputs, expected, strict=True)):
        what = owners[number]
        assert ours.shape == exact.shape, what
        if ours.dtype == np.float32:
            rounded = isinstance(what[0], Attention | Conv2d) and is_narrow(what)
            off = 0.05 if rounded else 1e-4
            assert np.allclose(ours, exact, rtol=off, atol=off, equal_nan=True), what
        else:
            assert ours.tobytes() == exact.tobytes(), what
