import os
import time
from pathlib import Path

import pytest

from alula.core.errors import CodegenError
from alula.core.target import TARGETS
from alula.runtime import host
from alula.runtime.host import default_threads, measure_peak, native_target, supports


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "PEAK_S", 0.0)
    monkeypatch.setattr(host, "PEAK_TURNS", 10_000)


@pytest.mark.parametrize("dtype", ["f32", "bf16", "int8"])
@pytest.mark.parametrize("name", TARGETS)
def test_every_target_has_a_peak_in_every_arithmetic(name: str, dtype: str) -> None:
    if not supports(TARGETS[name]):
        pytest.skip(f"{name}: not on this CPU")
    assert 0.1 < measure_peak(TARGETS[name], dtype, threads=2) < 1e6


def test_peak_is_operations_over_the_best_round(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "emit_peak", lambda code, dot: (emit(code, dot), 1000)[1])
    monkeypatch.setattr(host, "_rounds", lambda task, threads: [0.5, 0.25, 2.0])
    assert measure_peak(native_target(), "f32", threads=3) == pytest.approx(1000 * 10_000 * 3 / 0.25 / 1e9)


emit = host.emit_peak


def test_rounds_go_on_for_their_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "PEAK_S", 0.02)
    done: list[int] = []
    rounds = host._rounds(lambda: (done.append(1), time.sleep(0.001))[0], 2)
    assert len(rounds) > host.LEAST_ROUNDS
    assert sum(rounds) >= 0.02
    assert len(done) == 2 * len(rounds)


def test_unknown_arithmetic() -> None:
    with pytest.raises(CodegenError, match="peak: expected one of f32, bf16, int16, int8, got f16"):
        measure_peak(native_target(), "f16")


def test_registers_that_the_system_keeps(monkeypatch: pytest.MonkeyPatch) -> None:
    def refusing(code: object, dot: object) -> int:
        from llvmlite import ir

        from alula.codegen.module import I64, POINTER

        function = code.function(host.PEAK_FUNCTION, I64, [I64, POINTER], exported=True)
        ir.IRBuilder(function.append_basic_block()).ret(ir.Constant(I64, -1))
        return 1

    monkeypatch.setattr(host, "emit_peak", refusing)
    with pytest.raises(CodegenError, match=r"expected the tile registers of .* from the system, got none"):
        measure_peak(native_target(), "f32")


@pytest.mark.parametrize(
    ("quota", "threads", "why"),
    [
        ("max 100000", 4, "affinity allows 4 of 8 processors"),
        ("250000 100000", 2, "control group allows 2.5 of 4 processors"),
        ("50000 100000", 1, "control group allows 0.5 of 4 processors"),
        ("900000 100000", 4, "affinity allows 4 of 8 processors"),
    ],
)
def test_threads_and_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, quota: str, threads: int, why: str) -> None:
    (tmp_path / "cpu.max").write_text(quota)
    monkeypatch.setattr(host, "Path", lambda path: tmp_path if path == "/sys/fs/cgroup" else Path(path))
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 2, 3})
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert default_threads() == (threads, why)
