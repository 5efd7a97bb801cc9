"""Small modules to graphs, and the comparison with PyTorch that every importer has to stand."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from alula.frontends.torch import from_torch
from alula.ir.graph import Graph
from alula.ir.verifier import verify
from alula.ops.reference import run_reference

BATCHES = (1, 3)

Source = nn.Module | Callable[[Tensor], object]


class Function(nn.Module):
    """A function of one tensor as a module."""

    def __init__(self, function: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


class Family(nn.Module):
    """Several functions of the same tensor: one export for all of them, for an export takes longer than the rest."""

    def __init__(self, sources: Mapping[str, Source]) -> None:
        super().__init__()
        self.names = list(sources)
        self.parts = nn.ModuleList(s if isinstance(s, nn.Module) else Function(s) for s in sources.values())

    def forward(self, x):
        return {name: part(x) for name, part in zip(self.names, self.parts, strict=True)}


def image(*shape: int) -> Tensor:
    """Normal numbers; the same for the same shape."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def agree(source: Source, *shape: int, bound: float = 2e-6, positive: bool = False) -> Graph:
    """The graph of `source` over f32[batch, *shape], once its outputs are PyTorch's for every batch of `BATCHES`."""
    module = (source if isinstance(source, nn.Module) else Function(source)).eval()
    inputs = [image(batch, *shape).abs() if positive else image(batch, *shape) for batch in BATCHES]
    graph = from_torch(module, (inputs[0],))
    verify(graph)
    for x in inputs:
        compare(module, graph, [x], bound)
    return graph


def all_agree(sources: Mapping[str, Source], *shape: int, bound: float = 2e-6, positive: bool = False) -> Graph:
    """The same for several sources at once; a failure names those that differ."""
    return agree(Family(sources), *shape, bound=bound, positive=positive)


def compare(module: nn.Module, graph: Graph, inputs: Sequence[Tensor], bound: float = 2e-6) -> None:
    """The graph's outputs have the dtypes, shapes and, within `bound` of the largest, the elements of the module's."""
    with torch.no_grad():
        leaves = pytree.tree_leaves(module(*[x.clone() for x in inputs]))
    wanted = [leaf.numpy() for leaf in leaves if isinstance(leaf, Tensor)]
    got = run_reference(graph, [x.numpy() for x in inputs])
    names = [name for name, _ in graph.outputs]
    found = {name: unlike(a, b, bound) for name, a, b in zip(names, got, wanted, strict=True)}
    assert {name: text for name, text in found.items() if text} == {}


def unlike(ours: np.ndarray, theirs: np.ndarray, bound: float) -> str:
    """In what `ours` is not `theirs`; empty where it is, within `bound` of the largest finite element."""
    if (ours.dtype, ours.shape) != (theirs.dtype, theirs.shape):
        return f"{ours.dtype}{ours.shape} for {theirs.dtype}{theirs.shape}"
    finite = np.isfinite(theirs)
    if not np.array_equal(ours[~finite], theirs[~finite], equal_nan=True):
        return "other infinities"
    a, b = ours[finite].astype(np.float64), theirs[finite].astype(np.float64)
    error = np.abs(a - b).max(initial=0) / np.abs(b).max(initial=1e-30)
    return "" if error <= bound else f"{error:.2g} of the largest"


def op_names(graph: Graph) -> list[str]:
    """The ops in order."""
    return [node.op.name for node in graph.nodes]
