import numpy as np
import pytest

from alula.core.dims import Dim
from alula.core.dtype import DType
from alula.core.errors import ShapeError
from alula.core.preprocess import Preprocess
from alula.ir.graph import Graph
from alula.ir.verifier import verify
from alula.ops.elementwise import Relu
from alula.ops.reference import run_reference
from alula.ops.shape import Transpose
from alula.passes.attach_preprocess import attach_preprocess
from alula.passes.pipeline import optimise
from tests.passes.graphs import TO_NCHW, TO_NHWC, Builder, N, random_inputs


def model(*shape: Dim, dtype: DType = DType.F32) -> Graph:
    """A padded convolution of an NCHW input, as importers build it."""
    b = Builder(shape, dtype=dtype)
    if len(shape) != 4 or shape[1] != 3 or dtype is not DType.F32:
        return b.finish(b(Relu(), b.inputs[0]))
    x = b.conv(b(Transpose(TO_NHWC), b.inputs[0]), 4, 3, pad=(1, 1, 1, 1))
    return b.finish(b(Transpose(TO_NHWC), b(Transpose(TO_NCHW), x)))


@pytest.mark.parametrize("order", ["RGB", "BGR"])
def test_bytes_in_give_what_normalised_pictures_gave(order: str) -> None:
    contract = Preprocess(crop=8, resize=8, order=order)
    plain, graph = model(N, 3, 8, 8), attach_preprocess(model(N, 3, 8, 8), contract)
    verify(graph)
    assert [(value.name, str(value.type)) for value in graph.inputs] == [("x0", "u8[N,8,8,3]")]
    (pictures,) = random_inputs(graph, 3)
    ordered = pictures if order == "RGB" else pictures[..., ::-1]
    normal = (ordered / np.float64(255) - contract.mean) / contract.std
    (wanted,) = run_reference(plain, [np.ascontiguousarray(normal.transpose(0, 3, 1, 2), np.float32)])
    np.testing.assert_allclose(run_reference(graph, [pictures])[0], wanted, rtol=1e-5, atol=1e-5)
    optimise(graph)
    assert [node.op.name for node in graph.nodes] == ["conv2d"]
    np.testing.assert_allclose(run_reference(graph, [pictures])[0], wanted, rtol=1e-5, atol=1e-5)


def test_a_model_that_takes_its_channels_last() -> None:
    contract = Preprocess(crop=8, resize=8)
    plain, graph = model(N, 8, 8, 3), attach_preprocess(model(N, 8, 8, 3), contract)
    verify(graph)
    assert [(value.name, str(value.type)) for value in graph.inputs] == [("x0", "u8[N,8,8,3]")]
    assert [node.op.name for node in graph.nodes] == ["normalize", "relu"]
    (pictures,) = random_inputs(graph, 3)
    normal = (pictures / np.float64(255) - contract.mean) / contract.std
    (wanted,) = run_reference(plain, [np.asarray(normal, np.float32)])
    np.testing.assert_allclose(run_reference(graph, [pictures])[0], wanted, rtol=1e-5, atol=1e-5)


def test_a_contract_that_is_not_folded_changes_nothing() -> None:
    graph = model(N, 3, 8, 8)
    text = str(graph)
    assert str(attach_preprocess(graph, Preprocess(crop=8, resize=8, folded=False))) == text


@pytest.mark.parametrize(
    ("graph", "got"),
    [
        (model(N, 3, 8, 9), "f32[N,3,8,9]"),
        (model(N, 3, 6, 6), "f32[N,3,6,6]"),
        (model(N, 1, 8, 8), "f32[N,1,8,8]"),
        (model(N, 8, 3, 8), "f32[N,8,3,8]"),
        (model(N, 3, 8), "f32[N,3,8]"),
        (model(N, 3, 8, 8, dtype=DType.F64), "f64[N,3,8,8]"),
    ],
)
def test_an_input_of_another_type_is_an_error(graph: Graph, got: str) -> None:
    with pytest.raises(ShapeError) as caught:
        attach_preprocess(graph, Preprocess(crop=8, resize=8))
    assert str(caught.value) == f"preprocess of input x0: expected f32[N,3,8,8] or with its channels last, got {got}"


def test_a_graph_without_inputs_is_an_error() -> None:
    with pytest.raises(ShapeError, match="expected an input, got none"):
        attach_preprocess(Graph("empty"), Preprocess(crop=8, resize=8))


def test_an_input_that_is_an_output_too() -> None:
    b = Builder((N, 3, 8, 8))
    graph = attach_preprocess(b.finish(b.inputs[0]), Preprocess(crop=8, resize=8))
    verify(graph)
    assert str(graph.outputs[0][1].type) == "f32[N,3,8,8]"
