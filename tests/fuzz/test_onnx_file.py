"""ONNX files with bytes changed, taken out and put in are imported and optimised, or refused; `make fuzz` runs it."""

import random
import resource
import signal
from pathlib import Path

import pytest

from alula.core.errors import AlulaError
from alula.frontends.onnx import from_onnx
from alula.passes.pipeline import optimise
from tests.frontends.onnx import (
    test_conv,
    test_math,
    test_norm,
    test_others,
    test_pool,
    test_recurrent,
    test_sample,
    test_shape,
)
from tests.frontends.onnx.models import Case, of_case

PARTS, MUTANTS, SECONDS = 8, 4_000, 5
FAMILIES = (test_conv, test_math, test_norm, test_others, test_pool, test_recurrent, test_sample, test_shape)
NUMBERS = (2**62, 2**64 - 1, 2**31, 0)

pytestmark = pytest.mark.fuzz


def corpus() -> list[bytes]:
    """The models that the importers' tests have."""
    tables = [table for family in FAMILIES for table in vars(family).values() if isinstance(table, dict)]
    cases = [case for table in tables for case in table.values() if isinstance(case, Case)]
    return [of_case(case)[0].SerializeToString() for case in cases]


def mutated(data: bytes, rng: random.Random) -> bytes:
    """One to four edits of a few bytes each."""
    edited = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(len(edited))
        match rng.randrange(5):
            case 0:
                edited[place] ^= 1 << rng.randrange(8)
            case 1:
                edited[place] = rng.choice((0, 1, 127, 128, 255))
            case 2 if len(edited) > 20:
                del edited[place : place + rng.randint(1, 3)]
            case 3:
                edited[place:place] = rng.randbytes(rng.randint(1, 3))
            case _:
                edited[place : place + 8] = rng.choice(NUMBERS).to_bytes(8, "little")
    return bytes(edited)


@pytest.fixture
def little_memory():
    """As much as the process has, and 2 GiB more."""
    limits = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (2 << 30), limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, limits)


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("seed", range(PARTS))
def test_edited_files_only_raise(tmp_path, seed):
    rng, models, path, taken = random.Random(seed), corpus(), tmp_path / "m.onnx", 0
    for _ in range(MUTANTS):
        path.write_bytes(mutated(rng.choice(models), rng))
        signal.alarm(SECONDS)  # ends the process: no edit may take so long
        try:
            optimise(from_onnx(path))
            taken += 1
        except AlulaError:
            pass
        finally:
            signal.alarm(0)
    assert 0 < taken < MUTANTS
