import time
from types import SimpleNamespace

import pytest

from alula.cli import usage as module
from alula.cli.usage import Sampler


def test_samples_are_shares_of_all_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([10.0, 10.2])
    times = iter([SimpleNamespace(ru_utime=1.0, ru_stime=0.5), SimpleNamespace(ru_utime=1.3, ru_stime=0.6)])
    monkeypatch.setattr(module, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(module.resource, "getrusage", lambda who: next(times))
    monkeypatch.setattr(module.os, "cpu_count", lambda: 4)
    with Sampler() as sampler:  # shorter than the time of a sample: one is taken at the end
        pass
    assert sampler.usage.user == pytest.approx([37.5])  # 0.3 of the 0.8 seconds that four processors had
    assert sampler.usage.system == pytest.approx([12.5])


def test_samples_are_taken_meanwhile() -> None:
    with Sampler() as sampler:
        ballast = bytearray(b"x" * 50_000_000)
        end = time.monotonic() + 20
        while len(sampler.usage.resident_gb) < 3 and time.monotonic() < end:
            time.sleep(0.05)
    usage = sampler.usage
    assert len(usage.user) == len(usage.system) == len(usage.virtual_gb) == len(usage.resident_gb) >= 3
    assert len(ballast) / 1e9 < max(usage.resident_gb) < max(usage.virtual_gb)
    assert all(percent >= 0 for percent in usage.user + usage.system)
