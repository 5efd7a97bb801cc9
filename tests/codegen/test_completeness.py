"""Every registered op has a lowering, is a view, or takes nothing; and a test of it in the file of its family."""

from pathlib import Path

import pytest

import alula.codegen.lower
import alula.ops
from alula.codegen.groups import VIEWS
from alula.codegen.lowering import LOWERINGS
from alula.ir.op import OPS, operand_counts

# Ops that take nothing are constants as soon as their sizes are known: no program holds them.
COMPUTED = {name for name, op in OPS.items() if operand_counts(op) != (0, 0)}
LOWER, TESTS = Path(alula.codegen.lower.__path__[0]), Path(__file__).parent / "lower"


@pytest.mark.parametrize("name", sorted(COMPUTED))
def test_op_is_a_view_or_has_a_lowering(name):
    assert (OPS[name] in VIEWS) != (OPS[name] in LOWERINGS)


def test_what_takes_nothing_has_no_kernel():
    assert {"resize_places", "resize_shares"} == set(OPS) - COMPUTED
    assert not {OPS[name] for name in set(OPS) - COMPUTED} & {*VIEWS, *LOWERINGS}


@pytest.mark.parametrize("name", sorted(COMPUTED))
def test_op_has_a_differential_test(name):
    texts = [path.read_text(encoding="utf-8") for path in TESTS.glob("test_*.py")]
    assert any(f"{OPS[name].__name__}(" in text or f"{OPS[name].__name__}," in text for text in texts)


def test_every_lowering_is_of_a_registered_op():
    assert set(LOWERINGS) <= set(OPS.values())


@pytest.mark.parametrize("path", sorted(LOWER.glob("*.py")), ids=lambda path: path.stem)
def test_files_of_lowerings_are_tested(path):
    shared = {
        "__init__",
        "border",
        "builder",
        "mixing",
        "sharing",
        "normalize",
        "scores",
        "transpose",
    }  # by the tests of those that use them
    assert path.stem in shared or (TESTS / f"test_{path.stem}.py").is_file()
