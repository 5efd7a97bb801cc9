"""A model file beside the model that it was built from: which op departs first, stage by stage.

    source -> graph          an importer's fault        the framework's own values
    graph -> optimised       a pass's fault             the graph's references
    optimised -> file        what the precision costs   the optimised graph's references, at products and outputs
    file -> machine code     a kernel's fault           the file's references on what the kernels wrote before

Every op is computed on operands that are right, so an error shows at the op that makes it and nowhere after it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from alula.analysis.anchors import matched
from alula.analysis.observed import observed, written
from alula.analysis.walk import Beside, Checked, Known, walk
from alula.core.dtype import Array, DType
from alula.core.errors import UsageError
from alula.core.preprocess import Preprocess
from alula.frontends.traced import Traced
from alula.ir.graph import Graph, Value
from alula.ops.reference import reference_values
from alula.passes.attach_preprocess import attach_preprocess
from alula.passes.pipeline import optimise

NARROW = (DType.U8, DType.BF16)


@dataclass(frozen=True, slots=True)
class Limit:
    """The largest local error that is no fault: of the whole tensor, and of its worst channel."""

    relative: float
    channel: float

    def holds(self, checked: Checked) -> bool:
        """True where both errors are within."""
        return checked.local.relative <= self.relative and checked.local.channel <= self.channel


EXACT = Limit(1e-4, 1e-3)  # float32 in another order
ROUNDED = Limit(1e-2, 5e-2)  # a level more or less of bytes, a last bit of bfloat16
PRECISIONS = {  # by how names of precisions begin, from the narrowest on
    "qint8": Limit(0.15, 0.5),
    "force_bfloat16": Limit(0.03, 0.15),
    "force_float16": Limit(5e-3, 2e-2),
    "force_float32": EXACT,
}


@dataclass(frozen=True, slots=True)
class Stage:
    """What was compared, in order, with what could be known of it, and its limits."""

    title: str
    limit: Limit
    checked: tuple[Checked, ...]

    @classmethod
    def of(cls, title: str, limit: Limit, found: Iterable[Beside]) -> Stage:
        """What was found, without its arrays."""
        return cls(title, limit, tuple(one.checked() for one in found))

    @property
    def departing(self) -> list[Checked]:
        """What is beyond the limits, in order; after bytes and bfloat16 a wider limit counts."""
        return [one for one in self.checked if not self._limit(one).holds(one)]

    @property
    def worst(self) -> Checked | None:
        """The largest error, by the share of its limit; None where nothing was compared."""
        return max(self.checked, key=self._share, default=None)

    def _limit(self, one: Checked) -> Limit:
        return ROUNDED if self.limit is EXACT and one.value.type.dtype in NARROW else self.limit

    def _share(self, one: Checked) -> float:
        limit = self._limit(one)
        return max(one.local.relative / limit.relative, one.local.channel / limit.channel)


def stages(
    traced: Traced,
    file: Graph,
    precision: str,
    preprocess: Preprocess | None,
    plain: Sequence[Array],
    taken: Sequence[Array],
) -> Iterator[Stage]:
    """The four stages, each computed when it is asked for.  The traced graph is optimised on the way.

    `plain` are inputs as the source takes them, `taken` the same as the file takes them.  Raises UsageError for a file
    that was not built from this source.
    """
    graph = traced.graph
    checked = walk(graph, plain, Known(traced.values(plain), traced.known))
    yield Stage.of(f"{traced.framework} -> graph", EXACT, checked)

    if preprocess is not None:
        graph = attach_preprocess(graph, preprocess)
    imported, becomes = optimised(graph)
    values = ((becomes[value], array) for value, array in reference_values(imported, taken))
    yield Stage.of("graph -> optimised", EXACT, walk(graph, taken, Known(values, becomes.values())))

    limit = limit_of(precision)
    yield Stage.of(f"optimised -> {precision}", limit, lowered(file, graph, taken))

    checked = walk(file, taken, Known(observed(file, taken), written(file)), accumulate=False)
    yield Stage.of("file -> machine code", EXACT, checked)


def limit_of(precision: str) -> Limit:
    """What a product may lose in a precision."""
    return next(limit for name, limit in PRECISIONS.items() if precision.startswith(name))


def optimised(graph: Graph) -> tuple[Graph, dict[Value, Value]]:
    """Optimises the graph in place; a copy of what it was, and which of its values each value of the copy became."""
    imported, copies = graph.copied()
    graph.trail = []
    optimise(graph)
    moved, graph.trail = dict(graph.trail), None

    def now(value: Value) -> Value:
        while value in moved:
            value = moved[value]
        return value

    return imported, {copy: now(value) for value, copy in copies.items()}


def lowered(file: Graph, graph: Graph, inputs: Sequence[Array]) -> Iterator[Beside]:
    """The results of products and the outputs of a graph in low precision, beside those of the float graph.

    What scales the sums of bytes counts as the product.
    Raises UsageError where the one was not made from the other.
    """
    pairs = matched(file, graph)
    outputs = [(ours, theirs) for (_, ours), (_, theirs) in zip(file.outputs, graph.outputs, strict=False)]
    if not pairs or any(ours.type != theirs.type for ours, theirs in outputs):
        raise UsageError("model file: expected one that was built from this model, got other products or outputs")
    back = dict([(theirs, ours) for ours, theirs in outputs] + [(pair.theirs, pair.ours) for pair in pairs])
    anchors = {pair.ours: pair.node for pair in pairs}
    values = ((back[value], array) for value, array in reference_values(graph, inputs) if value in back)
    for beside in walk(file, inputs, Known(values, back.values())):
        yield replace(beside, node=anchors.get(beside.value, beside.node))
