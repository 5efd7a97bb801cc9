"""Single ops in every arithmetic: that they are what the quantised models have, and how their costs are told."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from alula.core.dtype import DType
from alula.core.errors import UsageError
from alula.core.target import AVX2, AVX512_VNNI, TARGETS
from alula.ops.reference import run_reference
from alula.runtime.host import native_target
from bench import gemm, ops, shares, table
from bench.arithmetic import ARITHMETICS, values
from bench.single import COPIES, Case, Cost, Ready, _tasks, measure

EVERY = [(arithmetic, case) for arithmetic in ARITHMETICS for case in (*gemm.cases(arithmetic), *ops.cases(arithmetic))]
OF_ONE = "attention 16 heads, 1 of 197 tokens"
PEAKS = {"f32": 100.0, "bf16": 200.0, "int8": 400.0}


def case_named(name: str, arithmetic: str) -> Case:
    return next(case for found, case in EVERY if (case.name, found) == (name, arithmetic))


def test_every_case_is_a_valid_graph() -> None:
    names = [str(case.graph()) and (case.name, arithmetic) for arithmetic, case in EVERY]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("arithmetic", ARITHMETICS)
@pytest.mark.parametrize(
    ("name", "macs"), [("linear 1 x 512 x 1536", 512 * 1536), (OF_ONE, 2 * 197 * 512)], ids=["linear", "attention"]
)
def test_a_single_op_is_measured(name: str, macs: int, arithmetic: str) -> None:
    cost = measure(case_named(name, arithmetic), native_target(), batch=1, threads=1, iterations=3)
    assert 0 < cost.least_s <= cost.seconds < 1
    assert cost.macs == macs


def test_an_op_without_products_is_measured_too() -> None:
    cost = measure(case_named("softmax 196 x 1000", "f32"), native_target(), batch=1, threads=1, iterations=3)
    assert (cost.macs, cost.ideal_s(PEAKS)) == (0, 0)
    assert cost.moved_bytes == 2 * 4 * 196 * 1000
    assert table.figures(cost, PEAKS)["peak_fraction"] is None


@pytest.mark.parametrize("name", ["linear 1 x 512 x 1536", OF_ONE])
def test_products_are_done_in_the_arithmetic_that_they_say(name: str) -> None:
    done = {arithmetic: Ready(case_named(name, arithmetic), AVX512_VNNI, 1).program.steps for arithmetic in ARITHMETICS}
    for arithmetic in ("f32", "bf16"):
        assert {step.arithmetic for step in done[arithmetic] if step.macs} == {arithmetic}
    share = sum(step.byte_macs for step in done["int8"]) / sum(step.macs for step in done["int8"])
    assert share == (1 if name.startswith("linear") else 0.5)  # attention has scores in bfloat16


@pytest.mark.parametrize("arithmetic", ARITHMETICS)
def test_copies_compute_what_the_op_means(arithmetic: str) -> None:
    case = gemm.linear_case(arithmetic, 5, 16, 24)
    ready = Ready(case, native_target(), batch=2)
    ready.cost(threads=1, iterations=1)
    graph = case.graph()
    (expected,) = run_reference(graph, [values(case.dtype, 2, 5, 16)])
    assert len(ready.outputs) == COPIES
    for output in ready.outputs:
        assert np.allclose(output, expected, rtol=1e-4, atol=1e-3 * np.abs(expected).max())


def test_memory_is_where_models_have_it() -> None:
    ready = Ready(gemm.linear_case("f32", 3, 8, 8), native_target(), batch=1)
    arrays = [*ready._constants, *ready._inputs, *ready.outputs]
    assert arrays
    assert all(array.ctypes.data % 64 == 0 for array in arrays)


@pytest.mark.usefixtures("two_processors")
def test_threads_have_a_processor_each() -> None:
    allowed, others = os.sched_getaffinity(0), _tasks()
    ready = Ready(gemm.linear_case("f32", 3, 8, 8), native_target(), batch=1)
    with ready.running(2):
        (other,) = _tasks() - others
        mine, its = os.sched_getaffinity(0), os.sched_getaffinity(other)
        assert len(mine) == len(its) == 1
        assert mine != its
    assert os.sched_getaffinity(0) == allowed
    with ready.running(1):
        assert os.sched_getaffinity(0) == allowed


@pytest.mark.parametrize("dtype", [DType.F32, DType.U8, DType.I8])
def test_operands_fill_their_type(dtype: DType) -> None:
    found = values(dtype, 100, 100)
    assert found.dtype == dtype.numpy
    if dtype is not DType.F32:
        limits = np.iinfo(dtype.numpy)
        assert (found.min(), found.max()) == (limits.min, limits.max)


def test_cost() -> None:
    cost = Cost(seconds=0.5, least_s=0.25, work={"bf16": 10**9, "int8": 2 * 10**9}, moved_bytes=3 * 10**9)
    assert (cost.macs, cost.gflops, cost.gigabytes_s) == (3 * 10**9, 12, 6)
    assert cost.ideal_s(PEAKS) == pytest.approx(2 / 200 + 4 / 400)
    found = table.figures(cost, PEAKS)
    assert found["peak_fraction"] == pytest.approx(0.04)
    assert found["best_peak_fraction"] == pytest.approx(0.08)
    assert table.measures(found) == ("500.0000", "12", "4%", "8%", "6.0")


def test_costs_add_up() -> None:
    parts = [Cost(1.0, 0.5, {"f32": 1}, 10), Cost(2.0, 1.5, {"f32": 2, "int8": 3}, 20)]
    assert Cost.together(parts) == Cost(3.0, 2.0, {"f32": 3, "int8": 3}, 30)


def few(arithmetic: str) -> Sequence[Case]:
    return [gemm.linear_case(arithmetic, 7, 64, 32)]


@pytest.fixture
def one_try(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.command.PEAK_TRIES", 1)
    monkeypatch.setattr("bench.command.measure_peak", lambda target, dtype, threads: 1000.0 * threads)


@pytest.mark.usefixtures("one_try")
def test_the_table_has_every_arithmetic(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--threads", "1,2", "--iterations", "2", "--json", str(tmp_path / "t.json")]
    assert table.measure_cases("prog", "", few, given) == 0
    found = json.loads((tmp_path / "t.json").read_text())
    assert [(row["in"], row["threads"]) for row in found["results"]] == [
        (arithmetic, threads) for arithmetic in ARITHMETICS for threads in (1, 2)
    ]
    for row in found["results"]:
        ideal_ms = 2 * 7 * 64 * 32 / (1000.0 * row["threads"]) / 1e6
        assert row["peak_fraction"] == pytest.approx(ideal_ms / row["ms"])
        assert row["target"] == native_target().name
    assert capsys.readouterr().out.count("linear") == 6


@pytest.mark.usefixtures("one_try")
def test_a_precision_and_a_target_can_be_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--precision", "int8", "--target", AVX2.name, "--threads", "1", "--iterations", "1"]
    assert table.measure_cases("prog", "", few, given) == 0
    printed = capsys.readouterr().out
    assert "avx2, 1 threads" in printed
    assert printed.count("int8") == 1
    assert "bf16" not in printed


def test_a_target_that_does_not_run_here_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert table.here("native") == native_target()
    monkeypatch.setattr("bench.table.supports", lambda target: False)
    for name in ("native", *TARGETS):
        with pytest.raises(UsageError, match="target: expected one that"):
            table.here(name)
    with pytest.raises(UsageError, match="target: expected one of avx2"):
        table.here("z80")


@pytest.mark.usefixtures("one_try")
def test_the_page_has_a_part_for_each_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shares, "cases", lambda names: [(name, case) for name in names for case in few(name)])
    given = ["--targets", f"native,{AVX2.name},native", "--threads", "1,2", "--iterations", "1"]
    assert shares.main([*given, "--precision", "f32,int8", "--output", str(tmp_path / "new")]) == 0
    found = json.loads((tmp_path / "new" / "kernels.json").read_text())["targets"]
    targets = list(dict.fromkeys([native_target().name, AVX2.name]))
    assert [part["machine"]["target"] for part in found] == targets
    page = (tmp_path / "new" / "kernels.md").read_text()
    assert [line[3:] for line in page.splitlines() if line.startswith("## ")] == targets
    assert page.count("### Batch 1, 1 thread\n") == page.count("### Batch 1, 2 threads\n") == len(targets)
    assert page.count("| op | f32, ms | of peak | int8, ms | of peak |") == 2 * len(targets)
    row = found[0]["results"][0]
    start = f"| linear 7 x 64 x 32 | {row['ms']:.3f} | {row['peak_fraction']:.0%} ({row['best_peak_fraction']:.0%}) |"
    assert page.count("| linear 7 x 64 x 32 |") == 2 * len(targets)
    assert any(line.startswith(start) and line.count("|") == 6 for line in page.splitlines())


def test_a_page_says_where_medians_are_those_of_other_work() -> None:
    steady, disturbed = {"ms": 1.0, "least_ms": 0.9}, {"ms": 2.0, "least_ms": 0.9}
    assert shares.disturbed([steady]) == []
    assert shares.disturbed([steady, disturbed])[0].startswith("**Disturbed:** 1 of 2 medians")


def test_pages_have_products_and_attention() -> None:
    chosen = shares.cases(ARITHMETICS)
    assert {case.name.split()[0] for _, case in chosen} == {"linear", "linear+gelu", "attention"}
    assert {arithmetic for arithmetic, _ in chosen} == set(ARITHMETICS)


def test_cases_compile_for_every_target() -> None:
    """Those of this machine or not: the code is made, not run."""
    for target in TARGETS.values():
        for arithmetic in ARITHMETICS:
            case = gemm.hidden_case(arithmetic, 3, 64, 16)
            assert Ready(case, target, 1).program.steps
