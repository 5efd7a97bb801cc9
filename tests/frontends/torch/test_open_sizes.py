"""The range of the symbolic batch, and what else must not be symbolic."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.export import Dim, export

from alula.core.errors import ImportFailed, UsageError
from alula.frontends.torch import from_torch
from alula.frontends.torch.export import save_program
from alula.frontends.torch.program import import_program
from alula.ops.reference import run_reference
from tests.frontends.torch.importing import Function, image


class Add(nn.Module):
    def forward(self, left, right):
        return left + right


def exported(*shapes: dict[int, Dim] | None, size: tuple[int, ...] = (2, 6)) -> torch.export.ExportedProgram:
    module = Add() if len(shapes) == 2 else nn.ReLU()
    return export(module, tuple(image(*size) for _ in shapes), dynamic_shapes=shapes)


@pytest.mark.parametrize(
    ("dim", "dim_range", "bounds"),
    [
        (Dim("b", min=1, max=512), None, (1, 512)),
        (Dim("b", min=3, max=40), None, (3, 40)),
        (Dim("b"), None, (1, 512)),
        (Dim("b", min=700), None, (700, 700)),
        (Dim("b"), ((2, 6), (9, 6)), (2, 9)),
    ],
)
def test_range(dim, dim_range, bounds: tuple[int, int]) -> None:
    size = (max(2, bounds[0]), 6)
    assert import_program(exported({0: dim}, size=size), dim_range).symbols == {"N": bounds}


def test_a_module_takes_the_range_asked_for() -> None:
    graph = from_torch(nn.ReLU(), (image(7, 6),), dim_range=((2, 6), (5, 6)))
    assert (graph.symbols, str(graph.inputs[0].type)) == ({"N": (2, 5)}, "f32[N,6]")


def test_equal_ends_fix_the_batch() -> None:
    graph = from_torch(Function(lambda x: x.flatten()), (image(1, 6),), dim_range=((4, 6), (4, 6)))
    assert (graph.symbols, str(graph.outputs[0][1].type)) == ({}, "f32[24]")
    assert run_reference(graph, [image(4, 6).numpy()])[0].shape == (24,)


def test_a_fixed_program_stays_fixed() -> None:
    graph = import_program(exported(None))
    assert (graph.symbols, str(graph.inputs[0].type)) == ({}, "f32[2,6]")


def test_inputs_that_share_the_batch() -> None:
    batch = Dim("b", min=1, max=8)
    graph = import_program(exported({0: batch}, {0: batch}))
    assert [str(value.type) for value in graph.inputs] == ["f32[N,6]", "f32[N,6]"]


@pytest.mark.parametrize(
    ("shapes", "text"),
    [
        (({1: Dim("w")},), "torch size D1: expected a largest value, got none: a dim range of the first input gives"),
        (({0: 2 * Dim("half", max=9)},), "torch input input: expected a batch, or sizes of the first input, got shape"),
    ],
)
def test_other_symbolic_sizes_are_refused(shapes, text: str) -> None:
    with pytest.raises(ImportFailed) as error:
        import_program(exported(*shapes, size=(4, 6)))
    assert text in str(error.value)


def test_two_batches_are_refused() -> None:
    class Apart(nn.Module):
        def forward(self, left, right):
            return left.sum(0) + right.sum(0)

    program = export(Apart(), (image(2, 6), image(3, 6)), dynamic_shapes=({0: Dim("a", max=9)}, {0: Dim("b", max=9)}))
    with pytest.raises(ImportFailed, match="torch inputs left, right: expected one batch, got 2"):
        import_program(program)


@pytest.mark.parametrize("dim_range", [((1, 6), (99, 6)), ((1, 5), (4, 5)), ((4, 6), (2, 6)), ((1,), (4,))])
def test_a_range_that_the_program_does_not_cover(dim_range, tmp_path: Path) -> None:
    path = tmp_path / "relu.pt2"
    save_program(exported({0: Dim("b", min=1, max=32)}), path, {})
    with pytest.raises(UsageError, match=r"dim range of input input: expected shapes within \(1, 6\) to \(32, 6\)"):
        from_torch(path, dim_range=dim_range)
