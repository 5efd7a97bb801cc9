"""The C interface of a compiled model: create, check, run and destroy a session, over the program's own runtime.

A session is one piece of memory.  It begins with what `alula_run` takes as its program, so that its address serves as
that; then what it has to give back, its lock, and the table of constants, which are addresses in the mapped model file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from llvmlite import ir

from alula.codegen.library.description import NULL, Data, emit_description
from alula.codegen.library.processor import emit_processor
from alula.codegen.library.sha256 import DIGEST_BYTES, emit_sha256
from alula.codegen.library.spec import LibrarySpec, ports
from alula.codegen.module import I8, I32, I64, POINTER, VOID, Code
from alula.codegen.program import ARENA, CONSTANTS, POOL, SCRATCH, STAMPS
from alula.codegen.spmd import LINE_BYTES, MOST_THREADS
from alula.codegen.vector import Emitter, Int, Ptr
from alula.core.dtype import DType
from alula.core.target import CpuTarget

ANY_X86_64 = CpuTarget("x86-64", "x86-64", 128, 16, ())  # of these functions, so that they can refuse a processor
EXPORTS = (
    "alula_describe",
    "alula_session_create",
    "alula_session_check",
    "alula_session_run",
    "alula_session_threads",
    "alula_session_destroy",
)
ERROR_BYTES = 512  # ALULA_ERROR_BYTES of the header

# The session's fields, in words of 8 bytes, after those of the program structure.
MAPPING, ARENA_BYTES, THREADS, LOCK = range(STAMPS + 1, STAMPS + 5)
TABLE = LOCK + 8  # a pthread_mutex_t takes 40 bytes on x86-64, in glibc and musl

# Linux on x86-64.
O_RDONLY_NONBLOCK_CLOEXEC = 0o2004000  # non-blocking: a pipe would otherwise wait for its writer
SEEK_END, PROT_READ, MAP_SHARED = 2, 1, 1
AFFINITY_WORDS = 16  # of 64 processors

FAILED = -1

Refuse = Callable[..., None]  # (failed, text, values...): gives the session up, says why, and returns null


def emit_library(spec: LibrarySpec) -> bytes:
    """The object file of the functions in EXPORTS; the program's own object is to be linked with it.

    Raises CodegenError for a model that C programs could not use.
    """
    code = Code(ANY_X86_64)
    data = Data(code)
    emit_description(code, data, spec)
    sha256 = emit_sha256(code)
    destroy = _emit_destroy(code, spec)
    _emit_create(code, data, spec, sha256, destroy)
    _emit_check(code, data, spec, sha256)
    _emit_run(code, data, spec)
    _emit_threads(code)
    return code.object()


class _Fields:
    """A session's words."""

    def __init__(self, e: Emitter, session: ir.Value) -> None:
        self.e, self.session = e, session

    def at(self, index: int) -> ir.Value:
        return self.e.b.gep(self.session, [ir.Constant(I64, index)], source_etype=I64)

    def pointer(self, index: int) -> ir.Value:
        return self.e.b.load(self.at(index), typ=POINTER)

    def integer(self, index: int) -> Int:
        return Int(self.e, self.e.b.load(self.at(index), typ=I64))

    def set(self, index: int, value: ir.Value) -> None:
        self.e.b.store(value, self.at(index))


class _Failing:
    """Reports what failed to the caller's text, and returns."""

    def __init__(self, e: Emitter, data: Data, error: ir.Value) -> None:
        self.e, self.data, self.error = e, data, error

    @contextmanager
    def when(self, failed: ir.Value, result: ir.Value, text: str, *values: ir.Value) -> Iterator[None]:
        """Where `failed`: writes `text` (printf's) with `values`, runs the block, and returns `result`."""
        b = self.e.b
        with b.if_then(failed, likely=False):
            with b.if_then(b.icmp_unsigned("!=", self.error, NULL)):
                write = self.e.code.declare("snprintf", I32, [POINTER, I64, POINTER], variadic=True)
                b.call(write, [self.error, ir.Constant(I64, ERROR_BYTES), self.data.text(text), *values])
            yield
            b.ret(result)


def _emit_create(code: Code, data: Data, spec: LibrarySpec, sha256: ir.Function, destroy: ir.Function) -> None:
    """`alula_session_create(path, threads, error)` -> session or null."""
    function = code.function("alula_session_create", POINTER, [POINTER, I32, POINTER], exported=True)
    e = Emitter(code, function)
    b, (path, asked, error) = e.b, function.args
    failing = _Failing(e, data, error)
    runs = b.call(emit_processor(code, spec.target), [])
    needs = data.text(" ".join(spec.target.flags))
    with failing.when(_is_zero(e, runs), NULL, "processor: expected %s, got one without", needs):
        pass
    with failing.when(_is_null(e, path), NULL, "model file: expected a path, got NULL"):
        pass
    bytes = _padded((TABLE + len(spec.constants)) * 8)
    allocate = code.declare("aligned_alloc", POINTER, [I64, I64])
    session = b.call(allocate, [ir.Constant(I64, LINE_BYTES), ir.Constant(I64, bytes)])
    with failing.when(_is_null(e, session), NULL, "memory: expected enough for a session, got no more"):
        pass
    fields = _Fields(e, session)
    with e.loop(bytes // 8) as loop:
        b.store(ir.Constant(I64, 0), Ptr(e, session, DType.I64).at(loop.index).value)
    b.call(code.declare("pthread_mutex_init", I32, [POINTER, POINTER]), [fields.at(LOCK), NULL])

    def refuse(failed: ir.Value, text: str, *values: ir.Value) -> None:
        with failing.when(failed, NULL, text, *values):
            b.call(destroy, [session])

    _map(e, fields, spec, path, refuse)
    _check_header(e, data, fields, spec, path, sha256, refuse)
    table = fields.at(TABLE)
    fields.set(CONSTANTS, table)
    for number, section in enumerate(spec.constants):
        address = b.gep(fields.pointer(MAPPING), [ir.Constant(I64, section.offset)], source_etype=I8)
        fields.set(TABLE + number, address)
    threads = _threads(e, asked)
    fields.set(THREADS, threads.value)
    room = threads * spec.program.scratch_bytes + LINE_BYTES
    scratch = b.call(allocate, [ir.Constant(I64, LINE_BYTES), room.value])
    fields.set(SCRATCH, scratch)
    refuse(_is_null(e, scratch), "memory: expected enough for %ld threads, got no more", threads.value)
    pool = b.call(code.declare("alula_pool_create", POINTER, [I64]), [threads.value])
    fields.set(POOL, pool)
    refuse(_is_null(e, pool), "threads: expected memory and the target's registers from the system, got neither")
    b.ret(session)


def _map(e: Emitter, fields: _Fields, spec: LibrarySpec, path: ir.Value, refuse: Refuse) -> None:
    """The file's bytes in memory, as many as they must be: no offset of the library's lies beyond them."""
    b, code = e.b, e.code
    opened = b.call(
        code.declare("open", I32, [POINTER, I32], variadic=True),
        [path, ir.Constant(I32, O_RDONLY_NONBLOCK_CLOEXEC)],
    )
    refuse(b.icmp_signed("<", opened, ir.Constant(I32, 0)), "model file %s: expected a readable file, got %m", path)
    size = b.call(
        code.declare("lseek", I64, [I32, I64, I32]), [opened, ir.Constant(I64, 0), ir.Constant(I32, SEEK_END)]
    )
    expected = ir.Constant(I64, spec.file_bytes)
    whole = b.icmp_signed("==", size, expected)
    take = code.declare("mmap", POINTER, [POINTER, I64, I32, I32, I32, I64])
    with b.if_then(whole):
        flags = [ir.Constant(I32, PROT_READ), ir.Constant(I32, MAP_SHARED)]
        fields.set(MAPPING, b.call(take, [NULL, expected, *flags, opened, ir.Constant(I64, 0)]))
    b.call(code.declare("close", I32, [I32]), [opened])
    refuse(b.not_(whole), f"model file %s: expected {spec.file_bytes} bytes, got %ld", path, size)
    failed = b.icmp_signed("==", b.ptrtoint(fields.pointer(MAPPING), I64), ir.Constant(I64, -1))
    with b.if_then(failed):
        fields.set(MAPPING, NULL)
    refuse(failed, "model file %s: expected to map it into memory, got %m", path)


def _check_header(
    e: Emitter,
    data: Data,
    fields: _Fields,
    spec: LibrarySpec,
    path: ir.Value,
    sha256: ir.Function,
    refuse: Refuse,
) -> None:
    """The file's opening is the one that the library was made for, and its header has the digest that stands there."""
    b = e.b
    mapping, opening = fields.pointer(MAPPING), len(spec.opening)
    text = f"model file %s: expected the one with digest {spec.digest}, got another"
    refuse(_differ(e, mapping, data.bytes(spec.opening), opening), text, path)
    digest = e.stack(DIGEST_BYTES, DType.U8)
    header = b.gep(mapping, [ir.Constant(I64, opening)], source_etype=I8)
    b.call(sha256, [header, ir.Constant(I64, spec.header_bytes), digest.value])
    wanted = data.bytes(bytes.fromhex(spec.digest))
    damaged = _differ(e, digest.value, wanted, DIGEST_BYTES)
    refuse(damaged, "model file %s: expected its header to have its SHA-256, got a damaged one", path)


def _emit_check(code: Code, data: Data, spec: LibrarySpec, sha256: ir.Function) -> None:
    """`alula_session_check(session, error)`: 0 where every section has its digest."""
    function = code.function("alula_session_check", I32, [POINTER, POINTER], exported=True)
    e = Emitter(code, function)
    session, error = function.args
    failing = _Failing(e, data, error)
    mapping = _Fields(e, session).pointer(MAPPING)
    places = data.integers([number for section in spec.sections for number in (section.offset, section.size)])
    digests = data.bytes(b"".join(section.digest for section in spec.sections))
    digest = e.stack(DIGEST_BYTES, DType.U8)
    with e.loop(len(spec.sections)) as loop:
        offset, bytes = (Int(e, e.scalar(Ptr(e, places, DType.I64), loop.index * 2 + n)) for n in range(2))
        e.b.call(sha256, [Ptr(e, mapping, DType.U8).at(offset).value, bytes.value, digest.value])
        wanted = Ptr(e, digests, DType.U8).at(loop.index * DIGEST_BYTES)
        differs = _differ(e, digest.value, wanted.value, DIGEST_BYTES)
        text = "section %ld at %ld: expected its SHA-256, got another: the model file is damaged"
        with failing.when(differs, ir.Constant(I32, FAILED), text, loop.index.value, offset.value):
            pass
    e.b.ret(ir.Constant(I32, 0))


def _emit_run(code: Code, data: Data, spec: LibrarySpec) -> None:
    """`alula_session_run(session, inputs, outputs, batch, error)`: 0 where the outputs are filled."""
    function = code.function("alula_session_run", I32, [POINTER, POINTER, POINTER, I64, POINTER], exported=True)
    e = Emitter(code, function)
    b, (session, inputs, outputs, batch, error) = e.b, function.args
    failing, fields, failed = _Failing(e, data, error), _Fields(e, session), ir.Constant(I32, FAILED)
    least, most = spec.batch_range
    expected = f"{least}..{most}" if least < most else f"{least}"
    outside = b.or_(
        b.icmp_signed("<", batch, ir.Constant(I64, least)), b.icmp_signed(">", batch, ir.Constant(I64, most))
    )
    with failing.when(outside, failed, f"run: expected a batch of {expected}, got %ld", batch):
        pass
    for side, table, named in (("input", inputs, spec.program.inputs), ("output", outputs, spec.program.outputs)):
        for number, port in enumerate(ports(named)):
            array = b.load(b.gep(table, [ir.Constant(I64, number)], source_etype=POINTER), typ=POINTER)
            what = data.text(f"run {side} {port.name}: expected memory, got NULL")
            with failing.when(_is_null(e, array), failed, "%s", what):
                pass
    lock, unlock = (code.declare(f"pthread_mutex_{name}", I32, [POINTER]) for name in ("lock", "unlock"))
    b.call(lock, [fields.at(LOCK)])
    program = spec.program
    images = Int(e, batch).min(program.piece) if program.piece else Int(e, batch)
    needed = images * program.arena_bytes + program.spare_bytes + LINE_BYTES
    with e.when(fields.integer(ARENA_BYTES) < needed):
        b.call(code.declare("free", VOID, [POINTER]), [fields.pointer(ARENA)])
        rounded = (needed + (LINE_BYTES - 1)) // LINE_BYTES * LINE_BYTES
        allocate = code.declare("aligned_alloc", POINTER, [I64, I64])
        arena = b.call(allocate, [ir.Constant(I64, LINE_BYTES), rounded.value])
        fields.set(ARENA, arena)
        fields.set(ARENA_BYTES, b.select(_is_null(e, arena), ir.Constant(I64, 0), rounded.value))
        with failing.when(_is_null(e, arena), failed, "memory: expected enough for a batch of %ld, got no more", batch):
            b.call(unlock, [fields.at(LOCK)])
    run = code.declare("alula_run", VOID, [POINTER, POINTER, POINTER, I64, I64])
    b.call(run, [session, inputs, outputs, batch, fields.integer(THREADS).value])
    b.call(unlock, [fields.at(LOCK)])
    b.ret(ir.Constant(I32, 0))


def _emit_threads(code: Code) -> None:
    """`alula_session_threads(session)`."""
    function = code.function("alula_session_threads", I32, [POINTER], exported=True)
    e = Emitter(code, function)
    e.b.ret(e.b.trunc(_Fields(e, function.args[0]).integer(THREADS).value, I32))


def _emit_destroy(code: Code, spec: LibrarySpec) -> ir.Function:
    """`alula_session_destroy(session)`, of one that is whole or was given up half made; null is none."""
    function = code.function("alula_session_destroy", VOID, [POINTER], exported=True)
    e = Emitter(code, function)
    b, fields = e.b, _Fields(e, function.args[0])
    free = code.declare("free", VOID, [POINTER])
    with b.if_then(_is_null(e, fields.session)):
        b.ret_void()
    with b.if_then(b.not_(_is_null(e, fields.pointer(POOL)))):
        b.call(code.declare("alula_pool_destroy", VOID, [POINTER]), [fields.pointer(POOL)])
    b.call(free, [fields.pointer(SCRATCH)])
    b.call(free, [fields.pointer(ARENA)])
    with b.if_then(b.not_(_is_null(e, fields.pointer(MAPPING)))):
        unmap = code.declare("munmap", I32, [POINTER, I64])
        b.call(unmap, [fields.pointer(MAPPING), ir.Constant(I64, spec.file_bytes)])
    b.call(code.declare("pthread_mutex_destroy", I32, [POINTER]), [fields.at(LOCK)])
    b.call(free, [fields.session])
    e.end()
    return function


def _threads(e: Emitter, asked: ir.Value) -> Int:
    """As many as asked for; for 0 or less, the processors that this process may use."""
    b = e.b
    words = e.stack(AFFINITY_WORDS, DType.I64)
    with e.loop(AFFINITY_WORDS) as loop:
        b.store(ir.Constant(I64, 0), words.at(loop.index).value)
    ask = e.code.declare("sched_getaffinity", I32, [I32, I64, POINTER])
    b.call(ask, [ir.Constant(I32, 0), ir.Constant(I64, AFFINITY_WORDS * 8), words.value])
    usable = e.int(0)
    for number in range(AFFINITY_WORDS):
        usable = usable + Int(e, b.ctpop(e.scalar(words, number)))
    wanted = Int(e, b.sext(asked, I64))
    return e.select(wanted < 1, usable, wanted).max(1).min(MOST_THREADS)


def _differ(e: Emitter, left: ir.Value, right: ir.Value, bytes: int) -> ir.Value:
    compare = e.code.declare("memcmp", I32, [POINTER, POINTER, I64])
    return e.b.icmp_signed("!=", e.b.call(compare, [left, right, ir.Constant(I64, bytes)]), ir.Constant(I32, 0))


def _is_null(e: Emitter, pointer: ir.Value) -> ir.Value:
    return e.b.icmp_unsigned("==", pointer, NULL)


def _is_zero(e: Emitter, value: ir.Value) -> ir.Value:
    return e.b.icmp_signed("==", value, ir.Constant(I32, 0))


def _padded(bytes: int) -> int:
    return -(-bytes // LINE_BYTES) * LINE_BYTES
