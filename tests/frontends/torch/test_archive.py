"""Hostile `.pt2` files: each is one that torch would obey, with the control that it does."""

import io
import json
import logging
import os
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from alula.core.errors import ImportFailed
from alula.frontends.torch.archive import checked_archive
from alula.frontends.torch.export import export_program, load_program, save_program

PROGRAM = "models/model.json"
WEIGHTS = "data/weights/model_weights_config.json"
CONSTANTS = "data/constants/model_constants_config.json"
SAMPLES = "data/sample_inputs/model.pt"


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 6)
        self.register_buffer("shift", torch.ones(6), persistent=False)

    def forward(self, x):
        y = self.linear(x) + self.shift
        return y.reshape(x.shape[0] * 2, 3)[1:]


@pytest.fixture
def honest(tmp_path) -> Path:
    path = tmp_path / "net.pt2"
    save_program(export_program(Net(), (torch.randn(1, 4),)), path, {"note.txt": "hello"})
    return path


def rewritten(path: Path, changes: dict[str, Callable[[bytes], bytes]], added: dict[str, bytes] | None = None) -> None:
    """Replaces records of the archive at `path`, and adds some."""
    with zipfile.ZipFile(path) as archive:
        root = archive.namelist()[0].split("/")[0]
        records = {name.removeprefix(f"{root}/"): archive.read(name) for name in archive.namelist()}
    for name, change in changes.items():
        records[name] = change(records[name])
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in {**records, **(added or {})}.items():
            archive.writestr(f"{root}/{name}", data)


def edited(change: Callable[[Any], None]) -> Callable[[bytes], bytes]:
    def apply(data: bytes) -> bytes:
        content = json.loads(data)
        change(content)
        return json.dumps(content).encode()

    return apply


def nodes(program: Any) -> Any:
    return program["graph_module"]["graph"]["nodes"]


class Hostile:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


def obeyed(path: Path, marker: Path) -> bool:
    """The control: whether torch itself, given this file, does what the file wants done."""
    logging.disable(logging.CRITICAL)
    try:
        torch.export.load(path)
    except (RuntimeError, AssertionError, AttributeError, TypeError, ValueError):
        return marker.exists()
    finally:
        logging.disable(logging.NOTSET)
    return marker.exists()


def pickled(marker: Path) -> bytes:
    buffer = io.BytesIO()
    torch.save(Hostile(marker), buffer)
    return buffer.getvalue()


def test_honest_file_passes_with_its_texts(honest):
    assert checked_archive(honest) == {"note.txt": "hello"}
    program, _ = load_program(honest)
    assert program.module()(torch.randn(5, 4)).shape == (9, 3)


def test_rewriting_alone_changes_nothing(honest):
    rewritten(honest, {PROGRAM: edited(lambda program: None)})
    assert load_program(honest)[0].module()(torch.randn(5, 4)).shape == (9, 3)


def test_free_pickle_among_the_samples(honest, tmp_path):
    marker = tmp_path / "ran"
    rewritten(honest, {SAMPLES: lambda _: pickled(marker)})
    with pytest.raises(ImportFailed, match=re.escape(f"{honest}: expected an exported program (.pt2), got")):
        load_program(honest)
    assert not marker.exists()
    assert obeyed(honest, marker)


def test_expression_that_evaluates(honest, tmp_path):
    marker = tmp_path / "ran"
    attack = f"__import__('os').mkdir({str(marker)!r})"

    def change(program: Any) -> None:
        sizes = program["graph_module"]["graph"]["tensor_values"]["x"]["sizes"]
        sizes[0]["as_expr"]["expr_str"] = attack

    rewritten(honest, {PROGRAM: edited(change)})
    with pytest.raises(ImportFailed, match="expected arithmetic over symbols, got"):
        load_program(honest)
    assert not marker.exists()
    assert obeyed(honest, marker)


@pytest.mark.parametrize(
    "text",
    [
        "Add('__import__(\"os\").getcwd()')",
        "Symbol('s0').func.__globals__",
        "(lambda: 1)()",
        "[x for x in ()]",
        "exec('1')",
        "Symbol('a b')",
        "1 if 1 else 2",
        "f'{1}'",
        "",
        "(" * 500,
    ],
)
def test_expressions_refused(honest, text):
    def change(program: Any) -> None:
        program["graph_module"]["graph"]["tensor_values"]["x"]["sizes"][0]["as_expr"]["expr_str"] = text

    rewritten(honest, {PROGRAM: edited(change)})
    with pytest.raises(ImportFailed, match="expected arithmetic over symbols"):
        checked_archive(honest)


@pytest.mark.parametrize(
    "target", ["torch.hub.load", "torch.load", "_operator.methodcaller", "_operator.call", "math.__loader__", "#x:y"]
)
def test_targets_refused(honest, target):
    rewritten(honest, {PROGRAM: edited(lambda program: nodes(program)[0].update(target=target))})
    with pytest.raises(ImportFailed, match=re.escape(f"expected an operator, got {target!r}")):
        checked_archive(honest)


def test_name_that_would_become_code(honest):
    def change(program: Any) -> None:
        program["graph_module"]["graph"]["inputs"][0]["as_tensor"]["name"] = "x=print(1)"

    rewritten(honest, {PROGRAM: edited(change)})
    with pytest.raises(ImportFailed, match=re.escape("expected a plain name, got 'x=print(1)'")):
        checked_archive(honest)


@pytest.mark.parametrize("guard", ["__import__('os').getcwd()", "L['x'].tolist()", "L['x'].__class__"])
def test_guards_refused(honest, guard):
    rewritten(honest, {PROGRAM: edited(lambda program: program.update(guards_code=[guard]))})
    with pytest.raises(ImportFailed, match="expected guards over shapes"):
        checked_archive(honest)


def test_guards_over_shapes_pass(honest):
    rewritten(honest, {PROGRAM: edited(lambda program: program.update(guards_code=["L['x'].size()[0] >= 1"]))})
    assert checked_archive(honest) == {"note.txt": "hello"}


def first(config: Any) -> Any:
    return next(iter(config["config"].values()))


@pytest.mark.parametrize("record", [WEIGHTS, CONSTANTS])
def test_tensor_that_is_a_pickle(honest, record):
    rewritten(honest, {record: edited(lambda config: first(config).update(use_pickle=True))})
    with pytest.raises(ImportFailed, match="expected plain bytes, got a pickle"):
        checked_archive(honest)


@pytest.mark.parametrize("name", ["custom_obj_0", "opaque_obj_0", "../../etc/passwd"])
def test_tensor_that_is_an_object(honest, name):
    rewritten(honest, {CONSTANTS: edited(lambda config: first(config).update(path_name=name))})
    with pytest.raises(ImportFailed, match=f"expected plain bytes, got an object '{name}'"):
        checked_archive(honest)


@pytest.mark.parametrize(
    "record",
    ["data/aotinductor/model/a.so", "data/weights/model.pt", "data/constants/custom_obj_0", "models/other.json"],
)
def test_further_records(honest, record):
    rewritten(honest, {}, added={record: b""})
    with pytest.raises(ImportFailed, match=f"expected tensors and one program, got the record '{record}'"):
        checked_archive(honest)
