"""`python -m bench.conformance`: ONNX's own node tests through the compiled path, and docs/conformance.md.

Each test runs in a process of its own with a limit of time and memory, through `alula.OnnxSession`: every input is
brought by the run.  Those that decide sizes (shapes, axes, regions) are read before the program is built, and the table
counts such tests by themselves.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import tempfile
import time
import traceback
import warnings
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

SECONDS, GIBIBYTES = 60, 6
NEWEST_OPSET = 23
PASSED, READ, WRONG, UNSUPPORTED, CRASHED = "passed", "passed, values read", "wrong answer", "unsupported", "crashed"
PLAIN = {"float", "double", "float16", "bfloat16", "bool", *(f"{u}int{n}" for u in ("", "u") for n in (8, 16, 32, 64))}


@dataclass(frozen=True)
class Outcome:
    """What became of one test."""

    name: str
    operator: str
    verdict: str
    detail: str = ""


def cases() -> list[Any]:
    """The node tests of the default domain, of plain tensors, up to an opset that others implement."""
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what the tests compute on purpose
        return [case for case in load_model_tests(kind="node") if is_plain(case.model)]


def is_plain(model: Any) -> bool:
    """True for a test of default operators over tensors of plain types."""
    from onnx import TensorProto

    for value in (*model.graph.input, *model.graph.output):
        if not value.type.HasField("tensor_type"):
            return False
        if TensorProto.DataType.Name(value.type.tensor_type.elem_type).lower() not in PLAIN:
            return False
    opsets = {o.domain: o.version for o in model.opset_import}
    return all(domain in ("", "ai.onnx") and version <= NEWEST_OPSET for domain, version in opsets.items())


def operator_of(case: Any) -> str:
    """The operator that the test is of: that of its only node, or the name before `_expanded`."""
    nodes = case.model.graph.node
    return nodes[0].op_type if len(nodes) == 1 and "expanded" not in case.name else "(expanded functions)"


def run_case(case: Any) -> tuple[str, str]:
    """Verdict and detail."""
    import alula
    from alula.core.errors import AlulaError

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(case.model.SerializeToString())
        try:
            with alula.OnnxSession(path, threads=1) as session:
                for inputs, outputs in case.data_sets:
                    found = session.run(*map(plain, inputs))
                    for got, wanted in zip(found, map(plain, outputs), strict=True):
                        if text := difference(got, wanted, case.rtol, case.atol):
                            return WRONG, text
                return (READ if session.deciding else PASSED), ",".join(sorted(session.deciding))
        except AlulaError as error:
            return UNSUPPORTED, str(error)


def plain(array: Any) -> np.ndarray:
    """A test's array as ours: bfloat16 in our storage."""
    from alula.core.dtype import BFLOAT16_STORAGE

    array = np.asarray(array)
    return array.view(np.uint16).view(BFLOAT16_STORAGE) if array.dtype.name == "bfloat16" else array


def difference(got: np.ndarray, wanted: np.ndarray, rtol: float, atol: float) -> str:
    """In what `got` is not `wanted`; empty where it is."""
    from alula.core.dtype import BFLOAT16_STORAGE, from_bfloat16

    if (got.dtype, got.shape) != (wanted.dtype, wanted.shape):
        return f"{got.dtype}{list(got.shape)} for {wanted.dtype}{list(wanted.shape)}"
    step = 2.0**-10 if got.dtype == np.float16 else 0.0
    if got.dtype == BFLOAT16_STORAGE:
        got, wanted, step = from_bfloat16(got), from_bfloat16(wanted), 2.0**-7
    if got.dtype.kind not in "f":
        return "" if np.array_equal(got, wanted) else f"{np.sum(got != wanted)} of {got.size} elements"
    if np.allclose(got, wanted, rtol=max(rtol, step), atol=atol, equal_nan=True):
        return ""
    with np.errstate(all="ignore"):
        return f"off by {np.nanmax(np.abs(got.astype(np.float64) - wanted)):.3g}"


def _child(index: int, pipe: Any) -> None:
    limit = GIBIBYTES << 30
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    try:
        pipe.send(run_case(CASES[index]))
    except BaseException:  # noqa: BLE001  what came out of the child is the finding
        pipe.send((CRASHED, traceback.format_exc().strip().splitlines()[-1]))


CASES: list[Any] = []


def run_all(wanted: str | set[str] = "", seconds: float = SECONDS) -> list[Outcome]:
    """Every test whose name contains `wanted`, or is one of them."""
    import onnx  # noqa: F401  the children inherit what is loaded here

    import alula.frontends.onnx.program
    import alula.specialise  # noqa: F401

    CASES[:] = [case for case in cases() if (wanted in case.name if isinstance(wanted, str) else case.name in wanted)]
    context = multiprocessing.get_context("fork")
    outcomes = []
    for index, case in enumerate(CASES):
        mine, theirs = context.Pipe()
        child = context.Process(target=_child, args=(index, theirs))
        child.start()
        theirs.close()
        try:
            verdict, detail = mine.recv() if mine.poll(seconds) else (CRASHED, f"no end within {seconds} s")
        except EOFError:
            verdict, detail = CRASHED, "the process ended"
        if child.is_alive() and detail.startswith("no end"):
            child.kill()
        child.join()
        outcomes.append(Outcome(case.name, operator_of(case), verdict, detail))
    return outcomes


def page(outcomes: Sequence[Outcome]) -> str:
    """docs/conformance.md."""
    import onnx

    total = Counter(outcome.verdict for outcome in outcomes)
    rows: dict[str, Counter[str]] = defaultdict(Counter)
    for outcome in outcomes:
        rows[outcome.operator][outcome.verdict] += 1
    kinds = (PASSED, READ, WRONG, UNSUPPORTED, CRASHED)
    head = f"""# ONNX's node tests

The tests of package onnx {onnx.__version__} of default operators over plain tensors, opset {NEWEST_OPSET} and below,
through the compiled path, each in a process of its own. `make conformance` runs them and writes this page. All inputs
are given to `run` of an `alula.OnnxSession`. *Values read* are tests of which some inputs are shapes, axes or other
numbers that have to be known before code can be made: the session reads them, imports the model with them as constants
and compiles it, once for each set of values; `from_onnx` takes them as `constants`. *Unsupported* is a named error at
import or build. An answer is wrong beyond the tolerance that the test gives, or one step of float16 or bfloat16.

| | {" | ".join(kinds)} |
|---|---:|---:|---:|---:|---:|
| all {len(outcomes)} | {" | ".join(str(total[kind]) for kind in kinds)} |

| operator | {" | ".join(kinds)} |
|---|---:|---:|---:|---:|---:|
"""
    counts = [
        f"| {name} | {' | '.join(str(rows[name][kind] or '') for kind in kinds)} |\n"
        for name in sorted(rows, key=str.lower)
    ]
    return head + "".join(counts)


def main() -> int:
    """Prints a summary and writes the page; 1 for a wrong answer or a crash."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("wanted", nargs="?", default="", help="part of the names of the tests to run")
    parser.add_argument("-o", "--output", type=Path, help="page to write")
    parser.add_argument("--details", type=Path, help="file for a line about each test that did not pass")
    arguments = parser.parse_args()
    began = time.perf_counter()
    outcomes = run_all(arguments.wanted)
    total = Counter(outcome.verdict for outcome in outcomes)
    print(dict(total), f"{time.perf_counter() - began:.0f} s")
    if arguments.details:
        lines = [
            f"{o.verdict}\t{o.operator}\t{o.name}\t{o.detail}" for o in outcomes if o.verdict not in (PASSED, READ)
        ]
        arguments.details.write_text("\n".join(lines) + "\n")
    if arguments.output:
        arguments.output.write_text(page(outcomes))
    return 1 if total[WRONG] or total[CRASHED] else 0


if __name__ == "__main__":
    raise SystemExit(main())
