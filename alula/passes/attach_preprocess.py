"""A preprocessing contract as the first nodes of a graph."""

from __future__ import annotations

from contextlib import nullcontext

from alula.core.dtype import DType
from alula.core.errors import ShapeError
from alula.core.preprocess import Preprocess
from alula.ir.graph import Graph, Value
from alula.ir.types import TensorType
from alula.ops.elementwise import Normalize
from alula.ops.shape import Concat, Slice, Transpose

LARGEST_BYTE = 255
TO_NCHW = (0, 3, 1, 2)


def attach_preprocess(graph: Graph, preprocess: Preprocess) -> Graph:
    """The same graph, its first input f32[N,3,crop,crop] or f32[N,crop,crop,3] turned into u8[N,crop,crop,3] RGB.

    (x / 255 - mean) / std and, for BGR, the order of channels become nodes of the graph (mean and std are in the
    contract's order).  A contract that is not folded changes nothing.  Raises ShapeError where the input does not fit.
    """
    if not preprocess.folded:
        return graph
    model, size, channels = _model_input(graph), preprocess.crop, Preprocess.CHANNELS
    batch = model.type.shape[0] if model.type.rank else 1
    first, last = ((batch, channels, size, size), (batch, size, size, channels))
    if model.type.dtype is not DType.F32 or model.type.shape not in (first, last):
        raise ShapeError(
            f"preprocess of input {model.name}: expected f32[N,{channels},{size},{size}] or with its channels last, "
            f"got {model.type}"
        )
    picture = Value(TensorType(DType.U8, (batch, size, size, channels)), name=model.name)
    graph.inputs[0] = picture
    with graph.before(graph.nodes[0]) if graph.nodes else nullcontext():
        ordered = _ordered(graph, picture, preprocess)
        scale = tuple(1 / (LARGEST_BYTE * std) for std in preprocess.std)
        shift = tuple(-mean / std for mean, std in zip(preprocess.mean, preprocess.std, strict=True))
        normalised = graph.add(Normalize(scale, shift), ordered, origin="preprocess")
        turned = model.type.shape == first
        ready = graph.add(Transpose(TO_NCHW), normalised, origin="preprocess") if turned else normalised
    graph.replace(model, ready)
    return graph


def _model_input(graph: Graph) -> Value:
    if not graph.inputs:
        raise ShapeError(f"preprocess of graph {graph.name}: expected an input, got none")
    return graph.inputs[0]


def _ordered(graph: Graph, picture: Value, preprocess: Preprocess) -> Value:
    if preprocess.order == "RGB":
        return picture
    places = reversed(range(preprocess.CHANNELS))
    planes = [graph.add(Slice(3, place, place + 1), picture, origin="preprocess") for place in places]
    return graph.add(Concat(3), *planes, origin="preprocess")
