"""The shared library of a model: the session's bits, what it refuses, and that C and C++ programs can use it."""

import ctypes
import os
import shutil
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest

import alula
from alula.artifact.reader import read_model
from alula.codegen.library.session import EXPORTS
from alula.core.dims import symbol
from alula.core.dtype import DType
from alula.core.errors import CodegenError, UsageError
from alula.core.preprocess import Preprocess
from alula.core.target import AMX
from alula.ir.graph import Graph
from alula.ir.types import TensorType
from alula.ops.conv import Conv2d
from alula.ops.elementwise import Gelu
from alula.ops.matmul import Linear
from alula.ops.reduce import ReduceMean
from alula.ops.shape import Transpose
from alula.runtime.host import supports
from alula.runtime.library import compile_library
from tests.runtime.shared_library import ERROR_BYTES, POINTER, LibraryRefused, SharedLibrary

pytestmark = pytest.mark.isa("avx2")
HERE = Path(__file__).parent
SIDE, CLASSES = 12, 10
CONTRACT = Preprocess(crop=SIDE, resize=14, order="BGR", mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))


def tool(name: str) -> str:
    """A program of the system; skips the test where it is not installed."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"needs {name}, which is not installed")
    return found


def save(path: Path, target: str = "native", **options: object) -> Path:
    """A small classifier of pictures."""
    random = np.random.default_rng(0)
    graph = Graph("small", {"N": (1, 512)})
    x = graph.input("images", TensorType(DType.F32, (symbol("N"), 3, SIDE, SIDE)))
    x = graph.add(Transpose((0, 2, 3, 1)), x)
    kernel = random.standard_normal((24, 3, 3, 3)).astype(np.float32)
    x = graph.add(Gelu(), graph.add(Conv2d(pad=(1, 1, 1, 1)), x, graph.constant(kernel, "kernel")))
    x = graph.add(ReduceMean((1, 2)), x)
    weight = random.standard_normal((CLASSES, 24)).astype(np.float32)
    graph.output("scores", graph.add(Linear(), x, graph.constant(weight, "weight")))
    config = alula.BuildConfig(target=target, preprocess=CONTRACT, **options)
    alula.build(graph, config).save(path)
    return path


def pictures(batch: int) -> np.ndarray:
    return np.random.default_rng(batch).integers(0, 256, (batch, SIDE, SIDE, 3), np.uint8)


def scores(batch: int) -> np.ndarray:
    return np.full((batch, CLASSES), np.nan, np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("library")


@pytest.fixture(scope="module")
def library(folder) -> SharedLibrary:
    return SharedLibrary.make(save(folder / "small.alula"), folder / "made")


@pytest.fixture
def session(library):
    session = library.create()
    yield session
    library.functions.alula_session_destroy(session)


def test_the_same_bits_as_the_python_session(library, session):
    with alula.load(library.model, threads=2) as python:
        for batch in (1, 3, 70, 2):
            (expected,) = python.run(pictures(batch))
            (found,) = library.run(session, [pictures(batch)], [scores(batch)], batch)
            assert found.tobytes() == expected.tobytes()


def test_description(library):
    about = library.description
    meta = read_model(library.model)
    assert (about.abi_version, about.least_batch, about.most_batch, about.tuned_batch) == (1, 1, 512, 1)
    assert (about.name, about.precision, about.target) == (b"small", b"force_float32", meta.meta.target.encode())
    assert about.digest.decode() == meta.digest
    assert about.file_bytes == library.model.stat().st_size
    assert (about.input_count, about.output_count) == (1, 1)
    given, taken = about.inputs[0], about.outputs[0]
    assert (given.name, given.dtype, given.bytes) == (b"images", b"u8", SIDE * SIDE * 3)
    assert given.dims[: given.rank] == [-1, SIDE, SIDE, 3]
    assert (taken.name, taken.dtype, taken.dims[: taken.rank]) == (b"scores", b"f32", [-1, CLASSES])
    assert taken.bytes == CLASSES * 4
    image = about.image.contents
    assert (image.crop, image.resize, image.antialias, image.folded) == (SIDE, 14, 1, 1)
    assert (image.resampling, image.library, image.order) == (b"bicubic", b"pillow", b"BGR")
    assert (list(image.mean), list(image.std)) == ([0.1, 0.2, 0.3], [0.4, 0.5, 0.6])


def test_threads(library):
    for asked, expected in ((1, 1), (5, 5), (1000, 255)):
        session = library.create(threads=asked)
        assert library.functions.alula_session_threads(session) == expected
        library.functions.alula_session_destroy(session)
    session = library.create(threads=0)
    assert library.functions.alula_session_threads(session) == len(os.sched_getaffinity(0))
    library.functions.alula_session_destroy(session)


def test_sessions_and_threads_side_by_side(library):
    sessions = [library.create(threads=2) for _ in range(3)]
    expected = {batch: library.run(sessions[0], [pictures(batch)], [scores(batch)], batch)[0] for batch in (1, 5, 33)}
    wrong = []

    def work(session: int) -> None:
        for _ in range(20):
            for batch, right in expected.items():
                (found,) = library.run(session, [pictures(batch)], [scores(batch)], batch)
                wrong.extend([batch] if found.tobytes() != right.tobytes() else [])

    workers = [threading.Thread(target=work, args=(session,)) for session in sessions * 2]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for session in sessions:
        library.functions.alula_session_destroy(session)
    assert not wrong


def test_a_forked_child_has_threads_of_its_own(library, session):
    (expected,) = library.run(session, [pictures(5)], [scores(5)], 5)
    child = os.fork()
    if child == 0:
        (found,) = library.run(session, [pictures(5)], [scores(5)], 5)
        os._exit(0 if found.tobytes() == expected.tobytes() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert library.run(session, [pictures(5)], [scores(5)], 5)[0].tobytes() == expected.tobytes()


def test_batches_outside_the_range_and_missing_arrays_are_refused(library, session):
    for batch in (0, -1, 513):
        with pytest.raises(LibraryRefused, match=rf"^run: expected a batch of 1\.\.512, got {batch}$"):
            library.run(session, [pictures(1)], [scores(1)], batch)
    tables = (POINTER * 1)(None)
    error = ctypes.create_string_buffer(ERROR_BYTES)
    assert library.functions.alula_session_run(session, tables, tables, 1, error) == -1
    assert error.value == b"run input images: expected memory, got NULL"
    assert library.functions.alula_session_run(session, tables, tables, 1, None) == -1


def test_a_fixed_batch(folder):
    library = SharedLibrary.make(save(folder / "fixed.alula", shape_mutable=False, batch_size=4), folder / "fixed")
    session = library.create()
    with pytest.raises(LibraryRefused, match=r"expected a batch of 4, got 3"):
        library.run(session, [pictures(3)], [scores(3)], 3)
    with alula.load(library.model) as python:
        (expected,) = python.run(pictures(4))
    assert library.run(session, [pictures(4)], [scores(4)], 4)[0].tobytes() == expected.tobytes()
    library.functions.alula_session_destroy(session)


def damaged(model: Path, place: int, name: str) -> Path:
    content = bytearray(model.read_bytes())
    content[place] ^= 1
    path = model.with_name(name)
    path.write_bytes(content)
    return path


def test_files_that_are_not_the_one(library, folder):
    size = library.model.stat().st_size
    short = folder / "short.alula"
    short.write_bytes(library.model.read_bytes()[:-1])
    other = SharedLibrary.make(save(folder / "other.alula", batch_size=2), folder / "other")
    refused = {
        folder / "none.alula": "expected a readable file, got No such file or directory",
        short: f"expected {size} bytes, got {size - 1}",
        damaged(library.model, 0, "magic"): "expected the one with digest",
        damaged(library.model, 40, "digest"): "expected the one with digest",
        damaged(library.model, 100, "header"): "expected its header to have its SHA-256, got a damaged one",
    }
    for path, reason in refused.items():
        with pytest.raises(LibraryRefused, match=f"^model file {path}: {reason}"):
            library.create(path)
    with pytest.raises(LibraryRefused, match=r"expected (the one with digest|\d+ bytes)"):
        library.create(other.model)


def test_damaged_weights_are_found_by_check(library, session):
    library.check(session)
    hurt = library.create(damaged(library.model, library.model.stat().st_size - 64, "weights"))
    with pytest.raises(LibraryRefused, match=r"^section \d+ at \d+: expected its SHA-256, got another"):
        library.check(hurt)
    library.functions.alula_session_destroy(hurt)


def test_another_target_gets_its_own_weights(folder):
    model = save(folder / "vnni.alula", target="avx512-vnni")
    library = SharedLibrary.make(model, folder / "repacked", target="avx2")
    assert library.description.target == b"avx2"
    assert library.model != model
    assert read_model(library.model).meta.target == "avx2"
    session = library.create()
    (found,) = library.run(session, [pictures(5)], [scores(5)], 5)
    library.functions.alula_session_destroy(session)
    with alula.load(model) as python:
        (expected,) = python.run(pictures(5))
    assert found.tobytes() == expected.tobytes()  # float32 has the same bits on all targets
    with pytest.raises(UsageError, match="expected another one for avx2, got the model file's own"):
        compile_library(model, folder, "avx2", "0")


def test_the_processor_is_asked_first(folder):
    if supports(AMX):
        pytest.skip("needs a processor without AMX, this one has it")
    library = SharedLibrary.make(save(folder / "amx.alula", target="amx"), folder / "amx")
    with pytest.raises(LibraryRefused, match=r"^processor: expected avx2 fma .* amx_bf16, got one without$"):
        library.create()


def test_the_same_input_gives_the_same_bytes(library, folder):
    again = SharedLibrary.make(folder / "small.alula", folder / "again")
    for name in ("libsmall.so", "alula.h", "small.pc", "smallConfig.cmake", "small.alula"):
        assert (again.path.parent / name).read_bytes() == (library.path.parent / name).read_bytes()


def test_it_needs_libc_alone_and_exports_the_interface(library):
    dynamic = subprocess.run([tool("readelf"), "-d", library.path], capture_output=True, text=True, check=True).stdout
    needed = {line.rpartition("[")[2].rstrip("]") for line in dynamic.splitlines() if "(NEEDED)" in line}
    assert needed <= {"libc.so.6", "libm.so.6", "libpthread.so.0"}
    symbols = subprocess.run(
        [tool("nm"), "-D", "--defined-only", library.path], capture_output=True, text=True, check=True
    ).stdout
    assert {line.split()[-1] for line in symbols.splitlines()} == set(EXPORTS)


def test_no_linker(folder, monkeypatch):
    monkeypatch.setenv("PATH", str(folder))
    with pytest.raises(CodegenError, match=r"^linker: expected one of ld, .* on PATH \(Debian: binutils\), got none$"):
        compile_library(folder / "small.alula", folder / "made", None, "0")


def test_names_that_linkers_do_not_take(folder):
    with pytest.raises(UsageError, match="expected a name of letters, digits and"):
        compile_library(folder / "a b.alula", folder, None, "0")


STRICT = ("-Wall", "-Wextra", "-pedantic", "-Werror")


@pytest.mark.parametrize(("compiler", "standard"), [("gcc", "c99"), ("g++", "c++17")])
def test_a_program_finds_it_by_pkg_config(library, folder, compiler, standard):
    where = library.path.parent
    asked = [tool("pkg-config"), "--cflags", "--libs", "small"]
    flags = subprocess.run(
        asked, env={"PKG_CONFIG_PATH": str(where), "PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=True
    ).stdout.split()
    program = folder / f"program-{standard}"
    source = ["-x", "c++" if compiler == "g++" else "c", str(HERE / "program.c"), "-x", "none"]
    subprocess.run(
        [tool(compiler), f"-std={standard}", *STRICT, *source, *flags, f"-Wl,-rpath,{where}", "-o", program], check=True
    )
    assert answers(program, library) == expected_answers(library)


def test_a_program_finds_it_by_cmake(library, folder):
    tool("g++")
    project = folder / "project"
    project.mkdir()
    shutil.copy(HERE / "program.c", project / "program.c")
    (project / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.13)\nproject(p C)\nfind_package(small CONFIG REQUIRED)\n"
        'add_executable(program program.c)\ntarget_link_libraries(program alula::small)\nmessage("at ${small_MODEL}")\n'
    )
    configure = [tool("cmake"), "-S", project, "-B", project / "build", f"-DCMAKE_PREFIX_PATH={library.path.parent}"]
    said = subprocess.run(configure, capture_output=True, text=True, check=True)
    assert f"at {library.model}" in said.stdout + said.stderr
    subprocess.run([tool("cmake"), "--build", project / "build"], capture_output=True, check=True)
    assert answers(project / "build/program", library) == expected_answers(library)


def test_valgrind_finds_nothing(folder):
    """Valgrind does not know AVX-512."""
    where = folder / "valgrind"
    library = SharedLibrary.make(save(folder / "plain.alula", target="avx2"), where)
    program = where / "program"
    subprocess.run(
        [
            tool("gcc"),
            str(HERE / "program.c"),
            f"-I{where}",
            f"-L{where}",
            "-lplain",
            f"-Wl,-rpath,{where}",
            "-o",
            program,
        ],
        check=True,
    )
    command = [tool("valgrind"), "--quiet", "--error-exitcode=9", "--leak-check=full", "--show-leak-kinds=all"]
    done = subprocess.run([*command, program, library.model], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == expected_answers(library)


def answers(program: Path, library: SharedLibrary) -> list[str]:
    return subprocess.run([program, library.model], capture_output=True, text=True, check=True).stdout.splitlines()


def expected_answers(library: SharedLibrary) -> list[str]:
    """What program.c prints: first scores of batches 1 to 3 of one picture, as bits; then a refusal."""
    picture = (np.arange(SIDE * SIDE * 3) % 251).astype(np.uint8).reshape(1, SIDE, SIDE, 3)
    with alula.load(library.model) as python:
        rows = [python.run(np.repeat(picture, batch, axis=0))[0] for batch in (1, 2, 3)]
    lines = [" ".join(f"{bits:08x}" for bits in row[-1].view(np.uint32)) for row in rows]
    return [*lines, "model file none.alula: expected a readable file, got No such file or directory"]
