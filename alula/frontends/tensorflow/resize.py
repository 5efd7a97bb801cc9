"""Resizing as tf2onnx should write it."""

from __future__ import annotations

from typing import Any

from tf2onnx.onnx_opset.nn import Resize


def _resized(context: Any, node: Any, name: str, arguments: list[Any]) -> None:
    """Resizing to sizes: tf2onnx writes factors in float32 where it knows both, and their product may fall short.

    It does not where height and width are hidden from it.
    """
    taken = node.input[0]
    batch, *_, channels = context.get_shape(taken) or [-1] * 4
    kinds, shapes = [context.get_dtype(taken)], [[batch, -1, -1, channels]]
    hidden = context.make_node("Identity", [taken], shapes=shapes, dtypes=kinds)
    context.replace_input(node, taken, hidden.output[0], 0)
    Resize.version_11(context, node)


KINDS = ("ResizeBilinear", "ResizeNearestNeighbor", "ResizeBicubic")
RESIZES: dict[str, Any] = {name: (_resized, []) for name in KINDS}
