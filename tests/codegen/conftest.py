"""What the tests of generated code share: from a `Code` to addresses that ctypes can call."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING

import llvmlite.binding as llvm
import pytest

from alula.codegen.module import Code
from alula.core.target import AMX, AVX2, AVX512, AVX512_BF16, AVX512_VNNI, CpuTarget
from alula.ir.graph import Graph

if TYPE_CHECKING:
    from tests.codegen.harness import Compiled

Jit = Callable[..., Mapping[str, int]]
NUMBERS = itertools.count()  # LLJIT wants a new name for every library


@cache
def linker() -> llvm.LLJIT:
    """The one LLJIT of this process; it only links, so its target does not matter."""
    return llvm.create_lljit_compiler(Code(AVX2).machine())


@pytest.fixture
def jit() -> Iterator[Jit]:
    """`jit(code, "name", ...)` gives the addresses of exported functions by name, valid to the end of the test."""
    trackers: list[llvm.ResourceTracker] = []

    def link(code: Code, *names: str) -> Mapping[str, int]:
        builder = llvm.JITLibraryBuilder().add_object_img(code.object()).add_current_process()
        for name in names:
            builder.export_symbol(name)
        tracker = builder.link(linker(), f"test{next(NUMBERS)}")
        trackers.append(tracker)
        return {name: tracker[name] for name in names}

    yield link
    trackers.clear()


def undefined_symbols(data: bytes) -> list[str]:
    """What an ELF object file would have to find elsewhere: the undefined names of its symbol table."""

    def number(at: int, size: int) -> int:
        return int.from_bytes(data[at : at + size], "little")

    table, row, count = number(40, 8), number(58, 2), number(60, 2)
    headers = [table + index * row for index in range(count)]
    (symbols,) = (at for at in headers if number(at + 4, 4) == 2)  # SHT_SYMTAB
    names = number(headers[number(symbols + 40, 4)] + 24, 8)
    start, size = number(symbols + 24, 8), number(symbols + 32, 8)
    found = []
    for symbol in range(start + 24, start + size, 24):  # the first is always the null symbol
        if number(symbol + 6, 2) == 0:  # SHN_UNDEF
            name = names + number(symbol, 4)
            found.append(data[name : data.index(b"\0", name)].decode())
    return found


def stack_accesses(assembly: str) -> int:
    """Vector instructions that read or write the stack: spilled registers."""
    lines = (line.split("#")[0] for line in assembly.splitlines())
    return sum(line.startswith("\tv") and ("(%rsp" in line or "(%rbp" in line) for line in lines)


def vector_operations(assembly: str) -> int:
    """Vector instructions other than moves and broadcasts."""
    names = [line.split()[0] for line in assembly.splitlines() if line.startswith("\tv")]
    return sum(not name.startswith(("vmov", "vbroadcast", "vpbroadcast", "vzero", "vxorps", "vpxor")) for name in names)


def running(*targets: CpuTarget) -> list[object]:
    """The targets as parameters of a test, each skipped where the CPU cannot run it."""
    return [pytest.param(target, marks=pytest.mark.isa(target.name), id=target.name) for target in targets]


@pytest.fixture(params=running(AVX2, AVX512))
def target(request: pytest.FixtureRequest) -> CpuTarget:
    """The instruction sets that differ for float32."""
    return request.param


@pytest.fixture(params=running(AVX2, AVX512, AVX512_VNNI, AVX512_BF16, AMX))
def every_target(request: pytest.FixtureRequest) -> CpuTarget:
    """All instruction sets: they differ in their products of bytes and of bfloat16."""
    return request.param


@pytest.fixture
def compiled() -> Iterator[Callable[..., Compiled]]:
    """`compiled(graph, target, threads=2)`: a callable program, valid to the end of the test."""
    from tests.codegen.harness import Compiled  # which links with this module

    made: list[Compiled] = []

    def build(graph: Graph, target: CpuTarget, threads: int = 4) -> Compiled:
        made.append(Compiled(graph, target, threads))
        return made[-1]

    yield build
    for program in made:
        program.close()
