"""`python -m bench.search`: how near to the peak other register tiles and row blocks than the rule's would come.

For checking the rules `tile_shape` in `alula/codegen/kernels/tile.py` and `row_block` in `alula/codegen/lower/gemm.py`:
they are replaced while a product is compiled.  Candidates take turns, and each has to give the rule's answer, bit by
bit.  Tiles that need more registers than the target has are left out.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import numpy as np

from alula.cli.options import add_json, check_writable, positive
from alula.cli.report import print_table, write_json
from alula.codegen.kernels import tile, tiling
from alula.codegen.lower import gemm as lower_gemm
from alula.core.errors import AlulaError
from alula.core.target import CpuTarget
from alula.runtime.host import DOTS
from bench.arithmetic import ARITHMETICS
from bench.command import DONE, Parser, command, machine, words
from bench.gemm import SHAPES, linear_case
from bench.single import WARM_UP_RUNS, Case, Ready
from bench.table import NATIVE, PACKAGES, here

MOST_VECTORS = 6
ROWS_LESS = 3  # for each width: the tile with most rows, and those with a row or two less
LEAST_WORK = 2 / 3  # of the rule's accumulators: with fewer there is nothing to hide latency behind
ALL_TAILS = (16, *tiling.TAILS)  # what tiles of over 16 rows leave over
DEFAULT_SHAPES = [(196, 512, 1536), (784, 256, 256), (196, 1536, 512)]
COLUMNS = ("product", "tile", "block", "rule", "ms", "of peak", "at best", "rule / this")


@dataclass(frozen=True, slots=True)
class Candidate:
    """What stands in for the rules: a tile of rows x vectors, and rows of a block; None leaves the rule."""

    tile: tuple[int, int] | None = None
    block: int | None = None

    @contextmanager
    def instead(self) -> Iterator[None]:
        """While a product is compiled."""
        with ExitStack() as stack:
            if shape := self.tile:
                for module in (tile, tiling):
                    stack.enter_context(patch.object(module, "tile_shape", lambda *_: shape))
                stack.enter_context(patch.object(tiling, "TAILS", ALL_TAILS))
            if block := self.block:
                stack.enter_context(patch.object(lower_gemm, "row_block", lambda *_: block))
            yield


RULE = Candidate()


def tiles(target: CpuTarget) -> list[tuple[int, int]]:
    """For every width, those with most rows: accumulators, a row of b and a word of a have to fit the registers."""
    least = LEAST_WORK * np.prod(tile.tile_shape(target))
    found = []
    for vectors in range(1, MOST_VECTORS + 1):
        most = (target.vector_registers - vectors - 1) // vectors
        found += [(rows, vectors) for rows in range(most, max(0, most - ROWS_LESS), -1) if rows * vectors >= least]
    return found


def row_blocks(rows: int, step: int) -> list[int]:
    """One tile's rows, and so on in doubles, until a block takes all rows."""
    found = [step]
    while found[-1] < rows:
        found.append(2 * found[-1])
    return found


def candidates(target: CpuTarget, shape: tuple[int, int, int], dot: str, wanted: str) -> list[Candidate]:
    """The rule first.  Tiles in matrix registers have one shape, so only row blocks are tried for them."""
    m, k, _ = shape
    chosen = tiling.tiling_for(target, DOTS[dot], k // DOTS[dot].group)
    if wanted == "tiles":
        return [RULE] if chosen.matrix else [RULE, *(Candidate(shape) for shape in tiles(target))]
    return [RULE, *(Candidate(None, block) for block in row_blocks(m, chosen.rows))]


def search(
    target: CpuTarget, shape: tuple[int, int, int], dot: str, options: argparse.Namespace
) -> list[dict[str, Any]]:
    """A result for every candidate, the one with the best run first: others on the machine only ever add to a run.

    Raises AlulaError where a candidate computes something else than the rule.
    """
    case = linear_case(dot, *shape)
    tried = candidates(target, shape, dot, options.what)
    ready = [_compiled(candidate, case, target) for candidate in tried]
    seconds = _in_turns(ready, options)
    for candidate, found in zip(tried, ready, strict=True):
        if not all(np.array_equal(a, b) for a, b in zip(found.outputs, ready[0].outputs, strict=True)):
            raise AlulaError(f"{case.name}, {candidate}: expected what the rule gives, got something else")
    work = 2 * np.prod(shape) * 1e-9
    return sorted(
        (
            {
                "product": "x".join(map(str, shape)),
                "dot": dot,
                "tile": list(candidate.tile or rule_tile(target, shape, dot)),
                "block": candidate.block,
                "rule": candidate == RULE,
                "ms": float(np.median(own)) * 1e3,
                "gops": work / float(np.median(own)),
                "best_gops": work / float(own.min()),
                "rule_ratio": float(seconds[0].min() / own.min()),
            }
            for candidate, own in zip(tried, seconds, strict=True)
        ),
        key=lambda result: -result["rule_ratio"],
    )


def _compiled(candidate: Candidate, case: Case, target: CpuTarget) -> Ready:
    with candidate.instead():
        return Ready(case, target, batch=1)


def _in_turns(ready: Sequence[Ready], options: argparse.Namespace) -> list[Any]:
    """Seconds[rounds, iterations] of each candidate."""
    rounds: list[list[Any]] = [[] for _ in ready]
    for _ in range(options.rounds):
        for own, found in zip(rounds, ready, strict=True):
            with found.running(options.threads) as native:
                found.seconds(native, WARM_UP_RUNS)
                own.append(found.seconds(native, options.iterations))
    return [np.stack(own) for own in rounds]


def rule_tile(target: CpuTarget, shape: tuple[int, int, int], dot: str) -> tuple[int, int]:
    """What the rule chooses."""
    chosen = tiling.tiling_for(target, DOTS[dot], shape[1] // DOTS[dot].group)
    return chosen.rows, chosen.vectors


def product_shape(text: str) -> tuple[int, int, int]:
    """`196x512x1536` as (196, 512, 1536)."""
    parts = [positive(part) for part in text.split("x")]
    if len(parts) != 3:
        raise argparse.ArgumentTypeError(f"expected ROWSxKxN, got {text}")
    return parts[0], parts[1], parts[2]


def arguments(given: Sequence[str]) -> argparse.Namespace:
    """The options."""
    parser = Parser(prog="python -m bench.search", description=__doc__)
    parser.add_argument("what", choices=("tiles", "blocks"), help="what to try")
    parser.add_argument("--target", default=NATIVE, metavar="T", help="(native)")
    parser.add_argument("--precision", default=["f32"], type=words(ARITHMETICS), metavar="A,B", help="(f32)")
    shapes = ",".join("x".join(map(str, shape)) for shape in SHAPES)
    parser.add_argument(
        "--shapes",
        default=DEFAULT_SHAPES,
        type=lambda text: [product_shape(part) for part in text.split(",")],
        metavar="ROWSxKxN,...",
        help=f"those of VOLO-D2: {shapes}",
    )
    parser.add_argument("--threads", default=1, type=positive, metavar="T", help="(1)")
    parser.add_argument("--rounds", default=10, type=positive, metavar="N", help="turns of every candidate (10)")
    parser.add_argument("--iterations", default=5, type=positive, metavar="N", help="runs in a turn (5)")
    add_json(parser)
    return parser.parse_args(given)


def main(given: Sequence[str]) -> int:
    """Searches and prints."""
    options = arguments(given)
    check_writable(options.json)
    target = here(options.target)
    known = machine(PACKAGES, [options.threads], target)
    results = []
    for dot in options.precision:
        peak = known["peak_gflops"][dot][str(options.threads)]
        found = [row for shape in options.shapes for row in search(target, shape, dot, options)]
        print_table(f"{dot} on {target.name}, {options.threads} threads", COLUMNS, [_cells(row, peak) for row in found])
        results += found
    write_json(options.json, {"machine": known, "results": results})
    return DONE


def _cells(row: dict[str, Any], peak: float) -> tuple[object, ...]:
    """One candidate; above 1 it is faster than the rule."""
    tile_name, block = "x".join(map(str, row["tile"])), str(row["block"] or "")
    shares = [f"{row[key] / peak:.0%}" for key in ("gops", "best_gops")]
    return (
        row["product"],
        tile_name,
        block,
        "rule" * row["rule"],
        f"{row['ms']:.3f}",
        *shares,
        f"{row['rule_ratio']:.2f}",
    )


if __name__ == "__main__":
    sys.exit(command(main))
