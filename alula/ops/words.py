"""Which weights the products of narrow types can take: rows of them are packed in words of 32 bits."""

from __future__ import annotations

from alula.core.dims import Dim, product
from alula.core.dtype import DType
from alula.ops.conv import whole_groups
from alula.ops.matmul import LARGEST_BYTE_SUM, group_of

LEAST_LANES = 8  # of any target: pixels of so many channels can be widened to whole words on the way


def whole_words(shape: tuple[Dim, ...], groups: int, weight: DType) -> bool:
    """True for a weight[n,k] or [o,kh,kw,c/groups] whose rows are whole words of this type, and not too long for it."""
    c, terms = shape[-1], product(shape[1:])
    if not isinstance(c, int) or not isinstance(terms, int) or not 0 < terms <= LARGEST_BYTE_SUM:
        return False
    whole = whole_groups(c, weight)
    if len(shape) == 2 or groups > 1:
        return c % group_of(weight) == 0
    return whole == c or LEAST_LANES % whole == 0
