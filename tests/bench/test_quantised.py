"""The other engines' int8 models of a small network: made once, really in int8, and near enough to be timed."""

from pathlib import Path

import pytest

from bench.compare import Effort, compare
from bench.engines import ENGINES
from bench.subject import CALIBRATION_IMAGES, Subject


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    import torch

    pytest.importorskip("onnxruntime")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = torch.nn.Sequential(
            torch.nn.Conv2d(3, 64, 4, stride=4),
            torch.nn.Flatten(2),
            torch.nn.LayerNorm(4),
            torch.nn.Linear(4, 32),
            torch.nn.GELU(),
            torch.nn.Linear(32, 32),
            torch.nn.Flatten(),
            torch.nn.LayerNorm(64 * 32),
            torch.nn.Linear(64 * 32, 100),
        )
    return Subject("small", module.eval(), (3, 8, 8), tmp_path_factory.mktemp("small"))


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the tools leave in the working directory fails the test, for that is the checkout."""
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")


def nodes(path: Path) -> list[str]:
    import onnx

    return [node.op_type for node in onnx.load(path).graph.node]


def test_dynamic_rounds_the_products(small: Subject) -> None:
    found = nodes(small.onnx_dynamic_path)
    assert found.count("MatMulInteger") == 3
    assert found.count("Conv") == 1
    assert not list(Path.cwd().iterdir())


def test_static_has_ranges_for_products_and_convolutions(small: Subject) -> None:
    found = nodes(small.onnx_static_path)
    assert found.count("QuantizeLinear") >= 3
    assert "MatMulInteger" not in found
    assert not list(Path.cwd().iterdir())


@pytest.mark.parametrize(
    "name", [name for name, kind in ENGINES.items() if kind.precision.name == "int8" and kind.package != "alula"]
)
def test_they_are_near_enough_and_were_rounded(small: Subject, name: str) -> None:
    pytest.importorskip(ENGINES[name].package)
    found = compare(small, {name: ENGINES[name]}, batch=2, threads=1, effort=Effort(1, 1))
    assert found.agreements[name].holds, found.agreements[name]
    assert found.agreements[name].error > 1e-4
    assert not list(Path.cwd().iterdir())


def test_they_are_made_once_and_stay_whole(small: Subject) -> None:
    again = Subject(small.name, small.module, small.shape, small.folder)
    for path in (small.onnx_dynamic_path, small.onnx_static_path):
        made = path.stat().st_mtime_ns
        found = again.onnx_dynamic_path if path == small.onnx_dynamic_path else again.onnx_static_path
        assert (found, found.stat().st_mtime_ns) == (path, made)
        assert [file.name for file in path.parent.iterdir()] == ["model.onnx"]
    assert not list(small.folder.glob("*.unfinished"))


def test_nncf_rounds_inputs_of_products(small: Subject) -> None:
    pytest.importorskip("nncf")
    assert small.openvino_int8_path.read_text().count('type="FakeQuantize"') >= 3
    assert sorted(file.name for file in small.openvino_int8_path.parent.iterdir()) == ["model.bin", "model.xml"]


def test_everyone_calibrates_on_the_same_images_and_on_none_of_those_measured(small: Subject) -> None:
    first, again = small.calibration, small.calibration
    assert len(first) == CALIBRATION_IMAGES
    assert all((a == b).all() and a.shape == (1, 3, 8, 8) for a, b in zip(first, again, strict=True))
    measured = {image.tobytes() for image in small.images(64)}
    assert not measured & {image.tobytes() for image in first}
