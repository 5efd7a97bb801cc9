"""`alula perf`: how fast a model file runs."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alula.cli.inputs import random_inputs
from alula.cli.options import (
    add_json,
    add_model,
    add_sizes,
    add_threads,
    check_writable,
    chosen_batch,
    positive,
    seconds,
)
from alula.cli.peaks import ideal_ms, measured_peaks
from alula.cli.profile import measured_steps, print_table, table, write_trace
from alula.cli.report import write_json
from alula.cli.scenario import OFFLINE, SCENARIOS, result_text, wanted_batch
from alula.cli.statistics import median_interval, spread, summary
from alula.cli.streams import Inputs, Limits, Streams, Timed
from alula.cli.usage import peak_rss_mb
from alula.core.errors import UsageError

if TYPE_CHECKING:
    from alula.runtime.session import Session

HELP = "latency and throughput of a model file on random input"
ITERATIONS = 50
WARM_UP = Limits(iterations=3, duration_s=0.5)
PEAK_DTYPE = {  # precision -> what most of its multiply-adds are done in
    "force_float32": "f32",
    "force_float16": "f32",
    "force_bfloat16": "bf16",
    "qint8_mixed_float16": "int8",
    "qint8_mixed_bfloat16": "int8",
    "qint8_mixed_float32": "int8",
}


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    add_model(parser)
    parser.add_argument("--batch-size", type=positive, metavar="B", help="images at a time (default: what was tuned)")
    add_sizes(parser)
    add_threads(parser)
    parser.add_argument("--streams", type=positive, default=1, metavar="N", help="sessions that share the threads (1)")
    parser.add_argument("--iterations", type=positive, default=ITERATIONS, metavar="N", help=f"runs ({ITERATIONS})")
    parser.add_argument("--duration", type=seconds, default=0.0, metavar="S", help="go on for at least S seconds (0)")
    parser.add_argument("--scenario", choices=SCENARIOS, help="what MLPerf asks: one image after the other, or all")
    parser.add_argument("--profile", action="store_true", help="also say where the time goes, kernel by kernel")
    parser.add_argument("--trace", type=Path, metavar="FILE", help="write one profiled run for Chrome's trace viewer")
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Prints latency, throughput, share of the measured peak, load time and memory."""
    check_writable(arguments.json)
    check_writable(arguments.trace)
    wanted = wanted_batch(arguments)
    if arguments.streams > 1 and (arguments.profile or arguments.trace):
        raise UsageError(f"--streams: expected 1 to profile a run, got {arguments.streams}")
    limits = Limits(arguments.iterations, arguments.duration, together=arguments.scenario == OFFLINE)
    with Streams(arguments.model, arguments.threads, arguments.streams, sizes=arguments.sizes) as streams:
        session = streams.sessions[0]
        batch_size = chosen_batch(session, wanted)
        inputs = random_inputs(session, batch_size)
        streams.warm_up([inputs], WARM_UP)
        timed = streams.run([inputs], limits, shown="runs")
        memory = peak_rss_mb()  # before the peak is measured: that is no part of running the model
        figures = _figures(streams, batch_size, timed, memory, arguments.scenario)
        if arguments.profile or arguments.trace:
            figures |= _profile(session, inputs, batch_size, figures["peaks"], arguments.trace)
    _print(arguments.model, figures)
    if arguments.profile:
        _print_profile(figures)
    write_json(arguments.json, figures)
    return 0


def _profile(
    session: Session, inputs: Inputs, batch_size: int, peaks: dict[str, float], trace: Path | None
) -> dict[str, Any]:
    measured = measured_steps(session, inputs)
    if trace is not None:
        write_trace(trace, session.steps, measured.seconds)
    return {
        "profile": table(session.steps, measured.seconds, batch_size, peaks),
        "profiled_ms": measured.profiled_s * 1e3,
        "plain_ms": measured.plain_s * 1e3,
    }


def _figures(
    streams: Streams, batch_size: int, timed: Timed, peak_memory_mb: float, scenario: str | None
) -> dict[str, Any]:
    session, milliseconds = streams.sessions[0], timed.seconds * 1e3
    latency, interval = summary(milliseconds), median_interval(milliseconds)
    peaks = measured_peaks(session, streams.threads)
    least = ideal_ms(session.steps, batch_size, peaks)
    return {
        "latency_ms": latency,
        "noise": {"mad_ms": spread(milliseconds), "p50_low_ms": interval[0], "p50_high_ms": interval[1]},
        "throughput_ips": batch_size * len(milliseconds) / timed.wall_s,
        "scenario": scenario,
        "batch_size": batch_size,
        "sizes": session.sizes,
        "streams": len(streams.sessions),
        "threads": streams.threads,
        "threads_why": streams.threads_why,
        "iterations": len(milliseconds),
        "precision": session.precision,
        "target": session.target,
        "macs": session.macs,
        "peaks": peaks,
        "ideal_ms": least,
        "peak_fraction": least * len(streams.sessions) / latency["p50"] if least else None,
        "load_ms": session.load_ms,
        "from_cache": session.from_cache,
        "peak_rss_mb": peak_memory_mb,
        "runs_ms": milliseconds.tolist(),
    }


def _print(model: Path, figures: dict[str, Any]) -> None:
    latency, noise = figures["latency_ms"], figures["noise"]
    source = "object from the cache" if figures["from_cache"] else "code generated"
    streams = f", {figures['streams']} streams" if figures["streams"] > 1 else ""
    sizes = "".join(f", {name} {size}" for name, size in figures["sizes"].items())
    print(
        f"model       {model.name}, {figures['precision']} on {figures['target']}, batch {figures['batch_size']}{sizes}"
    )
    print(f"threads     {figures['threads']} ({figures['threads_why']}){streams}")
    print("latency     " + ", ".join(f"{name} {value:.2f}" for name, value in latency.items()) + " ms")
    print(f"noise       median {_interval(noise)} ms with 95 % confidence; half of the runs within {_share(figures)}")
    print(f"throughput  {figures['throughput_ips']:.1f} images/s over {figures['iterations']} runs")
    if figures["scenario"]:
        print(f"scenario    {result_text(figures)}")
    print(f"work        {figures['macs'] / 1e9:.3g} G multiply-adds an image{_of_peak(figures)}")
    print(f"load        {figures['load_ms']:.0f} ms, {source}")
    print(f"memory      {figures['peak_rss_mb']:.0f} MB at most")


def _interval(noise: dict[str, float]) -> str:
    return f"{noise['p50_low_ms']:.2f} to {noise['p50_high_ms']:.2f}"


def _share(figures: dict[str, Any]) -> str:
    return f"{figures['noise']['mad_ms'] / figures['latency_ms']['p50']:.1%} of it"


def _of_peak(figures: dict[str, Any]) -> str:
    if figures["peak_fraction"] is None:
        return ""
    peaks = ", ".join(f"{dtype} {peak:.0f}" for dtype, peak in figures["peaks"].items())
    return f", {figures['peak_fraction']:.0%} of peak (GOP/s: {peaks})"


def _print_profile(figures: dict[str, Any]) -> None:
    print_table(figures["profile"])
    profiled, plain = figures["profiled_ms"], figures["plain_ms"]
    print(f"profiled runs {profiled:.2f} ms, those between them {plain:.2f} ms ({profiled / plain - 1:+.1%})")
