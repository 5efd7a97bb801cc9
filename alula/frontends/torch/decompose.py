"""The operators of a program brought down to those that have importers."""

from __future__ import annotations

import warnings

import torch
from torch.export import ExportedProgram

from alula.frontends.torch import (  # noqa: F401  importing a family registers its importers
    aten_attention,
    aten_conv,
    aten_create,
    aten_math,
    aten_matmul,
    aten_norm,
    aten_pool,
    aten_reduce,
    aten_shape,
)
from alula.frontends.torch.call import IMPORTS

ABOUT_SIZES = frozenset({"aten.sym_size.int", "aten.sym_numel.default", "aten.sym_stride.int"})
MOST_ROUNDS = 8  # a decomposition may be of operators that need one themselves


def decomposed(program: ExportedProgram) -> ExportedProgram:
    """`program` without in-place operators, and without those that PyTorch can express by ones that we know."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch's own calls of what it has deprecated
        program = program.run_decompositions({})
        table = torch.export.default_decompositions()
        for _ in range(MOST_ROUNDS):
            chosen = {op: table[op] for op in _unknown(program) if op in table}
            if not chosen:
                break
            program = program.run_decompositions(chosen)
    return program


def _unknown(program: ExportedProgram) -> set[torch._ops.OpOverload]:
    """The operators in use that no importer is for."""
    calls = {node.target for node in program.graph.nodes if node.op == "call_function" and node.users}
    overloads = {op for op in calls if isinstance(op, torch._ops.OpOverload)}
    return {op for op in overloads if str(op) not in IMPORTS and str(op) not in ABOUT_SIZES}
