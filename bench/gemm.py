"""`python -m bench.gemm`: the matrix products of VOLO-D2, one at a time, as a share of the measured peak."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial

from alula.ir.graph import Graph, Value
from alula.ops.elementwise import Gelu
from alula.ops.matmul import Linear
from bench.arithmetic import OPERANDS, product, rounded
from bench.command import command
from bench.single import Case
from bench.table import measure_cases

# (rows of one image, k, n), of VOLO-D2 at 224: outlookers on 28x28 tokens, transformers on 14x14, class blocks on 197.
SHAPES = (
    (784, 256, 256),
    (784, 256, 768),
    (784, 768, 256),
    (196, 256, 648),
    (196, 512, 512),
    (196, 512, 1536),
    (196, 1536, 512),
    (197, 512, 1024),
    (196, 512, 1000),
    (1, 512, 1536),
)
HIDDEN = ((784, 256, 768), (196, 512, 1536))  # the first products of MLPs


def linear(arithmetic: str, k: int, n: int, graph: Graph, x: Value) -> Value:
    """x @ w + bias in float32, bytes scaled."""
    return product(arithmetic, graph, Linear(), x, n, k)


def hidden(arithmetic: str, k: int, n: int, graph: Graph, x: Value) -> Value:
    """gelu(x @ w + bias), rounded for the next product."""
    return rounded(arithmetic, graph, graph.add(Gelu(), linear(arithmetic, k, n, graph, x)))


def linear_case(arithmetic: str, m: int, k: int, n: int) -> Case:
    """[m,k] times [k,n] in f32, bf16 or int8."""
    return Case(f"linear {m} x {k} x {n}", [(m, k)], partial(linear, arithmetic, k, n), OPERANDS[arithmetic])


def hidden_case(arithmetic: str, m: int, k: int, n: int) -> Case:
    """The same with GELU after it."""
    return Case(f"linear+gelu {m} x {k} x {n}", [(m, k)], partial(hidden, arithmetic, k, n), OPERANDS[arithmetic])


def cases(arithmetic: str) -> list[Case]:
    """Every product in an arithmetic."""
    products = [linear_case(arithmetic, *shape) for shape in SHAPES]
    return products + [hidden_case(arithmetic, *shape) for shape in HIDDEN]


def main(given: Sequence[str]) -> int:
    """Measures and prints."""
    return measure_cases("python -m bench.gemm", __doc__ or "", cases, given)


if __name__ == "__main__":
    sys.exit(command(main))
