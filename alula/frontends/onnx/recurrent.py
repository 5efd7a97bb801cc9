"""Importers of recurrent layers, unrolled: their number of steps is fixed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from alula.frontends.moves import cut
from alula.frontends.onnx.call import Call, imports
from alula.frontends.onnx.shape import join
from alula.ir.graph import Value
from alula.ir.op import Op
from alula.ir.types import fixed
from alula.ops import elementwise as ops
from alula.ops.matmul import Matmul
from alula.ops.shape import Expand

MOST_STEPS = 1024

ACTIVATIONS: dict[str, Op] = {"Sigmoid": ops.Sigmoid(), "Tanh": ops.Tanh(), "Relu": ops.Relu()}
DIRECTIONS = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}


@dataclass(frozen=True, slots=True)
class _Cell:
    """One direction of a layer: h[b,size] is what it remembers, gates are one after the other in columns."""

    call: Call
    size: int
    recurrent: Value  # [size, gates * size]
    bias: Value | None  # that of the recurrent products, [gates * size]
    activations: Sequence[Op]
    peepholes: Value | None

    def apply(self, op: Op, *values: Value) -> Value:
        return self.call.add(op, *values)

    def gate(self, columns: Value, number: int, count: int = 1) -> Value:
        """The columns of some gates."""
        axis = columns.type.rank - 1
        return cut(self.call, columns, axis, number * self.size, (number + count) * self.size)

    def products(self, h: Value, number: int, count: int) -> Value:
        """h by the recurrent weights of some gates, and their bias."""
        y = self.apply(Matmul(), h, self.gate(self.recurrent, number, count))
        return y if self.bias is None else self.apply(ops.Add(), y, self.gate(self.bias, number, count))

    def peephole(self, number: int, c: Value) -> Value | None:
        return None if self.peepholes is None else self.apply(ops.Mul(), self.gate(self.peepholes, number), c)

    def activated(self, number: int, *terms: Value | None) -> Value:
        """An activation of a sum."""
        total: Value | None = None
        for term in terms:
            if term is not None:
                total = term if total is None else self.apply(ops.Add(), total, term)
        assert total is not None
        return self.apply(self.activations[number], total)


Step = Callable[[_Cell, Value, list[Value]], list[Value]]  # (cell, x's products [b, gates * size], states) -> states


def _unrolled(
    call: Call,
    operands: Sequence[Value | None],
    initial: Sequence[Value | None],
    peepholes: Value | None,
    gates: int,
    defaults: Sequence[str],
    step: Step,
) -> list[Value]:
    """What a layer gives at all steps, [t,d,b,size], and each of its states after the last one, [d,b,size]."""
    x, w, r, b, lengths = operands
    assert x is not None
    assert w is not None
    assert r is not None
    if any(value.type.rank != 3 for value in (x, w, r)):
        call.refuse(f"of an input {x.type} with weights {w.type} and {r.type}")
    batch_first = bool(call.get("layout", 0))
    if batch_first:
        x = call.transpose(x, 1, 0, 2)
    steps, batch, size = fixed(x.type.shape[0], "steps"), x.type.shape[1], fixed(r.type.shape[-1], "size")
    turned = DIRECTIONS.get(call.get("direction", "forward"), ())
    names = call.get("activations", None) or [*defaults] * len(turned)
    if call.get("hidden_size", size) != size or not turned or len(names) != len(defaults) * len(turned):
        call.refuse(f"with {len(names)} activations, a size of {size}")
    if any(name not in ACTIVATIONS for name in names) or call.get("clip", None) is not None or steps > MOST_STEPS:
        call.refuse(f"with activations {names!r:.60} of {steps} steps")
    if lengths is not None and call.ints(lengths, "lengths") != [steps] * len(call.ints(lengths, "lengths")):
        call.refuse("with sequences of different lengths")
    results: list[list[Value]] = [[] for _ in range(1 + len(initial))]
    for direction, backwards in enumerate(turned):

        def mine(value: Value | None, direction: int = direction) -> Value | None:
            """The direction's part of an operand."""
            if value is None:
                return None
            return call.reshape(cut(call, value, 0, direction, direction + 1), *value.type.shape[1:])

        weights, recurrent, bias = mine(w), mine(r), mine(b)
        assert weights is not None
        assert recurrent is not None
        whole = gates * size
        activations = [ACTIVATIONS[n] for n in names[direction * len(defaults) :][: len(defaults)]]
        added = None if bias is None else cut(call, bias, 0, whole, 2 * whole)
        cell = _Cell(call, size, call.transpose(recurrent, 1, 0), added, activations, mine(peepholes))
        columns = call.add(Matmul(), x, call.transpose(weights, 1, 0))
        if bias is not None:
            columns = call.add(ops.Add(), columns, cut(call, bias, 0, 0, whole))
        states = [_start(call, call.transpose(s, 1, 0, 2) if s and batch_first else s, mine, x, size) for s in initial]
        given: list[Value] = []
        for place in range(steps)[:: -1 if backwards else 1]:
            now = call.reshape(cut(call, columns, 0, place, place + 1), batch, whole)
            states = step(cell, now, states)
            given.append(call.reshape(states[0], 1, 1, batch, size))
        results[0].append(join(call, given[:: -1 if backwards else 1], 0))
        for state, kept in zip(states, results[1:], strict=True):
            kept.append(call.reshape(state, 1, batch, size))
    y, *last = (join(call, parts, 1 if n == 0 else 0) for n, parts in enumerate(results))
    if not batch_first:
        return [y, *last]
    return [call.transpose(y, 2, 0, 1, 3), *(call.transpose(state, 1, 0, 2) for state in last)]


def _start(call: Call, state: Value | None, mine: Callable[[Value | None], Value | None], x: Value, size: int) -> Value:
    """A state before the first step: as it is given, else zeros."""
    given = mine(state)
    return call.add(Expand(shape=(x.type.shape[1], size)), call.like(0, x)) if given is None else given


@imports("RNN")
def rnn(
    call: Call,
    x: Value,
    w: Value,
    r: Value,
    b: Value | None = None,
    lengths: Value | None = None,
    h: Value | None = None,
) -> list[Value]:
    """h = f(x W + h R + bias)."""

    def step(cell: _Cell, columns: Value, states: list[Value]) -> list[Value]:
        return [cell.activated(0, columns, cell.products(states[0], 0, 1))]

    return _unrolled(call, (x, w, r, b, lengths), (h,), None, 1, ("Tanh",), step)


@imports("GRU")
def gru(
    call: Call,
    x: Value,
    w: Value,
    r: Value,
    b: Value | None = None,
    lengths: Value | None = None,
    h: Value | None = None,
) -> list[Value]:
    """h = (1 - z) * g(...) + z * h, where the reset gate works before or after the recurrent products of g."""
    after = bool(call.get("linear_before_reset", 0))

    def step(cell: _Cell, columns: Value, states: list[Value]) -> list[Value]:
        (old,) = states
        both = cell.products(old, 0, 2)
        z, reset = (cell.activated(0, cell.gate(columns, n), cell.gate(both, n)) for n in (0, 1))
        if after:
            past = cell.apply(ops.Mul(), reset, cell.products(old, 2, 1))
        else:
            past = cell.products(cell.apply(ops.Mul(), reset, old), 2, 1)
        new = cell.activated(1, cell.gate(columns, 2), past)
        away = cell.apply(ops.Sub(), old, new)
        return [cell.apply(ops.Add(), new, cell.apply(ops.Mul(), z, away))]

    return _unrolled(call, (x, w, r, b, lengths), (h,), None, 3, ("Sigmoid", "Tanh"), step)


@imports("LSTM")
def lstm(
    call: Call,
    x: Value,
    w: Value,
    r: Value,
    b: Value | None = None,
    lengths: Value | None = None,
    h: Value | None = None,
    c: Value | None = None,
    peepholes: Value | None = None,
) -> list[Value]:
    """c = f * c + i * g(...), h = o * tanh(c); the gates i, o, f may look at c."""
    if call.get("input_forget", 0):
        call.refuse("with input_forget")

    def step(cell: _Cell, columns: Value, states: list[Value]) -> list[Value]:
        old, kept = states
        past = cell.products(old, 0, 4)

        def gate(number: int, activation: int, looked: Value | None) -> Value:
            return cell.activated(activation, cell.gate(columns, number), cell.gate(past, number), looked)

        taken, forgotten = gate(0, 0, cell.peephole(0, kept)), gate(2, 0, cell.peephole(2, kept))
        inflow = cell.apply(ops.Mul(), taken, gate(3, 1, None))
        now = cell.apply(ops.Add(), cell.apply(ops.Mul(), forgotten, kept), inflow)
        shown = gate(1, 0, cell.peephole(1, now))
        return [cell.apply(ops.Mul(), shown, cell.activated(2, now)), now]

    return _unrolled(call, (x, w, r, b, lengths), (h, c), peepholes, 4, ("Sigmoid", "Tanh", "Tanh"), step)
