"""The package as a whole: quick to import, documented, installable, free of leftovers."""

import ast
import importlib.metadata
import importlib.resources
import json
import re
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
BUILT = {"build", "dist", "out", "alula.egg-info"}
SAMPLE_DATA = ROOT / "samples/volo_d2_pytorch/data"  # what runs of the sample left
TEXT = {"", ".cfg", ".ini", ".json", ".md", ".py", ".pyi", ".sh", ".toml", ".txt", ".yaml", ".yml"}

# Of a home, a build machine or a container; the names are apart from their slashes so that this line is none itself.
MACHINE_PATH = re.compile(r"(?<![\w.~}*])/(?:home|root|work|Users|mnt|opt|private|workspace)/\w")

IMPORT_TRIES = 5
IMPORT_SECONDS = 0.3
IMPORT_MEGABYTES = 100
HEAVY = {"matplotlib", "onnx", "onnxruntime", "onnxscript", "openvino", "scipy", "sklearn", "torch"}

PROBE = """
import json, sys, time
start = time.perf_counter()
import {module}
seconds = time.perf_counter() - start
try:
    status = open("/proc/self/status").read()   # VmHWM, not ru_maxrss: that one keeps the parent's peak
    kilobytes = int(status.partition("VmHWM:")[2].split()[0])
except OSError:
    kilobytes = None
roots = sorted({{name.partition(".")[0] for name in sys.modules}})
print(json.dumps(dict(seconds=seconds, kilobytes=kilobytes, roots=roots, file=sys.modules["alula"].__file__)))
"""


def python(code: str) -> str:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=120).stdout


def probe(module: str) -> dict[str, object]:
    """What importing `module` in a fresh process takes and brings along."""
    return json.loads(python(PROBE.format(module=module)))


def python_files(*folders: str) -> Iterator[Path]:
    for folder in folders:
        yield from sorted((ROOT / folder).rglob("*.py"))


def text_files() -> Iterator[Path]:
    """Every text of the project: all files but those of hidden folders (`.ci` is ours) and of builds."""
    folders = [path for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")]
    inside = [path for folder in [*folders, ROOT / ".ci"] if folder.name not in BUILT for path in folder.rglob("*")]
    for path in sorted([*ROOT.iterdir(), *inside]):
        if SAMPLE_DATA not in path.parents and path.is_file() and path.suffix in TEXT and path.name != ".git":
            yield path


def found(pattern: re.Pattern[str], paths: Iterator[Path]) -> list[str]:
    """`file:line: text` of every match."""
    return [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in paths
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if pattern.search(line)
    ]


def test_import_is_quick() -> None:
    """The best of several fresh processes: other work on the machine only ever adds to the time."""
    seconds = []
    while len(seconds) < IMPORT_TRIES and min(seconds, default=IMPORT_SECONDS) >= IMPORT_SECONDS:
        seconds.append(probe("alula")["seconds"])
    assert min(seconds) < IMPORT_SECONDS


def test_import_is_small() -> None:
    kilobytes = probe("alula")["kilobytes"]
    if kilobytes is None:
        pytest.skip("needs /proc/self/status to measure memory")
    assert isinstance(kilobytes, int)
    assert 1_000 < kilobytes < IMPORT_MEGABYTES * 1_000


@pytest.mark.parametrize("module", ["alula", "alula.cli.main"])
def test_import_brings_nothing_heavy(module: str) -> None:
    roots = set(probe(module)["roots"])
    assert "alula" in roots
    assert not roots & HEAVY


def test_import_of_the_package_leaves_pictures_and_llvm_alone() -> None:
    assert not set(probe("alula")["roots"]) & {"PIL", "llvmlite", "rich"}


def test_the_package_under_test_is_this_checkout() -> None:
    assert Path(str(probe("alula")["file"])) == ROOT / "alula" / "__init__.py"


def test_every_module_says_what_it_is() -> None:
    files = list(python_files("alula"))
    silent = [path for path in files if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))]
    assert files
    assert not [str(path.relative_to(ROOT)) for path in silent]


def test_types_are_announced() -> None:
    assert importlib.resources.files("alula").joinpath("py.typed").is_file()


def test_console_script_is_installed() -> None:
    (entry,) = importlib.metadata.entry_points(group="console_scripts", name="alula")
    assert entry.value == "alula.cli.main:main"
    script = Path(sysconfig.get_path("scripts")) / "alula"
    shown = subprocess.run([script, "--help"], capture_output=True, text=True, check=False, timeout=60)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "usage: alula" in shown.stdout


def test_metadata_and_package_agree_on_the_version() -> None:
    assert python("import alula; print(alula.__version__)").strip() == importlib.metadata.version("alula")


def test_no_file_names_a_path_of_some_machine() -> None:
    assert MACHINE_PATH.search("in /" + "home/someone/alula")
    assert not found(MACHINE_PATH, text_files())


def test_nothing_is_left_unfinished_or_switched_off() -> None:
    off = re.compile(r"mark\.(?:skip|skipif|xfail)\b|raise NotImplemented" + "Error")
    assert not found(off, (path for path in text_files() if path.suffix == ".py"))


def test_benchmarks_can_be_imported() -> None:
    """Without running them, and without the other engines that only `make bench` installs."""
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in python_files("bench")]
    python("\n".join(f"import {name}" for name in names if not name.endswith("__main__")))


def test_every_data_file_is_declared_to_setuptools() -> None:
    """An undeclared checkpoint is missing from the wheel, and no other test in a checkout would see it."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    kept = {
        path
        for package, globs in declared.items()
        for glob in globs
        for path in ROOT.joinpath(*package.split(".")).glob(glob)
    }
    data = {path for path in (ROOT / "alula").rglob("*") if path.is_file() and path.suffix not in {".py", ".pyc"}}
    assert data
    assert data <= kept
