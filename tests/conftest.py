"""What every test shares: thread limits, a cache of its own, real data, instruction sets and golden texts."""

import difflib
import os
import signal

# Before anything imports NumPy or torch: each worker of xdist has one core to itself.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"

# A shell ignores Ctrl-C in what it starts in the background, and what is ignored is inherited: the programs that the
# tests interrupt would never know.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data"

AVX2 = frozenset({"avx2", "fma", "f16c"})
AVX512 = AVX2 | {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}
AVX512_VNNI = AVX512 | {"avx512_vnni"}
AVX512_BF16 = AVX512_VNNI | {"avx512_bf16"}
AMX = AVX512_BF16 | {"amx_tile", "amx_int8", "amx_bf16"}
ISA_FLAGS = {"avx2": AVX2, "avx512": AVX512, "avx512vnni": AVX512_VNNI, "avx512bf16": AVX512_BF16, "amx": AMX}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write the golden texts instead of comparing")


@cache
def cpu_flags() -> frozenset[str]:
    """The features that the kernel reports for this CPU; none where there is no /proc/cpuinfo."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return frozenset()
    return next((frozenset(line.partition(":")[2].split()) for line in lines if line.startswith("flags")), frozenset())


def missing_flags(isa: str) -> list[str]:
    """The features of instruction set `isa` (`avx512-vnni` or `avx512vnni`) that this CPU lacks, sorted."""
    try:
        needed = ISA_FLAGS[isa.replace("-", "")]
    except KeyError:
        raise pytest.UsageError(f"isa marker: expected one of {sorted(ISA_FLAGS)}, got {isa!r}") from None
    return sorted(needed - cpu_flags())


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("isa"):
        for isa in marker.args:
            if missing := missing_flags(isa):
                pytest.skip(f"{isa}: this CPU lacks {', '.join(missing)}")


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The object cache of this test run, in `$ALULA_CACHE` for child processes too; the user's is never touched."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("alula-cache")
        patch.setenv("ALULA_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def shared_file() -> Callable[[str], Path]:
    """A file of the data folder by its name there; skips the test where it is absent."""

    def find(name: str) -> Path:
        path = DATA / name
        if not path.is_file():
            pytest.skip(f"needs ../shared/data/{name}, which is not here")
        return path

    return find


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real images and models beside the checkout; skips the test where it is absent."""
    if not DATA.is_dir():
        pytest.skip("needs ../shared/data, which is not here")
    return DATA


class Golden:
    """A text kept in `golden/<name>.txt` beside the test: `assert str(graph) == golden`."""

    __hash__ = None

    def __init__(self, path: Path, update: bool) -> None:
        self.path = path
        self.update = update

    def __call__(self, name: str) -> "Golden":
        """A further text of the same test, under its own name."""
        return Golden(self.path.with_name(f"{name}.txt"), self.update)

    def __eq__(self, text: object) -> bool:
        if not isinstance(text, str):
            return NotImplemented
        if self.update:
            self.path.parent.mkdir(exist_ok=True)
            self.path.write_text(with_newline(text), encoding="utf-8")
            return True
        if not self.path.is_file():
            pytest.fail(f"{self.path.relative_to(ROOT)}: no golden text yet; read the output, then --update-golden")
        return self.path.read_text(encoding="utf-8") == with_newline(text)

    def difference(self, text: str) -> list[str]:
        """The unified difference from the golden text to `text`, line by line."""
        name = str(self.path.relative_to(ROOT))
        kept = self.path.read_text(encoding="utf-8").splitlines()
        return list(difflib.unified_diff(kept, with_newline(text).splitlines(), name, "now", lineterm=""))


def with_newline(text: str) -> str:
    return text if text.endswith("\n") else f"{text}\n"


def pytest_assertrepr_compare(op: str, left: object, right: object) -> list[str] | None:
    text, golden = (right, left) if isinstance(left, Golden) else (left, right)
    if op == "==" and isinstance(golden, Golden) and isinstance(text, str):
        return ["text is not the golden one (pytest --update-golden writes it)", *golden.difference(text)]
    return None


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """The golden text of this test: `golden/<file>-<test>.txt` beside it, or `golden(name)` for another name."""
    stem = request.path.stem.removeprefix("test_")
    name = request.node.name.removeprefix("test_").replace("/", "-")
    return Golden(request.path.parent / "golden" / f"{stem}-{name}.txt", request.config.getoption("--update-golden"))
