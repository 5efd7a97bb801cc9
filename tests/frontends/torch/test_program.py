"""Whole programs to graphs: inputs, weights, outputs, origins, VOLO, and what cannot be imported."""

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from alula.core.dtype import DType
from alula.core.errors import ImportFailed, UnsupportedOperator
from alula.frontends.torch import from_torch
from alula.frontends.torch.export import export_program
from alula.frontends.torch.program import import_program
from alula.ir.verifier import verify
from alula.models.volo import Volo, VoloConfig, volo_d1
from tests.frontends.torch.importing import BATCHES, Family, Function, agree, compare, image, op_names

TINY = VoloConfig(
    outlookers=1,
    transformers=(1, 1),
    widths=(16, 32),
    heads=(2, 4),
    stem_width=8,
    patch_size=4,
    class_blocks=1,
    image_size=40,
    num_classes=10,
)


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.head = nn.Linear(4, 2)
        self.register_buffer("unused", torch.zeros(3, dtype=torch.float16))

    def forward(self, images):
        features = self.norm(self.conv(images)).relu()
        return self.head(features.mean((2, 3))) * 0.5


class Tied(nn.Module):
    """One weight for two layers, once as it is and twice through a convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 4, bias=False)
        self.second = nn.Linear(4, 4, bias=False)
        self.second.weight = self.first.weight
        self.kernel = nn.Parameter(image(4, 4, 1, 1))

    def forward(self, x):
        y = self.second(self.first(x))[:, :, None, None]
        for _ in range(2):
            y = nn.functional.conv2d(y, self.kernel)
        return y


class Several(nn.Module):
    def forward(self, left, right):
        return {"sum": left + right, "parts": (left * 2, [right]), "nothing": None}


class Counting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(()))

    def forward(self, x):
        self.count += 1
        return x + self.count


class Branching(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


class Half(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4).half()

    def forward(self, x):
        return self.layer(x.half())


class Unknown(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 4), nn.Mish(), nn.Mish())

    def forward(self, x):
        y = self.body(x)
        best = y.kthvalue(2, keepdim=True)[0].cumsum(1)
        return best + nn.functional.max_pool2d(y[:, None, None], (1, 2), dilation=(1, 2)).flatten(1)


def test_small_network(golden) -> None:
    torch.manual_seed(0)
    assert str(agree(Small(), 3, 6, 5)) == golden


def test_tiny_volo() -> None:
    torch.manual_seed(0)
    agree(Volo(TINY), 3, 40, 40)


def test_volo_d1_has_the_ops_that_its_configuration_says() -> None:
    """4 outlookers, 14 transformers, 2 class blocks; 4 linear layers each, and one for the logits of an outlooker."""
    graph = from_torch(volo_d1(), (torch.zeros(1, 3, 224, 224),))
    verify(graph)
    counts = Counter(op_names(graph))
    expected = {
        "conv2d": 5,
        "batch_norm": 3,
        "relu": 3,
        "layer_norm": 41,  # two a block, one at the end
        "linear": 5 * 4 + 4 * 14 + 5 * 2 + 2,
        "gelu": 20,
        "softmax": 20,
        "matmul": 4 + 2 * 16,
        "unfold": 4,
        "fold": 4,
        "avg_pool2d": 4,
        "add": 2 * 20 + 2,  # the position embedding and the auxiliary votes
        "mul": 21,  # a scale a block and the auxiliary share
        "reduce_max": 1,
        "concat": 3,
        "expand": 1,
    }
    assert {name: counts[name] for name in expected} == expected
    assert set(counts) - set(expected) == {"reshape", "transpose", "slice"}
    assert sum(value.data.nbytes for value in graph.constants()) == pytest.approx(26.6e6 * 4, rel=0.01)
    assert (graph.name, graph.symbols) == ("Volo", {"N": (1, 512)})
    assert [str(value.type) for value in graph.inputs] == ["f32[N,3,224,224]"]
    assert [(name, str(value.type)) for name, value in graph.outputs] == [("output", "f32[N,1000]")]


def test_every_node_says_where_it_comes_from() -> None:
    torch.manual_seed(0)
    graph = from_torch(Volo(TINY), (image(1, 3, 40, 40),))
    assert all(" volo.py:" in f" {node.origin}" for node in graph.nodes)
    fold = next(node for node in graph.nodes if node.op.name == "fold")
    assert fold.origin.startswith("network.0.0.attn volo.py:")


def test_weights_are_shared_with_the_module() -> None:
    module = Small()
    graph = from_torch(module, (image(1, 3, 6, 5),))
    state = module.state_dict()
    named = {value.name: value.data for value in graph.constants() if value.name}
    assert set(named) == set(state) - {"unused", "norm.num_batches_tracked"}
    assert all(np.shares_memory(array, state[name].numpy()) for name, array in named.items())
    assert not any(array.flags.writeable for array in named.values())


def test_tied_weights_are_one_constant() -> None:
    graph = agree(Tied(), 4)
    first, second = [value.name for value in graph.constants()]
    assert first in ("first.weight", "second.weight")
    assert second == "kernel"


def test_weights_are_those_of_the_module_when_it_was_imported_in_training_mode() -> None:
    module = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.9), nn.BatchNorm1d(3)).train()
    module[0].eval()
    graph = from_torch(module, (image(2, 3),))
    assert op_names(graph) == ["linear", "batch_norm"]
    assert [part.training for part in module.modules()] == [True, False, True, True]


def test_bfloat16_constants_and_integer_buffers() -> None:
    constant = torch.tensor([1.5, -2.0], dtype=torch.bfloat16)
    graph = from_torch(Function(lambda x: (x, constant)), (image(1, 2),))
    assert graph.outputs[1][1].type.dtype is DType.BF16
    assert "cast" not in op_names(agree(lambda x: x + constant, 2))


class Vit(nn.Module):
    """Patches by a convolution, batch norm, and one transformer layer with a class token."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Sequential(nn.Conv2d(3, 8, 4, 4), nn.BatchNorm2d(8), nn.Hardswish(), nn.MaxPool2d(2, 1, 1))
        self.token = nn.Parameter(image(1, 1, 8))
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, activation="gelu", batch_first=True, norm_first=True)
        self.head = nn.Linear(8, 5)

    def forward(self, images):
        x = self.patches(images).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.repeat(x.shape[0], 1, 1), x], 1)
        return self.head(self.layer(x)[:, 0]).softmax(-1)


def test_a_vision_transformer() -> None:
    agree(Vit(), 3, 8, 12)


def test_programs_that_are_already_in_pytorch_core_operators() -> None:
    module = nn.Sequential(Vit().patches, nn.Flatten(2), nn.Linear(12, 6), nn.LayerNorm(6), nn.GELU(), nn.Softmax(1))
    program = export_program(module, (image(1, 3, 8, 12),)).run_decompositions()
    assert "aten.linear" not in str(program.graph)
    graph = import_program(program)
    for batch in BATCHES:
        compare(module.eval(), graph, [image(batch, 3, 8, 12)])


def test_names_of_inputs_and_outputs() -> None:
    module = Several()
    graph = from_torch(module, (image(2, 3), image(2, 3)))
    assert [value.name for value in graph.inputs] == ["left", "right"]
    assert [name for name, _ in graph.outputs] == ["sum", "parts_0", "parts_1_0"]
    compare(module, graph, [image(3, 3), image(3, 3) * 2])
    pair = from_torch(Function(lambda x: (x * 2, x)), (image(2, 3),))
    assert [name for name, _ in pair.outputs] == ["output_0", "output_1"]
    single = from_torch(Family({"logits": torch.neg}), (image(2, 3),))
    assert [name for name, _ in single.outputs] == ["output"]


def test_a_result_that_nothing_depends_on_is_a_constant() -> None:
    graph = from_torch(Function(lambda x: (x, torch.arange(3))), (image(1, 3),))
    assert graph.outputs[1][1].data.tolist() == [0, 1, 2]


def test_all_unknown_operators_at_once() -> None:
    with pytest.raises(UnsupportedOperator) as error:
        from_torch(Unknown(), (image(1, 4),))
    text = str(error.value)
    assert text.startswith("torch Unknown: expected operators that Alula knows, got aten.mish.default (2 times, first")
    for entry in (
        r"aten.mish.default (2 times, first at body.1 test_program.py:",
        r"aten.kthvalue.default (once, at test_program.py:",
        r"aten.cumsum.default (once, at test_program.py:",
        r"aten.max_pool2d.default with dilation (1, 2) (once, at test_program.py:",
    ):
        assert text.count(entry) == 1
    assert "\n" not in text


@pytest.mark.parametrize(
    ("module", "example", "text"),
    [
        (Half(), image(1, 4), "torch weight layer.weight: expected float32, got float16"),
        (nn.Linear(4, 4).to("meta"), torch.zeros(1, 4, device="meta"), "torch weight weight: expected a dense tensor"),
        (Counting(), image(1, 4), "torch Counting: expected no state, got writes to count"),
        (Branching(), image(1, 4), "torch.export Branching: expected code that torch.export can trace, got Guard"),
        (nn.Linear(4, 4), image(1, 5), "torch.export Linear: expected code that torch.export can trace, got "),
        (Function(lambda x: (x, 3)), image(1, 4), "torch output output_1: expected a tensor, got a number"),
        (Function(lambda x: x.shape[0]), image(1, 4), "torch output output: expected a tensor, got a number"),
        (Function(lambda x: None), image(1, 4), "expected at least one tensor as output, got none"),
        (Function(lambda x: x[:2]), image(1, 4), "expected axis 0 of 2 or more, got N"),
        (Function(lambda x: x.nonzero()), image(1, 4), "got aten.nonzero.default (once, at"),
        (Function(lambda x: x * x.sum().item()), image(1, 4), "got aten.item.default (once, at"),
        (Function(lambda x: x + torch.rand(4)), image(1, 4), "got aten.rand.default (once, at"),
        (Function(lambda x: torch.fft.fft(x).abs()), image(1, 4), "got aten.fft_fft.default (once, at"),
    ],
)
def test_what_cannot_be_imported(module: nn.Module, example: torch.Tensor, text: str) -> None:
    with pytest.raises(ImportFailed) as error:
        from_torch(module, (example,))
    assert text in str(error.value)
    assert "\n" not in str(error.value)


def test_a_wrong_importer_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever an importer gives must have the type that PyTorch says."""
    from alula.frontends.torch.call import IMPORTS

    broken: Callable[..., object] = lambda call, x: call.reshape(x, x.type.elements)  # noqa: E731
    monkeypatch.setitem(IMPORTS, "aten.relu.default", broken)
    with pytest.raises(ImportFailed, match=r"aten\.relu\.default \(.*\): expected PyTorch's f32\[N,4\], got f32\["):
        from_torch(nn.ReLU(), (image(1, 4),))
