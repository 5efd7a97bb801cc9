"""The C interface of a compiled model over the program's own runtime: what alula.h declares."""

from __future__ import annotations

from llvmlite import ir

from alula.codegen.library.create import emit_create
from alula.codegen.library.description import Data, emit_description
from alula.codegen.library.layout import ARENA_BYTES, LOCK, MAPPING, THREADS, Failing, Fields, differ, is_null
from alula.codegen.library.sha256 import DIGEST_BYTES, emit_sha256
from alula.codegen.library.spec import LibrarySpec, ports
from alula.codegen.module import I32, I64, POINTER, VOID, Code
from alula.codegen.program import ARENA, POOL, SCRATCH, Program
from alula.codegen.spmd import LINE_BYTES
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
FAILED = -1


def emit_library(spec: LibrarySpec) -> bytes:
    """The object file of the functions in EXPORTS; the program's own object is to be linked with it.

    Raises CodegenError for a model that C programs could not use.
    """
    code = Code(ANY_X86_64)
    data = Data(code)
    emit_description(code, data, spec)
    sha256 = emit_sha256(code)
    destroy = _emit_destroy(code, spec)
    emit_create(code, data, spec, sha256, destroy)
    _emit_check(code, data, spec, sha256)
    _emit_run(code, data, spec)
    _emit_threads(code)
    return code.object()


def _emit_check(code: Code, data: Data, spec: LibrarySpec, sha256: ir.Function) -> None:
    """`alula_session_check(session, error)`: 0 where every section has its digest."""
    function = code.function("alula_session_check", I32, [POINTER, POINTER], exported=True)
    e = Emitter(code, function)
    session, error = function.args
    failing = Failing(e, data, error)
    mapping = Fields(e, session).pointer(MAPPING)
    places = data.integers([number for section in spec.sections for number in (section.offset, section.size)])
    digests = data.bytes(b"".join(section.digest for section in spec.sections))
    digest = e.stack(DIGEST_BYTES, DType.U8)
    with e.loop(len(spec.sections)) as loop:
        offset, bytes = (Int(e, e.scalar(Ptr(e, places, DType.I64), loop.index * 2 + n)) for n in range(2))
        e.b.call(sha256, [Ptr(e, mapping, DType.U8).at(offset).value, bytes.value, digest.value])
        wanted = Ptr(e, digests, DType.U8).at(loop.index * DIGEST_BYTES)
        differs = differ(e, digest.value, wanted.value, DIGEST_BYTES)
        text = "section %ld at %ld: expected its SHA-256, got another: the model file is damaged"
        with failing.when(differs, ir.Constant(I32, FAILED), text, loop.index.value, offset.value):
            pass
    e.b.ret(ir.Constant(I32, 0))


def _emit_run(code: Code, data: Data, spec: LibrarySpec) -> None:
    """`alula_session_run(session, inputs, outputs, batch, error)`: 0 where the outputs are filled."""
    function = code.function("alula_session_run", I32, [POINTER, POINTER, POINTER, I64, POINTER], exported=True)
    e = Emitter(code, function)
    b, (session, inputs, outputs, batch, error) = e.b, function.args
    failing, fields, failed = Failing(e, data, error), Fields(e, session), ir.Constant(I32, FAILED)
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
            with failing.when(is_null(e, array), failed, "%s", what):
                pass
    lock, unlock = (code.declare(f"pthread_mutex_{name}", I32, [POINTER]) for name in ("lock", "unlock"))
    b.call(lock, [fields.at(LOCK)])
    short = _grow_arena(e, fields, spec.program, Int(e, batch))
    with failing.when(short, failed, "memory: expected enough for a batch of %ld, got no more", batch):
        b.call(unlock, [fields.at(LOCK)])
    run = code.declare("alula_run", VOID, [POINTER, POINTER, POINTER, I64, I64])
    b.call(run, [session, inputs, outputs, batch, fields.integer(THREADS).value])
    b.call(unlock, [fields.at(LOCK)])
    b.ret(ir.Constant(I32, 0))


def _grow_arena(e: Emitter, fields: Fields, program: Program, batch: Int) -> ir.Value:
    """Makes the arena as large as the batch needs; whether there was no memory for it."""
    b = e.b
    threads, piece = fields.integer(THREADS), program.piece
    images = e.select(batch >= threads, threads, batch).max(batch.min(piece)) if piece else batch
    needed = images * program.arena_bytes + program.spare_bytes + LINE_BYTES
    with e.when(fields.integer(ARENA_BYTES) < needed):
        b.call(e.code.declare("free", VOID, [POINTER]), [fields.pointer(ARENA)])
        rounded = (needed + (LINE_BYTES - 1)) // LINE_BYTES * LINE_BYTES
        allocate = e.code.declare("aligned_alloc", POINTER, [I64, I64])
        arena = b.call(allocate, [ir.Constant(I64, LINE_BYTES), rounded.value])
        fields.set(ARENA, arena)
        fields.set(ARENA_BYTES, b.select(is_null(e, arena), ir.Constant(I64, 0), rounded.value))
    return is_null(e, fields.pointer(ARENA))


def _emit_threads(code: Code) -> None:
    """`alula_session_threads(session)`."""
    function = code.function("alula_session_threads", I32, [POINTER], exported=True)
    e = Emitter(code, function)
    e.b.ret(e.b.trunc(Fields(e, function.args[0]).integer(THREADS).value, I32))


def _emit_destroy(code: Code, spec: LibrarySpec) -> ir.Function:
    """`alula_session_destroy(session)`, of one that is whole or was given up half made; null is none."""
    function = code.function("alula_session_destroy", VOID, [POINTER], exported=True)
    e = Emitter(code, function)
    b, fields = e.b, Fields(e, function.args[0])
    free = code.declare("free", VOID, [POINTER])
    with b.if_then(is_null(e, fields.session)):
        b.ret_void()
    with b.if_then(b.not_(is_null(e, fields.pointer(POOL)))):
        b.call(code.declare("alula_pool_destroy", VOID, [POINTER]), [fields.pointer(POOL)])
    b.call(free, [fields.pointer(SCRATCH)])
    b.call(free, [fields.pointer(ARENA)])
    with b.if_then(b.not_(is_null(e, fields.pointer(MAPPING)))):
        unmap = code.declare("munmap", I32, [POINTER, I64])
        b.call(unmap, [fields.pointer(MAPPING), ir.Constant(I64, spec.file_bytes)])
    b.call(code.declare("pthread_mutex_destroy", I32, [POINTER]), [fields.at(LOCK)])
    b.call(free, [fields.session])
    e.end()
    return function
