"""The native runtime as IR: a pool of threads, a barrier and the sharing of chunks, over pthreads and futex.

Every thread of a run executes the whole program; a step's chunks are claimed from per-thread queues, own share first,
then what others have left, so that a thread that was held up does not hold up the rest for more than a chunk.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from llvmlite import ir

from alula.codegen.kernels.matrix import emit_permission
from alula.codegen.module import I32, I64, POINTER, VOID, Code
from alula.codegen.vector import Emitter, Int

LINE_BYTES = 64
MOST_THREADS = 255  # the low byte of the job word

# The pool's fields, in bytes; what different threads write stands on different cache lines.
PHASE, ARRIVED, SLEEPERS, JOB, IDLE = 0, 64, 128, 192, 256
THREADS, PID, STOP, FRAME = 320, 324, 328, 336
MASK, MASK_BYTES = 384, 128  # a cpu_set_t of glibc: the processors that the threads may run on
QUEUES = 512  # one line a thread: chunks claimed (i32), then its handle, its pool, its number and its processor (i32)
HANDLE, OWNER, NUMBER, PROCESSOR = 8, 16, 24, 32

SPINS = 2_000  # pauses before sleeping: tens of microseconds, longer than most steps are uneven
SYS_FUTEX, FUTEX_WAIT_PRIVATE, FUTEX_WAKE_PRIVATE, EVERYBODY = 202, 128, 129, 2**31 - 1


@dataclass(frozen=True, slots=True)
class Spmd:
    """The runtime's functions within one module; `program(frame, thread, threads)` is what each thread executes."""

    code: Code
    program: ir.Function
    parallel: ir.Function


def declare_spmd(code: Code) -> Spmd:
    """The functions with their signatures; `emit_spmd` fills them in."""
    return Spmd(
        code,
        code.function("alula_program", VOID, [POINTER, I64, I64]),
        code.function("alula_parallel", VOID, [POINTER, I64, I64, I64, POINTER]),
    )


def emit_spmd(spmd: Spmd, pool_of_frame: Callable[[Emitter, ir.Value], ir.Value]) -> None:
    """Fills in the runtime: pool create and destroy, worker, barrier, parallel, and `alula_start(frame, threads)`."""
    settle = _emit_settle(spmd.code)
    _emit_parallel(spmd, _emit_barrier(spmd.code, settle), pool_of_frame)
    worker = _emit_worker(spmd, settle)
    spawn = _emit_spawn(spmd.code, worker)
    _emit_pool_functions(spmd.code, spawn)
    _emit_start(spmd, spawn, pool_of_frame)


class _Words:
    """Atomic 32-bit words of the pool, and the system calls that sleep on them."""

    def __init__(self, e: Emitter, pool: ir.Value) -> None:
        self.e, self.b, self.pool = e, e.b, pool

    def at(self, offset: int | ir.Value) -> ir.Value:
        index = ir.Constant(I64, offset) if isinstance(offset, int) else offset
        return self.b.gep(self.pool, [index], source_etype=ir.IntType(8))

    def get(self, offset: int) -> ir.Value:
        return self.b.load_atomic(self.at(offset), "seq_cst", 4, typ=I32)

    def set(self, offset: int, value: ir.Value | int) -> None:
        self.b.atomic_rmw("xchg", self.at(offset), _i32(value), "seq_cst")

    def add(self, offset: int | ir.Value, value: int) -> ir.Value:
        return self.b.atomic_rmw("add", self.at(offset), ir.Constant(I32, value), "seq_cst")

    def sleep_while(self, offset: int, value: ir.Value) -> None:
        self._futex(offset, FUTEX_WAIT_PRIVATE, value)

    def wake(self, offset: int) -> None:
        self._futex(offset, FUTEX_WAKE_PRIVATE, ir.Constant(I32, EVERYBODY))

    def _futex(self, offset: int, operation: int, value: ir.Value) -> None:
        call = self.e.code.declare("syscall", I64, [I64], variadic=True)
        null = ir.Constant(POINTER, None)
        arguments = [ir.Constant(I64, SYS_FUTEX), self.at(offset), ir.Constant(I32, operation), value, null]
        self.b.call(call, arguments)

    def wait(self, offset: int, seen: ir.Value, sleepers: int, woken: Callable[[], object]) -> None:
        """Until the word differs from `seen`: spin a little, then sleep, counted in `sleepers`, and then `woken`."""
        b, function = self.b, self.e.function
        spin, again, sleep, nap, awake, done = (function.append_basic_block() for _ in range(6))
        entry = b.block
        b.branch(spin)
        b.position_at_end(spin)
        turn = b.phi(I32)
        turn.add_incoming(ir.Constant(I32, 0), entry)
        b.cbranch(b.icmp_signed("==", self.get(offset), seen), again, done)
        b.position_at_end(again)
        b.call(self.e.code.declare("llvm.x86.sse2.pause", VOID, []), [])
        following = b.add(turn, ir.Constant(I32, 1))
        turn.add_incoming(following, again)
        b.cbranch(b.icmp_signed("<", following, ir.Constant(I32, SPINS)), spin, sleep)
        b.position_at_end(sleep)
        self.add(sleepers, 1)
        b.branch(nap)
        b.position_at_end(nap)
        still = b.icmp_signed("==", self.get(offset), seen)
        with b.if_then(still):
            self.sleep_while(offset, seen)
        b.cbranch(b.icmp_signed("==", self.get(offset), seen), nap, awake)
        b.position_at_end(awake)
        self.add(sleepers, -1)
        woken()
        b.branch(done)
        b.position_at_end(done)


def _emit_barrier(code: Code, settle: ir.Function) -> ir.Function:
    """(pool, thread, threads): returns when all have come; the last one empties the queues for the next step."""
    function = code.function("alula_barrier", VOID, [POINTER, I64, I64])
    e = Emitter(code, function)
    pool, thread, threads = function.args
    words = _Words(e, pool)
    phase = words.get(PHASE)
    before = words.add(ARRIVED, 1)
    last = e.b.icmp_signed("==", before, e.b.sub(e.b.trunc(threads, I32), ir.Constant(I32, 1)))
    with e.b.if_else(last) as (release, wait):
        with release:
            words.set(ARRIVED, 0)
            with e.loop(Int(e, threads)) as loop:
                e.b.store(ir.Constant(I32, 0), words.at(_queue(e, loop.index).value))  # seen with the new phase
            words.set(PHASE, e.b.add(phase, ir.Constant(I32, 1)))
            with e.b.if_then(e.b.icmp_signed("!=", words.get(SLEEPERS), ir.Constant(I32, 0))):
                words.wake(PHASE)
        with wait:
            words.wait(PHASE, phase, SLEEPERS, lambda: e.b.call(settle, [pool, thread]))
    e.end()
    return function


def _emit_parallel(spmd: Spmd, barrier: ir.Function, pool_of_frame: Callable[[Emitter, ir.Value], ir.Value]) -> None:
    """(frame, thread, threads, count, step): step(frame, thread, chunk) for chunks 0..count, each by one thread."""
    function = spmd.parallel
    e = Emitter(spmd.code, function)
    frame, thread, threads, count, step = function.args
    step_type = ir.FunctionType(VOID, [POINTER, I64, I64])

    def execute(chunk: ir.Value) -> None:
        typed = ir.CastInstr(
            e.b.block, "bitcast", step, ir.PointerType(step_type)
        )  # llvmlite calls typed pointers only
        e.b._insert(typed)
        e.b.call(typed, [frame, thread, chunk])

    with e.b.if_else(e.b.icmp_signed("==", threads, ir.Constant(I64, 1))) as (alone, together):
        with alone, e.loop(Int(e, count)) as loop:
            execute(loop.index.value)
        with together:
            words = _Words(e, pool_of_frame(e, frame))
            number, total, chunks = Int(e, thread), Int(e, threads), Int(e, count)
            with e.loop(total) as others:
                owner = (number + others.index) % total
                first, limit = owner * chunks // total, (owner + 1) * chunks // total
                claim, run, done = (function.append_basic_block() for _ in range(3))
                e.b.branch(claim)
                e.b.position_at_end(claim)
                taken = e.b.zext(words.add(_queue(e, owner).value, 1), I64)
                chunk = first + Int(e, taken)
                e.b.cbranch((chunk < limit).value, run, done)
                e.b.position_at_end(run)
                execute(chunk.value)
                e.b.branch(claim)
                e.b.position_at_end(done)
            e.b.call(barrier, [words.pool, thread, threads])
    e.end()


def _emit_settle(code: Code) -> ir.Function:
    """(pool, number): a thread that slept notes its processor, and keeps off those of lower numbers if one runs there.

    Where processors share no cache, as in many virtual machines, Linux wakes a thread where it is woken from though
    another processor is idle, and leaves two of a run on one for tens of milliseconds.
    """
    function = code.function("alula_settle", VOID, [POINTER, I64])
    e = Emitter(code, function)
    b, (pool, number) = e.b, function.args
    words, byte = _Words(e, pool), ir.IntType(8)
    processor, shared = _note_processor(e, words, Int(e, number)), b.alloca(I32)
    b.store(ir.Constant(I32, 0), shared)

    def lower_ones(visit: Callable[[ir.Value], object]) -> None:
        with e.loop(Int(e, number)) as lower:
            visit(b.load(words.at((_queue(e, lower.index) + PROCESSOR).value), typ=I32))

    def compare(other: ir.Value) -> None:
        with b.if_then(b.icmp_signed("==", other, processor)):
            b.store(ir.Constant(I32, 1), shared)

    lower_ones(compare)
    with b.if_then(b.icmp_signed("!=", b.load(shared, typ=I32), ir.Constant(I32, 0))):
        mask = b.alloca(byte, ir.Constant(I64, MASK_BYTES))
        with e.loop(e.int(MASK_BYTES)) as place:
            given = b.gep(words.at(MASK), [place.index.value], source_etype=byte)
            b.store(b.load(given, typ=byte), b.gep(mask, [place.index.value], source_etype=byte))

        def leave_out(other: ir.Value) -> None:
            place = b.gep(mask, [b.zext(b.lshr(other, ir.Constant(I32, 3)), I64)], source_etype=byte)
            bit = b.shl(ir.Constant(I32, 1), b.and_(other, ir.Constant(I32, 7)))
            with b.if_then(b.icmp_unsigned("<", other, ir.Constant(I32, 8 * MASK_BYTES))):
                b.store(b.trunc(b.and_(b.zext(b.load(place, typ=byte), I32), b.not_(bit)), byte), place)

        lower_ones(leave_out)
        _affinity(e, "set", mask)  # refused where no other is left: then it stays
        _note_processor(e, words, Int(e, number))
    e.end()
    return function


def _affinity(e: Emitter, what: str, mask: ir.Value) -> None:
    """Gets or sets the processors that the calling thread may run on."""
    call = e.code.declare(f"sched_{what}affinity", I32, [I32, I64, POINTER])
    e.b.call(call, [ir.Constant(I32, 0), ir.Constant(I64, MASK_BYTES), mask])


def _note_processor(e: Emitter, words: _Words, thread: Int) -> ir.Value:
    """Where the calling thread runs now, i32, kept in its line."""
    processor = e.b.call(e.code.declare("sched_getcpu", I32, []), [])
    e.b.store(processor, words.at((_queue(e, thread) + PROCESSOR).value))
    return processor


def _emit_worker(spmd: Spmd, settle: ir.Function) -> ir.Function:
    """(line): waits for jobs and takes part in those that want as many threads; returns when the pool stops."""
    function = spmd.code.function("alula_worker", POINTER, [POINTER])
    e = Emitter(spmd.code, function)
    b, line = e.b, function.args[0]
    own = _Words(e, line)
    pool = b.load(own.at(OWNER), typ=POINTER)
    number = b.load(own.at(NUMBER), typ=I64)
    words = _Words(e, pool)
    ask, look, stop = (function.append_basic_block() for _ in range(3))
    entry = b.block
    b.branch(ask)
    b.position_at_end(ask)
    seen = b.phi(I32)
    seen.add_incoming(ir.Constant(I32, 0), entry)
    words.wait(JOB, seen, IDLE, lambda: b.call(settle, [pool, number]))
    job = words.get(JOB)
    b.cbranch(b.icmp_signed("!=", words.get(STOP), ir.Constant(I32, 0)), stop, look)
    b.position_at_end(look)
    wanted = b.zext(b.and_(job, ir.Constant(I32, MOST_THREADS)), I64)
    with b.if_then(b.icmp_signed("<", number, wanted)):
        b.call(spmd.program, [b.load(words.at(FRAME), typ=POINTER), number, wanted])
    seen.add_incoming(job, b.block)
    b.branch(ask)
    b.position_at_end(stop)
    b.ret(ir.Constant(POINTER, None))
    return function


def _emit_spawn(code: Code, worker: ir.Function) -> ir.Function:
    """(pool): forgets threads of a former process, notes this one, starts threads 1..; counts those that started."""
    function = code.function("alula_spawn", VOID, [POINTER])
    e = Emitter(code, function)
    b, words = e.b, _Words(e, function.args[0])
    create = code.declare("pthread_create", I32, [POINTER, POINTER, POINTER, POINTER])
    for word in (PHASE, ARRIVED, SLEEPERS, JOB, IDLE, STOP):
        words.set(word, 0)
    words.set(PID, b.call(code.declare("getpid", I32, []), []))
    _affinity(e, "get", words.at(MASK))
    wanted = Int(e, b.zext(words.get(THREADS), I64))
    words.set(THREADS, 1)
    with e.loop(wanted, start=1) as loop, e.when(e.compare("==", Int(e, b.zext(words.get(THREADS), I64)), loop.index)):
        line = _Words(e, words.at(_queue(e, loop.index).value))
        b.store(words.pool, line.at(OWNER))
        b.store(loop.index.value, line.at(NUMBER))
        failed = b.call(create, [line.at(HANDLE), ir.Constant(POINTER, None), worker, line.pool])
        with b.if_then(b.icmp_signed("==", failed, ir.Constant(I32, 0))):
            words.add(THREADS, 1)
    with e.loop(wanted) as loop:
        e.b.store(ir.Constant(I32, 0), words.at(_queue(e, loop.index).value))
    e.end()
    return function


def _emit_pool_functions(code: Code, spawn: ir.Function) -> None:
    """`alula_pool_create(threads)` -> pool or null, and `alula_pool_destroy(pool)`, which joins the threads.

    Null says that there is no memory, or that the system does not give the processor's tile registers.
    """
    create = code.function("alula_pool_create", POINTER, [I64], exported=True)
    e = Emitter(code, create)
    threads = Int(e, create.args[0]).max(1).min(MOST_THREADS)
    if code.uses_matrix:
        with e.b.if_then(e.b.icmp_signed("!=", emit_permission(e), ir.Constant(I64, 0))):
            e.b.ret(ir.Constant(POINTER, None))
    allocate = code.declare("aligned_alloc", POINTER, [I64, I64])
    pool = e.b.call(allocate, [ir.Constant(I64, LINE_BYTES), _queue(e, threads).value])
    with e.b.if_then(e.b.icmp_unsigned("!=", pool, ir.Constant(POINTER, None))):
        _Words(e, pool).set(THREADS, e.b.trunc(threads.value, I32))
        e.b.call(spawn, [pool])
    e.b.ret(pool)

    destroy = code.function("alula_pool_destroy", VOID, [POINTER], exported=True)
    e = Emitter(code, destroy)
    words = _Words(e, destroy.args[0])
    mine = e.b.icmp_signed("==", words.get(PID), e.b.call(code.declare("getpid", I32, []), []))
    with e.b.if_then(mine):  # a forked child has the pool's memory but not its threads
        words.set(STOP, 1)
        words.add(JOB, MOST_THREADS + 1)
        words.wake(JOB)
        join = code.declare("pthread_join", I32, [I64, POINTER])
        with e.loop(Int(e, e.b.zext(words.get(THREADS), I64)), start=1) as loop:
            line = _Words(e, words.at(_queue(e, loop.index).value))
            e.b.call(join, [e.b.load(line.at(HANDLE), typ=I64), ir.Constant(POINTER, None)])
    e.b.call(code.declare("free", VOID, [POINTER]), [words.pool])
    e.end()


def _emit_start(spmd: Spmd, spawn: ir.Function, pool_of_frame: Callable[[Emitter, ir.Value], ir.Value]) -> None:
    """`alula_start(frame, threads)`: the program on at most that many threads; returns when all are through."""
    function = spmd.code.function("alula_start", VOID, [POINTER, I64])
    e = Emitter(spmd.code, function)
    b, (frame, asked) = e.b, function.args
    words = _Words(e, pool_of_frame(e, frame))
    process = b.call(spmd.code.declare("getpid", I32, []), [])
    with b.if_then(b.icmp_signed("!=", words.get(PID), process)):
        b.call(spawn, [words.pool])
    threads = Int(e, asked).max(1).min(Int(e, b.zext(words.get(THREADS), I64)))
    b.store(frame, words.at(FRAME))
    with e.when(threads >= 2):
        _note_processor(e, words, Int(e, ir.Constant(I64, 0)))
        number = b.and_(words.get(JOB), ir.Constant(I32, ~MOST_THREADS))
        following = b.add(number, ir.Constant(I32, MOST_THREADS + 1))
        words.set(JOB, b.or_(following, b.trunc(threads.value, I32)))
        with b.if_then(b.icmp_signed("!=", words.get(IDLE), ir.Constant(I32, 0))):
            words.wake(JOB)
    b.call(spmd.program, [frame, ir.Constant(I64, 0), threads.value])
    e.end()


def _queue(e: Emitter, thread: Int) -> Int:
    """The offset of a thread's line in the pool."""
    return thread * LINE_BYTES + QUEUES


def _i32(value: ir.Value | int) -> ir.Value:
    return ir.Constant(I32, value) if isinstance(value, int) else value
