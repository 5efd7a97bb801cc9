"""The small classifier, exported and built once."""

from pathlib import Path

import pytest
from torch.export import ExportedProgram

from alula.frontends.torch.decompose import decomposed
from alula.frontends.torch.export import load_program
from tests.analysis.models import write_model_file, write_pictures, write_source


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_source(tmp_path_factory.mktemp("source") / "small.pt2")


@pytest.fixture(scope="session")
def program(source: Path) -> ExportedProgram:
    return decomposed(load_program(source)[0])


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures that calibration did not see."""
    return write_pictures(tmp_path_factory.mktemp("images"), 24, seed=100)


@pytest.fixture(scope="session")
def plain_file(source: Path) -> Path:
    return write_model_file(source.with_name("f32.alula"), source, "force_float32")


@pytest.fixture(scope="session")
def byte_file(source: Path) -> Path:
    return write_model_file(source.with_name("int8.alula"), source, "qint8_mixed_float32")
