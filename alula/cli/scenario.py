"""MLPerf's scenarios of inference that `alula perf` knows: how queries come, and which figure is the result.

Source: Reddi et al. 2020, MLPerf Inference Benchmark, table III.  LoadGen itself runs for 600 s at least.
"""

from __future__ import annotations

import argparse
from typing import Any

from alula.core.errors import UsageError

SINGLE_STREAM, OFFLINE = "SingleStream", "Offline"
SCENARIOS = (SINGLE_STREAM, OFFLINE)


def wanted_batch(arguments: argparse.Namespace) -> int | None:
    """The batch size asked for.  Raises UsageError where the scenario asks for another, or for one stream."""
    if arguments.scenario != SINGLE_STREAM:
        size: int | None = arguments.batch_size
        return size
    for name, got in (("batch size", arguments.batch_size), ("streams", arguments.streams)):
        if got not in (None, 1):
            raise UsageError(f"{name}: expected 1 in scenario {SINGLE_STREAM}, a query being one image, got {got}")
    return 1


def result_text(figures: dict[str, Any]) -> str:
    """The result as MLPerf states it: 90th percentile of the latency, or samples a second of one large query."""
    if figures["scenario"] == SINGLE_STREAM:
        return f"{SINGLE_STREAM}: 90th percentile latency {figures['latency_ms']['p90']:.3f} ms"
    samples = figures["iterations"] * figures["batch_size"]
    return f"{OFFLINE}: {figures['throughput_ips']:.2f} samples/s, a query of {samples} samples"
