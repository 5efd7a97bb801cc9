"""`python -m bench.load MODEL.alula`: load time with an empty and a warm cache, import time, and peak memory.

Every figure is taken in a new process with a cache of its own; the least of a few tries, but the first alone is cold.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from alula.cli.options import add_json, add_model, check_writable, positive
from alula.cli.report import print_table, write_json
from alula.core.errors import AlulaError, UsageError
from bench.command import DONE, WORK_FAILED, Parser, command, machine

ROOT = Path(__file__).parent.parent
TRIES = 3
COLD_S, WARM_S, IMPORT_S = 10.0, 1.0, 0.3
WORKING_MB = 200  # beside the model file
COLUMNS = ("figure", "got", "at most", "unit", "kept")

IMPORT = """
import time
started = time.perf_counter()
import alula
seconds = time.perf_counter() - started
"""
LOAD = """
import time
started = time.perf_counter()
import alula
session = alula.load({path!r}, threads={threads})
seconds = time.perf_counter() - started
"""
PERF = """
import contextlib, io
from alula.cli.main import main
with contextlib.redirect_stdout(io.StringIO()):
    assert main(["perf", {path!r}, "--batch-size", "1", "--threads", "{threads}", "--iterations", "10"]) == 0
seconds = None
"""
TELL = """
import json
status = open("/proc/self/status").read()  # its VmHWM, unlike ru_maxrss, is of this process alone
peak_mb = int(status.partition("VmHWM:")[2].split()[0]) * 1024 / 1e6
print(json.dumps(dict(seconds=seconds, peak_mb=peak_mb)))
"""


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure and its bar."""

    name: str
    got: float
    bar: float
    unit: str

    @property
    def kept(self) -> bool:
        """True where the bar holds."""
        return self.got <= self.bar


def figures(model: Path, threads: int) -> list[Figure]:
    """What was measured.  Raises AlulaError where a process failed."""
    path, megabytes = str(model.resolve()), model.stat().st_size / 1e6
    load, perf = (text.format(path=path, threads=threads) for text in (LOAD, PERF))
    with tempfile.TemporaryDirectory() as cache:
        imports = [_fresh(IMPORT, cache)["seconds"] for _ in range(TRIES)]
        cold = _fresh(load, cache)["seconds"]
        warm = [_fresh(load, cache)["seconds"] for _ in range(TRIES)]
        peak_mb = _fresh(perf, cache)["peak_mb"]
    return [
        Figure("import alula", min(imports), IMPORT_S, "s"),
        Figure("load, empty cache", cold, COLD_S, "s"),
        Figure("load, warm cache", min(warm), WARM_S, "s"),
        Figure("memory of alula perf", peak_mb, megabytes + WORKING_MB, "MB"),
    ]


def _fresh(code: str, cache: str) -> dict[str, float]:
    """What `code`, run in a new process, tells of itself."""
    environment = {**os.environ, "ALULA_CACHE": cache}
    started = [sys.executable, "-c", code + TELL]
    ended = subprocess.run(started, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if ended.returncode != 0:
        raise AlulaError(f"new process: expected a figure, got {(ended.stderr.splitlines() or ['nothing'])[-1]}")
    told: dict[str, float] = json.loads(ended.stdout.splitlines()[-1])
    return told


def main(given: Sequence[str]) -> int:
    """Measures and prints; 1 where a bar is not kept."""
    parser = Parser(prog="python -m bench.load", description=__doc__)
    add_model(parser)
    parser.add_argument("--threads", default=2, type=positive, metavar="T", help="(2)")
    add_json(parser)
    options = parser.parse_args(given)
    check_writable(options.json)
    if not options.model.is_file():
        raise UsageError(f"model file {options.model}: expected a file, got none")
    found = figures(options.model, options.threads)
    print_table(options.model.name, COLUMNS, [(f.name, f.got, f.bar, f.unit, f.kept) for f in found])
    rows = [{**asdict(figure), "kept": figure.kept} for figure in found]
    write_json(options.json, {"machine": machine((), []), "model_bytes": options.model.stat().st_size, "results": rows})
    return DONE if all(figure.kept for figure in found) else WORK_FAILED


if __name__ == "__main__":
    sys.exit(command(main))
