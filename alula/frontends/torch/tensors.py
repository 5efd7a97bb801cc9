"""Between PyTorch's tensors, sizes and dtypes and ours."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from alula.core.dims import Dim, symbol
from alula.core.dtype import BFLOAT16_STORAGE, Array, DType
from alula.core.errors import ImportFailed
from alula.ir.types import TensorType

DTYPES = {
    torch.bool: DType.BOOL,
    torch.uint8: DType.U8,
    torch.uint16: DType.U16,
    torch.uint32: DType.U32,
    torch.uint64: DType.U64,
    torch.int8: DType.I8,
    torch.int16: DType.I16,
    torch.int32: DType.I32,
    torch.int64: DType.I64,
    torch.float16: DType.F16,
    torch.bfloat16: DType.BF16,
    torch.float32: DType.F32,
    torch.float64: DType.F64,
}


def dtype_of(dtype: torch.dtype) -> DType:
    """Our name of PyTorch's element type.  Raises ImportFailed for one that graphs cannot hold."""
    if dtype not in DTYPES:
        raise ImportFailed(f"torch dtype: expected a boolean, integer or float type, got {dtype}")
    return DTYPES[dtype]


def array_of(tensor: Tensor) -> Array:
    """The elements of `tensor` as a read-only array that shares its memory, with its strides."""
    tensor = tensor.detach().cpu()
    if tensor.dtype is torch.bfloat16:
        array: Array = tensor.contiguous().view(torch.uint16).numpy().view(BFLOAT16_STORAGE)
    else:
        array = tensor.resolve_conj().resolve_neg().numpy()
    array = array.view()
    array.flags.writeable = False
    return array


class Sizes:
    """PyTorch's sizes, integers or sympy expressions, as dimensions; `names` are our names of its symbols."""

    def __init__(self, names: dict[str, str]) -> None:
        self.names = names

    def dim(self, size: int | torch.SymInt) -> Dim:
        """The dimension that `size` is.  Raises ImportFailed for an expression that dimensions cannot hold."""
        return self._dim(size.node.expr, size) if isinstance(size, torch.SymInt) else int(size)

    def type(self, tensor: Tensor) -> TensorType:
        """The type of a tensor, fake or real."""
        return TensorType(dtype_of(tensor.dtype), tuple(self.dim(size) for size in tensor.shape))

    def _dim(self, expression: Any, whole: object) -> Dim:
        """By class name, so that sympy and PyTorch's additions to it need no import."""
        if expression.is_Integer:
            return int(expression)
        kind = type(expression).__name__
        if kind == "Symbol" and expression.name in self.names:
            return symbol(self.names[expression.name])
        arguments = [self._dim(argument, whole) for argument in expression.args]
        match kind, arguments:
            case "Add", [first, *rest]:
                return sum(rest, start=first)
            case "Mul", [first, *rest]:
                for factor in rest:
                    first = first * factor
                return first
            case "Pow", [base, int(exponent)] if exponent > 0:
                total = base
                for _ in range(exponent - 1):
                    total = total * base
                return total
            case (("FloorDiv" | "CleanDiv"), [value, int(divisor)]) if divisor > 0:
                return value // divisor
            case (("Mod" | "PythonMod"), [value, int(divisor)]) if divisor > 0:
                return value - value // divisor * divisor
        raise ImportFailed(f"torch size: expected sums, products and floor divisions of the batch, got {whole}")
