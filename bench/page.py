"""The page of a comparison, in Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from bench.engines import ENGINES, Alula
from bench.precision import PRECISIONS

LEAST_SHARE = 0.75  # of the threads, that some engine has to have had for its setting to count as undisturbed
BEST_COLUMNS = ("precision", "batch", "threads", "Alula, ms an image", "best other, ms an image", "", "Alula / other")
COLUMNS = (
    *("batch", "threads", "engine", "ms", "ms an image", "images/s", "of peak", "cores", "Alula / engine"),
    *("error", "cosine", "same class"),
)
READING = """\
Same weights, same input. Engines take turns, each in a process of its own, with one untimed run before the
timed ones. `ms` is the median of the rounds' medians, the ratio the median (least to most) of the rounds'
ratios, to Alula in the same precision: below 1 Alula is faster. The best other engine is the one with the least
`ms` in that precision. `cores` is CPU time over time: below `threads`, others had the processor or the engine
waited. `of peak` counts the model's multiply-adds for every engine, whether it does them or its algorithms save some
(Alula's for 3 x 3 kernels of floats: `alula perf` counts those done), and the peak is what Alula's instructions reach
between registers in that type: an engine with other instructions, such as those for matrix tiles, may exceed it.

Before it is timed, every engine answers at least 8 images in batches of that size, and its output is compared with
PyTorch's in float32. `error` is the largest difference over the largest output. `cosine` is between what tells an
image from the others in both outputs, for the worst image: an engine that mixes images up, or does not look at
them, has 0 or less. Beyond the bounds below an engine is refused and not timed. Only float32 has to give the same
class: with random weights two classes may be nearer than lower precisions resolve.
"""
SOURCES = """\
int8 models: ONNX Runtime's `quantize_dynamic` (matrix products) and `quantize_static` (QDQ; products and
convolutions; more than that makes its answers wrong), both with int8 weights by channel; NNCF's `quantize` with its
transformer preset for OpenVINO, once with the float operators in bfloat16 and once in float32, as for Alula.
Whatever is calibrated is calibrated on the same 32 images. `make bench` writes this page.
"""


def markdown(found: dict[str, Any], plot: str | None = None) -> str:
    """The page: the machine, for each model a table of ratios and one for each precision, and how to read it."""
    lines = ["# Alula beside other engines", "", *heading(found["machine"]), ""]
    for model in dict.fromkeys(row["model"] for row in found["results"]):
        lines += [f"## {model}", ""]
        if best := [row for row in found["against_best"] if row["model"] == model]:
            lines += [*table(BEST_COLUMNS, [_best_cells(row) for row in best]), ""]
        rows = [row for row in found["results"] if row["model"] == model]
        lines += disturbed(rows)
        for precision in PRECISIONS:
            if chosen := [row for row in rows if row["precision"] == precision]:
                lines += [f"### {precision}", "", *table(COLUMNS, [_cells(row) for row in chosen]), ""]
    if plot:
        lines += [f"![milliseconds an image]({plot})", ""]
    return "\n".join([*lines, READING, *_bounds(), "", SOURCES])


def heading(machine: dict[str, Any]) -> Iterator[str]:
    """What is said about the machine."""
    yield f"{machine['processor']}, {machine['cores']} cores, target {machine['target']}; {machine['date']}."
    for dtype, by_count in machine["peak_gflops"].items():
        peaks = ", ".join(f"{value:.0f} G operations/s on {count}" for count, value in by_count.items())
        yield f"Measured {dtype} peak by threads: {peaks}."
    yield f"Load average before: {machine['load_average']:.1f}."
    yield f"Versions: {', '.join(f'{name} {number}' for name, number in machine['versions'].items())}."


def disturbed(rows: Sequence[dict[str, Any]]) -> list[str]:
    """A warning for each setting in which no engine had its threads' worth of processor: ratios there mean nothing."""
    shares: dict[tuple[int, int], list[float]] = {}
    for row in rows:
        if not row["refused"]:
            shares.setdefault((row["batch"], row["threads"]), []).append(row["busy_cores"] / row["threads"])
    lines = [
        f"**Batch {batch}, {threads} threads: disturbed.** No engine had more than {max(found):.0%} of the "
        "processor that it asked for, so other work was running: "
        "neither times nor ratios of these rows are to be relied on."
        for (batch, threads), found in shares.items()
        if max(found) < LEAST_SHARE
    ]
    return [part for line in lines for part in (line, "")]


def _best_cells(row: dict[str, Any]) -> list[str]:
    times = [f"{row[key] / row['batch']:.1f}" for key in ("alula_ms", "best_ms")]
    setting = [row["precision"], str(row["batch"]), str(row["threads"])]
    return [*setting, *times, ENGINES[row["best"]].title, _ratio(row["alula_ratio"])]


def _cells(row: dict[str, Any]) -> list[str]:
    start = [str(row["batch"]), str(row["threads"]), ENGINES[row["engine"]].title]
    error = "-" if row["error"] is None else f"{row['error']:.1e}"
    answer = [error, f"{row['cosine']:.3f}", f"{row['same_argmax']:.0%}"]
    if row["refused"]:
        return [*start, "refused: wrong answer", "-", "-", "-", "-", "-", *answer]
    return [
        *start,
        f"{row['median_ms']:.1f}",
        f"{row['median_ms'] / row['batch']:.1f}",
        f"{row['images_per_s']:.1f}",
        "-" if row["peak_fraction"] is None else f"{row['peak_fraction']:.0%}",
        f"{row['busy_cores']:.2f}",
        _ratio(row["alula_ratio"]) if row["alula_ratio"] else "-",
        *answer,
    ]


def _bounds() -> list[str]:
    ours = [kind for kind in ENGINES.values() if issubclass(kind, Alula)]
    rows = [
        [
            name,
            " or ".join(kind.mode for kind in ours if kind.precision is bound),
            f"{bound.largest_error:.0e}",
            f"{bound.least_cosine}",
            f"{bound.least_same:.1%}" if bound.least_same else "-",
        ]
        for name, bound in PRECISIONS.items()
    ]
    return table(("precision", "Alula's mode", "largest error", "least cosine", "same class"), rows)


def _ratio(spread: dict[str, float]) -> str:
    return f"{spread['median']:.2f} ({spread['min']:.2f}-{spread['max']:.2f})"


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """As Markdown has it."""
    return [f"| {' | '.join(cells)} |" for cells in (columns, ["---"] * len(columns), *rows)]
