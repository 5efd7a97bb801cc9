"""The search: which tiles it tries, that they are compiled as asked, and that each has to give the rule's answer."""

import argparse
import json
from pathlib import Path

import numpy as np
import pytest

from alula.codegen.kernels import tile, tiling
from alula.codegen.lower import gemm as lower_gemm
from alula.core.errors import AlulaError
from alula.core.target import AMX, AVX2, AVX512, AVX512_VNNI, TARGETS, CpuTarget
from bench import search
from bench.search import RULE, Candidate, candidates, product_shape, row_blocks, tiles

EFFORT = argparse.Namespace(what="tiles", threads=1, rounds=2, iterations=1)
SHAPE = (31, 8, 20)


@pytest.mark.parametrize("target", TARGETS.values(), ids=list(TARGETS))
def test_only_tiles_that_fit_the_registers_are_tried(target: CpuTarget) -> None:
    found = tiles(target)
    assert tile.tile_shape(target) in found
    assert all(rows * vectors + vectors + 1 <= target.vector_registers for rows, vectors in found)
    assert len(set(found)) == len(found)


def test_the_tiles_of_32_registers() -> None:
    assert {(14, 2), (12, 2), (9, 3), (8, 3), (6, 4), (5, 4), (28, 1), (4, 6)} <= set(tiles(AVX512))
    assert not {(7, 4), (15, 2), (10, 3), (4, 3)} & set(tiles(AVX512))
    assert {(6, 2), (4, 3), (14, 1)} <= set(tiles(AVX2))


def test_matrix_registers_have_one_tile_but_blocks_of_rows() -> None:
    assert candidates(AMX, (196, 512, 512), "int8", "tiles") == [RULE]
    assert len(candidates(AMX, (196, 512, 512), "f32", "tiles")) > 5
    blocks = candidates(AMX, (196, 512, 512), "int8", "blocks")
    assert [found.block for found in blocks] == [None, 32, 64, 128, 256]
    assert row_blocks(28, 14) == [14, 28]
    assert row_blocks(5, 14) == [14]


def test_rules_are_replaced_and_come_back() -> None:
    before = tile.tile_shape, tiling.tile_shape, tiling.TAILS, lower_gemm.row_block
    with Candidate((9, 3), 27).instead():
        assert tiling.tiling_for(AVX512, search.DOTS["f32"], 8).rows == 9
        assert tile.panel_width(AVX512) == 48
        assert lower_gemm.row_block(tiling.tiling_for(AVX512, search.DOTS["f32"], 8), AVX512, 8) == 27
    assert (tile.tile_shape, tiling.tile_shape, tiling.TAILS, lower_gemm.row_block) == before


@pytest.mark.parametrize("dot", ["f32", "bf16", "int8"])
@pytest.mark.parametrize(
    "target", [AVX2, pytest.param(AVX512_VNNI, marks=pytest.mark.isa("avx512-vnni"))], ids=lambda t: t.name
)
def test_every_candidate_gives_the_answer_of_the_rule(target: CpuTarget, dot: str) -> None:
    """Its rows leave something over for each tile; a search that ends has compared them all."""
    found = search.search(target, SHAPE, dot, EFFORT)
    assert len(found) == 1 + len(tiles(target))
    assert [row["rule"] for row in found].count(True) == 1
    assert [row["rule_ratio"] for row in found] == sorted((row["rule_ratio"] for row in found), reverse=True)
    assert all(row["best_gops"] >= row["gops"] > 0 for row in found)


def test_a_candidate_that_computes_something_else_ends_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "_in_turns", lambda ready, options: [np.ones((1, 1)) for _ in ready])
    compiled = search._compiled
    numbers = iter(range(100))

    def other(*given: object) -> object:
        ready = compiled(*given)
        for output in ready.outputs:
            output[...] = next(numbers)
        return ready

    monkeypatch.setattr(search, "_compiled", other)
    with pytest.raises(AlulaError, match="expected what the rule gives, got something else"):
        search.search(AVX2, SHAPE, "f32", EFFORT)


def test_the_command_prints_the_rule_beside_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("bench.command.measure_peak", lambda target, dtype, threads: 1000.0)
    given = ["blocks", "--target", "avx2", "--shapes", "13x8x16", "--rounds", "1", "--iterations", "1"]
    assert search.main([*given, "--json", str(tmp_path / "s.json")]) == 0
    found = json.loads((tmp_path / "s.json").read_text())["results"]
    assert sorted(row["block"] for row in found if not row["rule"]) == [6, 12, 24]
    assert capsys.readouterr().out.count("13x8x16") == 4


def test_shapes() -> None:
    assert product_shape("196x512x1536") == (196, 512, 1536)
    for wrong in ("196x512", "1x2x3x4", "0x1x1", "x"):
        with pytest.raises(argparse.ArgumentTypeError):
            product_shape(wrong)
