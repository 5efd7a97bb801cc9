"""What the benchmark commands share: option types, errors as one line, and what is said about the machine."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import alula
from alula.cli.main import DONE, INTERRUPTED, WORK_FAILED, WRONG_USAGE, Parser
from alula.cli.options import positive
from alula.core.errors import AlulaError, CodegenError
from alula.core.target import CpuTarget
from alula.runtime.host import DOTS, measure_peak, native_target, processor_name

PEAK_TRIES = 10

__all__ = ["DONE", "WORK_FAILED", "Parser", "command", "machine", "numbers", "peaks", "words"]


def numbers(text: str) -> list[int]:
    """`1,8` as [1, 8]."""
    return [positive(part) for part in text.split(",")]


def words(known: Sequence[str]) -> Callable[[str], list[str]]:
    """An option type: `a,b` as ["a", "b"], each of them one of `known`."""

    def parse(text: str) -> list[str]:
        parts = list(dict.fromkeys(text.split(",")))
        if unknown := [part for part in parts if part not in known]:
            raise argparse.ArgumentTypeError(f"expected some of {', '.join(known)}, got {', '.join(unknown)}")
        return parts

    return parse


def command(main: Callable[[Sequence[str]], int]) -> int:
    """The exit code of `main` for this process's arguments; the errors of a user are one line."""
    try:
        return main(sys.argv[1:])
    except AlulaError as error:
        print(f"error: {error}", file=sys.stderr)
        return WRONG_USAGE
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        return INTERRUPTED


def peaks(threads: Sequence[int], target: CpuTarget | None = None) -> dict[str, dict[str, float]]:
    """Billions of operations a second that so many threads reach between registers, by arithmetic and thread count.

    With the target's instructions, or the richest that there are here; the best of some tries, for others only slow it.
    Without the arithmetics whose registers the system does not give.
    """
    found: dict[str, dict[str, float]] = {}
    for dtype in DOTS:
        with suppress(CodegenError):
            found[dtype] = {str(count): _peak(target or native_target(), dtype, count) for count in threads}
    return found


def _peak(target: CpuTarget, dtype: str, threads: int) -> float:
    return max(measure_peak(target, dtype, threads=threads) for _ in range(PEAK_TRIES))


def machine(packages: Sequence[str], threads: Sequence[int], target: CpuTarget | None = None) -> dict[str, Any]:
    """The processor, versions, measured peaks, the load of others, and the date."""
    target = target or native_target()
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": processor_name(),
        "cores": os.cpu_count(),
        "target": target.name,
        "peak_gflops": peaks(threads, target),
        "load_average": os.getloadavg()[0],
        "versions": {
            "python": platform.python_version(),
            "alula": alula.__version__,
            **{name: _version(name) for name in packages},
        },
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
