"""Small ONNX models, and the comparison with ONNX Runtime that every importer has to stand."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from alula.core.dtype import Array
from alula.frontends.onnx import from_onnx
from alula.ir.graph import Graph
from alula.ir.verifier import verify
from alula.ops.reference import run_reference

IR_VERSION = 9


@dataclass(frozen=True)
class Case:
    """One node: its operator, operands (arrays; those from `constants` on are initializers), attributes, results.

    A domain other than ONNX's stands before the operator, with a dot between.
    """

    op: str
    operands: Sequence[Array | None]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    opset: int = 17
    constants: int = 1
    results: int = 1


def normal(*shape: int, seed: int = 0) -> Array:
    """Normal numbers in float32."""
    return np.random.default_rng(seed + sum(shape)).standard_normal(shape).astype(np.float32)


def ints(*values: Any) -> Array:
    """A vector of i64."""
    return np.array(values, np.int64)


def value(name: str, array_or_type: Any, shape: Sequence[Any] | None = None) -> onnx.ValueInfoProto:
    """An input or output: like an array, or of an element type and a shape (None: unknown)."""
    if isinstance(array_or_type, np.ndarray):
        code = helper.np_dtype_to_tensor_dtype(array_or_type.dtype)
        return helper.make_tensor_value_info(name, code, array_or_type.shape)
    return helper.make_tensor_value_info(name, array_or_type, shape)


def model(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    opset: int = 17,
    weights: Mapping[str, Array] | None = None,
    **more: Any,
) -> onnx.ModelProto:
    """A whole model."""
    tensors = [numpy_helper.from_array(array, name) for name, array in (weights or {}).items()]
    graph = helper.make_graph(list(nodes), "test", list(inputs), list(outputs), tensors)
    versions = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in {n.domain for n in nodes} - {""})]
    return helper.make_model(graph, opset_imports=versions, ir_version=IR_VERSION, **more)


def of_case(case: Case) -> tuple[onnx.ModelProto, dict[str, Array]]:
    """The model of one node and what it takes."""
    names = ["" if array is None else f"x{n}" for n, array in enumerate(case.operands)]
    given = {n: a for n, a in zip(names[: case.constants], case.operands, strict=False) if a is not None}
    weights = {n: a for n, a in zip(names[case.constants :], case.operands[case.constants :], strict=True) if n}
    results = [f"y{n}" for n in range(case.results)]
    domain, _, op = case.op.rpartition(".")
    node = helper.make_node(op, names, results, name="node", domain=domain, **case.attributes)
    inputs = [value(name, array) for name, array in given.items()]
    outputs = [onnx.ValueInfoProto(name=name) for name in results]
    return model([node], inputs, outputs, case.opset, weights), given


def saved(proto: onnx.ModelProto, folder: Path) -> Path:
    """The model's file."""
    path = folder / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


def runtime_answers(proto: onnx.ModelProto, inputs: Mapping[str, Array]) -> list[Array]:
    """What ONNX Runtime gives."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, dict(inputs))


def agree(proto: onnx.ModelProto, inputs: Mapping[str, Array], folder: Path, bound: float = 2e-6) -> Graph:
    """The graph of a model, once its reference gives what ONNX Runtime gives, within `bound` of the largest."""
    graph = from_onnx(saved(proto, folder))
    verify(graph)
    ours = run_reference(graph, list(inputs.values()))
    for got, wanted in zip(ours, runtime_answers(proto, inputs), strict=True):
        assert (got.dtype, got.shape) == (wanted.dtype, wanted.shape)
        if wanted.dtype.kind == "f":
            same = (got == wanted) | (np.isnan(got) & np.isnan(wanted))
            largest = np.abs(wanted[np.isfinite(wanted)]).max(initial=1e-30)
            with np.errstate(invalid="ignore"):
                assert np.all(same | (np.abs(got - wanted) <= bound * largest)), np.abs(got - wanted).max()
        else:
            assert np.array_equal(got, wanted)
    return graph


def case_agrees(case: Case, folder: Path, bound: float = 2e-6) -> Graph:
    """The same for a model of one node."""
    proto, inputs = of_case(case)
    return agree(proto, inputs, folder, bound)


def op_names(graph: Graph) -> list[str]:
    """The ops in order."""
    return [node.op.name for node in graph.nodes]


FLOAT, INT64, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL
