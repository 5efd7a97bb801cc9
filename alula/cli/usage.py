"""What this process takes of the machine: its largest memory, and processor time and memory sampled as it works."""

from __future__ import annotations

import os
import resource
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from types import TracebackType

SAMPLE_S = 0.1
PAGE_BYTES = resource.getpagesize()


def peak_rss_mb() -> float:
    """This process's largest resident set in MB (10^6 bytes).

    From Linux's own account where there is one: `getrusage` also counts the process that started this one.
    """
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6
    kibibytes = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(kibibytes) * 1024 / 1e6


@dataclass(slots=True)
class Usage:
    """Samples: shares of all processors in percent, user's and the system's time, and memory in GB (10^9 bytes)."""

    user: list[float] = field(default_factory=list)
    system: list[float] = field(default_factory=list)
    virtual_gb: list[float] = field(default_factory=list)
    resident_gb: list[float] = field(default_factory=list)


class Sampler:
    """Takes a sample every SAMPLE_S while its block runs, one at least; read `usage` afterwards."""

    def __init__(self) -> None:
        self.usage = Usage()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="usage", daemon=True)
        self._clock, self._times = perf_counter(), resource.getrusage(resource.RUSAGE_SELF)

    def __enter__(self) -> Sampler:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.set()
        self._thread.join()
        if not self.usage.user:
            self._sample()

    def _watch(self) -> None:
        while not self._end.wait(SAMPLE_S):
            self._sample()

    def _sample(self) -> None:
        clock, times = perf_counter(), resource.getrusage(resource.RUSAGE_SELF)
        percent = 100 / ((clock - self._clock) * (os.cpu_count() or 1))
        self.usage.user.append((times.ru_utime - self._times.ru_utime) * percent)
        self.usage.system.append((times.ru_stime - self._times.ru_stime) * percent)
        self._clock, self._times = clock, times
        try:
            virtual, resident = map(int, Path("/proc/self/statm").read_text().split()[:2])
        except OSError:  # no Linux: the share of the processors is all that there is
            return
        self.usage.virtual_gb.append(virtual * PAGE_BYTES / 1e9)
        self.usage.resident_gb.append(resident * PAGE_BYTES / 1e9)
