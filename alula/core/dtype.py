"""Element types: their names in graphs and files, their NumPy storage, and bfloat16, which NumPy lacks."""

from __future__ import annotations

from enum import Enum
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

BFLOAT16_STORAGE = np.dtype([("bf16", "<u2")])  # a dtype of its own, so that it is never taken for uint16


class DType(Enum):
    """An element type; its value is its spelling in graphs, files and messages."""

    BOOL = "bool"
    U8 = "u8"
    U16 = "u16"
    U32 = "u32"
    U64 = "u64"
    I8 = "i8"
    I16 = "i16"
    I32 = "i32"
    I64 = "i64"
    F16 = "f16"
    BF16 = "bf16"
    F32 = "f32"
    F64 = "f64"

    def __str__(self) -> str:
        return self.value

    @property
    def numpy(self) -> np.dtype[Any]:
        """The NumPy dtype that stores it; bfloat16 is a one-field record of its 16 bits."""
        return _NUMPY[self]

    @property
    def bytes(self) -> int:
        """Bytes of one element."""
        return self.numpy.itemsize

    @property
    def is_float(self) -> bool:
        """True for f16, bf16, f32 and f64."""
        return self in (DType.F16, DType.BF16, DType.F32, DType.F64)

    @classmethod
    def of(cls, array: Array) -> DType:
        """The type of an array's elements.  Raises TypeError for one that graphs cannot hold (complex, object...)."""
        for dtype, storage in _NUMPY.items():
            if storage == array.dtype.newbyteorder("="):
                return dtype
        raise TypeError(f"dtype: expected a boolean, integer or float type, got {array.dtype}")


_NUMPY = {
    DType.BOOL: np.dtype(np.bool_),
    DType.U8: np.dtype(np.uint8),
    DType.U16: np.dtype(np.uint16),
    DType.U32: np.dtype(np.uint32),
    DType.U64: np.dtype(np.uint64),
    DType.I8: np.dtype(np.int8),
    DType.I16: np.dtype(np.int16),
    DType.I32: np.dtype(np.int32),
    DType.I64: np.dtype(np.int64),
    DType.F16: np.dtype(np.float16),
    DType.BF16: BFLOAT16_STORAGE,
    DType.F32: np.dtype(np.float32),
    DType.F64: np.dtype(np.float64),
}


def to_bfloat16(values: Array) -> Array:
    """The nearest bfloat16 of each float32, ties to even; NaN stays NaN."""
    bits = np.asarray(values, np.float32).reshape(-1).view(np.uint32)
    rounded = (bits + (0x7FFF + ((bits >> 16) & 1))) >> 16
    quiet = (bits >> 16) | 0x40
    nearest = np.where(np.isnan(bits.view(np.float32)), quiet, rounded).astype("<u2")
    return nearest.view(BFLOAT16_STORAGE).reshape(np.shape(values))


def from_bfloat16(values: Array) -> Array:
    """Each bfloat16 as the float32 it is exactly."""
    bits = values.reshape(-1).view("<u2").astype(np.uint32) << 16
    return bits.view(np.float32).reshape(values.shape)


def cast_array(values: Array, dtype: DType) -> Array:
    """`values` converted as PyTorch and ONNX Cast do: floats round to nearest even, float to integer truncates."""
    source = from_bfloat16(values) if values.dtype == BFLOAT16_STORAGE else values
    with np.errstate(invalid="ignore", over="ignore"):
        if dtype is DType.BF16:
            return to_bfloat16(source.astype(np.float32))
        return source.astype(dtype.numpy)
