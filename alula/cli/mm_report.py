"""What `mm_run` prints, section by section, in the words of MagicMind's tool; MB are 10^6 bytes, GB 10^9."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import alula
from alula.cli.inputs import shape_of
from alula.cli.mm_options import OPTIONS, text
from alula.cli.statistics import summary
from alula.cli.streams import Streams, Timed
from alula.cli.usage import Usage
from alula.core.dtype import DType

if TYPE_CHECKING:
    from alula.runtime.session import Port, Session

RULE = "=" * 19
WIDTH = 30
DTYPES = {
    DType.F32: "FLOAT",
    DType.F16: "HALF",
    DType.BF16: "BFLOAT16",
    DType.I8: "INT8",
    DType.U8: "UINT8",
    DType.I32: "INT32",
    DType.I64: "INT64",
    DType.BOOL: "BOOL",
}


def parameters(options: Mapping[str, Any]) -> str:
    """Every option with its kind and value, and which program this is."""
    names = [f"--{option.name}<{option.kind}>" for option in OPTIONS]
    lines = [f"{name:<{WIDTH}}: {text(options[o.name])}".rstrip() for name, o in zip(names, OPTIONS, strict=True)]
    return _section("Parameter", "Information", *lines, f"Alula: {alula.__version__}", f"PID: {os.getpid()}")


def model(path: Path, session: Session) -> str:
    """The file's size, and the model's inputs and outputs; -1 is the batch."""
    return _section(
        "Model",
        "Information",
        f"Size:      {path.stat().st_size}",
        f"Precision: {session.precision}",
        f"Input num: {len(session.inputs)}",
        f"Output num: {len(session.outputs)}",
        *("Input info [", *map(_port, session.inputs), "]"),
        *("Output info [", *map(_port, session.outputs), "]"),
    )


def device(session: Session, streams: Streams) -> str:
    """The processors as the one device that there is."""
    from alula.runtime.host import processor_name

    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    each = ", ".join(str(one.threads) for one in streams.sessions)
    return _section(
        "Device",
        "Information",
        _line("Device ID", "0"),
        _line("Processor", processor_name()),
        _line("Target", session.target),
        _line("Core Number", f"{len(os.sched_getaffinity(0))} of {os.cpu_count()}"),
        _line("Compute threads", f"{streams.threads} ({each} by context)"),
        _line("Total Memory Size", f"{memory / 1e6:.0f} (MB)"),
    )


def preparation(figures: Mapping[str, Any]) -> str:
    """What passed before and during the runs, and what they take of memory."""
    source = "object from the cache" if figures["from_cache"] else "code generated"
    lines = [
        f"DeserializeModel time is {figures['read_ms']:.3f} ms.",
        f"CreateEngine 0 time is {figures['prepare_ms']:.3f} ms, {source}.",
        f"Const data size: {figures['constant_bytes'] / 1e6:.3f}(MB)",
        f"ContextMaxworkspace Size: {figures['workspace_bytes'] / 1e6:.3f}(MB)",
    ]
    lines += [f"CreateContext time is {ms:.3f} ms." for ms in figures["context_ms"]]
    for phase in ("warmup", "infer"):
        lines += [f"{phase}_dev_0_thread_{n} time is {ms:.3f} ms." for n, ms in enumerate(figures[f"{phase}_ms"])]
    return "\n".join(lines)


def host(usage: Usage) -> str:
    """Processor time, as shares of all processors, and memory of this process while it ran."""
    return _section(
        "Host Occupancy",
        "Summary",
        _spread("UserMode Occupancy(%):", usage.user),
        _spread("KernelMode Occupancy(%):", usage.system),
        *([_spread("VirtualMem Usage(GB):", usage.virtual_gb)] if usage.virtual_gb else []),
        *([_spread("ResidentSet Usage(GB):", usage.resident_gb)] if usage.resident_gb else []),
    )


def performance(session: Session, figures: Mapping[str, Any]) -> str:
    """Throughput over all contexts, and each shape group's latency where the host's clock was asked for."""
    lines = [
        _line("Total iterations", str(figures["iterations"])),
        _line("Host wall time(s)", f"{figures['wall_s']:.6g}"),
        _line(
            "Throughput (qps)",
            f"{figures['throughput_qps']:.6g} with total batch sizes: {figures['images']} "
            f"and {figures['iterations'] / figures['wall_s']:.6g} iterations/second",
        ),
    ]
    for number, group in enumerate(figures["groups"]):
        shapes = ", ".join(
            f"{port.name}: {list(shape_of(port, group['batch_size'], session.sizes))}" for port in session.inputs
        )
        lines.append(f"Input shape group {number}: [{shapes}]")
        if "latency_ms" in group:
            lines += ["  Total Latency Summary:", _summary("  Latency(host clock, ms):", group["latency_ms"])]
    return _section("Performance", "Summary", *lines)


def group_figures(timed: Timed, batches: Sequence[int], latency: bool) -> list[dict[str, Any]]:
    """For each shape group its batch, its runs and, where `latency` is asked for, their latency."""
    groups = []
    for number, batch in enumerate(batches):
        seconds = timed.of_group(number, len(batches))
        group: dict[str, Any] = {"batch_size": batch, "iterations": len(seconds)}
        groups.append(group | ({"latency_ms": summary(seconds * 1e3)} if latency and len(seconds) else {}))
    return groups


def _section(subject: str, kind: str, *lines: str) -> str:
    return "\n".join([f"{RULE} {subject} {kind}", *lines])


def _line(name: str, value: str) -> str:
    return f"{name + ':':<{WIDTH}}{value}"


def _port(port: Port) -> str:
    shape = [-1 if size is None else size for size in port.shape]
    return f"{port.name:<18}: {shape}, {DTYPES.get(port.dtype, port.dtype.value)}"


def _spread(name: str, values: Sequence[float]) -> str:
    return _summary(name, summary(np.array(values)))


def _summary(name: str, of: Mapping[str, float]) -> str:
    parts = {"min": of["min"], "max": of["max"], "mean": of["mean"], "median": of["p50"]}
    shares = " ".join(f"({share}%) {of[f'p{share}']:<10.5g}" for share in (90, 95, 99))
    middle = " ".join(f"{word}: {value:<10.5g}" for word, value in parts.items())
    return f"{name:<{WIDTH}}{middle} percentile: {shares}".rstrip()
