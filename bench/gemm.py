"""`python -m bench.gemm`: the matrix products of VOLO-D2, one at a time, as a share of the measured peak."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial

from alula.ir.graph import Graph, Value
from alula.ops.matmul import Linear
from bench.command import command
from bench.single import Case, weight
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


def linear(k: int, n: int, graph: Graph, x: Value) -> Value:
    """x @ w + bias."""
    return graph.add(Linear(), x, graph.constant(weight(n, k)), graph.constant(weight(n)))


CASES = [Case(f"linear {m} x {k} x {n}", [(m, k)], partial(linear, k, n)) for m, k, n in SHAPES]


def main(given: Sequence[str]) -> int:
    """Measures and prints."""
    return measure_cases("python -m bench.gemm", __doc__ or "", CASES, given)


if __name__ == "__main__":
    sys.exit(command(main))
