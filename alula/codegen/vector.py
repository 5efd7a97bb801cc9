"""The typed emitter: arithmetic on integers, pointers and vectors that reads as it is written, loops, masks, memory."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from llvmlite import ir

from alula.codegen.module import F32, I1, I8, I16, I32, I64, POINTER, Code
from alula.core.dims import Dim, Expr, FloorDiv
from alula.core.dtype import Array, DType
from alula.core.target import CpuTarget

ELEMENTS: Mapping[DType, ir.Type] = {
    DType.F32: F32, DType.F64: ir.DoubleType(), DType.F16: ir.HalfType(), DType.BF16: I16,
    DType.BOOL: I8, DType.U8: I8, DType.I8: I8, DType.U16: I16, DType.I16: I16,
    DType.U32: I32, DType.I32: I32, DType.U64: I64, DType.I64: I64,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Int:
    """A 64-bit integer at run time.  Operators take Python integers too."""

    e: Emitter
    value: ir.Value

    def __add__(self, other: Int | int) -> Int:
        return self if other == 0 else self.e.integer("add", self, other)

    def __sub__(self, other: Int | int) -> Int:
        return self if other == 0 else self.e.integer("sub", self, other)

    def __rsub__(self, other: int) -> Int:
        return self.e.integer("sub", self.e.int(other), self)

    def __mul__(self, other: Int | int) -> Int:
        return self if other == 1 else self.e.integer("mul", self, other)

    def __floordiv__(self, other: Int | int) -> Int:
        return self if other == 1 else self.e.integer("udiv", self, other)

    def __mod__(self, other: Int | int) -> Int:
        return self.e.integer("urem", self, other)

    def __lt__(self, other: Int | int) -> Cond:
        return self.e.compare("<", self, other)

    def __ge__(self, other: Int | int) -> Cond:
        return self.e.compare(">=", self, other)

    __radd__ = __add__
    __rmul__ = __mul__

    def min(self, other: Int | int) -> Int:
        """The smaller of the two."""
        return self.e.select(self < other, self, other)

    def max(self, other: Int | int) -> Int:
        """The larger of the two."""
        return self.e.select(self < other, other, self)


@dataclass(frozen=True, slots=True)
class Cond:
    """One bit at run time."""

    e: Emitter
    value: ir.Value

    def __and__(self, other: Cond) -> Cond:
        return Cond(self.e, self.e.b.and_(self.value, other.value))


@dataclass(frozen=True, slots=True)
class Ptr:
    """An address of elements of `dtype`; indices and offsets count elements."""

    e: Emitter
    value: ir.Value
    dtype: DType = DType.F32

    def at(self, offset: Int | int) -> Ptr:
        """The address of element `offset`."""
        if isinstance(offset, int) and offset == 0:
            return self
        element = ELEMENTS[self.dtype]
        return Ptr(self.e, self.e.b.gep(self.value, [self.e.int(offset).value], source_etype=element), self.dtype)

    def cast(self, dtype: DType) -> Ptr:
        """The same address, of elements of another type."""
        return Ptr(self.e, self.value, dtype)


@dataclass(frozen=True, slots=True)
class Vec:
    """A vector register's worth of elements.  Operators are lane by lane and take Python numbers too."""

    e: Emitter
    value: ir.Value

    def __add__(self, other: Vec | float) -> Vec:
        return self.e.arithmetic("add", self, other)

    def __sub__(self, other: Vec | float) -> Vec:
        return self.e.arithmetic("sub", self, other)

    def __rsub__(self, other: float) -> Vec:
        return self.e.like(self, other) - self

    def __mul__(self, other: Vec | float) -> Vec:
        return self.e.arithmetic("mul", self, other)

    def __truediv__(self, other: Vec | float) -> Vec:
        return self.e.arithmetic("div", self, other)

    def __rtruediv__(self, other: float) -> Vec:
        return self.e.like(self, other) / self

    __radd__ = __add__
    __rmul__ = __mul__

    def __neg__(self) -> Vec:
        return Vec(self.e, self.e.b.fneg(self.value))

    @property
    def lanes(self) -> int:
        """How many elements it has."""
        return int(self.value.type.count)

    @property
    def is_float(self) -> bool:
        """True for vectors of floats."""
        return isinstance(self.value.type.element, (ir.FloatType, ir.DoubleType))


@dataclass(slots=True)
class Loop:
    """Inside a counted loop: its index and the values carried from turn to turn; after it, their last values."""

    index: Int
    carried: list[Vec]
    next: list[Vec] | None = field(default=None)

    def carry(self, values: Sequence[Vec]) -> None:
        """What the next turn starts from."""
        self.next = list(values)


Whole = int  # inside Emitter, `int` and `type` are its methods
Index = Int | Whole


class Emitter:
    """Writes one function of `code`.

    `sizes` are the symbolic sizes at run time, `threads` how many run the program, `parameters` a step's numbers.
    """

    def __init__(self, code: Code, function: ir.Function, sizes: Mapping[str, Int] | None = None) -> None:
        self.code = code
        self.function = function
        self.b = ir.IRBuilder(function.append_basic_block("entry"))
        self.sizes = dict(sizes or {})
        self.threads = self.int(1)
        self.parameters: list[Vec] = []
        self._times = 1

    @property
    def target(self) -> CpuTarget:
        """The processor that code is made for."""
        return self.code.target

    @property
    def lanes(self) -> Whole:
        """f32 elements of one vector register, or of so many as vectors are `long`."""
        return self.target.lanes(32) * self._times

    # Integers and conditions

    def int(self, value: Index) -> Int:
        """A constant, or what is an integer already."""
        return value if isinstance(value, Int) else Int(self, ir.Constant(I64, value))

    def integer(self, operation: str, left: Int, right: Index) -> Int:
        """left <operation> right; powers of two become shifts and masks in LLVM."""
        return Int(self, getattr(self.b, operation)(left.value, self.int(right).value))

    def compare(self, sign: Any, left: Int, right: Index) -> Cond:
        """left <sign> right, signed."""
        return Cond(self, self.b.icmp_signed(sign, left.value, self.int(right).value))

    def select(self, condition: Cond, yes: Index, no: Index) -> Int:
        """yes where the condition holds, else no."""
        return Int(self, self.b.select(condition.value, self.int(yes).value, self.int(no).value))

    def either(self, condition: Cond, yes: Ptr, no: Ptr) -> Ptr:
        """The address `yes` where the condition holds, else `no`."""
        return Ptr(self, self.b.select(condition.value, yes.value, no.value), yes.dtype)

    def dim(self, dim: Dim) -> Int:
        """A dimension at run time."""
        if not isinstance(dim, Expr):
            return self.int(dim)
        total = self.int(0)
        for monomial, coefficient in dim.terms:
            term = self.int(coefficient)
            for atom in monomial:
                factor = self.dim(atom.value) // atom.divisor if isinstance(atom, FloorDiv) else self.sizes[atom]
                term = factor if isinstance(term.value, ir.Constant) and term.value.constant == 1 else factor * term
            total = term if isinstance(total.value, ir.Constant) and total.value.constant == 0 else total + term
        return total

    # Control

    @contextmanager
    def loop(self, count: Index, carried: Sequence[Vec] = (), start: Index = 0, step: Whole = 1) -> Iterator[Loop]:
        """for index in range(start, count, step); values given as `carried` live in registers across turns."""
        body, after = (self.function.append_basic_block(name) for name in ("body", "after"))
        limit = self.int(count)
        first = self.int(start)
        self.b.cbranch(self.compare("<", first, limit).value, body, after)
        entry = self.b.block
        self.b.position_at_end(body)
        index = self.b.phi(I64)
        index.add_incoming(first.value, entry)
        phis = [self.b.phi(value.value.type) for value in carried]
        for phi, value in zip(phis, carried, strict=True):
            phi.add_incoming(value.value, entry)
        loop = Loop(Int(self, index), [Vec(self, phi) for phi in phis])
        yield loop
        turned = self.b.add(index, ir.Constant(I64, step))
        following = loop.next if loop.next is not None else loop.carried
        end = self.b.block
        index.add_incoming(turned, end)
        for phi, value in zip(phis, following, strict=True):
            phi.add_incoming(value.value, end)
        self.b.cbranch(self.b.icmp_signed("<", turned, limit.value), body, after)
        self.b.position_at_end(after)
        loop.carried = []
        for start_value, value in zip(carried, following, strict=True):
            phi = self.b.phi(value.value.type)
            phi.add_incoming(start_value.value, entry)
            phi.add_incoming(value.value, end)
            loop.carried.append(Vec(self, phi))

    @contextmanager
    def when(self, condition: Cond) -> Iterator[None]:
        """The block runs where the condition holds."""
        with self.b.if_then(condition.value):
            yield

    def call(self, function: ir.Function, *arguments: Int | Ptr | Vec | Whole) -> ir.Value:
        """A call; Python integers become 64-bit constants."""
        values = [self.int(item).value if isinstance(item, int) else item.value for item in arguments]
        return self.b.call(function, values)

    def end(self) -> None:
        """Return from the function."""
        self.b.ret_void()

    # Vectors

    def type(self, dtype: DType = DType.F32, lanes: Whole | None = None) -> ir.VectorType:
        """The vector type of `lanes` elements; as many as f32 lanes by default."""
        return ir.VectorType(ELEMENTS[dtype], lanes or self.lanes)

    def constant(self, value: float, dtype: DType = DType.F32, lanes: Whole | None = None) -> Vec:
        """A vector with the same number in each lane."""
        type = self.type(dtype, lanes)
        number = _as_f32(value) if dtype is DType.F32 else value
        return Vec(self, ir.Constant(type, [ir.Constant(type.element, number)] * type.count))

    def constants(self, values: Array) -> Vec:
        """A vector of known float32 numbers."""
        type = ir.VectorType(F32, len(values))
        return Vec(self, ir.Constant(type, [ir.Constant(F32, float(value)) for value in values]))

    def numbers(self, values: Sequence[Whole], dtype: DType) -> Vec:
        """A vector of known integers."""
        type = ir.VectorType(ELEMENTS[dtype], len(values))
        return Vec(self, ir.Constant(type, [ir.Constant(type.element, value) for value in values]))

    def like(self, vector: Vec, value: Vec | float) -> Vec:
        """`value` as a vector of `vector`'s type."""
        if isinstance(value, Vec):
            return value
        type = vector.value.type
        number = _as_f32(value) if isinstance(type.element, ir.FloatType) else value
        return Vec(self, ir.Constant(type, [ir.Constant(type.element, number)] * type.count))

    def arithmetic(self, operation: str, left: Vec, right: Vec | float) -> Vec:
        """Lane by lane; never reassociated or contracted by LLVM, so the same bits everywhere."""
        other = self.like(left, right)
        name = f"f{operation}" if left.is_float else ("sdiv" if operation == "div" else operation)
        return Vec(self, getattr(self.b, name)(left.value, other.value))

    def fma(self, a: Vec, b: Vec | float, c: Vec | float) -> Vec:
        """a * b + c, rounded once."""
        name = f"llvm.fma.{_suffix(a.value.type)}"
        type = a.value.type
        function = self.code.declare(name, type, [type] * 3)
        return Vec(self, self.b.call(function, [a.value, self.like(a, b).value, self.like(a, c).value]))

    def unary(self, intrinsic: str, a: Vec) -> Vec:
        """An LLVM intrinsic that the processor has as one instruction: sqrt, fabs, floor, roundeven..."""
        type = a.value.type
        return Vec(self, self.b.call(self.code.declare(f"llvm.{intrinsic}.{_suffix(type)}", type, [type]), [a.value]))

    def binary(self, intrinsic: str, a: Vec, b: Vec | float) -> Vec:
        """An LLVM intrinsic of two operands: copysign, minimum..."""
        type = a.value.type
        function = self.code.declare(f"llvm.{intrinsic}.{_suffix(type)}", type, [type] * 2)
        return Vec(self, self.b.call(function, [a.value, self.like(a, b).value]))

    def choose(self, sign: str, a: Vec, b: Vec | float, yes: Vec | float, no: Vec | float) -> Vec:
        """yes where a <sign> b, else no, lane by lane; comparisons with NaN are false."""
        compare: Any = self.b.fcmp_ordered if a.is_float else self.b.icmp_signed
        condition = compare(sign, a.value, self.like(a, b).value)
        model = next(value for value in (yes, no, a) if isinstance(value, Vec))
        return Vec(self, self.b.select(condition, self.like(model, yes).value, self.like(model, no).value))

    def blend(self, mask: ir.Value, yes: Vec, no: Vec | float) -> Vec:
        """yes in the lanes of the mask, no in the others."""
        return Vec(self, self.b.select(mask, yes.value, self.like(yes, no).value))

    def max(self, a: Vec, b: Vec | float) -> Vec:
        """The larger of each pair; b where a is NaN (the processor's own max)."""
        return self.choose(">", a, b, a, b)

    def min(self, a: Vec, b: Vec | float) -> Vec:
        """The smaller of each pair; b where a is NaN."""
        return self.choose("<", a, b, a, b)

    def bitcast(self, a: Vec, dtype: DType) -> Vec:
        """The same bits as elements of another type, more of them where it is narrower."""
        lanes = a.lanes * _bits(a.value.type.element) // (8 * dtype.bytes)
        return Vec(self, self.b.bitcast(a.value, self.type(dtype, lanes)))

    def intrinsic(self, name: str, result: ir.Type, *operands: ir.Value) -> ir.Value:
        """A call of one of LLVM's intrinsics that stand for an instruction of the processor."""
        return self.b.call(self.code.declare(name, result, [operand.type for operand in operands]), operands)

    def convert(self, a: Vec, operation: str, dtype: DType) -> Vec:
        """An LLVM conversion, by its builder's name: sitofp, fptosi, fpext..."""
        return Vec(self, getattr(self.b, operation)(a.value, self.type(dtype, a.lanes)))

    def truncated(self, a: Vec) -> Vec:
        """f32 as i32, rounded toward zero; what does not fit becomes the nearest that does, NaN becomes 0."""
        type, whole = a.value.type, self.type(DType.I32, a.lanes)
        function = self.code.declare(f"llvm.fptosi.sat.{_suffix(whole)}.{_suffix(type)}", whole, [type])
        return Vec(self, self.b.call(function, [a.value]))

    def spread(self, scalar: ir.Value) -> Vec:
        """A scalar in every lane."""
        type = ir.VectorType(scalar.type, self.lanes)
        single = self.b.insert_element(ir.Constant(type, ir.Undefined), scalar, ir.Constant(I32, 0))
        zeros = ir.Constant(ir.VectorType(I32, self.lanes), [ir.Constant(I32, 0)] * self.lanes)
        return Vec(self, self.b.shuffle_vector(single, ir.Constant(type, ir.Undefined), zeros))

    @contextmanager
    def long(self, times: Whole) -> Iterator[None]:
        """Vectors are of so many registers, a power of two: LLVM does each operation on one of them after the other."""
        parameters, self.parameters = self.parameters, [self.joined([vector] * times) for vector in self.parameters]
        self._times = times
        yield
        self._times, self.parameters = 1, parameters

    def joined(self, vectors: Sequence[Vec]) -> Vec:
        """One vector of all elements of a power of two vectors."""
        while len(vectors) > 1:
            pairs = zip(vectors[::2], vectors[1::2], strict=True)
            vectors = [self.shuffle(a, b, range(a.lanes + b.lanes)) for a, b in pairs]
        return vectors[0]

    def parted(self, vector: Vec, parts: Whole) -> list[Vec]:
        """The vectors that were joined."""
        lanes = vector.lanes // parts
        starts = range(0, vector.lanes, lanes)
        return [self.shuffle(vector, vector, range(start, start + lanes)) for start in starts]

    def shuffle(self, a: Vec, b: Vec, lanes: Sequence[Whole]) -> Vec:
        """The chosen lanes of a then b."""
        mask = ir.Constant(ir.VectorType(I32, len(lanes)), [ir.Constant(I32, lane) for lane in lanes])
        return Vec(self, self.b.shuffle_vector(a.value, b.value, mask))

    def lane(self, a: Vec, index: Whole) -> ir.Value:
        """One element."""
        return self.b.extract_element(a.value, ir.Constant(I32, index))

    # Memory

    def load(self, ptr: Ptr, index: Index = 0, mask: ir.Value | None = None, lanes: Whole | None = None) -> Vec:
        """Consecutive elements from `index`; lanes outside the mask are zero and not read."""
        address, type = ptr.at(index), self.type(ptr.dtype, lanes)
        if mask is None:
            return Vec(self, self.b.load(address.value, align=1, typ=type))
        mask_type = ir.VectorType(I1, type.count)
        function = self.code.declare(f"llvm.masked.load.{_suffix(type)}.p0", type, [POINTER, I32, mask_type, type])
        zero = ir.Constant(type, None)
        return Vec(self, self.b.call(function, [address.value, ir.Constant(I32, 1), mask, zero]))

    def store(self, value: Vec, ptr: Ptr, index: Index = 0, mask: ir.Value | None = None) -> None:
        """Consecutive elements to `index`; lanes outside the mask are not written."""
        address, type = ptr.at(index), value.value.type
        if mask is None:
            self.b.store(value.value, address.value, align=1)
            return
        value = self._whole(value)
        mask_type = ir.VectorType(I1, type.count)
        function = self.code.declare(
            f"llvm.masked.store.{_suffix(type)}.p0", ir.VoidType(), [type, POINTER, I32, mask_type]
        )
        self.b.call(function, [value.value, address.value, ir.Constant(I32, 1), mask])

    def _whole(self, value: Vec) -> Vec:
        """A value to be stored under a mask, its narrowing done first.

        LLVM 22 merges a narrowing with a masked store, and where the mask turns out to be one lane alone it then stores
        32 bits: the bytes after that lane's would be overwritten.
        """
        type = value.value.type
        if _bits(type.element) >= 32 or type.count * _bits(type.element) < 128:
            return value
        same = ir.InlineAsm(ir.FunctionType(type, [type]), "", "=v,0", side_effect=False)
        return Vec(self, self.b.call(same, [value.value]))

    def scalar(self, ptr: Ptr, index: Index = 0) -> ir.Value:
        """One element."""
        return self.b.load(ptr.at(index).value, align=1, typ=ELEMENTS[ptr.dtype])

    def splat(self, ptr: Ptr, index: Index = 0) -> Vec:
        """One element of memory in every lane."""
        return self.spread(self.scalar(ptr, index))

    def gather(self, ptr: Ptr, index: Index, stride: Whole, mask: ir.Value | None = None) -> Vec:
        """Elements `stride` apart, from `index`; lanes outside the mask are zero and not read."""
        type = self.type(ptr.dtype)
        offsets = ir.Constant(ir.VectorType(I64, type.count), [ir.Constant(I64, stride * n) for n in range(type.count)])
        pointers = self.b.gep(ptr.at(index).value, [offsets], source_etype=ELEMENTS[ptr.dtype])
        mask_type, pointer_type = ir.VectorType(I1, type.count), ir.VectorType(POINTER, type.count)
        pointers.type = pointer_type  # llvmlite does not see that a vector of indices makes a vector of pointers
        function = self.code.declare(
            f"llvm.masked.gather.{_suffix(type)}.v{type.count}p0", type, [pointer_type, I32, mask_type, type]
        )
        chosen = ir.Constant(mask_type, [ir.Constant(I1, 1)] * type.count) if mask is None else mask
        return Vec(self, self.b.call(function, [pointers, ir.Constant(I32, 1), chosen, ir.Constant(type, None)]))

    def mask(self, count: Index) -> ir.Value:
        """True in the first `count` lanes."""
        type = ir.VectorType(I32, self.lanes)
        numbers = ir.Constant(type, [ir.Constant(I32, lane) for lane in range(self.lanes)])
        if isinstance(count, int):
            wide = ir.VectorType(I1, self.lanes)
            return ir.Constant(wide, [ir.Constant(I1, int(lane < count)) for lane in range(self.lanes)])
        narrow = self.b.trunc(count.min(self.lanes).value, I32)
        return self.b.icmp_signed("<", numbers, self.spread(narrow).value)

    def stack(self, elements: Whole, dtype: DType = DType.F32) -> Ptr:
        """Room on the stack, 64-byte aligned, for the length of the function."""
        with self.b.goto_entry_block():
            slot = self.b.alloca(ELEMENTS[dtype], elements)
        slot.align = 64
        slot.type = POINTER  # opaque, as all our pointers are
        return Ptr(self, slot, dtype)

    def keep_order(self) -> None:
        """No load or store moves from one side of this place to the other."""
        fence = ir.InlineAsm(ir.FunctionType(ir.VoidType(), []), "", "~{memory}", side_effect=True)
        self.b.call(fence, [])

    def prefetch(self, ptr: Ptr, index: Index, locality: Whole = 2) -> None:
        """Ask for the cache line of an element; locality 3 is level 1, 2 is level 2."""
        function = self.code.declare("llvm.prefetch.p0", ir.VoidType(), [POINTER, I32, I32, I32])
        self.b.call(function, [ptr.at(index).value, *(ir.Constant(I32, n) for n in (0, locality, 1))])


def _suffix(type: Any) -> str:
    """LLVM's name of a type in the names of intrinsics: v16f32."""
    if isinstance(type, ir.VectorType):
        return f"v{type.count}{_suffix(type.element)}"
    names = {ir.FloatType: "f32", ir.DoubleType: "f64", ir.HalfType: "f16"}
    return names.get(type.__class__, f"i{getattr(type, 'width', 0)}")


def _bits(element: Any) -> int:
    """Of one element."""
    return {ir.FloatType: 32, ir.DoubleType: 64, ir.HalfType: 16}.get(element.__class__) or int(element.width)


def _as_f32(value: float) -> float:
    return float(np.float32(value))
