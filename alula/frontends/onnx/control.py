"""Loops with a number of turns that is known, unrolled."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from alula.core.dtype import DType
from alula.frontends.moves import cut
from alula.frontends.onnx.call import Call, Operand, axis_of
from alula.frontends.onnx.shape import join
from alula.ir.graph import Value

MOST_TURNS = 4096

Body = Callable[[Sequence[Operand]], Sequence[Operand]]  # what the outputs of a graph stand for, given its inputs


def loop(call: Call, body: Body, operands: Sequence[Operand]) -> list[Operand]:
    """Loop: turns while a condition holds, at most so many; what each gives besides states is stacked."""
    most, going, *states = [*operands, None, None][: max(2, len(operands))]
    turns = MOST_TURNS if most is None else int(call.number(most, "a number of turns"))
    holds, given, turn = going is None or bool(call.number(going, "a condition")), [], 0
    while holds and turn < turns:
        if turn >= MOST_TURNS:
            call.refuse(f"of more than {MOST_TURNS} turns")
        following, *results = body([call.constant(turn, DType.I64), call.constant(True, DType.BOOL), *states])
        holds, turn = bool(call.number(following, "a condition")), turn + 1
        states, more = list(results[: len(states)]), results[len(states) :]
        given.append([_with_axis(call, value, 0) for value in more])
    if not given and call.results > len(states):
        call.refuse("of no turns")
    return [*states, *(join(call, parts, 0) for parts in zip(*given, strict=True))]


def scan(call: Call, body: Body, operands: Sequence[Operand]) -> list[Operand]:
    """Scan: a turn for each element of an axis, from the front or from the back; what each gives is stacked."""
    count = call.get("num_scan_inputs", 0)
    if call.opset < 9 or not 1 <= count <= len(operands):
        call.refuse(f"with {count} inputs to go through")
    states, walked = list(operands[:-count]), [value for value in operands[-count:] if isinstance(value, Value)]
    axes = call.get("scan_input_axes", None) or [0] * count
    backwards = call.get("scan_input_directions", None) or [0] * count
    if len(walked) != count or len(axes) != count or len(backwards) != count:
        call.refuse(f"with axes {axes!r:.60} and directions {backwards!r:.60}")
    places = [axis_of(call, axis, x.type.rank) for axis, x in zip(axes, walked, strict=True)]
    sizes = {x.type.shape[axis] if x.type.rank else 0 for axis, x in zip(places, walked, strict=True)}
    turns = sizes.pop()
    if sizes or not isinstance(turns, int) or not 1 <= turns <= MOST_TURNS:
        call.refuse(f"of {turns} turns")
    given = []
    for turn in range(turns):
        spots = [turns - 1 - turn if back else turn for back in backwards]
        parts = [_element(call, x, a, spot) for x, a, spot in zip(walked, places, spots, strict=True)]
        results = body([*states, *parts])
        states, more = list(results[: len(states)]), results[len(states) :]
        given.append(more)
    stacked = []
    kinds = len(given[0])
    out_axes = call.get("scan_output_axes", None) or [0] * kinds
    turned = call.get("scan_output_directions", None) or [0] * kinds
    if len(out_axes) != kinds or len(turned) != kinds:
        call.refuse(f"with axes {out_axes!r:.60} and directions {turned!r:.60} of its results")
    for axis, back, parts_given in zip(out_axes, turned, zip(*given, strict=True), strict=True):
        whole = [_with_axis(call, part, axis) for part in parts_given]
        rank = whole[0].type.rank
        stacked.append(join(call, whole[:: -1 if back else 1], axis_of(call, axis, rank)))
    return [*states, *stacked]


def _element(call: Call, x: Value, axis: int, place: int) -> Value:
    """x at one place of an axis, which goes."""
    shape = (*x.type.shape[:axis], *x.type.shape[axis + 1 :])
    return call.reshape(cut(call, x, axis, place, place + 1), *shape)


def _with_axis(call: Call, value: Operand, axis: int) -> Value:
    """A result with a new axis of size 1."""
    if not isinstance(value, Value):
        call.refuse("with results that are sizes")
    place = axis_of(call, axis, value.type.rank + 1)
    return call.reshape(value, *value.type.shape[:place], 1, *value.type.shape[place:])
