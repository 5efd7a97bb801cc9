"""The algebra of views: what any chain of reshapes and transposes does to the elements of a tensor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from alula.core.dims import Dim, common_factors, product
from alula.ir.graph import Graph, Node, Value
from alula.ir.op import Op
from alula.ops.shape import Reshape, Transpose

Shape = tuple[Dim, ...]


@dataclass(frozen=True, slots=True)
class View:
    """x[source] -> x.reshape(factors).transpose(order).reshape(shape).

    `factors` are the row-major factors of the source without those of size 1.  The last reshape is free: it need not
    respect the factors, which are split only where a transpose asks for it.
    """

    source: Shape
    factors: Shape
    order: tuple[int, ...]
    shape: Shape

    @classmethod
    def identity(cls, shape: Shape) -> View:
        """The view that changes nothing."""
        factors = tuple(dim for dim in shape if dim != 1)
        return cls(shape, factors, tuple(range(len(factors))), shape)

    @property
    def keeps_order(self) -> bool:
        """True where the elements stay in row-major order: a reshape at most."""
        return all(later > earlier for earlier, later in zip(self.order, self.order[1:], strict=False))

    def reshaped(self, shape: Shape) -> View:
        """This view, then a reshape."""
        return replace(self, shape=shape)

    def transposed(self, perm: Sequence[int]) -> View | None:
        """This view, then a transpose; None where the output's dimensions are no products of factors."""
        split = self.split()
        if split is None:
            return None
        view, groups = split
        order = tuple(factor for axis in perm for factor in groups[axis])
        return replace(view, order=order, shape=tuple(view.shape[axis] for axis in perm))

    def then(self, other: View) -> View | None:
        """This view, then another of its output; None where their factors do not fit together."""
        other = other.merged()
        if other.keeps_order:
            return self.reshaped(other.shape)
        inner = self.reshaped(other.factors).transposed(other.order)
        return None if inner is None else inner.reshaped(other.shape)

    def inverse(self) -> View:
        """The view that undoes this one."""
        factors = tuple(self.factors[factor] for factor in self.order)
        return View(self.shape, factors, inverse_permutation(self.order), self.source)

    def merged(self) -> View:
        """The same view in the fewest factors: equal views are equal as values in this form."""
        runs: list[list[int]] = []
        for factor in self.order:
            if runs and runs[-1][-1] + 1 == factor:
                runs[-1].append(factor)
            else:
                runs.append([factor])
        rows = sorted(runs)
        factors = tuple(product(self.factors[factor] for factor in run) for run in rows)
        return View(self.source, factors, tuple(rows.index(run) for run in runs), self.shape)

    def split(self) -> tuple[View, list[list[int]]] | None:
        """The same view with factors split so that each output dimension is a product of some, and which those are."""
        return self._split(self.shape) or self.merged()._split(self.shape)

    def _split(self, shape: Shape) -> tuple[View, list[list[int]]] | None:
        pieces = common_factors([self.factors[factor] for factor in self.order], shape)
        if pieces is None:
            return None
        rows = sorted(range(len(pieces)), key=lambda p: (self.order[pieces[p][0]], p))
        order = inverse_permutation(rows)
        groups = [[order[p] for p, (_, axis, _) in enumerate(pieces) if axis == a] for a in range(len(shape))]
        return View(self.source, tuple(pieces[p][2] for p in rows), order, shape), groups

    def aligned(self) -> tuple[View, list[list[int]], list[list[int]]] | None:
        """The same view with factors split at both ends, the factors of each source and of each output dimension.

        None where the two shapes have no common factors.
        """
        split = self.inverse().split()
        split = split[0].inverse().split() if split else None
        if split is None:
            return None
        pieces = common_factors(split[0].factors, self.source)
        if pieces is None or len(pieces) != len(split[0].factors):
            return None
        rows = [[p for p, (_, axis, _) in enumerate(pieces) if axis == a] for a in range(len(self.source))]
        return split[0], rows, split[1]

    def keeps_axis(self, source_axis: int, axis: int) -> bool:
        """True where output dimension `axis` is exactly the source's `source_axis`."""
        aligned = self.aligned()
        return aligned is not None and aligned[1][source_axis] == aligned[2][axis]

    def ops(self) -> tuple[Op, ...]:
        """The fewest reshapes and transposes that do it: at most reshape, transpose, reshape."""
        view = self.merged()
        if view.keeps_order:
            return () if self.source == self.shape else (Reshape(self.shape),)
        chains = [view._transpose_last(), view._transpose_first(), view._three()]
        return min((chain for chain in chains if chain is not None), key=len)

    def _three(self) -> tuple[Op, ...]:
        middle = (Reshape(self.factors),) if self.factors != self.source else ()
        turned = tuple(self.factors[factor] for factor in self.order)
        return (*middle, Transpose(self.order), *((Reshape(self.shape),) if turned != self.shape else ()))

    def _transpose_last(self) -> tuple[Op, ...] | None:
        found = self._middle()
        if found is None:
            return None
        middle, perm = found
        return (Transpose(perm),) if middle == self.source else (Reshape(middle), Transpose(perm))

    def _transpose_first(self) -> tuple[Op, ...] | None:
        found = self.inverse()._middle()
        if found is None:
            return None
        middle, perm = found
        turn = Transpose(inverse_permutation(perm))
        return (turn,) if middle == self.shape else (turn, Reshape(self.shape))

    def _middle(self) -> tuple[Shape, tuple[int, ...]] | None:
        """A shape of the source from which one transpose gives the output; None where the output merges factors."""
        split = self.split()
        if split is None or any(len(group) > 1 for group in split[1]):
            return None
        view, groups = split
        units = sum(not group for group in groups)
        unit_axes = [axis for axis, dim in enumerate(self.source) if dim == 1]
        if len(unit_axes) == units and tuple(dim for dim in self.source if dim != 1) == view.factors:
            middle, factor_axes = self.source, [axis for axis, dim in enumerate(self.source) if dim != 1]
        else:
            middle, unit_axes = (1,) * units + view.factors, list(range(units))
            factor_axes = [units + factor for factor in range(len(view.factors))]
        free = iter(unit_axes)
        return middle, tuple(factor_axes[group[0]] if group else next(free) for group in groups)


def inverse_permutation(perm: Sequence[int]) -> tuple[int, ...]:
    """The permutation that undoes `perm`."""
    return tuple(sorted(range(len(perm)), key=lambda i: perm[i]))


def view_of_node(node: Node | None) -> View | None:
    """What a single reshape or transpose does; None for other nodes."""
    if node is None or not isinstance(node.op, Reshape | Transpose):
        return None
    view = View.identity(node.inputs[0].type.shape)
    return view.reshaped(node.output.type.shape) if isinstance(node.op, Reshape) else view.transposed(node.op.perm)


def trace(value: Value) -> list[tuple[Value, View]]:
    """Every value that `value` is a view of, with that view: itself first, the farthest last."""
    found = [(value, View.identity(value.type.shape))]
    while (step := view_of_node(found[-1][0].producer)) is not None:
        view = step.then(found[-1][1])
        if view is None:
            break
        assert found[-1][0].producer is not None
        found.append((found[-1][0].producer.inputs[0], view))
    return found


def apply_view(graph: Graph, value: Value, view: View) -> Value:
    """`value` seen through `view`, in the fewest nodes."""
    for op in view.ops():
        value = graph.add(op, value)
    return value
