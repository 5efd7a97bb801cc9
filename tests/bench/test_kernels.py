"""A model's steps, as the benchmark compiles them, and how long it takes to load."""

from pathlib import Path

import numpy as np
import pytest

import alula
from alula.core.dims import symbol
from alula.core.dtype import DType
from alula.ir.graph import Graph
from alula.ir.types import TensorType
from alula.ops.elementwise import Gelu, Relu
from alula.ops.matmul import Linear
from alula.ops.norm import LayerNorm
from alula.ops.reference import run_reference
from alula.ops.shape import Slice
from bench import kernels, load
from bench.arithmetic import weight


def model() -> Graph:
    """Two equal linears, one of them on a slice, with an epilogue each and a norm after them."""
    graph = Graph("toy", {"N": (1, 8)})
    x = graph.input("x", TensorType(DType.F32, (symbol("N"), 5, 16)))
    left = graph.add(Slice(2, 8, 16), x)
    for seed, between in enumerate((Relu(), Gelu())):
        layer = graph.add(Linear(), left, graph.constant(weight(8, 8) + seed), graph.constant(weight(8)))
        left = graph.add(between, layer)
    graph.output("y", graph.add(LayerNorm(1e-5), left, graph.constant(weight(8)), graph.constant(weight(8))))
    return graph


@pytest.fixture
def path(tmp_path: Path) -> Path:
    alula.build(model()).save(tmp_path / "toy.alula")
    return tmp_path / "toy.alula"


def test_steps_compute_what_the_graph_means() -> None:
    graph, batch = model(), 3
    alula.codegen.packing.pack_weights(graph, alula.runtime.host.native_target())
    arrays = {graph.inputs[0]: weight(batch, 5, 16)}
    steps = kernels.prepare(graph, arrays, batch, threads=1)
    for step in steps:
        step.run(batch)
    assert [step.part.label.split()[0] for step in steps] == ["linear+relu", "linear+gelu", "layer_norm"]
    (expected,) = run_reference(model(), [arrays[graph.inputs[0]]])
    assert np.allclose(arrays[graph.outputs[0][1]], expected, rtol=1e-5, atol=1e-5)


def test_steps_of_a_file_are_timed_and_summed(path: Path) -> None:
    whole_s, steps = kernels.measure(path, batch=2, threads=1, iterations=3)
    assert whole_s > 0
    assert [len(step.seconds) for step in steps] == [4, 4, 4]
    steps[0].seconds[:] = [9.0, 1.0, 5.0, 2.0]  # the warm-up does not count
    assert steps[0].cost(batch=2).seconds == 2
    rows, results = kernels.summary(steps, batch=2, peaks={"f32": 100.0})
    assert len(rows) == 3
    assert sum(row["count"] for row in results) == 3
    assert results[0]["ms"] >= results[1]["ms"] >= results[2]["ms"]
    linear = next(row for row in results if row["op"].startswith("linear+relu f32"))
    assert linear["gflops"] * linear["ms"] * 1e6 == pytest.approx(2 * 2 * 5 * 8 * 8)


def test_load_is_measured_in_new_processes(path: Path) -> None:
    found = {figure.name: figure for figure in load.figures(path, threads=1)}
    cold, warm = found["load, empty cache"], found["load, warm cache"]
    assert 0 < warm.got < cold.got
    assert 0 < found["import alula"].got < warm.got
    memory = found["memory of alula perf"]
    assert 30 < memory.got < 1000
    assert memory.bar == pytest.approx(200 + path.stat().st_size / 1e6)


def test_load_of_no_model_fails_in_one_line(tmp_path: Path) -> None:
    bad = tmp_path / "bad.alula"
    bad.write_bytes(b"not a model")
    with pytest.raises(alula.AlulaError, match=r"new process: expected a figure, got .*ModelFormatError"):
        load.figures(bad, threads=1)
    with pytest.raises(alula.AlulaError, match="expected a file"):
        load.main([str(tmp_path / "none.alula")])


def test_a_bar_that_is_missed_is_said() -> None:
    assert load.Figure("x", 1.0, 1.0, "s").kept
    assert not load.Figure("x", 1.1, 1.0, "s").kept
