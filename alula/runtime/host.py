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

from alula.codegen.kernels.peak import PEAK_FUNCTION, emit_peak
from alula.codegen.module import Code
from alula.core.errors import CodegenError
from alula.core.target import TARGETS, CpuTarget
from alula.runtime.native import aligned, linked

PEAK_TURNS = 2_000_000
PEAK_ROUNDS = 20
PEAK_BYTES = 32 * 64


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
    """GFLOP/s of multiply-adds between registers on `threads` threads together; the best of several rounds."""
    if dtype != "f32":
        raise CodegenError(f"peak: expected f32, got {dtype}")
    code = Code(target)
    operations = emit_peak(code)
    library = linked(code.object(), [PEAK_FUNCTION])
    run = ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_void_p)(library[PEAK_FUNCTION])

    def task() -> None:
        room = aligned(PEAK_BYTES)  # by name: a temporary's memory is free again before the call writes to it
        run(PEAK_TURNS, room.ctypes.data)

    best = min(_together(task, threads) for _ in range(PEAK_ROUNDS))
    return operations * PEAK_TURNS * threads / best / 1e9


def _together(task: Callable[[], None], count: int) -> float:
    """Seconds until `count` threads have each done the task."""
    with ThreadPoolExecutor(count) as pool:
        started = time.perf_counter()
        for done in [pool.submit(task) for _ in range(count)]:
            done.result()
        return time.perf_counter() - started


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
