"""What this machine is: its processor, the target that fits it, how many threads to use, and the peak it reaches."""

from __future__ import annotations

import ctypes
import math
import os
import platform
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

from alula.codegen.kernels.dot import DOT_BF16, DOT_F32, DOT_INT8, DOT_INT16
from alula.codegen.kernels.peak import PEAK_BYTES, PEAK_FUNCTION, emit_peak
from alula.codegen.module import Code
from alula.core.errors import CodegenError
from alula.core.target import TARGETS, CpuTarget
from alula.runtime.native import aligned, linked

PEAK_TURNS = 1_000_000  # of one round
PEAK_S = 0.25  # rounds follow each other for so long
LEAST_ROUNDS = 3
DOTS = {dot.name: dot for dot in (DOT_F32, DOT_BF16, DOT_INT16, DOT_INT8)}


@lru_cache(maxsize=1)
def processor_flags() -> frozenset[str]:
    """The instruction sets that Linux lists; none elsewhere."""
    return frozenset(_cpuinfo("flags").split())


def processor_name() -> str:
    """The processor as it calls itself."""
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def supports(target: CpuTarget) -> bool:
    """True where code for `target` runs on this machine."""
    return processor_flags().issuperset(target.flags)


@lru_cache(maxsize=1)
def native_target() -> CpuTarget:
    """The richest target that this machine runs.  Raises CodegenError where there is none."""
    for target in reversed(TARGETS.values()):
        if supports(target):
            return target
    least = next(iter(TARGETS.values()))
    raise CodegenError(f"processor {processor_name()}: expected at least {' '.join(least.flags)}, got one without")


def default_threads() -> tuple[int, str]:
    """(threads, why): the processors that this process may use, by affinity and by the control group's quota."""
    allowed = len(os.sched_getaffinity(0))
    quota = _quota()
    if quota is not None and quota < allowed:
        return max(1, math.floor(quota)), f"control group allows {quota:g} of {allowed} processors"
    return allowed, f"affinity allows {allowed} of {os.cpu_count()} processors"


def measure_peak(target: CpuTarget, dtype: str, threads: int = 1) -> float:
    """G operations a second, two for a multiply-add, of `dtype` (f32, bf16, int16 or int8) between registers.

    Of `threads` threads together, with the instructions that the target's kernels use; the best of several rounds.
    Raises CodegenError for another `dtype`, and where the system does not give the processor's tile registers.
    """
    if dtype not in DOTS:
        raise CodegenError(f"peak: expected one of {', '.join(DOTS)}, got {dtype}")
    code = Code(target)
    operations = emit_peak(code, DOTS[dtype])
    library = linked(code.object(), [PEAK_FUNCTION])
    run = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)(library[PEAK_FUNCTION])

    def task() -> None:
        room = aligned(PEAK_BYTES)  # by name: a temporary's memory is free again before the call writes to it
        if run(PEAK_TURNS, room.ctypes.data):
            raise CodegenError(f"peak: expected the tile registers of {target.name} from the system, got none")

    return operations * PEAK_TURNS * threads / min(_rounds(task, threads)) / 1e9


def _rounds(task: Callable[[], None], count: int) -> list[float]:
    """Seconds that `count` threads take to do the task once each, round after round."""
    rounds: list[float] = []
    with ThreadPoolExecutor(count) as pool:
        while len(rounds) < LEAST_ROUNDS or sum(rounds) < PEAK_S:
            started = time.perf_counter()
            for done in [pool.submit(task) for _ in range(count)]:
                done.result()
            rounds.append(time.perf_counter() - started)
    return rounds


def _cpuinfo(field: str) -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line.split(":", 1)[1].strip() for line in lines if line.split(":")[0].strip() == field), "")


def _quota() -> float | None:
    """Processors' worth of time that the control group may use; None where it is not limited (cgroup v2, then v1)."""
    root = Path("/sys/fs/cgroup")
    try:
        if (root / "cpu.max").exists():
            quota, period = (root / "cpu.max").read_text().split()
        else:
            quota = (root / "cpu/cpu.cfs_quota_us").read_text().strip()
            period = (root / "cpu/cpu.cfs_period_us").read_text().strip()
        return None if quota in ("max", "-1") else int(quota) / int(period)
    except (OSError, ValueError):
        return None
