"""The operators of a program brought down to those that have importers."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch.export import ExportedProgram

from alula.frontends.torch import (  # noqa: F401  importing a family registers its importers
    aten_attention,
    aten_conv,
    aten_create,
    aten_indexing,
    aten_logic,
    aten_math,
    aten_matmul,
    aten_norm,
    aten_pool,
    aten_reduce,
    aten_resize,
    aten_shape,
)
from alula.frontends.torch.call import IMPORTS

SOURCE = "alula_source"
ABOUT_SIZES = frozenset({"aten.sym_size.int", "aten.sym_numel.default", "aten.sym_stride.int"})
MOST_ROUNDS = 8  # a decomposition may be of operators that need one themselves


def decomposed(program: ExportedProgram) -> ExportedProgram:
    """`program` without in-place operators, and without those that PyTorch can express by ones that we know.

    `meta[SOURCE]` of a node that is still unknown is the node, by name and operator, that it was part of before.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's own calls of what it has deprecated
        program = program.run_decompositions({})
        named = {node.name: str(node.target) for node in program.graph.nodes}
        table = torch.export.default_decompositions()
        for _ in range(MOST_ROUNDS):
            chosen = {op: table[op] for op in _unknown(program) if op in table}
            if not chosen:
                break
            program = program.run_decompositions(chosen)
    for node in program.graph.nodes:
        if node.op == "call_function" and str(node.target) not in IMPORTS:
            name = next((name for name in _ancestors(node.meta) if name in named), node.name)
            node.meta[SOURCE] = (name, named.get(name, str(node.target)))
    return program


def _ancestors(meta: Mapping[str, Any]) -> list[str]:
    """Names of the nodes that a node was made from, the first one first."""
    names: list[str] = []
    sources = meta.get("from_node")
    while sources:
        names.insert(0, sources[-1].name)
        sources = sources[-1].from_node
    return names


def _unknown(program: ExportedProgram) -> set[torch._ops.OpOverload]:
    """The operators in use that no importer is for."""
    calls = {node.target for node in program.graph.nodes if node.op == "call_function" and node.users}
    overloads = {op for op in calls if isinstance(op, torch._ops.OpOverload)}
    return {op for op in overloads if str(op) not in IMPORTS and str(op) not in ABOUT_SIZES}
