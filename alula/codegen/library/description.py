"""What `alula_describe` gives: the structures of the C header, laid out as constant data."""

from __future__ import annotations

from collections.abc import Sequence

from llvmlite import ir

from alula.codegen.library.spec import LibrarySpec, Port, ports
from alula.codegen.module import I8, I64, POINTER, Code
from alula.core.preprocess import Preprocess

ABI_VERSION = 1  # ALULA_ABI_VERSION of the header
F64 = ir.DoubleType()
NULL = ir.Constant(POINTER, None)


class Data:
    """Read-only data of a module; equal texts are there once."""

    def __init__(self, code: Code) -> None:
        self.code = code
        self._texts: dict[str, ir.Value] = {}
        self._count = 0

    def text(self, text: str) -> ir.Value:
        """The address of a C string."""
        if text not in self._texts:
            self._texts[text] = self.bytes(text.encode() + b"\0")
        return self._texts[text]

    def bytes(self, content: bytes) -> ir.Value:
        """The address of these bytes, 8-byte aligned."""
        return self._add(ir.Constant(ir.ArrayType(I8, len(content)), bytearray(content)))

    def integers(self, values: Sequence[int]) -> ir.Value:
        """The address of 64-bit integers; null for none."""
        return self.structure([ir.Constant(I64, value) for value in values]) if values else NULL

    def structure(self, fields: Sequence[ir.Value]) -> ir.Value:
        """The address of fields of eight bytes each: integers, doubles and addresses."""
        return self._add(ir.Constant(ir.LiteralStructType([field.type for field in fields]), fields))

    def _add(self, content: ir.Constant) -> ir.Value:
        variable = ir.GlobalVariable(self.code.module, content.type, f"data_{self._count}")
        self._count += 1
        variable.type = POINTER  # opaque, as all our pointers are
        variable.initializer, variable.global_constant, variable.linkage, variable.align = content, True, "private", 8
        return variable


def emit_description(code: Code, data: Data, spec: LibrarySpec) -> None:
    """`alula_describe()`: the address of the `alula_description`."""
    inputs, outputs = ports(spec.program.inputs), ports(spec.program.outputs)
    counts = [ABI_VERSION, *spec.batch_range, spec.tuned_batch, spec.file_bytes, len(inputs), len(outputs)]
    address = data.structure(
        [
            *(ir.Constant(I64, number) for number in counts),
            *(data.text(text) for text in (spec.name, spec.precision, spec.target.name, spec.digest)),
            _ports(data, inputs),
            _ports(data, outputs),
            _preprocess(data, spec.preprocess),
        ]
    )
    function = code.function("alula_describe", POINTER, [], exported=True)
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    builder.ret(address)


def _ports(data: Data, listed: Sequence[Port]) -> ir.Value:
    fields: list[ir.Value] = []
    for port in listed:
        rank, bytes = (ir.Constant(I64, number) for number in (len(port.dims), port.bytes))
        fields += [data.text(port.name), data.text(port.dtype), rank, data.integers(port.dims), bytes]
    return data.structure(fields) if fields else NULL


def _preprocess(data: Data, contract: Preprocess | None) -> ir.Value:
    if contract is None:
        return NULL
    numbers = (contract.crop, contract.resize, int(contract.antialias), int(contract.folded))
    return data.structure(
        [
            *(ir.Constant(I64, number) for number in numbers),
            *(data.text(text) for text in (contract.resampling, contract.library, contract.order)),
            *(ir.Constant(F64, number) for number in (*contract.mean, *contract.std)),
        ]
    )
