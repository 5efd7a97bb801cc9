"""`alula inspect`: what is in a model file."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from alula.cli.options import add_json, add_model, add_sizes, check_writable
from alula.cli.report import print_table, write_json

HELP = "inputs, outputs, precision of every op, kernels, bytes and multiply-adds of a model file"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    add_model(parser)
    add_sizes(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Prints the file's summary: its plain values first, then a table for each list."""
    from alula.runtime.summary import summary

    check_writable(arguments.json)
    facts = summary(arguments.model, arguments.sizes)
    print_summary(str(arguments.model), facts)
    write_json(arguments.json, facts)
    return 0


def print_summary(title: str, summary: Mapping[str, Any]) -> None:
    """A table of what is a plain value, one for each mapping, and one for each list of mappings."""
    nested = {key: value for key, value in summary.items() if isinstance(value, Mapping) or _is_table(value)}
    print_table(title, ("", "value"), [(key, value) for key, value in summary.items() if key not in nested])
    for key, value in nested.items():
        if isinstance(value, Mapping):
            print_table(key, ("", "value"), list(value.items()))
            continue
        columns = list(dict.fromkeys(column for row in value for column in row))
        print_table(key, columns, [[row.get(column) for column in columns] for row in value])


def _is_table(value: object) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(isinstance(row, Mapping) for row in value)
