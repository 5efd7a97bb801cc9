"""`alula perf`: how fast a model file runs."""

from __future__ import annotations

import argparse
import resource
import sys
from pathlib import Path
from random import Random
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from alula.cli.options import add_json, add_model, add_threads, check_writable, chosen_batch, positive
from alula.cli.peaks import ideal_ms, measured_peaks
from alula.cli.profile import measured_steps, print_table, table, write_trace
from alula.cli.progress import progress
from alula.cli.report import write_json
from alula.core.dtype import Array, DType, to_bfloat16

if TYPE_CHECKING:
    from alula.runtime.session import Port, Session

HELP = "latency and throughput of a model file on random input"
ITERATIONS = 50
WARM_UP_RUNS = 3
WARM_UP_S = 0.5
SEED = 0
CHUNK = 1 << 16
DRAWN_MEAN, DRAWN_STD = 127.5, 73.9  # of the whole numbers 0 to 255
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
    add_threads(parser)
    parser.add_argument("--iterations", type=positive, default=ITERATIONS, metavar="N", help=f"runs ({ITERATIONS})")
    parser.add_argument("--profile", action="store_true", help="also say where the time goes, kernel by kernel")
    parser.add_argument("--trace", type=Path, metavar="FILE", help="write one profiled run for Chrome's trace viewer")
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Prints latency, throughput, share of the measured peak, load time and memory."""
    import alula

    check_writable(arguments.json)
    check_writable(arguments.trace)
    session = alula.load(arguments.model, threads=arguments.threads)
    try:
        batch_size = chosen_batch(session, arguments.batch_size)
        inputs = random_inputs(session, batch_size)
        seconds = _timed(session, inputs, arguments.iterations)
        peak_rss_mb = _peak_rss_mb()  # before the peak is measured: that is no part of running the model
        figures = _figures(session, batch_size, seconds, peak_rss_mb)
        if arguments.profile or arguments.trace:
            figures |= _profile(session, inputs, batch_size, figures["peaks"], arguments.trace)
    finally:
        session.close()
    _print(arguments.model, figures)
    if arguments.profile:
        _print_profile(figures)
    write_json(arguments.json, figures)
    return 0


def random_inputs(session: Session, batch_size: int) -> list[Array]:
    """An array for each input, the same ones every time."""
    random = Random(SEED)
    return [_random_input(random, port, batch_size) for port in session.inputs]


def _profile(
    session: Session, inputs: list[Array], batch_size: int, peaks: dict[str, float], trace: Path | None
) -> dict[str, Any]:
    measured = measured_steps(session, inputs)
    if trace is not None:
        write_trace(trace, session.steps, measured.seconds)
    return {
        "profile": table(session.steps, measured.seconds, batch_size, peaks),
        "profiled_ms": measured.profiled_s * 1e3,
        "plain_ms": measured.plain_s * 1e3,
    }


def _timed(session: Session, inputs: list[Array], iterations: int) -> NDArray[np.float64]:
    """Seconds[iterations] of single runs, after a warm-up."""
    began, runs = perf_counter(), 0
    while runs < WARM_UP_RUNS or perf_counter() - began < WARM_UP_S:
        session.run(*inputs)
        runs += 1
    seconds = np.empty(iterations)
    with progress("runs", iterations) as shown:
        for index in range(iterations):
            entered = perf_counter()
            session.run(*inputs)
            seconds[index] = perf_counter() - entered
            shown.advance()
    return seconds


def _random_input(random: Random, port: Port, batch_size: int) -> Array:
    """Bytes 0 to 255 for u8, 0 or 1 for other integers, floats of mean 0 and standard deviation 1."""
    values = np.empty(tuple(batch_size if size is None else size for size in port.shape), port.dtype.numpy)
    flat = values.reshape(-1)
    for start in range(0, flat.size, CHUNK):  # numpy.random alone, or one large draw, would count as the model's memory
        chunk = flat[start : start + CHUNK]
        chunk[:] = _converted(np.frombuffer(random.randbytes(chunk.size), np.uint8), port.dtype)
    return values


def _converted(drawn: NDArray[np.uint8], dtype: DType) -> Array:
    if dtype is DType.U8:
        return drawn
    if not dtype.is_float:
        return drawn & 1
    floats = (drawn.astype(np.float32) - DRAWN_MEAN) / DRAWN_STD
    return to_bfloat16(floats) if dtype is DType.BF16 else floats


def _figures(session: Session, batch_size: int, seconds: NDArray[np.float64], peak_rss_mb: float) -> dict[str, Any]:
    milliseconds = seconds * 1e3
    percentiles = {f"p{share}": float(np.percentile(milliseconds, share)) for share in (50, 90, 99)}
    peaks = measured_peaks(session)
    least = ideal_ms(session.steps, batch_size, peaks)
    return {
        "latency_ms": {
            "min": float(milliseconds.min()),
            "mean": float(milliseconds.mean()),
            **percentiles,
            "max": float(milliseconds.max()),
        },
        "throughput_ips": float(batch_size * len(seconds) / seconds.sum()),
        "batch_size": batch_size,
        "threads": session.threads,
        "threads_why": session.threads_why,
        "iterations": len(seconds),
        "precision": session.precision,
        "target": session.target,
        "macs": session.macs,
        "peaks": peaks,
        "ideal_ms": least,
        "peak_fraction": least / percentiles["p50"] if least else None,
        "load_ms": session.load_ms,
        "from_cache": session.from_cache,
        "peak_rss_mb": peak_rss_mb,
    }


def _peak_rss_mb() -> float:
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


def _print(model: Path, figures: dict[str, Any]) -> None:
    latency = figures["latency_ms"]
    source = "object from the cache" if figures["from_cache"] else "code generated"
    print(f"model       {model.name}, {figures['precision']} on {figures['target']}, batch {figures['batch_size']}")
    print(f"threads     {figures['threads']} ({figures['threads_why']})")
    print("latency     " + ", ".join(f"{name} {value:.2f}" for name, value in latency.items()) + " ms")
    print(f"throughput  {figures['throughput_ips']:.1f} images/s over {figures['iterations']} runs")
    print(f"work        {figures['macs'] / 1e9:.3g} G multiply-adds an image{_of_peak(figures)}")
    print(f"load        {figures['load_ms']:.0f} ms, {source}")
    print(f"memory      {figures['peak_rss_mb']:.0f} MB at most")


def _of_peak(figures: dict[str, Any]) -> str:
    if figures["peak_fraction"] is None:
        return ""
    peaks = ", ".join(f"{dtype} {peak:.0f}" for dtype, peak in figures["peaks"].items())
    return f", {figures['peak_fraction']:.0%} of peak (GOP/s: {peaks})"


def _print_profile(figures: dict[str, Any]) -> None:
    print_table(figures["profile"])
    profiled, plain = figures["profiled_ms"], figures["plain_ms"]
    print(f"profiled runs {profiled:.2f} ms, those between them {plain:.2f} ms ({profiled / plain - 1:+.1%})")
