"""A TensorFlow model as an ONNX message: one function of it, frozen, through tf2onnx."""

from __future__ import annotations

import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf2onnx
from google.protobuf.message import DecodeError
from onnx import ModelProto
from tensorflow.python.saved_model.loader_impl import parse_saved_model
from tf2onnx import tf_loader

from alula.core.errors import AlulaError, ImportFailed, UnsupportedOperator, first_line
from alula.frontends.tensorflow import FROZEN, KERAS
from alula.frontends.tensorflow.inline import inlined
from alula.frontends.tensorflow.resize import RESIZES

OPSET = 18  # the newest that tf2onnx writes
SERVE = "serve"  # the tag of the graph that is not for training
SERVING = "serving_default"  # what TensorFlow calls the function that a SavedModel is saved for
UNUSED = frozenset({"Assert", "Const", "NoOp", "Placeholder"})  # never what a model is computed for
NAMED = 4  # operators or tensors in a message


@dataclass(frozen=True, slots=True)
class Frozen:
    """A graph whose variables are constants, and the tensors (`name:0`) that go in and come out, with their names."""

    graph: Any
    inputs: dict[str, str]
    outputs: dict[str, str]


def onnx_model(path: Path) -> ModelProto:
    """The model at `path`.  Raises what `from_tensorflow` raises."""
    try:
        frozen = _frozen(path)
        return _converted(path, frozen)
    except AlulaError:
        raise
    except Exception as error:  # damage surfaces as whatever TensorFlow trips over
        raise ImportFailed(f"{path}: expected a TensorFlow model, got {first_line(error)}") from error


def _frozen(path: Path) -> Frozen:
    if path.is_dir():
        return _of_saved_model(path)
    return _of_graph(path) if path.suffix.lower() == FROZEN else _of_keras(path)


def _of_keras(path: Path) -> Frozen:
    if path.suffix.lower() == KERAS[0] and not zipfile.is_zipfile(path):
        raise ImportFailed(f"{path}: expected a Keras model, got a file that is no zip archive")
    try:
        model = tf.keras.models.load_model(path, compile=False, safe_mode=True)
    except (TypeError, ValueError) as error:
        if own := re.search(r"(?:Could not locate (?:class|function)|Unknown layer:) '([^']*)'", str(error)):
            raise ImportFailed(
                f"{path}: expected layers that are Keras's own, got {own[1]}; where it is defined, model.export writes "
                "a SavedModel that needs it no more"
            ) from error
        raise
    taken = [tf.TensorSpec(value.shape, value.dtype, name=value.name) for value in model.inputs]

    structure = getattr(model, "input", model.inputs[0])  # the latter of a Sequential

    def run(*values: Any) -> Any:
        results = tf.nest.flatten(model(tf.keras.tree.pack_sequence_as(structure, values), training=False))
        return [tf.identity(result) for result in results]

    names = getattr(model, "output_names", None) or [model.layers[-1].name]
    return _of_function(tf.function(run, input_signature=taken).get_concrete_function(), list(names))


def _of_saved_model(path: Path) -> Frozen:
    loaded = tf.saved_model.load(path, tags=_tags(path))
    signatures = dict(loaded.signatures)
    name = SERVING if SERVING in signatures or len(signatures) != 1 else next(iter(signatures))
    if name not in signatures:
        raise ImportFailed(f"{path}: expected a signature {SERVING}, got {', '.join(signatures) or 'none'}")
    function = signatures[name]
    frozen = _of_function(function, sorted(function.structured_outputs))  # the order that they are in
    del loaded  # the variables live as long as it
    return frozen


def _tags(path: Path) -> list[str] | None:
    """What tells the graph for serving from the others of a SavedModel; None where there is one graph."""
    graphs = [sorted(graph.meta_info_def.tags) for graph in parse_saved_model(str(path)).meta_graphs]
    if not graphs or (len(graphs) > 1 and [SERVE] not in graphs):
        found = "; ".join(", ".join(tags) or "one without tags" for tags in graphs)
        raise ImportFailed(f"{path}: expected a SavedModel with one graph or one tagged {SERVE}, got {found or 'none'}")
    return [SERVE] if len(graphs) > 1 else None


def _of_function(function: Any, names: list[str]) -> Frozen:
    taken = function.inputs[: len(function.inputs) - len(function.captured_inputs)]  # what follows are the weights
    given = function.outputs
    graph = tf_loader.from_function(function, [value.name for value in taken], [value.name for value in given])
    labels = names if len(names) == len(given) else [_label(value.name) for value in given]
    return Frozen(
        graph,
        {value.name: _label(value.name) for value in taken},
        {value.name: label for value, label in zip(given, labels, strict=True)},
    )


def _of_graph(path: Path) -> Frozen:
    """All placeholders go in; what no node takes comes out."""
    graph = tf.compat.v1.GraphDef()
    try:
        graph.ParseFromString(path.read_bytes())
    except DecodeError:
        raise ImportFailed(f"{path}: expected a frozen graph (GraphDef), got a file that is none") from None
    used = {name.lstrip("^").partition(":")[0] for node in graph.node for name in node.input}
    taken = [f"{node.name}:0" for node in graph.node if node.op == "Placeholder"]
    given = [f"{node.name}:0" for node in graph.node if node.name not in used and node.op not in UNUSED]
    if not taken or not given:
        raise ImportFailed(f"{path}: expected a graph with placeholders and results, got {len(graph.node)} nodes")
    variables = [node.name for node in graph.node if node.op in ("VariableV2", "VarHandleOp")]
    if variables:
        raise ImportFailed(f"{path}: expected a frozen graph, got variables: {_some(variables)}")
    return Frozen(graph, {name: _label(name) for name in taken}, {name: _label(name) for name in given})


def _converted(path: Path, frozen: Frozen) -> ModelProto:
    """Raises UnsupportedOperator for operators that ONNX has no counterpart of."""
    ranks = {f"{node.name}:0": not node.attr["shape"].shape.unknown_rank for node in frozen.graph.node}
    if unknown_ranks := [label for tensor, label in frozen.inputs.items() if not ranks.get(tensor, True)]:
        raise ImportFailed(f"{path}: expected inputs of known rank, got {_some(unknown_ranks)} of any")
    model: ModelProto
    model, _ = tf2onnx.convert.from_graph_def(
        inlined(frozen.graph, list(frozen.inputs), list(frozen.outputs)),
        name=path.stem,
        input_names=list(frozen.inputs),
        output_names=list(frozen.outputs),
        opset=OPSET,
        custom_op_handlers={"Erfc": (_erfc, []), **RESIZES},
    )
    domains = {"", "ai.onnx", *(function.domain for function in model.functions)}
    unknown = {node.op_type: node.name for node in model.graph.node if node.domain not in domains}
    if unknown:
        places = [f"{kind} (at {name})" for kind, name in unknown.items()]
        raise UnsupportedOperator(f"tensorflow {path.name}: expected operators that ONNX has, got {_some(places)}")
    _rename(model, {**frozen.inputs, **frozen.outputs})
    return model


def _erfc(context: Any, node: Any, name: str, _: list[Any]) -> None:
    """1 - erf(x), which is how GELU is written in ONNX; tf2onnx has no counterpart of erfc."""
    one = context.make_const(f"{name}_one", np.ones((), np.float32))
    (x,), shapes, dtypes = node.input, node.output_shapes, node.output_dtypes
    context.remove_node(name)
    erf = context.make_node("Erf", [x], shapes=shapes, dtypes=dtypes)
    context.make_node("Sub", [one.output[0], erf.output[0]], name=name, shapes=shapes, dtypes=dtypes)


def _rename(model: ModelProto, names: dict[str, str]) -> None:
    """Inputs and outputs by the model's own names; first sizes that are open are one batch."""
    for value in model.graph.input:
        for dim in value.type.tensor_type.shape.dim[:1]:
            if not dim.HasField("dim_value"):
                dim.dim_param = "batch"
    for value in (*model.graph.input, *model.graph.output):
        value.name = names.get(value.name, value.name)
    for node in model.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]


def _label(tensor: str) -> str:
    return tensor.removesuffix(":0").removeprefix("serving_default_")


def _some(names: list[str]) -> str:
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
