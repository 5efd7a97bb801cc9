"""Which nodes become one kernel: an anchor with the elementwise nodes that can run in its epilogue."""

from __future__ import annotations

from dataclasses import dataclass, field

from alula.codegen.kernels.elementwise import is_elementwise, is_widening
from alula.codegen.kernels.native import is_native
from alula.core.dims import Dim
from alula.core.dtype import DType
from alula.ir.graph import Graph, Node, Value
from alula.ir.op import Op
from alula.ops.attention import Attention
from alula.ops.conv import Conv2d
from alula.ops.depthwise import DepthwiseConv2d
from alula.ops.elementwise import Cast, Mul
from alula.ops.gather import Interpolate
from alula.ops.matmul import Linear, Matmul
from alula.ops.norm import LayerNorm
from alula.ops.outlook import OutlookAttention
from alula.ops.pool import AvgPool2d, MaxPool2d
from alula.ops.quantize import Quantize, QuantizeRows
from alula.ops.reduce import Reduction
from alula.ops.shape import Concat, Expand, Reshape, Slice, Transpose

EPILOGUE_ANCHORS: tuple[type[Op], ...] = (Linear, Matmul, Conv2d, DepthwiseConv2d)
NARROWING_ANCHORS: tuple[type[Op], ...] = (  # they only narrow what they write
    LayerNorm,
    Attention,
    OutlookAttention,
    Interpolate,
)
NARROWING: tuple[type[Op], ...] = (Cast, Quantize)
VIEWS: tuple[type[Op], ...] = (Reshape, Transpose, Slice, Expand)
ROW_READERS: tuple[type[Op], ...] = (Concat, MaxPool2d, AvgPool2d, Reduction, LayerNorm, QuantizeRows)
COMPUTED = (DType.F32, DType.I32)  # what an expression goes on with; bytes and bfloat16 end it


@dataclass(eq=False, slots=True)
class Group:
    """`nodes[0]` is the anchor; the others are elementwise and follow it, each using its predecessor's output."""

    nodes: list[Node] = field(default_factory=list)

    @property
    def anchor(self) -> Node:
        """The node whose op chooses the kernel."""
        return self.nodes[0]

    @property
    def output(self) -> Value:
        """What the kernel writes; the first of it, where the last node has several outputs."""
        return self.nodes[-1].outputs[0]


def group_nodes(graph: Graph) -> list[Group]:
    """The graph's kernels in an order in which they can run.

    Views (reshape, slice...) are in none of them, nor is what is lazy: readers do it.
    """
    groups: list[Group] = []
    made: dict[Value, int] = {}  # the group a value comes from; -1 for inputs and constants

    def when(value: Value) -> int:
        return made.get(value, -1)

    for node in graph.nodes:
        latest = max((when(value) for value in node.inputs), default=-1)
        if isinstance(node.op, VIEWS) or is_lazy(graph, node):
            made.update(dict.fromkeys(node.outputs, latest))
            continue
        if latest >= 0 and _continues(graph, groups[latest], node):
            groups[latest].nodes.append(node)
            made.update(dict.fromkeys(node.outputs, latest))
            continue
        groups.append(Group([node]))
        made.update(dict.fromkeys(node.outputs, len(groups) - 1))
    return groups


def narrowable_outputs(graph: Graph) -> list[Value]:
    """What kernels write in float32 that they could narrow as they write it."""
    return [
        group.output
        for group in group_nodes(graph)
        if (isinstance(group.anchor.op, (*EPILOGUE_ANCHORS, *NARROWING_ANCHORS)) or is_elementwise(group.anchor.op))
        and group.output.type.dtype is DType.F32
        and not is_native(group.anchor)
    ]


def is_lazy(graph: Graph, node: Node) -> bool:
    """True for what is done where it is read, by expressions alone: it is larger than what it is made of.

    Such are a widening of stored bytes or bfloat16, and a constant row times a number for each row.
    """
    return (
        (_widens(node) or _is_outer_product(node))
        and all(_reads_lazily(node, user) for user in node.output.uses)
        and not any(node.output is output for _, output in graph.outputs)
    )


def _reads_lazily(node: Node, user: Node) -> bool:
    """True for expressions, and for reductions of what need only be widened."""
    if isinstance(user.op, Reduction):
        return node.inputs[0].type.dtype is DType.BF16
    return is_elementwise(user.op) and not is_native(user)


def _widens(node: Node) -> bool:
    return is_widening(node.op) and node.inputs[0].type.dtype in (DType.U8, DType.BF16)


def _is_outer_product(node: Node) -> bool:
    if not isinstance(node.op, Mul):
        return False
    numbers, row = node.inputs
    return row.is_constant and row.type.rank == 1 and numbers.type.shape[-1:] == (1,) != row.type.shape


def takes_rows(value: Value) -> bool:
    """True where all that reads `value` takes its rows wherever they lie, or a view of them."""
    return all(
        (isinstance(user.op, Linear) and user.inputs[0] is value)
        or isinstance(user.op, ROW_READERS)
        or (is_elementwise(user.op) and not is_native(user))
        or ((_keeps_rows(user) or _chooses_rows(user)) and takes_rows(user.output))
        for user in value.uses
    )


def parts_of_concats(graph: Graph) -> dict[Value, tuple[Value, Dim]]:
    """(the concatenation, the first column) of each value that can be written where a concatenation wants its rows."""
    parts: dict[Value, tuple[Value, Dim]] = {}
    for node in graph.nodes:
        if not isinstance(node.op, Concat) or node.op.axis != node.output.type.rank - 1:
            continue
        start: Dim = 0
        for value in node.inputs:
            rows: Value | None = value
            while rows is not None:  # what it is a reshape of, too
                if rows not in parts and takes_rows(rows):
                    parts[rows] = node.output, start
                rows = rows.producer.inputs[0] if rows.producer is not None and _keeps_rows(rows.producer) else None
            start = start + value.type.shape[-1]
    return parts


def _keeps_rows(node: Node) -> bool:
    """True for a reshape of whole rows."""
    return isinstance(node.op, Reshape) and node.op.shape[-1:] == node.inputs[0].type.shape[-1:]


def _chooses_rows(node: Node) -> bool:
    """True for a slice that leaves rows whole."""
    return isinstance(node.op, Slice) and node.op.axis != node.output.type.rank - 1


def _continues(graph: Graph, group: Group, node: Node) -> bool:
    """True where `node` can run in the group's epilogue: all else it needs exists before the group runs."""
    anchor, value = group.anchor.op, group.output
    if is_native(node) or is_native(group.anchor):
        return False
    if isinstance(anchor, NARROWING_ANCHORS):
        if not isinstance(node.op, NARROWING) and not (isinstance(anchor, LayerNorm) and _by_rows(group, node)):
            return False
    elif not is_elementwise(node.op) or not (isinstance(anchor, EPILOGUE_ANCHORS) or is_elementwise(anchor)):
        return False
    others = [other for other in node.inputs if other is not value]
    return (
        value in node.inputs
        and graph.sole_use(value) is node
        and value.type.dtype in COMPUTED
        and value.type.shape == node.outputs[0].type.shape
        and all(other.type.dtype is DType.F32 for other in others)
        and not any(_depends(other, group) for other in others)
    )


def _by_rows(group: Group, node: Node) -> bool:
    """True for a quantisation by rows right after the anchor: it has the row at hand."""
    return isinstance(node.op, QuantizeRows) and len(group.nodes) == 1


def _is_done_by_readers(node: Node) -> bool:
    return is_widening(node.op) or _is_outer_product(node)


def _depends(value: Value, group: Group) -> bool:
    """True where `value` is made by the group, directly or through views."""
    node = value.producer
    while node is not None and node not in group.nodes and (isinstance(node.op, VIEWS) or _is_done_by_readers(node)):
        node = node.inputs[0].producer
    return node is not None and node in group.nodes
