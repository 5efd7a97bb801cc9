"""An ONNX file as a message and the elements of its tensors.  The file may be hostile, and so may external data be."""

from __future__ import annotations

import mmap
import os
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from onnx import ModelProto, TensorProto, ValueInfoProto

from alula.core.dims import LARGEST_SIZE
from alula.core.dtype import BFLOAT16_STORAGE, Array, DType
from alula.core.errors import ImportFailed

OLDEST_OPSET, NEWEST_OPSET = 7, 24
DEFAULT_DOMAINS = ("", "ai.onnx")
LARGEST_FILE = 2 << 30  # a protobuf message cannot be longer

DTYPES: dict[int, DType] = {
    TensorProto.BOOL: DType.BOOL,
    TensorProto.UINT8: DType.U8,
    TensorProto.UINT16: DType.U16,
    TensorProto.UINT32: DType.U32,
    TensorProto.UINT64: DType.U64,
    TensorProto.INT8: DType.I8,
    TensorProto.INT16: DType.I16,
    TensorProto.INT32: DType.I32,
    TensorProto.INT64: DType.I64,
    TensorProto.FLOAT16: DType.F16,
    TensorProto.BFLOAT16: DType.BF16,
    TensorProto.FLOAT: DType.F32,
    TensorProto.DOUBLE: DType.F64,
}


@dataclass(frozen=True, slots=True)
class Source:
    """A model, and the folder beside it that its external data may lie in."""

    model: ModelProto
    folder: Path
    name: str
    mapped: dict[Path, Array] = field(default_factory=dict)

    @property
    def opset(self) -> int:
        """The version of the default operators."""
        return next(int(o.version) for o in self.model.opset_import if o.domain in DEFAULT_DOMAINS)

    @property
    def inputs(self) -> list[ValueInfoProto]:
        """What a run brings: the inputs without those that have a weight."""
        weights = {tensor.name for tensor in self.model.graph.initializer}
        return [value for value in self.model.graph.input if value.name not in weights]

    def array(self, tensor: TensorProto) -> Array:
        """The elements of a tensor, read-only.  Raises ImportFailed for one that is damaged, naming it."""
        where = f"onnx tensor {tensor.name or 'of an attribute'}"
        shape = tuple(tensor.dims)
        dtype = dtype_of(tensor.data_type, where)
        if any(not 0 <= size <= LARGEST_SIZE for size in shape):
            raise ImportFailed(f"{where}: expected dimensions of 0..{LARGEST_SIZE}, got {_short(shape)}")
        count = prod(shape)
        if tensor.HasField("segment"):
            raise ImportFailed(f"{where}: expected a whole tensor, got a segment of one")
        if tensor.data_location == TensorProto.EXTERNAL:
            flat = self._external(tensor, where, dtype, count)
        elif tensor.HasField("raw_data"):
            flat = _raw(tensor.raw_data, where, dtype, count)
        else:
            flat = _listed(tensor, where, dtype, count)
        array = flat.reshape(shape)
        array.flags.writeable = False
        return array

    def _external(self, tensor: TensorProto, where: str, dtype: DType, count: int) -> Array:
        """Elements from a file, which has to lie inside the model's folder when all links are followed."""
        entries = {entry.key: entry.value for entry in tensor.external_data}
        location = entries.get("location", "")
        path = self._inside(location, where)
        try:
            offset, length = (int(entries.get(key, "0") or "0") for key in ("offset", "length"))
        except ValueError:
            raise ImportFailed(f"{where}: expected an offset and a length in bytes, got {entries!r:.80}") from None
        wanted = count * dtype.bytes
        bytes = self._mapped(path, where)
        if length not in (0, wanted) or not 0 <= offset <= len(bytes) - wanted:
            raise ImportFailed(
                f"{where}: expected {wanted} bytes at {offset} of {location!r:.80}, got a file of {len(bytes)}"
            )
        return bytes[offset : offset + wanted].view(dtype.numpy.newbyteorder("<"))

    def _inside(self, location: str, where: str) -> Path:
        refusal = ImportFailed(f"{where}: expected external data inside the model's folder, got {location!r:.80}")
        if not location or "\0" in location or Path(location).is_absolute():
            raise refusal
        try:
            folder, path = self.folder.resolve(), (self.folder / location).resolve()
        except (OSError, RuntimeError):
            raise refusal from None
        if not path.is_relative_to(folder) or not path.is_file():
            raise refusal
        return path

    def _mapped(self, path: Path, where: str) -> Array:
        if path not in self.mapped:
            try:
                with path.open("rb") as file:
                    if os.fstat(file.fileno()).st_size:
                        whole = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
                        self.mapped[path] = np.frombuffer(whole, np.uint8)
                    else:
                        self.mapped[path] = np.zeros(0, np.uint8)
            except OSError as error:
                raise ImportFailed(f"{where}: expected a readable file, got {error.strerror or error}") from error
        return self.mapped[path]


def read_source(path: Path) -> Source:
    """The model in the file at `path`.  Raises ImportFailed for what is none, and for operators too old or too new."""
    try:
        size = path.stat().st_size
        if size > LARGEST_FILE:
            raise ImportFailed(f"{path}: expected an ONNX model of at most {LARGEST_FILE} bytes, got {size}")
        data = path.read_bytes()
    except OSError as error:
        raise ImportFailed(f"{path}: expected a readable file, got {error.strerror or error}") from error
    model = ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError as error:
        raise ImportFailed(f"{path}: expected an ONNX model, got {size:,} bytes that are not one") from error
    return checked_source(model, path)


def checked_source(model: ModelProto, path: Path) -> Source:
    """A model that is or would be the file at `path`.  Raises ImportFailed for operators too old or too new."""
    versions = [o.version for o in model.opset_import if o.domain in DEFAULT_DOMAINS]
    if not model.HasField("graph") or len(versions) != 1:
        raise ImportFailed(f"{path}: expected an ONNX model with one version of operators, got {len(versions)}")
    if not OLDEST_OPSET <= versions[0] <= NEWEST_OPSET:
        raise ImportFailed(f"{path}: expected operators of version {OLDEST_OPSET}..{NEWEST_OPSET}, got {versions[0]}")
    return Source(model, path.parent, path.name)


def dtype_of(code: int, where: str) -> DType:
    """Our name of ONNX's element type.  Raises ImportFailed for one that graphs cannot hold."""
    if code not in DTYPES:
        known = code in TensorProto.DataType.values()
        name = TensorProto.DataType.Name(code).lower() if known else f"type {code}"
        raise ImportFailed(f"{where}: expected a boolean, integer or float type, got {name}")
    return DTYPES[code]


def _raw(data: bytes, where: str, dtype: DType, count: int) -> Array:
    if len(data) != count * dtype.bytes:
        raise ImportFailed(f"{where}: expected {count * dtype.bytes} bytes for {count} of {dtype}, got {len(data)}")
    return np.frombuffer(data, dtype.numpy.newbyteorder("<"))


def _listed(tensor: TensorProto, where: str, dtype: DType, count: int) -> Array:
    """Elements that are listed as numbers: each kind of number has a field of its own."""
    fields: dict[DType, Any] = {
        DType.F32: tensor.float_data,
        DType.F64: tensor.double_data,
        DType.I64: tensor.int64_data,
        DType.U32: tensor.uint64_data,
        DType.U64: tensor.uint64_data,
    }
    values = fields.get(dtype, tensor.int32_data)
    if len(values) != count:
        raise ImportFailed(f"{where}: expected {count} elements, got {len(values)}")
    if dtype in (DType.F16, DType.BF16):  # their bits
        bits = np.array(values, np.int64).astype(np.uint16)
        return bits.view(np.float16 if dtype is DType.F16 else BFLOAT16_STORAGE)
    wide = np.float64 if dtype.is_float else np.uint64 if dtype is DType.U64 else np.int64
    return np.array(values, wide).astype(dtype.numpy)


def _short(shape: tuple[int, ...]) -> str:
    return f"{list(shape)!r:.80}"
