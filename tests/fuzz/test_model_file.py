"""All 524,288 bits of a 64 KiB model file, and many random edits; `make fuzz` runs it."""

import random
from pathlib import Path

import pytest

from alula.artifact.reader import parse
from alula.core.errors import ModelFormatError
from tests.artifact.models import KIB, of_size, seal, take_apart

PARTS = 8  # so that two workers share the work
PATH = Path("m.alula")

pytestmark = pytest.mark.fuzz


def accepted(data: bytes | bytearray) -> bool:
    """True where `data` is read, graph and all; only ModelFormatError may say that it is not."""
    try:
        parse(memoryview(data), PATH).graph()
    except ModelFormatError:
        return False
    return True


@pytest.mark.parametrize("part", range(PARTS))
def test_every_bit_is_refused(tmp_path: Path, part: int) -> None:
    data = of_size(tmp_path / "m.alula", 64 * KIB)
    assert accepted(data)
    damaged, bits = bytearray(data), len(data) * 8
    assert bits == 524_288
    for bit in range(part * bits // PARTS, (part + 1) * bits // PARTS):
        damaged[bit // 8] ^= 1 << bit % 8
        assert not accepted(damaged), f"bit {bit}"
        damaged[bit // 8] ^= 1 << bit % 8


@pytest.mark.parametrize("seed", range(PARTS))
def test_headers_sealed_after_random_edits_only_raise(tmp_path: Path, seed: int) -> None:
    """Whole tokens of the header change places, so that many edits still are JSON and get to the graph's parser."""
    data = of_size(tmp_path / "m.alula", 4 * KIB)
    _, sections = take_apart(data)
    text = data[64 : 64 + int.from_bytes(data[16:24], "little")]
    rng = random.Random(seed)
    read = 0
    for _ in range(10_000):
        header = bytearray(text)
        for _ in range(rng.randint(1, 3)):
            piece_at, place, size = rng.randrange(len(header)), rng.randrange(len(header)), rng.randint(0, 12)
            header[place : place + rng.choice([0, size])] = header[piece_at : piece_at + size]
        read += accepted(seal(bytes(header), sections))
    assert 0 < read < 5_000
