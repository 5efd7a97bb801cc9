"""`python -m bench.kernels MODEL.alula`: where a model's time goes, step by step.

Every kernel runs as a program of its own, in the model's order and on the values of the steps before, so that weights
come from as far away as they do in the whole model.  The sum exceeds the whole run by what a call of its own costs:
some microseconds on one thread, but over fifty where the threads of every program have to be woken.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import alula
from alula.artifact.reader import read_model
from alula.cli.options import add_json, add_model, check_writable, positive
from alula.cli.peaks import macs_by_arithmetic
from alula.cli.report import print_table, write_json
from alula.codegen.groups import VIEWS, Group, group_nodes
from alula.codegen.packing import pack_weights
from alula.codegen.program import Program, compile_graph
from alula.core.dtype import Array
from alula.core.errors import AlulaError
from alula.ir.graph import Graph, Value
from alula.runtime.host import native_target
from alula.runtime.native import NativeProgram
from bench.arithmetic import values
from bench.command import DONE, Parser, command, machine
from bench.single import Cost, empty, placed
from bench.table import MEASURES, PACKAGES, figures, measures, peaks_on

COLUMNS = ("step", "of time", "count", *MEASURES)


@dataclass
class Part:
    """One kernel of the model as a graph: `inputs` are the model's values that it reads, `output` the one it makes."""

    graph: Graph
    inputs: list[Value]
    output: Value

    @classmethod
    def of(cls, group: Group, symbols: dict[str, tuple[int, int]]) -> Part:
        """The group's nodes, and the views between them and what was computed before."""
        part = cls(Graph(group.anchor.op.name, symbols), [], group.output)
        copies: dict[Value, Value] = {}
        for node in group.nodes:
            inputs = [part._copied(value, copies) for value in node.inputs]
            copies[node.output] = part.graph.add(node.op, *inputs)
        part.graph.output("y", copies[group.output])
        return part

    @property
    def label(self) -> str:
        """Its ops and the type of its output."""
        ops = "+".join(node.op.name for node in self.graph.nodes if not isinstance(node.op, VIEWS))
        inner = next((v.type.shape for v in self.graph.constants() if len(v.type.shape) > 2), ())
        return f"{ops} {self.output.type}" + (f" w[{','.join(map(str, inner))}]" if inner else "")

    def _copied(self, value: Value, copies: dict[Value, Value]) -> Value:
        if value not in copies:
            node = value.producer
            if value.data is not None:
                copies[value] = self.graph.constant(value.data, "constant")
            elif node is not None and isinstance(node.op, VIEWS):
                copies[value] = self.graph.add(node.op, self._copied(node.inputs[0], copies))
            else:
                self.inputs.append(value)
                copies[value] = self.graph.input(f"x{len(self.inputs)}", value.type)
        return copies[value]


@dataclass
class Step:
    """A part ready to run, with the seconds it took."""

    part: Part
    program: Program
    native: NativeProgram
    inputs: list[Array]
    output: Array
    seconds: list[float] = field(default_factory=list)

    def run(self, batch: int) -> None:
        """Runs it, and notes how long that took."""
        entered = time.perf_counter()
        self.native.run(self.inputs, [self.output], batch)
        self.seconds.append(time.perf_counter() - entered)

    def cost(self, batch: int) -> Cost:
        """The median's cost; the first run is a warm-up."""
        moved = [*self.inputs, self.output, *(v.data for v in self.part.graph.constants() if v.data is not None)]
        work = {name: batch * macs for name, macs in macs_by_arithmetic(self.program.steps).items()}
        median, least = float(np.median(self.seconds[1:])), min(self.seconds[1:])
        return Cost(median, least, work, sum(array.nbytes for array in moved))


def prepare(graph: Graph, arrays: dict[Value, Array], batch: int, threads: int) -> list[Step]:
    """A step for every kernel of the graph; `arrays` holds its inputs, and then every value that a step makes."""
    programs: dict[str, Program] = {}
    steps = []
    for group in group_nodes(graph):
        part = Part.of(group, graph.symbols)
        if (text := str(part.graph)) not in programs:  # equal blocks are compiled once
            programs[text] = compile_graph(part.graph, native_target())
        constants = [placed(value.data) for value in part.graph.constants() if value.data is not None]
        arrays[part.output] = empty(part.output, batch)
        native = NativeProgram(programs[text], constants, threads)
        inputs = [arrays[value] for value in part.inputs]
        steps.append(Step(part, programs[text], native, inputs, arrays[part.output]))
    return steps


def main(given: Sequence[str]) -> int:
    """Measures and prints.  Raises AlulaError where the steps do not add up to the model's answer."""
    parser = Parser(prog="python -m bench.kernels", description=__doc__)
    add_model(parser)
    parser.add_argument("--batch-size", default=1, type=positive, metavar="B", help="(1)")
    parser.add_argument("--threads", default=1, type=positive, metavar="T", help="(1)")
    parser.add_argument("--iterations", default=10, type=positive, metavar="N", help="runs of the whole model (10)")
    add_json(parser)
    options = parser.parse_args(given)
    check_writable(options.json)
    found = machine(PACKAGES, [options.threads])
    whole_s, steps = measure(options.model, options.batch_size, options.threads, options.iterations)
    peaks = peaks_on(found["peak_gflops"], options.threads)
    rows, results = summary(steps, options.batch_size, peaks)
    total_ms = sum(row["ms"] for row in results)
    print_table(f"{options.model.name}, batch {options.batch_size}, {options.threads} threads", COLUMNS, rows)
    print(f"{len(steps)} steps {total_ms:.1f} ms one by one, {whole_s * 1e3:.1f} ms as a whole")
    write_json(options.json, {"machine": found, "whole_ms": whole_s * 1e3, "results": results})
    return DONE


def measure(path: Path, batch: int, threads: int, iterations: int) -> tuple[float, list[Step]]:
    """Seconds of a whole run, and the steps with theirs; both in turns."""
    with read_model(path) as file, alula.load(path, threads=threads) as session:
        graph = file.graph()
        pack_weights(graph, native_target())
        arrays = {value: placed(values(value.type.dtype, *empty(value, batch).shape)) for value in graph.inputs}
        inputs = [arrays[value] for value in graph.inputs]
        steps = prepare(graph, arrays, batch, threads)
        seconds = []
        for _ in range(iterations + 1):
            entered = time.perf_counter()
            outputs = session.run(*inputs)
            seconds.append(time.perf_counter() - entered)
            for step in steps:
                step.run(batch)
        for (name, value), output in zip(graph.outputs, outputs, strict=True):
            if value in arrays and not np.array_equal(arrays[value], output):
                raise AlulaError(f"output {name}: expected the steps to give what the whole model gives, got another")
        return float(np.median(seconds[1:])), steps


def summary(
    steps: Sequence[Step], batch: int, peaks: Mapping[str, float]
) -> tuple[list[tuple[Any, ...]], list[dict[str, Any]]]:
    """Rows to print and figures for JSON, equal steps together, those that take longest first."""
    costs: dict[str, list[Cost]] = {}
    for step in steps:
        costs.setdefault(step.part.label, []).append(step.cost(batch))
    results = [
        {"op": kind, "count": len(parts)} | figures(Cost.together(parts), peaks) for kind, parts in costs.items()
    ]
    results.sort(key=lambda result: -result["ms"])
    total = sum(result["ms"] for result in results)
    rows: list[tuple[Any, ...]] = [
        (found["op"], f"{found['ms'] / total:.1%}", found["count"], *measures(found)) for found in results
    ]
    return rows, results


if __name__ == "__main__":
    sys.exit(command(main))
