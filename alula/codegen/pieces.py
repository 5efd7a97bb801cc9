"""Whether a batch may run piece by piece, and in what pieces: few images at a time keep their activations in cache.

As long as there are images for all threads, each thread does pieces alone: none waits for another, and none takes from
another's cache what it did not make itself.  Where cores share no cache that is an eighth of VOLO-D2's time in int8.
"""

from __future__ import annotations

from dataclasses import dataclass

from alula.core.dims import Expr, dim_symbols
from alula.core.target import CpuTarget
from alula.ir.graph import Graph, Node
from alula.ir.types import TensorType
from alula.ops.gather import Gather, Interpolate, Scatter
from alula.ops.reduce import ReduceMax, ReduceMean, ReduceMin, ReduceSum
from alula.ops.shape import Concat, Pad, Slice, Transpose
from alula.ops.softmax import Softmax
from alula.ops.sort import TopK

ARENA_SHARE = 8  # second-level caches that a piece's arena may take; VOLO-D2: one image 195 ms, four 209, eight 216


@dataclass(frozen=True, slots=True)
class Pieces:
    """`alone` pieces of `images` images, each by one of the `threads`, then `together` ones, each by all of them.

    The arena has to have room for `held` images.
    """

    threads: int
    alone: int
    images: int
    together: int
    held: int

    @property
    def lasting(self) -> list[float]:
        """What each piece's time counts for in the time of the run: those done alone are done side by side."""
        return [1 / self.threads] * self.alone + [1.0] * self.together


def pieces_of(batch: int, threads: int, piece: int) -> Pieces:
    """How a batch runs whose pieces have at most `piece` images (0: it has to run at once)."""
    if not piece:
        return Pieces(threads, 0, 0, 1, batch)
    images = max(1, min(batch, piece) // threads)
    alone = batch // (threads * images) * threads
    rest = batch - alone * images
    held = max(min(rest, piece), threads * images if alone else 0)
    return Pieces(threads, alone, images, -(-rest // piece), held)


def piece_size(graph: Graph, arena_bytes: int, target: CpuTarget) -> int:
    """Images to run at a time at most, for `arena_bytes` an image; 0 where the whole batch has to run at once."""
    if not is_separable(graph):
        return 0
    return max(1, ARENA_SHARE * target.l2_bytes // max(arena_bytes, 1))


def is_separable(graph: Graph) -> bool:
    """True where each image's outputs depend on its own inputs alone: no op looks along the batch, the first axis."""
    values = [*graph.inputs, *(value for _, value in graph.outputs)]
    batched = bool(graph.symbols) and all(_leads(value.type) and value.type.symbols() for value in values)
    types = (value.type for node in graph.nodes for value in (*node.inputs, *node.outputs))
    return batched and all(map(_leads, types)) and not any(map(_along_batch, graph.nodes))


def _leads(type: TensorType) -> bool:
    """True where the batch is a factor of the first axis alone, or does not occur."""
    first, *others = type.shape or (1,)
    if any(dim_symbols(dim) for dim in others):
        return False
    return not isinstance(first, Expr) or (len(first.terms) == 1 and len(first.terms[0][0]) == 1)


def _along_batch(node: Node) -> bool:
    """True where a node looks along, moves or cuts the first axis of a batched operand."""
    if not any(value.type.symbols() for value in node.inputs):
        return False
    match node.op:
        case ReduceSum(axes=axes) | ReduceMean(axes=axes) | ReduceMax(axes=axes) | ReduceMin(axes=axes):
            return 0 in axes
        case Softmax(axis=axis) | Concat(axis=axis) | Slice(axis=axis):
            return axis == 0
        case Gather(axis=0) | Interpolate(axis=0):
            return bool(node.inputs[0].type.symbols())
        case Scatter(axis=axis):
            return axis == 0
        case TopK():
            return node.inputs[0].type.rank == 1
        case Transpose(perm=perm):
            return perm[0] != 0
        case Pad(before=before, after=after):
            return before[0] != 0 or after[0] != 0
    return False
