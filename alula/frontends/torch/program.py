"""An exported program to a graph: inputs, constants, one importer after another, outputs."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, fx
from torch.export import ExportedProgram
from torch.export.graph_signature import ConstantArgument, InputKind, InputSpec, OutputKind, TensorArgument

from alula.core.errors import ImportFailed, ShapeError, UnsupportedOperator
from alula.frontends.call import Refused
from alula.frontends.torch.call import IMPORTS, Call
from alula.frontends.torch.decompose import ABOUT_SIZES, SOURCE, decomposed
from alula.frontends.torch.export import DimRange
from alula.frontends.torch.names import output_names
from alula.frontends.torch.open_sizes import open_sizes_of
from alula.frontends.torch.origin import origin_of, root_class
from alula.frontends.torch.tensors import Sizes, array_of, dtype_of
from alula.ir.graph import Graph, Value
from alula.ir.types import TensorType

MEANINGLESS = frozenset({"layout", "device", "pin_memory", "memory_format", "non_blocking", "copy"})
WEIGHTS = (InputKind.PARAMETER, InputKind.BUFFER, InputKind.CONSTANT_TENSOR)
SCALARS = (bool, int, float, torch.SymInt, torch.SymFloat, torch.SymBool)


def import_program(program: ExportedProgram, dim_range: DimRange | None = None) -> Graph:
    """The graph of `program`, its weights held without a copy, its batch named N with the range the program allows.

    `dim_range` narrows that range.  Raises UnsupportedOperator for all operators that we do not know at once,
    ImportFailed for whatever else cannot be brought to a graph.
    """
    return Reader(decomposed(program), dim_range).read()


class Reader:
    """One walk over a program.  `known` are the nodes whose elements are constant, `values` what nodes have become."""

    def __init__(self, program: ExportedProgram, dim_range: DimRange | None) -> None:
        self.program = program
        self.specs = {spec.arg.name: spec for spec in program.graph_signature.input_specs}
        sizes = open_sizes_of(self._user_inputs(), program.range_constraints, dim_range)
        self.sizes = Sizes({size.torch_name: size.name for size in sizes})
        symbols = {size.name: size.bounds for size in sizes}
        calls = (node.meta for node in program.graph.nodes if node.op == "call_function")
        self.graph = Graph(next(filter(None, map(root_class, calls)), "model"), symbols)
        self.known: dict[fx.Node, Any] = {}
        self.values: dict[fx.Node, Any] = {}
        self.shared: dict[object, Value] = {}
        self.views: dict[tuple[Value, object], Value] = {}
        self.refusals: dict[str, dict[str, str]] = {}  # operator -> node -> origin

    def read(self) -> Graph:
        """The whole program as a graph."""
        for node in self.program.graph.nodes:
            if node.op == "placeholder":
                self._placeholder(node, self.specs[node.name])
            elif node.op == "call_function" and node.users:  # what nothing uses only asserts
                self.graph.origin = origin_of(node.meta)
                self._call(node)
        self.graph.origin = ""
        if self.refusals:
            raise UnsupportedOperator(
                f"torch {self.graph.name}: expected operators that Alula knows, got {self._listing()}"
            )
        self._outputs(self.program.graph.output_node())
        return self.graph

    def _user_inputs(self) -> Iterator[tuple[str, Tensor]]:
        """Name and stand-in of every tensor that the model takes."""
        for node in self.program.graph.nodes:
            taken = node.op == "placeholder" and self.specs[node.name].kind is InputKind.USER_INPUT
            if taken and isinstance(node.meta["val"], Tensor):
                yield node.name, node.meta["val"]

    def _placeholder(self, node: fx.Node, spec: InputSpec) -> None:
        if spec.kind in WEIGHTS:
            if node.users:
                self.known[node] = self._weight(spec)
        elif isinstance(spec.arg, TensorArgument):
            self.values[node] = self.graph.input(node.name, self.sizes.type(node.meta["val"]))
        elif isinstance(spec.arg, ConstantArgument):
            self.known[node] = spec.arg.value
        else:
            raise ImportFailed(f"torch input {node.name}: expected a tensor, got {type(spec.arg).__name__}")

    def _weight(self, spec: InputSpec) -> Tensor:
        name = str(spec.target)
        tensor = self.program.state_dict.get(name)
        if tensor is None:
            tensor = self.program.constants[name]
        where = f"torch weight {name}"
        if not isinstance(tensor, Tensor) or tensor.layout is not torch.strided or tensor.is_meta:
            raise ImportFailed(f"{where}: expected a dense tensor with elements, got {type(tensor).__name__}")
        trained = spec.kind is not InputKind.CONSTANT_TENSOR
        if trained and (tensor.is_floating_point() or tensor.is_complex()) and tensor.dtype is not torch.float32:
            raise ImportFailed(f"{where}: expected float32, got {str(tensor.dtype).removeprefix('torch.')}")
        return tensor

    def _call(self, node: fx.Node) -> None:
        if self._fold(node):
            return
        name, val = str(node.target), node.meta.get("val")
        if isinstance(val, SCALARS):
            if isinstance(node.target, torch._ops.OpOverload) and name not in ABOUT_SIZES:
                self._refuse(node, "")
            return  # arithmetic of sizes: PyTorch has done it
        try:
            self.values[node] = self._element(node) if node.target is operator.getitem else self._imported(node, name)
        except Refused as refusal:
            self._refuse(node, str(refusal))
        except (ShapeError, ImportFailed) as error:
            if not self.refusals:
                raise ImportFailed(f"torch {name} ({self.graph.origin}): {error}") from error
            self.values[node] = self._stand_in(val)  # a refused operand's stand-in may not fit

    def _fold(self, node: fx.Node) -> bool:
        """Let PyTorch compute what depends on constants alone."""
        op: Any = node.target
        if not (op is operator.getitem or isinstance(op, torch._ops.OpOverload)):
            return False
        if any(operand not in self.known for operand in node.all_input_nodes):
            return False
        if isinstance(op, torch._ops.OpOverload) and torch.Tag.nondeterministic_seeded in op.tags:
            return False
        args: Any = fx.map_arg(node.args, self.known.__getitem__)
        kwargs: Any = fx.map_arg(node.kwargs, self.known.__getitem__)
        with torch.no_grad():
            self.known[node] = op(*args, **kwargs)
        return True

    def _imported(self, node: fx.Node, name: str) -> Any:
        if name not in IMPORTS:
            raise Refused("")
        vals = node.meta["val"]
        single = isinstance(vals, Tensor)
        types = tuple(self.sizes.type(val) for val in ([vals] if single else vals))
        call = Call(self.graph, types, views=self.views)
        kwargs = {key: self._operand(value) for key, value in node.kwargs.items() if key not in MEANINGLESS}
        args = [self._operand(argument) for argument in node.args]
        try:
            inspect.signature(IMPORTS[name]).bind(call, *args, **kwargs)
        except TypeError as error:
            raise Refused(f"with these arguments: {error}") from None
        result = IMPORTS[name](call, *args, **kwargs)
        for value, type in zip([result] if isinstance(result, Value) else result, types, strict=True):
            if value is not None and not self._agree(value.type, type) and not self.refusals:
                raise ImportFailed(f"expected PyTorch's {type}, got {value.type}")
        return result

    def _element(self, node: fx.Node) -> Any:
        source, index = node.args
        element = self.values[source][index]  # type: ignore[index]
        if element is None:
            raise Refused(f"{index} of {source.target}")  # type: ignore[union-attr]
        return element

    def _operand(self, argument: Any) -> Any:
        """An argument as importers take it: Values, dimensions, plain Python values, and lists of those."""
        if isinstance(argument, fx.Node):
            return self._value(argument)
        if isinstance(argument, Sequence) and not isinstance(argument, str):
            return [self._operand(item) for item in argument]
        return argument

    def _value(self, node: fx.Node) -> Any:
        if node in self.values:
            return self.values[node]
        if node in self.known:
            return self._constant(node) if isinstance(self.known[node], Tensor) else self.known[node]
        val = node.meta.get("val")
        if isinstance(val, (torch.SymInt, int)):
            return self.sizes.dim(val)
        raise Refused("with a number computed from sizes")

    def _constant(self, node: fx.Node) -> Value:
        """One Value for each array, however many names it has."""
        tensor = self.known[node]
        key = (tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride())
        if key not in self.shared:
            name = str(self.specs[node.name].target) if node.name in self.specs else node.name
            self.shared[key] = self.graph.constant(array_of(tensor), name)
        return self.shared[key]

    def _outputs(self, node: fx.Node) -> None:
        results: list[tuple[str, Value]] = []
        specs = self.program.graph_signature.output_specs
        names = iter(output_names(self.program))
        for spec, argument in zip(specs, node.args[0], strict=True):  # type: ignore[arg-type]
            if spec.kind is OutputKind.USER_OUTPUT:
                name = next(names)
                if isinstance(spec.arg, TensorArgument) and isinstance(argument, fx.Node):
                    results.append((name, self._value(argument)))
                elif argument is not None:
                    raise ImportFailed(f"torch output {name}: expected a tensor, got a number")
            elif spec.kind is not OutputKind.USER_INPUT_MUTATION:  # that only a caller's own array would see
                raise ImportFailed(f"torch {self.graph.name}: expected no state, got writes to {spec.target}")
        if not results:
            raise ImportFailed(f"torch {self.graph.name}: expected at least one tensor as output, got none")
        for name, value in results:
            self.graph.output("output" if len(results) == 1 else name, value)

    def _refuse(self, node: fx.Node, form: str) -> None:
        name, target = node.meta.get(SOURCE, (node.name, str(node.target)))
        named = "element" if node.target is operator.getitem else target
        self.refusals.setdefault(f"{named} {form}".strip(), {})[name] = self.graph.origin
        self.values[node] = self._stand_in(node.meta.get("val"))

    def _stand_in(self, val: Any) -> Any:
        """What takes a refused result's place, so that the walk can go on to what else is unknown."""
        if isinstance(val, (list, tuple)):
            return [self._stand_in(item) for item in val]
        if not isinstance(val, Tensor):
            return 1
        try:
            return Value(self.sizes.type(val))
        except ImportFailed:
            return Value(TensorType(dtype_of(torch.float32), (1,) * val.ndim))

    def _listing(self) -> str:
        def entry(name: str, origins: list[str]) -> str:
            count = "once, at" if len(origins) == 1 else f"{len(origins)} times, first at"
            return f"{name} ({count} {origins[0] or 'an unknown line'})"

        return "; ".join(entry(name, list(nodes.values())) for name, nodes in self.refusals.items())

    def _agree(self, ours: TensorType, theirs: TensorType) -> bool:
        """Equal at the ends of the sizes' ranges: one floor division can be written in several ways."""
        if ours.dtype is not theirs.dtype or ours.rank != theirs.rank:
            return False
        samples = [{name: bounds[end] for name, bounds in self.graph.symbols.items()} for end in (0, 1)]
        return ours == theirs or all(ours.at(sizes) == theirs.at(sizes) for sizes in samples)
