"""A `.pt2` file to a graph, with the preprocessing contract and the provenance that it carries."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from alula.core.errors import ImportFailed, UsageError
from alula.core.preprocess import Preprocess
from alula.frontends.torch.export import DimRange, load_program
from alula.frontends.torch.program import import_program
from alula.ir.graph import Graph

PREPROCESS_FILE = "alula_preprocess.json"  # extra files of the archive, as `alula export` writes them
PROVENANCE_FILE = "alula_provenance.json"


def read_pt2(path: Path, dim_range: DimRange | None = None) -> tuple[Graph, Preprocess | None, dict[str, str]]:
    """The graph of the program in `path`, its preprocessing contract if it has one, and where it says it comes from.

    Raises ImportFailed for a file that is not an exported program or that cannot be imported.
    """
    program, extra = load_program(path)
    preprocess = None
    if PREPROCESS_FILE in extra:
        try:
            preprocess = Preprocess.from_json(_json(path, PREPROCESS_FILE, extra))
        except UsageError as error:
            raise ImportFailed(f"{path} {PREPROCESS_FILE}: {error}") from error
    stated = _json(path, PROVENANCE_FILE, extra) if PROVENANCE_FILE in extra else {}
    if not isinstance(stated, dict) or not all(isinstance(value, str | int) for value in stated.values()):
        raise ImportFailed(f"{path} {PROVENANCE_FILE}: expected an object of texts and numbers, got another")
    provenance = {key: str(value) for key, value in stated.items()}
    return import_program(program, dim_range), preprocess, provenance


def _json(path: Path, name: str, extra: dict[str, str]) -> Any:
    try:
        return json.loads(extra[name])
    except (json.JSONDecodeError, RecursionError) as error:
        raise ImportFailed(f"{path} {name}: expected JSON, got {error}") from error
