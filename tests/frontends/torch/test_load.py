"""`.pt2` files to graphs, with what they carry along."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from alula.core.errors import ImportFailed, UsageError
from alula.core.preprocess import imagenet
from alula.frontends.torch import from_torch
from alula.frontends.torch.export import export_program, save_program
from alula.frontends.torch.load import PREPROCESS_FILE, PROVENANCE_FILE, read_pt2
from tests.frontends.torch.importing import compare, image


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, images):
        return self.conv(images).mean((2, 3))


def saved(path: Path, extra: dict[str, str] | None = None) -> Net:
    torch.manual_seed(0)
    module = Net()
    save_program(export_program(module, (image(1, 3, 5, 5),)), path, extra or {})
    return module


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "net.pt2"


def test_a_file_gives_the_graph_of_its_module(path: Path) -> None:
    module = saved(path)
    graph = from_torch(str(path))
    direct = from_torch(module, (image(1, 3, 5, 5),))
    assert str(graph) == str(direct)
    assert [node.origin for node in graph.nodes] == [node.origin for node in direct.nodes]
    compare(module, graph, [image(4, 3, 5, 5)])
    assert (graph.preprocess, graph.provenance) == (None, {})


def test_what_the_file_carries_comes_along(path: Path) -> None:
    contract = imagenet(224, 0.96)
    provenance = {"model": "net", "seed": 3}
    saved(path, {PREPROCESS_FILE: json.dumps(contract.to_json()), PROVENANCE_FILE: json.dumps(provenance)})
    graph, preprocess, stated = read_pt2(path)
    assert (preprocess, stated) == (contract, {"model": "net", "seed": "3"})
    assert str(from_torch(path)) == str(graph)
    assert (from_torch(path).preprocess, from_torch(path).provenance) == (contract, stated)


def test_a_module_says_what_it_is() -> None:
    graph = from_torch(Net(), (image(1, 3, 5, 5),))
    assert graph.preprocess is None
    assert graph.provenance == {"framework": "pytorch", "framework_version": torch.__version__, "module": "Net"}


@pytest.mark.parametrize(
    ("extra", "text"),
    [
        ({PREPROCESS_FILE: "{"}, f"net.pt2 {PREPROCESS_FILE}: expected JSON, got"),
        ({PREPROCESS_FILE: '{"crop": 0, "resize": 1}'}, f"net.pt2 {PREPROCESS_FILE}: preprocess crop: expected"),
        ({PREPROCESS_FILE: "[]"}, f"net.pt2 {PREPROCESS_FILE}: preprocess: expected a JSON object"),
        ({PROVENANCE_FILE: "[1]"}, f"net.pt2 {PROVENANCE_FILE}: expected an object of texts and numbers"),
        ({PROVENANCE_FILE: '{"a": {}}'}, f"net.pt2 {PROVENANCE_FILE}: expected an object of texts and numbers"),
    ],
)
def test_extras_that_are_none(extra: dict[str, str], text: str, path: Path) -> None:
    saved(path, extra)
    with pytest.raises(ImportFailed) as error:
        from_torch(path)
    assert text in str(error.value)


def test_files_that_are_none(path: Path) -> None:
    with pytest.raises(ImportFailed, match=r"net\.pt2: expected"):
        from_torch(path)
    path.write_bytes(b"not a program")
    with pytest.raises(ImportFailed, match=r"net\.pt2: expected an exported program"):
        from_torch(path)


def test_arguments_that_make_no_sense(path: Path) -> None:
    saved(path)
    with pytest.raises(UsageError, match=r"expected no example inputs with an exported program, got some"):
        from_torch(path, (image(1, 3, 5, 5),))
    with pytest.raises(UsageError, match=r"from_torch: expected example inputs with a module, got none"):
        from_torch(Net())
    with pytest.raises(UsageError, match=r"expected a torch\.nn\.Module or the path of a \.pt2 or \.pt file, got dict"):
        from_torch({})
    with pytest.raises(UsageError, match=r"example inputs: expected a tuple of tensors"):
        from_torch(Net(), ("images",))
