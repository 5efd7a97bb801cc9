"""The sample's C++ sources, built once; tests that need them are skipped where a compiler or OpenCV is missing."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT

SAMPLE = ROOT / "samples/volo_d2_pytorch"
UTILS = ROOT / "samples/utils"
SOURCES = SAMPLE / "infer_cpp/src"


@pytest.fixture(scope="session")
def opencv() -> list[str]:
    """The compiler and its flags for OpenCV."""
    compiler, config = shutil.which("g++"), shutil.which("pkg-config")
    if compiler is None or config is None:
        pytest.skip("needs g++ and pkg-config, which are not installed")
    asked = subprocess.run([config, "--cflags", "opencv4"], capture_output=True, text=True, check=False)
    if asked.returncode:
        pytest.skip("needs OpenCV 4 (libopencv-dev), which is not installed")
    return [compiler, *asked.stdout.split()]


@pytest.fixture(scope="session")
def pixels(opencv: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """tests/samples/pixels.cpp as a program."""
    program = tmp_path_factory.mktemp("pixels") / "pixels"
    sources = [
        ROOT / "tests/samples/pixels.cpp",
        *(SOURCES / f"{n}.cpp" for n in ("pictures", "preprocess", "resample")),
    ]
    flags = ["-std=c++17", "-O1", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror", f"-I{SOURCES}"]
    headers = [f"-I{ROOT / 'alula/runtime/include'}"]
    libraries = ["-lopencv_imgcodecs", "-lopencv_core"]
    subprocess.run([*opencv, *flags, *headers, *sources, "-o", program, *libraries], check=True)
    return program


@pytest.fixture(scope="session")
def infer(opencv: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """infer_cpp, as build.sh makes it."""
    program = tmp_path_factory.mktemp("infer") / "infer"
    build = ["bash", SAMPLE / "infer_cpp/build.sh", ROOT / "alula/runtime/include", program]
    subprocess.run(build, check=True)
    return program
