"""What each product of a loaded model costs, beside other models of the same products."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from alula.core.dtype import Array
from alula.ir.graph import Graph
from alula.quant.products import labelled_products
from alula.runtime.session import Session

RUNS = 15


@dataclass(frozen=True, slots=True)
class Times:
    """Milliseconds of products, by label, and of all steps."""

    ms: dict[str, float]
    total_ms: float


def product_times(models: Sequence[tuple[Session, Graph]], inputs: Sequence[Array], runs: int = RUNS) -> list[Times]:
    """The times of each model, with its graph; the models take turns, and the least time of each step counts.

    A product has the steps that come from its own place in the source model: what narrows its operand and what follows
    in its epilogue.  Of products that share a place the first one has them all.
    """
    seconds = [np.full(len(session.steps), np.inf) for session, _ in models]
    for session, _ in models:
        session.run(*inputs)
    for _ in range(runs):
        for (session, _), least in zip(models, seconds, strict=True):
            np.minimum(least, session.profile(*inputs), out=least)
    return [_times(session, graph, least) for (session, graph), least in zip(models, seconds, strict=True)]


def _times(session: Session, graph: Graph, seconds: Array) -> Times:
    by_origin: dict[str, float] = {}
    for step, time in zip(session.steps, seconds.tolist(), strict=True):
        by_origin[step.origin] = by_origin.get(step.origin, 0.0) + time * 1e3
    ms = {}
    for label, node in labelled_products(graph).items():
        if node.origin in by_origin:
            ms[label] = by_origin.pop(node.origin)
    return Times(ms, float(seconds.sum()) * 1e3)
