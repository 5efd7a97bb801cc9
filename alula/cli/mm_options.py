"""The options of `mm_run`: names, kinds and defaults of MagicMind's tool, and what each means on a CPU.

Source: the tool's documentation, `mm_run --help` and its README.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from alula.cli.main import Parser

TRACE_TIMES = ("none", "host", "dev", "both")
BOOLS = {"0": False, "false": False, "False": False, "1": True, "true": True, "True": True}
SCALAR = "_"


@dataclass(frozen=True, slots=True)
class Option:
    """`idle` says why values other than those of `fits` mean nothing on a CPU; empty where they do mean something."""

    name: str
    kind: str
    default: Any
    help: str
    idle: str = ""
    fits: tuple[Any, ...] = ()


OPTIONS = (
    Option("magicmind_model", "Str", None, "model file that `alula build` wrote"),
    Option("input_dims", "Vec<Vec<Int>>", [], "shape of each input, in order: 1,224,224,3; _ is a scalar"),
    Option("batch_size", "Vec<Int>", [], "batch of each input, over input_dims; several for one input: shape groups"),
    Option("run_config", "Str", "", "JSON file of shape groups that runs take in turn, over batch_size and input_dims"),
    Option("input_files", "Vec<Str>", [], "binary file of each input, elements only"),
    Option("output_path", "Str", "", "folder for output0, output1 ...; needs input_files"),
    Option("threads", "Int", 1, "concurrent contexts, which share all cores"),
    Option("bind_cluster", "Bool", False, "each context keeps to cores of its own"),
    Option("warmup", "Int", 200, "ms of runs before those that count"),
    Option("duration", "Int", 3000, "each context runs for at least so many ms"),
    Option("iterations", "Int", 100, "each context runs at least so often"),
    Option("trace_path", "Str", "", "folder for the report as JSON"),
    Option("debug_path", "Str", "", "folder for what every op computes from input_files"),
    Option("perf_path", "Str", "", "folder for the time of every kernel, as JSON and for Chrome's trace viewer"),
    Option(
        "trace_time",
        "Str",
        "host",
        f"which clock: {', '.join(TRACE_TIMES)}",
        "the host computes, and its clock is the only one",
        ("none", "host"),
    ),
    Option("plugin", "Vec<Str>", [], "libraries of further ops", "a model file holds no ops from libraries"),
    Option(
        "devices", "Vec<Int>", [0], "devices to run on", "there is one device, 0, this machine's processors", ([0],)
    ),
    Option("disable_data_copy", "Bool", False, "leave copies out", "inputs and outputs are used where they lie"),
    Option("host_async", "Bool", False, "run in threads of the host", "a run is a call, without a queue"),
    Option("buffer_depth", "Int", 2, "inputs in flight", "nothing is copied in before a run"),
    Option("infer_depth", "Int", 2, "runs in flight", "a run is a call, without a queue"),
    Option("kernel_capture", "Bool", False, "replay the first run's launches", "kernels are called, not launched"),
    Option("trace_pmu", "Bool", False, "bandwidth from the device's counters", "there are no such counters"),
)


def parse(words: list[str]) -> dict[str, Any] | None:
    """Name -> value of every option; None where -h was asked for and printed.  Raises UsageError.

    An option that means nothing on a CPU is said to be one, in a line on standard error.
    """
    parser = _parser()
    try:
        given = {name: _joined(name, value) for name, value in vars(parser.parse_args(words)).items()}
    except SystemExit:  # -h; errors raise UsageError
        return None
    for option in OPTIONS:
        value = given[option.name]
        if value is None:
            given[option.name] = option.default
        elif option.idle and value not in option.fits:
            print(f"note: --{option.name} {text(value)} means nothing on a CPU: {option.idle}", file=sys.stderr)
    return given


def text(value: Any) -> str:
    """A value as it is written on the command line."""
    match value:
        case bool():
            return "true" if value else "false"
        case list():
            parts = [text(part) for part in value]
            nested = any(isinstance(part, list) for part in value)
            return " ".join(part or SCALAR for part in parts) if nested else ",".join(parts)
        case None:
            return ""
    return str(value)


def _parser() -> Parser:
    parser = Parser(
        prog="mm_run",
        description="Measures how fast a model file runs: MagicMind's mm_run on this machine's processors.",
    )
    idle = parser.add_argument_group("options that mean nothing on a CPU: accepted, with a line that says so")
    for option in OPTIONS:
        kind, many = KINDS[option.kind]
        group = idle if option.idle else parser
        default = f" ({text(option.default)})" if option.default not in (None, "", []) else ""
        group.add_argument(
            f"--{option.name}",
            type=kind,
            nargs="+" if many else None,
            required=option.default is None,
            choices=TRACE_TIMES if option.name == "trace_time" else None,
            metavar=option.kind,
            help=f"{option.help}{default}{f': {option.idle}' if option.idle else ''}",
        )
    return parser


def _joined(name: str, value: Any) -> Any:
    """Words that hold several values each, as one list: `1,2 3` and `1 2 3` are the same."""
    return [part for word in value for part in word] if value and KIND_OF[name] in JOINED else value


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"expected a whole number, got {text!r}")
    return int(text)


def _bool(text: str) -> bool:
    if text not in BOOLS:
        raise argparse.ArgumentTypeError(f"expected one of {', '.join(BOOLS)}, got {text!r}")
    return BOOLS[text]


def _wholes(text: str) -> list[int | None]:
    """`2,,3`: none where an input has no batch."""
    return [_whole(part) if part else None for part in text.split(",")]


def _shape(text: str) -> list[int]:
    return [] if text == SCALAR else [_whole(part) for part in text.split(",")]


def _words(text: str) -> list[str]:
    return [part for part in text.split(",") if part]


KINDS: dict[str, tuple[Callable[[str], Any], bool]] = {  # kind -> type of one word, and whether there may be several
    "Str": (str, False),
    "Int": (_whole, False),
    "Bool": (_bool, False),
    "Vec<Int>": (_wholes, True),
    "Vec<Str>": (_words, True),
    "Vec<Vec<Int>>": (_shape, True),
}
KIND_OF = {option.name: option.kind for option in OPTIONS}
JOINED = ("Vec<Int>", "Vec<Str>")
