"""The native runtime: pools that come and go, many small steps, forks, more threads than cores, pools side by side."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from alula.codegen.packing import pack_weights
from alula.core.dtype import DType
from alula.core.target import AMX, AVX2
from alula.ir.types import TensorType
from alula.ops.elementwise import Neg
from alula.ops.matmul import Linear
from alula.ops.softmax import Softmax
from tests.codegen.harness import N, f32, graph_of, random_array, random_bytes
from tests.conftest import ROOT

pytestmark = pytest.mark.isa("avx2")
STEPS = 200
TASKS = Path("/proc/self/task")  # the threads of this process


@pytest.fixture
def many_steps(compiled):
    """A program of 200 tiny steps, none of which can be merged with the next."""
    program = compiled(graph_of(Softmax(1), f32(N, 5), chain=[Softmax(1)] * (STEPS - 1)), AVX2, threads=8)
    assert program.labels == ["softmax"] * STEPS
    return program


def test_every_thread_count_gives_the_same_bits_time_after_time(many_steps):
    x = random_array(f32(N, 5), 64)
    (expected,) = many_steps(x, threads=1)
    for _ in range(5):
        for threads in (2, 3, 8):
            assert many_steps(x, threads=threads)[0].tobytes() == expected.tobytes()


def test_workers_that_sleep_are_woken(many_steps):
    x = random_array(f32(N, 5), 64)
    (expected,) = many_steps(x, threads=1)
    for _ in range(3):
        time.sleep(0.02)  # far longer than they spin
        assert many_steps(x)[0].tobytes() == expected.tobytes()


def test_a_worker_leaves_the_processor_of_the_thread_that_started_it(compiled):
    """Both are made to run on one; Linux alone leaves them there for tens of milliseconds on some machines."""
    allowed, before = os.sched_getaffinity(0), set(TASKS.iterdir())
    if len(allowed) < 2:
        pytest.skip("needs two processors")
    program = compiled(graph_of(Softmax(1), f32(N, 5), chain=[Softmax(1)] * (STEPS - 1)), AVX2, threads=2)
    (worker,) = (int(task.name) for task in set(TASKS.iterdir()) - before)
    x, first = random_array(f32(N, 5), 64), min(allowed)
    time.sleep(0.02)  # it sleeps
    try:
        os.sched_setaffinity(0, {first})
        os.sched_setaffinity(worker, {first})
        assert program(x)[0].tobytes() == program(x, threads=1)[0].tobytes()
    finally:
        os.sched_setaffinity(0, allowed)
    assert os.sched_getaffinity(worker) == allowed - {first}
    assert processor_of(worker) != first


def processor_of(thread: int) -> int:
    """Where a thread of this process runs or ran last."""
    return int((TASKS / str(thread) / "stat").read_text().rpartition(")")[2].split()[36])


def test_more_threads_than_the_pool_has_are_as_many_as_it_has(compiled):
    program = compiled(graph_of(Neg(), f32(N, 20000)), AVX2, threads=2)
    x = random_array(f32(N, 20000), 2)
    assert np.array_equal(program(x, threads=100)[0], -x)


def test_pools_of_any_size_come_and_go(compiled):
    program = compiled(graph_of(Neg(), f32(N, 3)), AVX2)
    before = threading_count()
    for threads in [0, 1, 2, 3, 8] * 20:
        program.destroy(program.create(threads))
    assert threading_count() == before


def test_a_pool_has_the_threads_it_was_asked_for(compiled):
    program = compiled(graph_of(Neg(), f32(N, 3)), AVX2)
    before = threading_count()
    pool = program.create(5)
    assert threading_count() == before + 4  # the caller is the fifth
    program.destroy(pool)
    assert threading_count() == before


def test_a_forked_child_has_threads_of_its_own(many_steps):
    x = random_array(f32(N, 5), 64)
    (expected,) = many_steps(x)
    child = os.fork()
    if child == 0:
        right = all(many_steps(x)[0].tobytes() == expected.tobytes() for _ in range(3))
        many_steps.close()
        os._exit(0 if right else 1)
    assert exit_status(child, seconds=30) == 0
    assert many_steps(x)[0].tobytes() == expected.tobytes()


def test_two_pools_run_side_by_side(compiled):
    programs = [compiled(graph_of(Softmax(1), f32(N, width), chain=[Softmax(1)] * 20), AVX2) for width in (5, 19)]
    inputs = [random_array(program.graph.inputs[0].type, 33) for program in programs]
    expected = [program(x, threads=1)[0].tobytes() for program, x in zip(programs, inputs, strict=True)]
    wrong = []

    def work(number):
        wrong.extend(number for _ in range(60) if programs[number](inputs[number])[0].tobytes() != expected[number])

    threads = [threading.Thread(target=work, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.fixture
def in_tile_registers(compiled):
    """`made(width)`: a product of bytes for AMX, its right answer, and its input."""

    def made(width):
        x, weight = random_bytes(DType.U8, 3, 70, 64, seed=width), random_bytes(DType.I8, width, 64, seed=width)
        graph = graph_of(Linear(), TensorType(DType.U8, (N, 70, 64)), weight)
        pack_weights(graph, AMX)
        return compiled(graph, AMX, threads=4), x, x.astype(np.int32) @ weight.T.astype(np.int32)

    return made


@pytest.mark.isa("amx")
def test_tile_registers_in_a_forked_child_and_in_two_pools(in_tile_registers):
    """The permission is the process's and a child inherits it; the configuration is each thread's, each run."""
    programs = [in_tile_registers(width) for width in (33, 64)]
    for program, x, expected in programs:
        assert np.array_equal(program(x)[0], expected)
    child = os.fork()
    if child == 0:
        right = all(np.array_equal(program(x)[0], expected) for program, x, expected in programs * 2)
        os._exit(0 if right else 1)
    assert exit_status(child, seconds=30) == 0
    wrong = []

    def work(number):
        program, x, expected = programs[number]
        wrong.extend(number for _ in range(60) if not np.array_equal(program(x)[0], expected))

    threads = [threading.Thread(target=work, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.isa("amx")
@pytest.mark.parametrize("options", [[], ["-X", "faulthandler"]], ids=["plain", "faulthandler"])
def test_a_new_process_is_given_the_tile_registers(options, tmp_path):
    """A signal handler with a stack of its own must leave room for the registers, or Linux refuses them."""
    script = (
        "import os, numpy as np\n"
        "from tests.codegen.test_spmd import *\n"
        "from tests.codegen.harness import Compiled\n"
        "x = random_bytes(DType.U8, 3, 70, 64)\n"
        "weight = random_bytes(DType.I8, 40, 64)\n"
        "graph = graph_of(Linear(), TensorType(DType.U8, (N, 70, 64)), weight)\n"
        "pack_weights(graph, AMX)\n"
        "program = Compiled(graph, AMX, 2)\n"
        "assert program.pool\n"
        "assert np.array_equal(program(x)[0], x.astype(np.int32) @ weight.T.astype(np.int32))\n"
        "program.close()\n"
        "print('right')\n"
    )
    words = [sys.executable, *options, "-c", script]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stdout) == (0, "right\n"), done.stderr


def threading_count():
    """Threads of this process that the kernel knows of."""
    return len(list(Path("/proc/self/task").iterdir()))


def exit_status(child, seconds):
    """How a child ended; it is killed where it does not."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return "it hung"
