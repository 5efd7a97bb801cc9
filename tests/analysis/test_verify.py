"""`alula verify` names the op that a fault was planted in, whatever stage it was planted in."""

import json
from pathlib import Path
from typing import Any

import pytest
from torch.export import ExportedProgram

from alula.analysis.verify import Stage, stages
from alula.artifact.writer import write_model
from alula.cli.main import main
from alula.codegen.kernels.elementwise import RULES
from alula.frontends.torch.call import IMPORTS
from alula.frontends.torch.traced import traced_program
from alula.ops.elementwise import Gelu, Mul
from alula.passes import fold_batch_norm
from alula.quant.products import labelled_products
from alula.vision.preprocess import normalised
from tests.analysis.models import (
    CONTRACT,
    pictures,
    read,
    shrink_scale,
    write_model_file,
    write_pictures,
    zero_largest_channel,
)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "150")


def compared(program: ExportedProgram, file: Path) -> list[Stage]:
    """All stages, on pictures that calibration did not see."""
    graph, meta = read(file)
    taken = pictures(2, seed=100)
    traced = traced_program(program)
    return list(stages(traced, graph, meta.precision, CONTRACT, [normalised(taken, CONTRACT)], [taken]))


def first(found: list[Stage]) -> tuple[str, str]:
    """The stage and the op that depart first."""
    stage = next(stage for stage in found if stage.departing)
    node = stage.departing[0].node
    return stage.title, f"{node.op.name} {node.origin}"


@pytest.mark.parametrize("precision", ["force_float32", "force_float16", "force_bfloat16", "qint8_mixed_bfloat16"])
def test_a_sound_file_holds(program: ExportedProgram, source: Path, precision: str) -> None:
    found = compared(program, write_model_file(Path("m.alula"), source, precision))
    assert [len(stage.checked) > 5 for stage in found] == [True] * 4
    assert [stage.departing for stage in found] == [[]] * 4
    lost = max(one.local.relative for one in found[2].checked)
    assert (lost == 0) == (precision == "force_float32")


def test_every_product_is_compared(program: ExportedProgram, byte_file: Path) -> None:
    nodes = [one.node for one in compared(program, byte_file)[2].checked]
    names = [f"{node.op.name} {node.origin.split()[0]}" for node in nodes]
    blocks = [f"linear blocks.{number}.{name}" for number in (0, 1) for name in ("fc1", "fc2")]
    assert names == ["conv2d stem.1", "conv2d down.1", *blocks, "linear head"]


@pytest.mark.parametrize("number", range(6))
@pytest.mark.parametrize("plant", [zero_largest_channel, shrink_scale])
def test_a_damaged_layer_is_named_first(program: ExportedProgram, byte_file: Path, plant: Any, number: int) -> None:
    label = list(labelled_products(read(byte_file)[0]))[1:][number]
    found = compared(program, plant(byte_file, label, Path("damaged.alula")))
    assert first(found) == ("optimised -> qint8_mixed_float32", label)
    assert [len(stage.departing) for stage in found] == [0, 0, 1, 0]


def test_a_fault_of_an_importer(program: ExportedProgram, plain_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gelu = IMPORTS["aten.gelu.default"]
    monkeypatch.setitem(IMPORTS, "aten.gelu.default", lambda call, x: gelu(call, x, "tanh"))
    title, op = first(compared(program, plain_file))
    lines = Path(__file__).with_name("models.py").read_text().splitlines()
    line = next(number for number, text in enumerate(lines, 1) if "functional.gelu" in text)
    assert title.startswith("torch ")
    assert op.endswith(f" blocks.0 models.py:{line}")


def test_a_fault_of_a_pass(program: ExportedProgram, plain_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    affine = fold_batch_norm.affine_of

    def wrong(node: Any) -> Any:
        x, found = affine(node)
        return x, type(found)(found.scale * 1.01, found.shift)

    monkeypatch.setattr(fold_batch_norm, "affine_of", wrong)
    title, op = first(compared(program, plain_file))
    assert title == "graph -> optimised"
    assert op.startswith("conv2d stem.")


def test_a_fault_of_a_kernel(program: ExportedProgram, plain_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rule = RULES[Gelu]
    monkeypatch.setitem(RULES, Gelu, lambda e, op, x: RULES[Mul](e, Mul(), rule(e, op, x), x))
    title, op = first(compared(program, plain_file))
    assert title == "file -> machine code"
    assert op.startswith("gelu blocks.0 ")


def test_command(source: Path, byte_file: Path, images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["verify", str(source), str(byte_file), "--image-dir", str(images), "--json", "v.json"]
    assert main(words) == 0
    figures = json.loads(Path("v.json").read_text())
    assert (figures["first"], figures["images"], len(figures["stages"])) == (None, 2, 4)
    out = capsys.readouterr().out
    assert "every op does what the model it came from does" in out

    label = list(labelled_products(read(byte_file)[0]))[3]
    words[2] = str(shrink_scale(byte_file, label, Path("damaged.alula")))
    assert main(words) == 1
    figures = json.loads(Path("v.json").read_text())
    assert f"{figures['first']['op']} {figures['first']['origin']}" == label
    assert [op["departs"] for op in figures["stages"][2]["ops"]].count(True) == 1
    out = capsys.readouterr().out
    assert f"first to depart, optimised -> qint8_mixed_float32: {label}: error" in out


def test_noise_without_pictures(source: Path, plain_file: Path) -> None:
    assert main(["verify", str(source), str(plain_file), "--image-num", "1"]) == 0


def test_a_file_of_another_model(
    source: Path, plain_file: Path, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    graph, meta = read(plain_file)
    for node in graph.nodes:
        node.origin = f"other {node.origin}"
    write_model(Path("other.alula"), graph, meta)
    assert main(["verify", str(source), "other.alula", "--image-dir", str(images)]) == 2
    assert "expected one that was built from this model" in capsys.readouterr().err


def test_pictures_are_needed_for_bytes(source: Path, byte_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(source), str(byte_file)]) == 2
    assert "expected --image-dir" in capsys.readouterr().err
    write_pictures(Path("one"), 1)
    assert main(["verify", str(source), str(byte_file), "--image-dir", "one"]) == 2
    assert "expected 2 readable pictures, got 1" in capsys.readouterr().err
