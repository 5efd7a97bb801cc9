"""Removal of nodes that change nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from alula.ir.graph import Graph, Node, Value
from alula.ops.elementwise import Add, Cast, Clip, Div, Mul, Pow, Sub
from alula.ops.reduce import Reduction
from alula.ops.shape import Concat, Expand, Pad, Reshape, Slice, Transpose
from alula.passes.rewrite import RewritePass

INFINITY = float("inf")


@dataclass(frozen=True)
class RemoveIdentities(RewritePass):
    """identity(x)  =>  x: a reshape to its own shape, a slice of everything, x * 1, x + 0, x ** 1 and their like.

    x + 0 turns -0.0 into 0.0, which does not count.  A constant of more than `compared_elements` is not looked into.
    """

    name: ClassVar[str] = "remove-identities"
    anchors: ClassVar = (Reshape, Transpose, Slice, Expand, Pad, Concat, Cast, Clip, Reduction, Add, Sub, Mul, Div, Pow)
    compared_elements: int = 4096

    def rewrite(self, node: Node, graph: Graph) -> Value | None:
        x = node.inputs[0]
        match node.op:
            case Reshape() | Slice() | Expand() | Pad() | Cast():
                same = x.type == node.output.type
            case Transpose(perm=perm):
                same = list(perm) == sorted(perm)
            case Concat():
                same = len(node.inputs) == 1
            case Clip(low=low, high=high):
                same = low == -INFINITY and high == INFINITY
            case Reduction(axes=axes):
                same = not axes
            case _:
                return self._neutral(node)
        return x if same else None

    def _neutral(self, node: Node) -> Value | None:
        neutral = 0 if isinstance(node.op, Add | Sub) else 1
        left, right = node.inputs
        if left.type == node.output.type and self._is_all(right, neutral):
            return left
        commutes = isinstance(node.op, Add | Mul)
        return right if commutes and right.type == node.output.type and self._is_all(left, neutral) else None

    def _is_all(self, value: Value, number: int) -> bool:
        data = value.data
        if data is None or data.size > self.compared_elements or data.dtype.fields:
            return False
        return bool(np.all(data == number))
