"""Modules to programs with a symbolic batch, and the files that keep them."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn

from alula.core.errors import AlulaError, ImportFailed, UsageError
from alula.frontends.torch.export import export_program, load_program, save_program


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(4, 2)

    def forward(self, images):
        return self.head(self.drop(self.norm(self.conv(images))).mean(dim=(2, 3)))


class Two(nn.Module):
    def forward(self, left, right, scale):
        return (left + right.reshape(right.shape[0], -1)) * scale


class Frozen(nn.Module):
    def forward(self, images):
        return images + torch.ones(2, 4)


class FrozenByBranch(nn.Module):
    def forward(self, images):
        return images if images.shape[0] == 2 else images + 1


class Needy(nn.Module):
    def forward(self, images):
        return images if images.sum() > 0 else -images


class Raising(nn.Module):
    def forward(self, images):
        raise ValueError("two heads\nare needed")


def runs_like(module: nn.Module, program: torch.export.ExportedProgram, *inputs: torch.Tensor) -> bool:
    with torch.no_grad():
        return torch.equal(program.module()(*inputs), module(*inputs))


@pytest.mark.parametrize("example_batch", [1, 2, 3, 600])
def test_any_example_batch_gives_every_batch(example_batch):
    module = Small().eval()
    program = export_program(module, (torch.randn(example_batch, 3, 8, 8),))
    assert [(r.lower, r.upper) for r in program.range_constraints.values()] == [(1, 512)]
    for batch in (1, 2, 3, 512):
        assert runs_like(module, program, torch.randn(batch, 3, 8, 8))


def test_training_flags_come_back():
    module = Small().train()
    module.norm.eval()
    export_program(module, (torch.randn(1, 3, 8, 8),))
    assert (module.training, module.norm.training, module.drop.training) == (True, False, True)


def test_exports_in_evaluation_mode():
    program = export_program(Small().train(), (torch.randn(2, 3, 8, 8),))
    (dropout,) = (node for node in program.graph.nodes if "dropout" in str(node.target))
    assert dropout.args[2] is False


@pytest.mark.parametrize(("low", "high"), [(1, 4), (3, 9), (2, 2), (1, 1)])
def test_dim_range(low, high):
    module = Small().eval()
    program = export_program(module, (torch.randn(1, 3, 8, 8),), ((low, 3, 8, 8), (high, 3, 8, 8)))
    bounds = [(r.lower, r.upper) for r in program.range_constraints.values()]
    assert bounds == ([(low, high)] if low < high else [])
    for batch in {low, high}:
        assert runs_like(module, program, torch.randn(batch, 3, 8, 8))


def test_inputs_of_the_same_batch_share_it():
    program = export_program(Two(), (torch.randn(3, 4), torch.randn(3, 2, 2), torch.randn(4)))
    assert len(program.range_constraints) == 1
    assert runs_like(Two(), program, torch.randn(5, 4), torch.randn(5, 2, 2), torch.randn(4))


@pytest.mark.parametrize("module", [Frozen(), FrozenByBranch()])
def test_frozen_batch(module):
    name = type(module).__name__
    text = f"torch.export {name} input images: expected code for every batch from 1 to 512, got code that fixes it"
    with pytest.raises(ImportFailed, match=re.escape(text)):
        export_program(module, (torch.randn(1, 4),))


@pytest.mark.parametrize(
    ("module", "reason"), [(Needy(), "GuardOnDataDependentSymNode"), (Raising(), "ValueError: two heads")]
)
def test_untraceable_code_is_one_line_and_no_noise(module, reason, capfd):
    with pytest.raises(ImportFailed) as caught:
        export_program(module, (torch.randn(1, 4),))
    expected = f"torch.export {type(module).__name__}: expected code that torch.export can trace, got {reason}"
    assert str(caught.value).startswith(expected)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("inputs", "dim_range", "message"),
    [
        ((), None, "example inputs: expected a tuple of tensors, got []"),
        ((1,), None, "example inputs: expected a tuple of tensors, got ['int']"),
        ((torch.zeros(()),), None, "expected a first input with a batch of at least 1, got shape []"),
        ((torch.zeros(0, 4),), None, "expected a first input with a batch of at least 1, got shape [0, 4]"),
        ((torch.zeros(1, 4),), ((1, 5), (8, 5)), "dim range: expected the example's [4] after the batch"),
        ((torch.zeros(1, 4),), ((1, 3), (8, 3)), "dim range: expected the example's [4] after the batch"),
        ((torch.zeros(1, 4),), ((1,), (8,)), "dim range: expected 2 sizes, as the example has, got (1,) to (8,)"),
        ((torch.zeros(1, 4),), ((0, 4), (8, 4)), "expected 1 <= smallest batch <= largest batch, got 0 and 8"),
        ((torch.zeros(1, 4),), ((9, 4), (8, 4)), "expected 1 <= smallest batch <= largest batch, got 9 and 8"),
    ],
)
def test_impossible_examples_and_ranges(inputs, dim_range, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        export_program(nn.Linear(4, 4), inputs, dim_range)


def test_file_keeps_program_and_texts(tmp_path):
    module = Small().eval()
    path = tmp_path / "small.pt2"
    extra = {"alula_preprocess.json": '{"crop": 8}', "note.txt": "naïve"}
    save_program(export_program(module, (torch.randn(1, 3, 8, 8),)), path, extra)
    program, texts = load_program(path)
    assert texts == extra
    assert [(r.lower, r.upper) for r in program.range_constraints.values()] == [(1, 512)]
    assert runs_like(module, program, torch.randn(7, 3, 8, 8))
    assert [file.name for file in tmp_path.iterdir()] == ["small.pt2"]


def test_a_file_by_torch_itself_loads(tmp_path):
    module = Small().eval()
    torch.export.save(torch.export.export(module, (torch.randn(2, 3, 8, 8),)), tmp_path / "a.pt2")
    program, texts = load_program(tmp_path / "a.pt2")
    assert texts == {}
    assert runs_like(module, program, torch.randn(2, 3, 8, 8))


def test_unwritable_place(tmp_path):
    program = export_program(nn.Linear(4, 4), (torch.randn(1, 4),))
    with pytest.raises(AlulaError, match="expected a writable place, got No such file or directory"):
        save_program(program, tmp_path / "nowhere" / "a.pt2", {})


def truncated(path: Path) -> None:
    save_program(export_program(Small(), (torch.randn(1, 3, 8, 8),)), path, {})
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda path: path.touch(), "expected an exported program (.pt2), got nothing in it"),
        (lambda path: path.write_bytes(b"junk"), "expected an exported program (.pt2), got 4 bytes that are not one"),
        (truncated, "bytes that are not one"),
        (lambda path: torch.save({"a": torch.zeros(1)}, path), "expected tensors and one program, got the record"),
        (lambda path: None, "expected a readable file, got No such file or directory"),
    ],
)
def test_not_a_program(tmp_path, make, expected, capfd):
    path = tmp_path / "a.pt2"
    make(path)
    capfd.readouterr()
    with pytest.raises(ImportFailed) as caught:
        load_program(path)
    assert str(caught.value).startswith(f"{path}: expected ")
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")
