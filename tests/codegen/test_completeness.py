"""Every registered op has a lowering or is a view, and a test of it in the file of its family."""

from pathlib import Path

import pytest

import alula.codegen.lower
import alula.ops
from alula.codegen.groups import VIEWS
from alula.codegen.lowering import LOWERINGS
from alula.ir.op import OPS

LOWER, TESTS = Path(alula.codegen.lower.__path__[0]), Path(__file__).parent / "lower"


@pytest.mark.parametrize("name", sorted(OPS))
def test_op_is_a_view_or_has_a_lowering(name):
    assert (OPS[name] in VIEWS) != (OPS[name] in LOWERINGS)


@pytest.mark.parametrize("name", sorted(OPS))
def test_op_has_a_differential_test(name):
    texts = [path.read_text(encoding="utf-8") for path in TESTS.glob("test_*.py")]
    assert any(f"{OPS[name].__name__}(" in text or f"{OPS[name].__name__}," in text for text in texts)


def test_every_lowering_is_of_a_registered_op():
    assert set(LOWERINGS) <= set(OPS.values())


@pytest.mark.parametrize("path", sorted(LOWER.glob("*.py")), ids=lambda path: path.stem)
def test_files_of_lowerings_are_tested(path):
    shared = {
        "__init__",
        "builder",
        "mixing",
        "sharing",
        "normalize",
        "transpose",
    }  # by the tests of those that use them
    assert path.stem in shared or (TESTS / f"test_{path.stem}.py").is_file()
