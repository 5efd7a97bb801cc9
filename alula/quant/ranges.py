"""Ranges of activations, and whose range an operand of a product has."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alula.ir.graph import Graph, Node, Value
from alula.ops.quantize import LARGEST_BYTE, MIDDLE, STEPS, Quantize
from alula.ops.shape import Reshape, Slice, Transpose

VIEWS = (Reshape, Transpose, Slice)
LEAST_SCALE = 2.0**-100


@dataclass(frozen=True, slots=True)
class Range:
    """The least and the greatest number that gets a level of its own; 0 always lies within."""

    low: float = 0.0
    high: float = 0.0

    def quantize(self, *, symmetric: bool = False) -> Quantize:
        """Bytes that reach from end to end of the range, 0 being one of them exactly; symmetric: the middle one."""
        if symmetric:
            return Quantize(_scale(max(-self.low, self.high) / STEPS), MIDDLE)
        scale = _scale((self.high - self.low) / LARGEST_BYTE)
        return Quantize(scale, min(LARGEST_BYTE, round(-self.low / scale)))


def _scale(step: float) -> float:
    return float(np.float32(max(step, LEAST_SCALE)))


def root(value: Value) -> Value:
    """The value that views of it were taken from: all of them are quantised alike."""
    while value.producer is not None and isinstance(value.producer.op, VIEWS):
        value = value.producer.inputs[0]
    return value


def channels(value: Value) -> int:
    """The length of a tensor's last axis, whose elements are told apart; 1 where it is not fixed."""
    last = value.type.shape[-1] if value.type.rank else 1
    return last if isinstance(last, int) else 1


def value_name(graph: Graph, value: Value) -> str:
    """What a value is called in calibration files and messages: `12 layer_norm blocks.0.norm1`, `input x`."""
    node = value.producer
    if node is None:
        return f"input {value.name}"
    number = f" output {node.outputs.index(value)}" if len(node.outputs) > 1 else ""
    return node_name(graph, node) + number


def node_name(graph: Graph, node: Node) -> str:
    """What a node is called there: its place, its op and where it came from."""
    return f"{graph.nodes.index(node)} {node.op.name} {node.origin}".rstrip()
