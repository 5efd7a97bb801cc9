"""Outlook attention lowered without its unfolded tensor: windows, heads, channel tails."""

import pytest

from alula.core.dtype import DType
from alula.ops.elementwise import Cast
from alula.ops.outlook import OutlookAttention
from alula.ops.quantize import Quantize
from alula.ops.windows import window_counts
from tests.codegen.harness import N, assert_close, assert_narrowed, f32, graph_of, joined, run

CASES = [  # heads, channels of a head, height, width, kernel, stride, pad
    (6, 32, 7, 6, (3, 3), (2, 2), (1, 1, 1, 1)),
    (1, 1, 5, 5, (3, 3), (1, 1), (1, 1, 1, 1)),
    (2, 17, 6, 4, (2, 3), (2, 1), (0, 1, 1, 1)),
    (3, 8, 4, 9, (3, 3), (3, 3), (1, 1, 1, 1)),
    (2, 16, 3, 3, (1, 1), (1, 1), (0, 0, 0, 0)),
]


def outlook(heads, d, h, w, kernel, stride, pad):
    counts, places = window_counts(h, w, kernel, stride, pad), kernel[0] * kernel[1]
    logits = f32(N, *counts, heads * places * places)
    return graph_of(OutlookAttention(heads, kernel, stride, pad, 0.2), logits, f32(N, h, w, heads * d))


def test_windows_and_heads(target, compiled):
    result = run(compiled(joined(*(outlook(*case) for case in CASES)), target))
    assert_close(result, ulps=20, floor=2.0)
    assert result.compiled.labels == ["outlook_attention"] * len(CASES)


@pytest.mark.parametrize("op", [Cast(DType.BF16), Quantize(0.02, 99)], ids=lambda op: op.name)
def test_rows_are_narrowed_as_they_are_written(op, every_target, compiled):
    graphs = [outlook(*case) for case in CASES]
    for graph in graphs:
        ((_, value),) = graph.outputs
        graph.outputs = [("y", graph.add(op, value))]
    result = run(compiled(joined(*graphs), every_target))
    assert_narrowed(result)
    assert result.compiled.labels == [f"outlook_attention+{op.name}"] * len(CASES)
