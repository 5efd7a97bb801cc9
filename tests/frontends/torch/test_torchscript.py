"""TorchScript, traced and scripted, to graphs: those that torch.export of the same module gives."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from alula.core.errors import ImportFailed, UnsupportedOperator, UsageError
from alula.frontends.torch import from_torch
from alula.frontends.torch.script_walk import MOST_TURNS
from alula.ir.graph import Graph
from alula.ops.reference import run_reference
from alula.passes.pipeline import optimise
from tests.frontends.torch.importing import compare, image

pytestmark = [
    pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),
]

RANGE = ((1, 3, 18, 18), (9, 3, 18, 18))


class Block(nn.Module):
    def __init__(self, c: int, d: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(c, d, 3, stride, 1, bias=False), nn.BatchNorm2d(d)
        self.conv2, self.norm2 = nn.Conv2d(d, d, 3, 1, 1, bias=False), nn.BatchNorm2d(d)
        self.short = nn.Conv2d(c, d, 1, stride) if stride > 1 else None

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm1(self.conv1(x)), inplace=True)
        y = self.norm2(self.conv2(y))
        y += x if self.short is None else self.short(x)
        return y.relu_()


class Residual(nn.Module):
    """Branches, loops, lists, sizes, dropout, an in-place sum, a buffer and a dictionary of outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, 1)
        self.layers = nn.ModuleList([Block(8, 8, 1), Block(8, 16, 2)])
        self.drop, self.head = nn.Dropout(0.3), nn.Linear(64, 5)
        self.register_buffer("mean", torch.tensor([0.1, 0.2, 0.3]).view(1, 3, 1, 1))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        assert images.dim() == 4, "expected a batch"
        x = self.stem((images - self.mean) * 2)
        seen: list[Tensor] = []
        for layer in self.layers:
            x = layer(x)
            seen.append(x)
        if x.shape[2] % 2 == 1:
            x = F.pad(x, [0, 1, 0, 1])
        n, c, h, w = x.shape
        spots = x.view(n, c, h * w).transpose(1, 2)
        turns = 0
        while turns < 3:
            turns += 1
        pooled = F.adaptive_avg_pool2d(x, (2, 2)).flatten(1).to(torch.float32)
        mixed = torch.softmax(spots @ x.view(n, c, -1) / float(c), -1).sum(-1)
        return {"logits": self.head(self.drop(pooled)) * turns, "mixed": mixed, "first": seen[0][:, :, ::2, 1:]}


class Sizes(nn.Module):
    """Sizes that a trace keeps as tensors: halves, products, remainders, rounded quotients."""

    def forward(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        rows = torch.div(h, 2, rounding_mode="floor") if torch.is_tensor(h) else h // 2
        x = x.view(n, c, rows, 2, w)[:, :, :, 0].reshape(n * rows, -1)
        return x.view(n, -1, c * w) - (h % 4)


class Frozen(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.shape[0] == 2 else x + 1


class Endless(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        turns = 0
        while turns >= 0:
            turns += 1
        return x * turns


class Refusing(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        if x.dim() == 4:
            raise ValueError("expected three axes")
        return x


class Odd(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.fft.fft(x).abs() + torch.cumprod(x, 1)


class Lists(nn.Module):
    def forward(self, x: list[Tensor]) -> Tensor:
        return x[0]


def seeded(kind: type[nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return kind().eval()


def saved(script: torch.jit.ScriptModule, folder: Path) -> Path:
    path = folder / "model.pt"
    torch.jit.save(script, path)
    return path


def steps(graph: Graph) -> list[tuple[object, str]]:
    return [(node.op, str(node.output.type)) for node in graph.nodes]


@pytest.fixture(scope="module")
def residual() -> nn.Module:
    module = seeded(Residual)
    module(image(4, 3, 18, 18))
    return module


@pytest.fixture(scope="module")
def direct(residual: nn.Module) -> Graph:
    return optimise(from_torch(residual, (image(2, 3, 18, 18),), RANGE))


@pytest.mark.parametrize("how", ["traced", "scripted", "frozen"])
def test_a_file_gives_the_final_graph_and_bits_of_torch_export(
    residual: nn.Module, direct: Graph, how: str, tmp_path: Path
) -> None:
    x = image(2, 3, 18, 18)
    script = torch.jit.trace(residual, x, strict=False) if how == "traced" else torch.jit.script(residual)
    script = torch.jit.freeze(script, optimize_numerics=False) if how == "frozen" else script
    graph = from_torch(saved(script, tmp_path), dim_range=RANGE)
    compare(residual, graph, [image(5, 3, 18, 18)])
    assert (graph.name.startswith("Residual"), graph.symbols) == (True, {"N": (1, 9)})
    assert [value.name for value in graph.inputs] == ["images"]
    assert [name for name, _ in graph.outputs] == ["logits", "mixed", "first"]
    assert steps(optimise(graph)) == steps(direct)
    for ours, theirs in zip(*(run_reference(g, [x.numpy()]) for g in (graph, direct)), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_names_of_weights_and_places_in_the_source_come_along(residual: nn.Module, tmp_path: Path) -> None:
    graph = from_torch(saved(torch.jit.trace(residual, image(1, 3, 18, 18), strict=False), tmp_path))
    assert {"stem.weight", "layers.1.norm2.running_var"} <= {value.name for value in graph.constants()}
    origins = [node.origin for node in graph.nodes if node.op.name == "conv2d"]
    assert [origin.split()[0] for origin in origins[:3]] == ["stem", "0.conv1", "0.conv2"]
    assert all(origin.split()[1].startswith("test_torchscript.py:") for origin in origins)
    assert graph.provenance["framework"] == "torchscript"


def test_sizes_that_a_trace_holds_as_tensors_stay_sizes(tmp_path: Path) -> None:
    module = Sizes()
    path = saved(torch.jit.trace(module, image(1, 3, 8, 6)), tmp_path)
    compare(module, from_torch(path), [image(4, 3, 8, 6)])


def test_a_script_in_memory_that_is_training_is_evaluated(residual: nn.Module) -> None:
    script = torch.jit.script(residual.train())
    residual.eval()
    compare(residual, from_torch(script, (image(1, 3, 18, 18),)), [image(3, 3, 18, 18)])


def test_shapes_that_nothing_says(residual: nn.Module, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"TorchScript input images: expected its shape by a trace, a dim range"):
        from_torch(saved(torch.jit.script(residual), tmp_path))


@pytest.mark.parametrize(
    ("kind", "error", "text"),
    [
        (Frozen, ImportFailed, "torch.export Frozen input x: expected code for every batch from 1 to 8, got"),
        (Endless, ImportFailed, f"loops of more than {MOST_TURNS} turns"),
        (Refusing, ImportFailed, "the module raises expected three axes"),
        (Odd, UnsupportedOperator, "aten.fft_fft.default (once, at test_torchscript.py:"),
        (Lists, ImportFailed, "TorchScript input x: expected a tensor, got List[Tensor]"),
    ],
)
def test_what_is_refused(kind: type[nn.Module], error: type[Exception], text: str, tmp_path: Path) -> None:
    with pytest.raises(error) as caught:
        from_torch(saved(torch.jit.script(seeded(kind)), tmp_path), dim_range=((1, 3, 4, 4), (8, 3, 4, 4)))
    assert text in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_damaged_file(residual: nn.Module, tmp_path: Path) -> None:
    path = saved(torch.jit.script(residual), tmp_path)
    with zipfile.ZipFile(path) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in records.items():
            archive.writestr(name, data[: len(data) // 2] if name.endswith("data.pkl") else data)
    with pytest.raises(ImportFailed, match=r"model\.pt: expected TorchScript \(\.pt\), got RuntimeError"):
        from_torch(path, dim_range=RANGE)
