from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from alula.core.preprocess import Preprocess
from alula.frontends.torch import from_torch
from alula.ir.graph import Graph, Value
from alula.models.volo import D1, Volo, VoloConfig
from alula.ops.elementwise import Abs, Add, Maximum, Mul, Relu, Sub, Tanh
from alula.ops.matmul import Matmul
from alula.ops.reduce import ReduceMax, ReduceMean
from alula.ops.reference import run_reference
from alula.ops.shape import Concat, Reshape, Slice, Transpose
from alula.ops.softmax import Softmax
from alula.passes.attach_preprocess import attach_preprocess
from alula.passes.pipeline import PIPELINE, optimise
from tests.passes.graphs import TO_NHWC, Builder, N, counts, run_both

TINY = VoloConfig(
    outlookers=1, transformers=(1,), widths=(16, 32), heads=(2, 4), stem_width=8, image_size=32, num_classes=10
)
D1_STRUCTURE = replace(D1, widths=(12, 24), heads=(6, 12), stem_width=8, image_size=32, num_classes=10)


@cache
def volo(config: VoloConfig) -> Volo:
    """A VOLO whose every parameter and statistic is random, so that a lost one shows."""
    torch.manual_seed(1)
    model = Volo(config).eval()
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point():
            tensor.uniform_(0.5, 1.5) if name.endswith("running_var") else tensor.add_(torch.randn_like(tensor) * 0.05)
    return model


def imported(module: nn.Module, *shape: int) -> tuple[Graph, Tensor]:
    torch.manual_seed(2)
    x = torch.randn(shape)
    return from_torch(module.eval(), (x,)), x


def assert_like_pytorch(graph: Graph, module: nn.Module, x: Tensor) -> None:
    with torch.no_grad():
        wanted = module(x).numpy()
    (got,) = run_reference(graph, [x.numpy()])
    np.testing.assert_allclose(got, wanted, rtol=0, atol=2e-6 * np.abs(wanted).max())


def volo_counts(config: VoloConfig) -> dict[str, int]:
    """What the architecture has of each kind: outlookers, transformers, class blocks, stem, patches and heads."""
    outlookers, transformers, last = config.outlookers, sum(config.transformers), config.class_blocks
    blocks = outlookers + transformers + last
    return {
        "outlook_attention": outlookers,
        "avg_pool2d": outlookers,
        "attention": transformers + last,
        "layer_norm": 2 * blocks + 1,
        "gelu": blocks,
        "linear": 5 * outlookers + 4 * transformers + 5 * last + 2,
        "conv2d": 3 + 1 + 1,
        "relu": 3,
        "slice": 3 * transformers + 3 * last + 2,
        "concat": 1 + last,
        "expand": 1,
        "reduce_max": 1,
        "mul": 1,
        "add": 2 * blocks + 1,  # the class token's first one is in a bias: both are constant
    }


@pytest.mark.parametrize("config", [TINY, D1_STRUCTURE], ids=["tiny", "D1"])
def test_volo_is_what_the_paper_draws(config: VoloConfig) -> None:
    graph, x = imported(volo(config), 3, 3, 32, 32)
    optimise(graph)
    found = counts(graph)
    del found["reshape"]  # costs nothing
    assert found.pop("transpose") == 1  # of the input, which PyTorch has channels first
    assert found == volo_counts(config)
    assert [node.op.name for node in graph.nodes[:2]] == ["transpose", "conv2d"]
    assert_like_pytorch(graph, volo(config), x)


def test_volo_of_bytes_has_no_transpose_at_all(golden: object) -> None:
    graph, _ = imported(volo(TINY), 2, 3, 32, 32)
    attach_preprocess(graph, Preprocess(crop=32, resize=32))
    run_both(graph, lambda: optimise(graph), batches=(2,))
    assert "transpose" not in counts(graph)
    assert "normalize" not in counts(graph)
    assert str(graph) == golden


def test_optimising_twice_changes_nothing() -> None:
    graph, _ = imported(volo(TINY), 2, 3, 32, 32)
    text = str(optimise(graph))
    assert str(optimise(graph)) == text
    assert all(step.run(graph) == 0 for step in PIPELINE)


def test_large_weights_are_not_copied() -> None:
    graph, _ = imported(volo(TINY), 2, 3, 32, 32)
    before = {id(value.data) for value in graph.constants()}
    optimise(graph)
    linears = [node.inputs[1] for node in graph.nodes if node.op.name == "linear"]
    assert all(id(weight.data) in before for weight in linears)


class Residual(nn.Module):
    """ResNet's basic block, twice, and its head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.convs = nn.ModuleList(nn.Conv2d(8, 8, 3, padding=1, bias=False) for _ in range(4))
        self.norms = nn.ModuleList(nn.BatchNorm2d(8) for _ in range(5))
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.max_pool2d(functional.relu(self.norms[4](self.stem(x))), 3, 2, 1)
        for i in (0, 2):
            y = functional.relu(self.norms[i](self.convs[i](x)))
            x = functional.relu(x + self.norms[i + 1](self.convs[i + 1](y)))
        return self.head(torch.flatten(functional.adaptive_avg_pool2d(x, 1), 1))


class Separable(nn.Module):
    """MobileNetV3's inverted residual with squeeze-and-excite, concatenation and a classifier of a flattened map."""

    def __init__(self) -> None:
        super().__init__()
        self.expand, self.depth = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 3, groups=8, padding=1)
        self.squeeze, self.excite = nn.Conv2d(8, 2, 1), nn.Conv2d(2, 8, 1)
        self.head = nn.Linear(11 * 4 * 4, 5)

    def forward(self, x: Tensor) -> Tensor:
        y = self.depth(functional.silu(self.expand(x)))
        gate = functional.hardsigmoid(self.excite(functional.relu(self.squeeze(y.mean((2, 3), keepdim=True)))))
        return self.head(functional.max_pool2d(torch.cat([x, y * gate], 1), 2).flatten(1))


class Tokens(nn.Module):
    """A ViT of one block: class token, positions, separate q, k and v, PyTorch's own attention, tanh GELU by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.token = nn.Conv2d(3, 16, 4, 4), nn.Parameter(torch.randn(1, 1, 16))
        self.positions = nn.Parameter(torch.randn(1, 5, 16))
        self.first, self.second, self.scale = nn.LayerNorm(16), nn.LayerNorm(16), nn.Parameter(torch.randn(16))
        self.q, self.k, self.v = (nn.Linear(16, 16) for _ in range(3))
        self.up, self.down = nn.Linear(16, 32), nn.Linear(32, 16)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.positions
        y = self.first(x)
        q, k, v = (layer(y).unflatten(-1, (4, 4)).transpose(1, 2) for layer in (self.q, self.k, self.v))
        x = x + functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2) * self.scale
        y = self.up(self.second(x))
        y = 0.5 * y * (1 + torch.tanh(0.7978845608028654 * (y + 0.044715 * y**3)))
        return (x + self.down(y))[:, 0]


class ChannelNorm(nn.Module):
    """ConvNeXt's block: LayerNorm over the channels of an NCHW tensor, by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.depth, self.weight = nn.Conv2d(3, 3, 3, groups=3, padding=1), nn.Parameter(torch.randn(3, 1, 1))
        self.up, self.down = nn.Conv2d(3, 12, 1), nn.Conv2d(12, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.depth(x)
        centred = y - y.mean(1, keepdim=True)
        y = self.weight * (centred / torch.sqrt(centred.pow(2).mean(1, keepdim=True) + 1e-6))
        return (x + self.down(functional.gelu(self.up(y)))).mean((2, 3))


CONVOLUTIONS = {"conv2d": 5, "relu": 5, "add": 2, "max_pool2d": 1, "reduce_mean": 1, "linear": 1}
GATES = {
    "depthwise_conv2d": 1,
    "linear": 4,
    "silu": 1,
    "relu": 1,
    "hard_sigmoid": 1,
    "mul": 1,
    "concat": 1,
    "reduce_mean": 1,
}
VIT = {"conv2d": 1, "linear": 3, "slice": 4, "attention": 1, "layer_norm": 2, "gelu": 1, "add": 3, "mul": 1}
MIXER = {"depthwise_conv2d": 1, "layer_norm": 1, "linear": 2}
ARCHITECTURES: dict[str, tuple[type[nn.Module], dict[str, int]]] = {
    "residual": (Residual, {**CONVOLUTIONS, "reshape": 1}),
    "separable": (Separable, {**GATES, "max_pool2d": 1, "reshape": 1}),
    "tokens": (Tokens, {**VIT, "expand": 1, "concat": 1, "reshape": 2}),
    "channel norm": (ChannelNorm, {**MIXER, "gelu": 1, "add": 1, "reduce_mean": 1}),
}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_other_architectures_keep_only_the_transpose_of_the_input(name: str) -> None:
    make, wanted = ARCHITECTURES[name]
    torch.manual_seed(4)
    module = make()
    graph, x = imported(module, 3, 3, 8, 8)
    optimise(graph)
    assert counts(graph) == {**wanted, "transpose": 1}
    assert graph.nodes[0].op == Transpose(TO_NHWC)
    assert_like_pytorch(graph, module, x)


SHAPES = [(N, 2, 3, 4), (N, 6, 4), (N, 24), (N, 4, 6), (N, 2, 12)]


KINDS = [
    "unary",
    "binary",
    "scalar",
    "vector",
    "reshape",
    "transpose",
    "slice",
    "concat",
    "reduce",
    "matmul",
    "softmax",
]


@st.composite
def random_graphs(draw: st.DrawFn) -> Graph:
    """Elementwise ops, views, slices, concatenations, reductions and products on whatever is there by then."""
    b = Builder((N, 2, 3, 4), (N, 6, 4))
    values = list(b.inputs)
    for _ in range(draw(st.integers(3, 14))):
        values.append(random_step(b, draw, values))
    unused = [value for value in values if not value.uses]
    return b.finish(*unused)


def random_step(b: Builder, draw: st.DrawFn, values: list[Value]) -> Value:
    x = draw(st.sampled_from(values[-6:]))
    rank, axis = x.type.rank, draw(st.integers(1, max(1, x.type.rank - 1)))
    alike = draw(st.sampled_from([value for value in values if value.type == x.type]))
    size = x.type.shape[axis] if rank > 1 else N
    match draw(st.sampled_from(KINDS)):
        case "unary":
            return b(draw(st.sampled_from([Abs(), Relu(), Tanh()])), x)
        case "binary":
            return b(draw(st.sampled_from([Add(), Sub(), Maximum()])), x, alike)
        case "scalar":
            return b(Mul(), b.number(draw(st.sampled_from([0.0, 1.0, 0.5]))), x)
        case "vector" if isinstance(size, int):
            return b(Add(), x, b.constant(size, *(1,) * (rank - 1 - axis)))
        case "reshape":
            fits = [shape for shape in SHAPES if x.type.reshaped(*shape).elements == x.type.elements]
            return b(Reshape(draw(st.sampled_from([*fits, x.type.shape]))), x)
        case "transpose":
            return b(Transpose(tuple(draw(st.permutations(range(rank))))), x)
        case "slice" if isinstance(size, int) and size > 1:
            start = draw(st.integers(0, size - 1))
            return b(Slice(axis, start, draw(st.integers(start + 1, size)), draw(st.integers(1, 2))), x)
        case "concat" if rank > 1:
            return b(Concat(axis), x, alike)
        case "reduce" if isinstance(size, int):
            return b(draw(st.sampled_from([ReduceMean, ReduceMax]))((axis,), keepdims=draw(st.booleans())), x)
        case "matmul" if rank > 2:
            turned = b(Transpose((*range(rank - 2), rank - 1, rank - 2)), alike)
            return b(Matmul(), x, turned)
        case "softmax" if isinstance(size, int):
            return b(Softmax(axis), x)
    return b(Tanh(), x)


@settings(max_examples=120, deadline=None)
@given(random_graphs())
def test_any_graph_keeps_its_outputs_and_is_done_after_one_time(graph: Graph) -> None:
    types = [(name, value.type) for name, value in graph.outputs]
    transposes = counts(graph).get("transpose", 0)
    run_both(graph, lambda: optimise(graph), batches=(2,))
    assert [(name, value.type) for name, value in graph.outputs] == types
    text = str(graph)
    assert str(optimise(graph)) == text
    assert transposes or not counts(graph).get("transpose", 0)
