"""What a `.pt2` file may hold before torch is allowed to load it.

`torch.export.load` (2.13) unpickles freely when a file asks it to, loads compiled libraries, looks up any function
under `torch` and hands text to `sympify`, which evaluates it.  A program of tensors and operators needs none of that,
so a file that asks is refused.  Records are read with torch's own zip reader, so that both see the same bytes.
"""

from __future__ import annotations

import ast
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from alula.core.errors import ImportFailed

PROGRAM = "models/model.json"
SAMPLE_INPUTS = "data/sample_inputs/model.pt"
CONFIGS = ("data/weights/model_weights_config.json", "data/constants/model_constants_config.json")
EXTRA = "extra/"
RECORDS = re.compile(
    rf"{PROGRAM}|{SAMPLE_INPUTS}|{'|'.join(CONFIGS)}|data/weights/weight_\d+|data/constants/tensor_\d+"
    rf"|{EXTRA}.+|archive_format|archive_version|byteorder|version|\.data/\w+"
)
OPERATORS = re.compile(
    r"torch\.ops\.\w+\.\w+(\.\w+)?|torch\.(_sym|sym)_\w+|math\.(trunc|ceil|floor)"
    r"|_operator\.(getitem|eq|ne|le|ge|lt|gt|neg|pos|mul|add|sub|floordiv|truediv|mod|pow|and_|or_|lshift|rshift)"
)
IDENTIFIER = re.compile(r"\w*")
CLASS_NAME = re.compile(r"[A-Z]\w*")
GUARD_CALLS = frozenset({"size", "stride", "storage_offset", "dim"})
EXPRESSION_NODES = (ast.Expression, ast.Call, ast.Name, ast.Load, ast.Constant, ast.keyword, ast.UnaryOp, ast.USub)
GUARD_NODES = (*EXPRESSION_NODES, ast.Attribute, ast.Subscript, ast.Compare, ast.BinOp, ast.BoolOp)
OPERATOR_NODES = (ast.operator, ast.cmpop, ast.boolop, ast.unaryop)


def checked_archive(path: Path) -> dict[str, str]:
    """The extra texts of the `.pt2` file at `path`, once all of it is known to be plain data.

    Raises ImportFailed for a file that is none, or that holds what only a free unpickler or evaluator could load.
    """
    try:
        size = path.stat().st_size
        reader = torch._C.PyTorchFileReader(str(path))
        records = reader.get_all_records()
        _check_records(path, records)
        for config in CONFIGS:
            _check_config(path, json.loads(reader.get_record(config)))
        _check_program(path, json.loads(reader.get_record(PROGRAM)))
        torch.load(io.BytesIO(reader.get_record(SAMPLE_INPUTS)), weights_only=True)
        return {
            name.removeprefix(EXTRA): reader.get_record(name).decode() for name in records if name.startswith(EXTRA)
        }
    except OSError as error:
        raise ImportFailed(f"{path}: expected a readable file, got {error.strerror or error}") from error
    except ImportFailed:
        raise
    except Exception as error:  # damage surfaces as whatever the zip, JSON or tensor reader trips over
        what = "nothing in it" if size == 0 else f"{size:,} bytes that are not one"
        raise ImportFailed(f"{path}: expected an exported program (.pt2), got {what}") from error


def _check_records(path: Path, records: list[str]) -> None:
    for name in records:
        if not RECORDS.fullmatch(name):
            raise ImportFailed(f"{path}: expected tensors and one program, got the record {name!r}")
    for name in (PROGRAM, SAMPLE_INPUTS, *CONFIGS):
        if records.count(name) != 1:
            raise ImportFailed(f"{path}: expected one record {name!r}, got {records.count(name)}")


def _check_config(path: Path, config: dict[str, Any]) -> None:
    for name, entry in config["config"].items():
        if entry["use_pickle"] is not False:
            raise ImportFailed(f"{path} tensor {name!r}: expected plain bytes, got a pickle")
        if not re.fullmatch(r"(weight|tensor)_\d+", entry["path_name"]):
            raise ImportFailed(f"{path} tensor {name!r}: expected plain bytes, got an object {entry['path_name']!r}")


def _check_program(path: Path, program: dict[str, Any]) -> None:
    for guard in program.get("guards_code") or []:
        if not _plain(guard, GUARD_NODES):
            raise ImportFailed(f"{path}: expected guards over shapes, got {guard!r}")
    for key, text in _texts(program["graph_module"]["graph"]):
        if key == "expr_str" and not _plain(text, EXPRESSION_NODES):
            raise ImportFailed(f"{path}: expected arithmetic over symbols, got {text!r}")
        if key in ("target", "as_operator") and not OPERATORS.fullmatch(text):
            raise ImportFailed(f"{path}: expected an operator, got {text!r}")
        if key in ("name", "as_name") and not IDENTIFIER.fullmatch(text):
            raise ImportFailed(f"{path}: expected a plain name, got {text!r}")


def _texts(value: object, key: str = "") -> Iterator[tuple[str, str]]:
    """Every string in a JSON value, with the key it stands under."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, dict):
        for inner, child in value.items():
            yield from _texts(child, inner)
    elif isinstance(value, list):
        for child in value:
            yield from _texts(child, key)


def _plain(text: str, allowed: tuple[type[ast.AST], ...]) -> bool:
    """Whether `text` is one expression of numbers, names and calls of capitalised names (or of `GUARD_CALLS`)."""
    try:
        nodes = list(ast.walk(ast.parse(text, mode="eval")))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return all(isinstance(node, (*allowed, *OPERATOR_NODES)) and _harmless(node) for node in nodes)


def _harmless(node: ast.AST) -> bool:
    match node:
        case ast.Call(func=ast.Name(id=name)):
            return CLASS_NAME.fullmatch(name) is not None
        case ast.Call(func=ast.Attribute(attr=name)):
            return name in GUARD_CALLS
        case ast.Call():
            return False
        case ast.Attribute(attr=name):
            return name in GUARD_CALLS or name in ("shape", "inf")
        case ast.Constant(value=str(text)):
            return IDENTIFIER.fullmatch(text) is not None
    return True
