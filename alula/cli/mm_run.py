"""`mm_run`: MagicMind's performance tool over Alula's measuring engine, for scripts of its samples as they are."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alula.cli.inputs import random_inputs, read_inputs, write_outputs
from alula.cli.main import DONE, guarded
from alula.cli.mm_options import parse
from alula.cli.mm_report import device, group_figures, host, model, parameters, performance, preparation
from alula.cli.mm_shapes import batch_sizes
from alula.cli.outputs import check_folder, write_together
from alula.cli.peaks import measured_peaks
from alula.cli.profile import measured_steps, table, trace_bytes
from alula.cli.report import json_bytes
from alula.cli.streams import Inputs, Limits, Streams, Timed
from alula.cli.usage import Sampler
from alula.core.errors import UsageError

if TYPE_CHECKING:
    from alula.runtime.session import Session

FOLDERS = ("output_path", "trace_path", "debug_path", "perf_path")
OF_REAL_INPUT = ("output_path", "debug_path")


def main(words: Sequence[str] | None = None) -> int:
    """Runs one command line, `sys.argv` by default, and returns its exit code: 0 done, 1 work failed, 2 wrong usage."""
    given = list(sys.argv[1:] if words is None else words)
    return guarded(lambda: _main(given))


def _main(words: list[str]) -> int:
    options = parse(words)
    if options is not None:
        _check(options)
        print(parameters(options))
        with _opened(options) as streams:
            _measure(options, streams)
    return DONE


def _check(options: Mapping[str, Any]) -> None:
    """Raises UsageError for what could not be done, before any work."""
    if options["threads"] < 1:
        raise UsageError(f"threads: expected at least 1, got {options['threads']}")
    if not options["iterations"] and not options["duration"]:
        raise UsageError("iterations and duration: expected at least one above 0, got 0 and 0")
    for name in FOLDERS:
        if options[name]:
            check_folder(Path(options[name]))
        if options[name] and name in OF_REAL_INPUT and not options["input_files"]:
            raise UsageError(f"{name}: expected input_files with it, got none")


def _opened(options: Mapping[str, Any]) -> Streams:
    return Streams(Path(options["magicmind_model"]), None, options["threads"], options["bind_cluster"])


def _measure(options: Mapping[str, Any], streams: Streams) -> None:
    """Prepares, runs, reports and writes what is to be written."""
    session = streams.sessions[0]
    batches = batch_sizes(session, options)
    groups = _groups(session, options, batches)
    print(model(Path(options["magicmind_model"]), session))
    print(device(session, streams))
    warm_up = streams.warm_up(groups, Limits(0, options["warmup"] / 1e3))
    with Sampler() as sampler:
        timed = streams.run(groups, Limits(options["iterations"], options["duration"] / 1e3))
    figures = _figures(streams, batches, timed, latency=options["trace_time"] != "none")
    figures["warmup_ms"] = [seconds * 1e3 for seconds in warm_up]
    print(preparation(figures))
    print(host(sampler.usage))
    print(performance(session, figures))
    _write(options, session, groups[0], batches[0], figures)


def _groups(session: Session, options: Mapping[str, Any], batches: Sequence[int]) -> list[Inputs]:
    paths = [Path(path) for path in options["input_files"]]
    if paths and len(batches) > 1:
        raise UsageError(f"input_files: expected one shape group with them, got {len(batches)}")
    if paths:
        return [read_inputs(session, batches[0], paths)]
    return [random_inputs(session, batch) for batch in batches]


def _figures(streams: Streams, batches: Sequence[int], timed: Timed, latency: bool) -> dict[str, Any]:
    session, *others = streams.sessions
    groups = group_figures(timed, batches, latency)
    images = sum(group["batch_size"] * group["iterations"] for group in groups)
    return {
        "throughput_qps": images / timed.wall_s,
        "images": images,
        "iterations": sum(group["iterations"] for group in groups),
        "wall_s": timed.wall_s,
        "groups": groups,
        "contexts": len(streams.sessions),
        "threads": streams.threads,
        "precision": session.precision,
        "target": session.target,
        "read_ms": session.read_ms,
        "prepare_ms": session.prepare_ms,
        "from_cache": session.from_cache,
        "context_ms": [session.load_ms - session.read_ms - session.prepare_ms, *(other.load_ms for other in others)],
        "infer_ms": [float(clock[-1] - clock[0]) * 1e3 for clock in timed.clocks],
        "constant_bytes": session.constant_bytes,
        "workspace_bytes": max(session.workspace_bytes(batch) for batch in batches),
    }


def _write(
    options: Mapping[str, Any], session: Session, inputs: Inputs, batch: int, figures: Mapping[str, Any]
) -> None:
    """The folders asked for; what takes further runs takes them now, after those that count."""
    if folder := options["trace_path"]:
        name = f"dev0_{datetime.now(UTC):%Y%m%d_%H%M%S_%f}.json"
        write_together(Path(folder), {name: json_bytes({"parameters": dict(options), **figures})})
    if folder := options["output_path"]:
        write_outputs(Path(folder), session.run(*inputs))
    if folder := options["perf_path"]:
        write_together(Path(folder), _kernels(session, inputs, batch))
    if folder := options["debug_path"]:
        from alula.cli.dump import every_value

        write_together(Path(folder), every_value(Path(options["magicmind_model"]), inputs, batch))


def _kernels(session: Session, inputs: Inputs, batch: int) -> dict[str, bytes]:
    measured = measured_steps(session, inputs)
    rows = table(session.steps, measured.seconds, batch, measured_peaks(session, session.threads))
    return {"kernels.json": json_bytes(rows), "trace.json": trace_bytes(session.steps, measured.seconds)}
