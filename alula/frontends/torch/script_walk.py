"""A TorchScript graph computed in Python, operator by operator, on whatever stands for its inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.fx.traceback import annotate

from alula.core.errors import UnsupportedOperator
from alula.frontends.torch.origin import ORIGIN, script_origin
from alula.frontends.torch.script_python import ALWAYS, DTYPES, NUMERIC

ATEN, PRIM = "aten::", "prim::"
CONSTANT = "prim::Constant"
WHOLE = (int, torch.SymInt)
NUMBERS = (*WHOLE, float, torch.SymFloat)
MOST_TURNS = 10_000  # of all loops together: a hostile one would not end

PRIMS: Mapping[str, Callable[..., Any]] = {
    "ListConstruct": lambda *items: list(items),
    "TupleConstruct": lambda *items: items,
    "TupleIndex": lambda items, index: items[index],
    "NumToTensor": lambda number: number,  # sizes stay what they are: numbers
    "ImplicitTensorToNum": lambda number: number,
    "unchecked_cast": lambda value: value,
    "unchecked_unwrap_optional": lambda value: value,
    "data": lambda x: x,
    "Uninitialized": lambda: None,
    "dtype": lambda x: DTYPES.index(x.dtype),
    "device": lambda x: torch.device("cpu"),
    "is_cuda": lambda x: False,
    "is_quantized": lambda x: False,
    "requires_grad": lambda x: False,
    "min": min,
    "max": max,
    "Print": lambda *_: None,
}


@dataclass(frozen=True, slots=True)
class Constants:
    """Constants by the number of their place in the graph; `numbers` has those that are tensors of rank 0."""

    values: Mapping[int, Any]
    numbers: Mapping[int, Any]


class Walk:
    """One run of a module's graph; `attribute` gives a module's attribute by name."""

    def __init__(self, constants: Constants, attribute: Callable[[Any, str], Any]) -> None:
        self.values: dict[int, Any] = dict(constants.values)
        self.literals, self.attribute = constants.numbers, attribute
        self.turns = 0

    def run(self, graph: Any, inputs: Sequence[Any]) -> list[Any]:
        """What a graph or block gives for its inputs.  Raises UnsupportedOperator for what only TorchScript has."""
        self._bind(graph.inputs(), inputs)
        for node in graph.nodes():
            if node.kind() != CONSTANT:
                self._node(node)
        return self._operands(graph.outputs())

    def _operands(self, values: Any) -> list[Any]:
        return [self.values[value.unique()] for value in values]

    def _bind(self, names: Any, values: Sequence[Any]) -> None:
        self.values.update({name.unique(): value for name, value in zip(names, values, strict=True)})

    def _node(self, node: Any) -> None:
        kind, operands = node.kind(), self._operands(node.inputs())
        match kind:
            case "prim::GetAttr":
                results = [self.attribute(operands[0], node.s("name"))]
            case "prim::If":
                results = self.run(list(node.blocks())[0 if operands[0] else 1], [])
            case "prim::Loop":
                results = self._loop(next(node.blocks()), *operands)
            case "prim::TupleUnpack" | "prim::ListUnpack":
                results = list(operands[0])
            case "prim::DictConstruct":
                results = [dict(zip(operands[::2], operands[1::2], strict=True))]
            case "prim::RaiseException":
                raise ValueError(f"the module raises {operands[0]}")
            case _:
                result = self._call(node, kind, operands)
                results = [result] if len(list(node.outputs())) == 1 else list(result or ())
        self._bind(node.outputs(), results)

    def _loop(self, block: Any, most: int, going: bool, *carried: Any) -> list[Any]:
        turn, values = 0, list(carried)
        while turn < most and going:
            self.turns += 1
            if self.turns > MOST_TURNS:
                raise ValueError(f"loops of more than {MOST_TURNS} turns")
            going, *values = self.run(block, [turn, *values])
            turn += 1
        return values

    def _call(self, node: Any, kind: str, operands: list[Any]) -> Any:
        name = kind.removeprefix(ATEN).removeprefix(PRIM)
        if kind.startswith(PRIM):
            if name in PRIMS:
                return PRIMS[name](*operands)
        elif name in ALWAYS:
            return ALWAYS[name](*operands)
        elif kind.startswith(ATEN):
            numbers = [self.literals.get(v.unique(), o) for v, o in zip(node.inputs(), operands, strict=True)]
            if name in NUMERIC and _plain(numbers) and not all(isinstance(o, Tensor) for o in operands[:2]):
                return NUMERIC[name](*numbers)
            with annotate({ORIGIN: script_origin(node)}):
                return _operator(node, name, operands)
        raise UnsupportedOperator(
            f"TorchScript: expected operators that Alula knows, got {kind} ({script_origin(node) or 'an unknown line'})"
        )


def _plain(operands: Sequence[Any]) -> bool:
    return not any(isinstance(operand, Tensor) for operand in operands)


def _operator(node: Any, name: str, operands: Sequence[Any]) -> Any:
    """PyTorch's operator, called as torch.export's own tracing would call it."""
    schema = torch._C.parse_schema(node.schema())
    overload = getattr(getattr(torch.ops.aten, name), schema.overload_name or "default")
    arguments, keywords = [], {}
    for argument, value in zip(schema.arguments, operands, strict=True):
        kind = str(argument.real_type)
        if "MemoryFormat" in kind or "Layout" in kind:
            continue  # how elements lie in memory is not what they are
        if "ScalarType" in kind and isinstance(value, int):
            value = DTYPES[value]
        if kind == "Tensor" and isinstance(value, NUMBERS):
            dtype = torch.int64 if isinstance(value, WHOLE) else torch.float32
            value = torch.ops.aten.scalar_tensor.default(value, dtype=dtype)
        if "Device" in kind and value is not None:
            value = torch.device("cpu")
        if argument.kwarg_only:
            keywords[argument.name] = value
        else:
            arguments.append(value)
    return overload(*arguments, **keywords)


def constants_of(graph: Any) -> Constants:
    """The constants of a graph and of its blocks."""
    values = {node.output().unique(): node.output().toIValue() for node in _nodes(graph, CONSTANT)}
    scalars = {key: value for key, value in values.items() if isinstance(value, Tensor) and value.dim() == 0}
    return Constants(values, {key: value.item() for key, value in scalars.items()})


def _nodes(graph: Any, kind: str) -> Iterator[Any]:
    waiting = [graph]
    while waiting:
        for node in waiting.pop().nodes():
            if node.kind() == kind:
                yield node
            waiting.extend(node.blocks())
