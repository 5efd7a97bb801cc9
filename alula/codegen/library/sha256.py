"""SHA-256 as IR, for the digests of model files.  Source: FIPS 180-4, sections 5.3.3 and 6.2."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

from llvmlite import ir

from alula.codegen.module import I32, I64, POINTER, VOID, Code
from alula.codegen.vector import Emitter, Int, Ptr
from alula.core.dtype import DType

DIGEST_BYTES, BLOCK_BYTES = 32, 64
WORDS, ROUNDS = 16, 64
END = 0x80000000  # what follows the data, as the first word of the last block


def _primes(count: int) -> list[int]:
    found: list[int] = []
    number = 2
    while len(found) < count:
        if all(number % prime for prime in found):
            found.append(number)
        number += 1
    return found


def _fraction(prime: int, root: int) -> int:
    """The first 32 bits of the fractional part of a prime's square or cube root, without rounding."""
    scaled = prime << 32 * root
    low, high = 0, 1 << 40
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if middle**root <= scaled else (low, middle - 1)
    return low & 0xFFFFFFFF


FIRST = [_fraction(prime, 2) for prime in _primes(8)]
CONSTANTS = [_fraction(prime, 3) for prime in _primes(ROUNDS)]


def emit_sha256(code: Code) -> ir.Function:
    """The function (data, bytes, digest): writes the 32 bytes of SHA-256 over `bytes`, a multiple of 64."""
    compress = _emit_compress(code)
    function = code.function("alula_sha256", VOID, [POINTER, I64, POINTER])
    e = Emitter(code, function)
    data, bytes, digest = function.args
    state, last = e.stack(len(FIRST), DType.I32), e.stack(WORDS, DType.I32)
    for number, word in enumerate(FIRST):
        e.b.store(ir.Constant(I32, word), state.at(number).value)
    with e.loop(Int(e, bytes) // BLOCK_BYTES) as loop:
        e.call(compress, state, Ptr(e, data, DType.I32).at(loop.index * WORDS))
    bits = e.b.shl(bytes, ir.Constant(I64, 3))
    fixed = [ir.Constant(I32, word) for word in [END] + [0] * (WORDS - 3)]
    ending: list[ir.Value] = [*fixed, e.b.trunc(e.b.lshr(bits, ir.Constant(I64, 32)), I32), e.b.trunc(bits, I32)]
    for number, value in enumerate(ending):
        e.b.store(e.b.bswap(value), last.at(number).value)
    e.call(compress, state, last)
    for number in range(len(FIRST)):
        e.b.store(e.b.bswap(e.scalar(state, number)), Ptr(e, digest, DType.I32).at(number).value, align=1)
    e.end()
    return function


def _emit_compress(code: Code) -> ir.Function:
    """The function (state, block): the state after one more block."""
    function = code.function("alula_sha256_block", VOID, [POINTER, POINTER])
    e = Emitter(code, function)
    state, block = (Ptr(e, argument, DType.I32) for argument in function.args)
    words: list[ir.Value] = [e.b.bswap(e.scalar(block, number)) for number in range(WORDS)]
    for number in range(WORDS, ROUNDS):
        words.append(
            _sum(e, _small1(e, words[number - 2]), words[number - 7], _small0(e, words[number - 15]), words[-WORDS])
        )
    before = [e.scalar(state, number) for number in range(len(FIRST))]
    a, b, c, d, f, g, h, i = before  # e to h of the standard are f to i here: `e` is the emitter
    for constant, word in zip(CONSTANTS, words, strict=True):
        choice = e.b.xor(h, e.b.and_(f, e.b.xor(g, h)))
        first = _sum(e, i, _big1(e, f), choice, ir.Constant(I32, constant), word)
        majority = e.b.or_(e.b.and_(a, b), e.b.and_(c, e.b.or_(a, b)))
        second = e.b.add(_big0(e, a), majority)
        a, b, c, d, f, g, h, i = e.b.add(first, second), a, b, c, e.b.add(d, first), f, g, h
    for number, (old, new) in enumerate(zip(before, (a, b, c, d, f, g, h, i), strict=True)):
        e.b.store(e.b.add(old, new), state.at(number).value)
    e.end()
    return function


def _sum(e: Emitter, *terms: ir.Value) -> ir.Value:
    return reduce(e.b.add, terms)


def _mixed(e: Emitter, word: ir.Value, rotations: Sequence[int], shift: int | None = None) -> ir.Value:
    """The word turned right by each of `rotations`, and shifted right, all of them xored."""
    rotate = e.code.declare("llvm.fshr.i32", I32, [I32] * 3)
    parts: list[ir.Value] = [e.b.call(rotate, [word, word, ir.Constant(I32, count)]) for count in rotations]
    if shift is not None:
        parts.append(e.b.lshr(word, ir.Constant(I32, shift)))
    return reduce(e.b.xor, parts)


def _big0(e: Emitter, word: ir.Value) -> ir.Value:
    return _mixed(e, word, (2, 13, 22))


def _big1(e: Emitter, word: ir.Value) -> ir.Value:
    return _mixed(e, word, (6, 11, 25))


def _small0(e: Emitter, word: ir.Value) -> ir.Value:
    return _mixed(e, word, (7, 18), shift=3)


def _small1(e: Emitter, word: ir.Value) -> ir.Value:
    return _mixed(e, word, (17, 19), shift=10)
