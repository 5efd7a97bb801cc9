"""What mm_run said of every precision, batch size and kind of model, as a table."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "utils"))

from command import command, finish

from alula.core.errors import UsageError
from alula.core.files import atomic_write
from alula.vision.names import read_lines

LOG = re.compile(r"(?P<precision>\w+)_(?P<mutable>true|false)_(?P<batch>\d+)_log_perf")
NUMBER = r"([0-9][0-9.e+-]*)"
THROUGHPUT = re.compile(rf"Throughput \(qps\):\s*{NUMBER}")
MEDIAN = re.compile(rf"Latency\(host clock, ms\):.*?median: {NUMBER}")


def main(words: Sequence[str]) -> int:
    """Prints the table and writes it to perf.md."""
    parser = command(__doc__)
    parser.add_argument("--model", required=True, help="volo_d2 or volo_digits")
    parser.add_argument("--output_dir", type=Path, required=True, help="where mm_run's logs are")
    arguments = parser.parse_args(words)
    logs = [(LOG.fullmatch(path.name), path) for path in arguments.output_dir.iterdir()]
    rows = [
        (match["precision"], match["mutable"], int(match["batch"]), *_figures(path)) for match, path in logs if match
    ]
    lines = [
        "| Model | Precision | Shape_Mutable | Batch_Size | Throughput (qps) | Median latency (ms) |",
        "|---|---|---|---|---|---|",
    ]
    lines += [f"| {arguments.model} | {' | '.join(map(str, row))} |" for row in sorted(rows)]
    text = "\n".join(lines)
    print(text)
    with atomic_write(arguments.output_dir / "perf.md") as file:
        file.write(f"{text}\n".encode())
    return 0


def _figures(log: Path) -> tuple[str, str]:
    """Throughput and median latency, as the log has them."""
    text = "\n".join(read_lines(log))
    found = [pattern.search(text) for pattern in (THROUGHPUT, MEDIAN)]
    throughput, median = (match[1] if match else "" for match in found)
    if not throughput or not median:
        raise UsageError(f"file {log}: expected mm_run's report with throughput and latency, got another text")
    return throughput, median


if __name__ == "__main__":
    finish(main)
