"""`alula_session_create`: the processor asked, the file mapped and recognised, threads started; or why not."""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir

from alula.codegen.library.description import NULL, Data
from alula.codegen.library.layout import LOCK, MAPPING, TABLE, THREADS, Failing, Fields, differ, is_null
from alula.codegen.library.processor import emit_processor
from alula.codegen.library.sha256 import DIGEST_BYTES
from alula.codegen.library.spec import LibrarySpec
from alula.codegen.module import I8, I32, I64, POINTER, Code
from alula.codegen.program import CONSTANTS, POOL, SCRATCH
from alula.codegen.spmd import LINE_BYTES, MOST_THREADS
from alula.codegen.vector import Emitter, Int, Ptr
from alula.core.dtype import DType

# Linux on x86-64.
O_RDONLY_NONBLOCK_CLOEXEC = 0o2004000  # non-blocking: a pipe would otherwise wait for its writer
SEEK_END, PROT_READ, MAP_SHARED = 2, 1, 1
AFFINITY_WORDS = 16  # of 64 processors

Refuse = Callable[..., None]  # (failed, text, values...): gives the session up, says why, and returns null


def emit_create(code: Code, data: Data, spec: LibrarySpec, sha256: ir.Function, destroy: ir.Function) -> None:
    """`alula_session_create(path, threads, error)` -> session or null."""
    function = code.function("alula_session_create", POINTER, [POINTER, I32, POINTER], exported=True)
    e = Emitter(code, function)
    b, (path, asked, error) = e.b, function.args
    failing = Failing(e, data, error)
    runs = b.call(emit_processor(code, spec.target), [])
    needs = data.text(" ".join(spec.target.flags))
    with failing.when(
        b.icmp_signed("==", runs, ir.Constant(I32, 0)), NULL, "processor: expected %s, got one without", needs
    ):
        pass
    with failing.when(is_null(e, path), NULL, "model file: expected a path, got NULL"):
        pass
    size = -(-(TABLE + len(spec.constants)) * 8 // LINE_BYTES) * LINE_BYTES
    allocate = code.declare("aligned_alloc", POINTER, [I64, I64])
    session = b.call(allocate, [ir.Constant(I64, LINE_BYTES), ir.Constant(I64, size)])
    with failing.when(is_null(e, session), NULL, "memory: expected enough for a session, got no more"):
        pass
    fields = Fields(e, session)
    with e.loop(size // 8) as loop:
        b.store(ir.Constant(I64, 0), Ptr(e, session, DType.I64).at(loop.index).value)
    b.call(code.declare("pthread_mutex_init", I32, [POINTER, POINTER]), [fields.at(LOCK), NULL])

    def refuse(failed: ir.Value, text: str, *values: ir.Value) -> None:
        with failing.when(failed, NULL, text, *values):
            b.call(destroy, [session])

    _map(e, fields, spec, path, refuse)
    _check_header(e, data, fields, spec, path, sha256, refuse)
    _bind(e, fields, spec)
    _start(e, fields, spec, asked, refuse)
    b.ret(session)


def _map(e: Emitter, fields: Fields, spec: LibrarySpec, path: ir.Value, refuse: Refuse) -> None:
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
    fields: Fields,
    spec: LibrarySpec,
    path: ir.Value,
    sha256: ir.Function,
    refuse: Refuse,
) -> None:
    """The file's opening is the one that the library was made for, and its header has the digest that stands there."""
    b = e.b
    mapping, opening = fields.pointer(MAPPING), len(spec.opening)
    text = f"model file %s: expected the one with digest {spec.digest}, got another"
    refuse(differ(e, mapping, data.bytes(spec.opening), opening), text, path)
    digest = e.stack(DIGEST_BYTES, DType.U8)
    header = b.gep(mapping, [ir.Constant(I64, opening)], source_etype=I8)
    b.call(sha256, [header, ir.Constant(I64, spec.header_bytes), digest.value])
    wanted = data.bytes(bytes.fromhex(spec.digest))
    damaged = differ(e, digest.value, wanted, DIGEST_BYTES)
    refuse(damaged, "model file %s: expected its header to have its SHA-256, got a damaged one", path)


def _bind(e: Emitter, fields: Fields, spec: LibrarySpec) -> None:
    """The program's table of constants: addresses in the mapped file."""
    fields.set(CONSTANTS, fields.at(TABLE))
    for number, section in enumerate(spec.constants):
        address = e.b.gep(fields.pointer(MAPPING), [ir.Constant(I64, section.offset)], source_etype=I8)
        fields.set(TABLE + number, address)


def _start(e: Emitter, fields: Fields, spec: LibrarySpec, asked: ir.Value, refuse: Refuse) -> None:
    """Threads, and room for each of them."""
    b = e.b
    threads = _threads(e, asked)
    fields.set(THREADS, threads.value)
    room = threads * spec.program.scratch_bytes + LINE_BYTES
    allocate = e.code.declare("aligned_alloc", POINTER, [I64, I64])
    scratch = b.call(allocate, [ir.Constant(I64, LINE_BYTES), room.value])
    fields.set(SCRATCH, scratch)
    refuse(is_null(e, scratch), "memory: expected enough for %ld threads, got no more", threads.value)
    pool = b.call(e.code.declare("alula_pool_create", POINTER, [I64]), [threads.value])
    fields.set(POOL, pool)
    refuse(is_null(e, pool), "threads: expected memory and the target's registers from the system, got neither")


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
