"""The targets: what each can do, in the order of what they need, and their names."""

from itertools import pairwise

import pytest

from alula.core.errors import UsageError
from alula.core.target import AMX, AVX2, AVX512, AVX512_BF16, AVX512_VNNI, TARGETS, target_named
from tests.conftest import ISA_FLAGS


def test_each_needs_what_the_one_before_needs_and_more() -> None:
    ordered = list(TARGETS.values())
    assert ordered == [AVX2, AVX512, AVX512_VNNI, AVX512_BF16, AMX]
    for less, more in pairwise(ordered):
        assert set(less.flags) < set(more.flags)
        assert less.int8_dot <= more.int8_dot
        assert less.bf16_round <= more.bf16_round


def test_flags_are_those_that_tests_are_skipped_by() -> None:
    assert {name.replace("-", ""): frozenset(target.flags) for name, target in TARGETS.items()} == ISA_FLAGS


def test_lanes_and_dot_products() -> None:
    assert {target.name: target.lanes() for target in TARGETS.values()} == dict.fromkeys(TARGETS, 16) | {"avx2": 8}
    assert (AMX.lanes(8), AVX2.lanes(16)) == (64, 16)
    assert [name for name, target in TARGETS.items() if target.int8_dot] == ["avx512-vnni", "avx512-bf16", "amx"]
    assert [name for name, target in TARGETS.items() if target.bf16_round] == ["avx512-bf16", "amx"]
    assert [name for name, target in TARGETS.items() if target.bf16_dot] == ["avx512-bf16"]
    assert [name for name, target in TARGETS.items() if target.matrix] == ["amx"]


def test_names() -> None:
    assert all(target_named(name) is target and target.name == name for name, target in TARGETS.items())
    with pytest.raises(UsageError) as caught:
        target_named("avx")
    wanted = "target: expected one of avx2, avx512, avx512-vnni, avx512-bf16, amx, got 'avx'"
    assert str(caught.value) == wanted
