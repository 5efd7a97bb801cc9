"""The wheel and the sdist: what is in them, and that they work where nothing but their dependencies is installed."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterable
from email.parser import Parser
from importlib.metadata import distribution
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LEFT_OUT = shutil.ignore_patterns("__pycache__")
BUILT_FROM = ("pyproject.toml", "MANIFEST.in", "README.md", "LICENSE")
TINY = ROOT / "tests/artifact/golden/tiny.alula"

PROGRAM = """
from pathlib import Path

import numpy as np

import alula


def best(path: Path) -> float:
    with alula.load(path, threads=2) as session:
        shape = [1 if size is None else size for size in session.inputs[0].shape]
        (scores,) = session.run(np.zeros(shape, session.inputs[0].dtype.numpy))
    return float(scores.max())


def build(source: Path, output: Path) -> None:
    alula.build(alula.from_onnx(source), alula.BuildConfig(precision="force_bfloat16")).save(output)
"""
MISTAKES = """
import alula

alula.load(3)
alula.BuildConfig(precision=8)
"""


def run(*words: object, folder: Path) -> subprocess.CompletedProcess[str]:
    """A program that sees neither this checkout nor this environment's packages."""
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    command = [str(word) for word in words]
    return subprocess.run(command, cwd=folder, env=clean, capture_output=True, text=True, check=False, timeout=250)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and the wheel that was built from it; nothing is built in the checkout."""
    folder = tmp_path_factory.mktemp("package")
    source = folder / "source"
    shutil.copytree(ROOT / "alula", source / "alula", ignore=LEFT_OUT)
    (source / "tests").mkdir()
    shutil.copy(__file__, source / "tests")
    for name in BUILT_FROM:
        shutil.copy(ROOT / name, source)
    done = run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder / "dist", source, folder=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "dist"


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (path,) = built.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def clean(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scripts' folder of an environment that holds the wheel and what it depends on, no extras."""
    folder = tmp_path_factory.mktemp("clean")
    assert run(sys.executable, "-m", "venv", "--without-pip", folder, folder=folder).returncode == 0
    python = folder / "bin" / "python"
    (packages,) = folder.glob("lib/python*/site-packages")
    for name in needed(PROJECT["dependencies"]):
        for top in {Path(file).parts[0] for file in distribution(name).files or () if ".." not in Path(file).parts}:
            (packages / top).symlink_to(Path(str(distribution(name).locate_file(top))))
    install = [sys.executable, "-m", "pip", "--python", python, "install", "--no-index", "--no-deps", wheel]
    done = run(*install, folder=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "bin"


def needed(requirements: Iterable[str]) -> set[str]:
    """The distributions that these requirements name, without extras, and those that they need in turn."""
    names = {re.match(r"[\w.-]+", text)[0] for text in requirements if "extra ==" not in text}
    return names.union(*(needed(distribution(name).requires or ()) for name in names))


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    held = set(zipfile.ZipFile(wheel).namelist())
    package = {path for path in (ROOT / "alula").rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    expected = {path.relative_to(ROOT).as_posix() for path in package}
    assert {"alula/py.typed", "alula/models/data/volo_digits.pth", "alula/cli/mm_run.py"} <= expected
    assert {name for name in held if ".dist-info/" not in name} == expected
    assert f"alula-{PROJECT['version']}.dist-info/licenses/LICENSE" in held


def test_the_sdist_holds_what_a_wheel_is_built_from(built: Path) -> None:
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        held = {Path(*Path(name).parts[1:]).as_posix() for name in archive.getnames()}
    assert {*BUILT_FROM, "alula/py.typed", "alula/models/data/volo_digits.pth"} <= held
    assert not {name for name in held if name.startswith("tests")}  # without their folders they could not run


def test_metadata_says_what_pyproject_says(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    folder = f"alula-{PROJECT['version']}.dist-info"
    metadata = Parser().parsestr(archive.read(f"{folder}/METADATA").decode())
    assert set(metadata.get_all("Provides-Extra")) == set(PROJECT["optional-dependencies"])
    assert metadata["Requires-Python"] == PROJECT["requires-python"]
    assert metadata["License-Expression"] == "Apache-2.0"
    scripts = archive.read(f"{folder}/entry_points.txt").decode()
    assert "alula = alula.cli.main:main\n" in scripts
    assert "mm_run = alula.cli.mm_run:main\n" in scripts


def test_extras_of_extras_exist() -> None:
    extras = PROJECT["optional-dependencies"]
    text = " ".join(requirement for requirements in extras.values() for requirement in requirements)
    asked = {name for group in re.findall(r"alula\[([^]]*)\]", text) for name in group.split(",")}
    assert asked
    assert asked <= set(extras)


def test_hints_name_extras_that_exist() -> None:
    """`pip install 'alula[torch]'` in an error message is of use only where there is such an extra."""
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "alula").rglob("*.py")]
    hinted = {name for source in sources for name in re.findall(r"pip install '?alula\[(\w+)\]", source)}
    assert hinted >= {"torch", "onnx"}
    assert hinted <= set(PROJECT["optional-dependencies"])


def test_a_model_runs_without_any_extra(clean: Path, tmp_path: Path) -> None:
    shutil.copy(TINY, tmp_path / "m.alula")
    doctor = run(clean / "alula", "doctor", folder=tmp_path)
    assert (doctor.returncode, doctor.stderr) == (0, "")
    assert "torch (torch)" in " ".join(doctor.stdout.split())
    perf = run(clean / "alula", "perf", "m.alula", "--iterations", "2", folder=tmp_path)
    assert (perf.returncode, perf.stderr) == (0, "")
    measured = run(clean / "mm_run", "--magicmind_model", "m.alula", "--duration", "0", folder=tmp_path)
    assert (measured.returncode, measured.stderr) == (0, "")
    assert "Throughput (qps):" in measured.stdout
    code = "import alula, sys; print(alula.__file__, alula.load('m.alula').outputs[0].name)"
    loaded = run(clean / "python", "-c", code, folder=tmp_path)
    assert (loaded.returncode, loaded.stderr) == (0, "")
    assert loaded.stdout.startswith(str(clean.parent))


def test_what_needs_an_extra_says_which(clean: Path, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"anything")
    for words, extra in (("build m.onnx -o x.alula", "onnx"), ("export volo_d2 -o x.pt2", "torch")):
        done = run(clean / "alula", *words.split(), folder=tmp_path)
        assert done.returncode == 2
        assert f"(pip install 'alula[{extra}]')" in done.stderr
        assert done.stderr.count("\n") == 1


def test_types_reach_the_programs_of_users(clean: Path, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "mistakes.py").write_text(MISTAKES)
    check = [sys.executable, "-m", "mypy", "--strict", "--python-executable", clean / "python"]
    done = run(*check, "program.py", folder=tmp_path)
    assert done.stdout == "Success: no issues found in 1 source file\n"
    done = run(*check, "mistakes.py", folder=tmp_path)
    assert re.findall(r"^mistakes\.py:(\d+): error: Argument", done.stdout, re.MULTILINE) == ["4", "5"]
