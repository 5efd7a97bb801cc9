"""Queries times keys, the first product of attention: in float32, in bfloat16, or as bytes.

As bytes each query has a scale and a zero of its own, and each key a scale, once the mean of all keys is taken from it:
that adds the same to all scores of a query, which softmax does not see (Zhang et al., arXiv 2410.02367, "smoothing").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from operator import add

from llvmlite import ir

from alula.codegen.kernels.dot import DOT_INT8, dot_parts
from alula.codegen.kernels.math import SHIFTER
from alula.codegen.kernels.rows import (
    Piece,
    columns,
    each_row,
    fold_columns,
    fold_row,
    groups_of_rows,
    inside,
    joined,
    load_parts,
    load_rows,
    of_each,
    parts,
    store_parts,
)
from alula.codegen.kernels.tile import panel_width
from alula.codegen.kernels.tiling import Strides, Tiling, call_tile, tile_sums
from alula.codegen.kernels.transpose import emit_transpose
from alula.codegen.lower.quantize import bytes_of_rows
from alula.codegen.vector import Emitter, Int, Ptr, Vec
from alula.core.dtype import DType
from alula.core.target import CpuTarget
from alula.ops.quantize import STEPS


@dataclass(frozen=True, slots=True)
class Scoring:
    """q[n,d] @ k[m,d]^T by tiles of `tiling`; queries and keys lie in rows of `q_row` and `k_row` elements."""

    tiling: Tiling
    m: int
    d: int
    q_row: int
    k_row: int

    @property
    def depth(self) -> int:
        """Words of a query or key."""
        return self.d // self.tiling.dot.group

    @property
    def in_bytes(self) -> bool:
        return self.tiling.dot is DOT_INT8

    def rooms(self, target: CpuTarget) -> tuple[int, ...]:
        """Words that a `Scorer`'s places take in the scratch, in the order in which it names them."""
        padded = padded_keys(self.m, target)
        floats = padded * self.depth, self.tiling.rows * padded
        more = self.tiling.rows * self.depth, self.m * self.depth, self.d, padded, padded
        return *floats, *(more if self.in_bytes else (0,) * len(more))


def padded_keys(m: int, target: CpuTarget) -> int:
    """Keys up to the next whole panel."""
    return -(-m // panel_width(target)) * panel_width(target)


@dataclass(slots=True)
class Scorer:
    """The code of a `Scoring` with its places: keys in panels and a tile's scores; of bytes also its queries, and the
    keys' rows, mean, scales, and sums, of which each score takes the query's zero times its own.
    """

    e: Emitter
    scoring: Scoring
    keys: Ptr
    scores: Ptr
    queries: Ptr
    levels: Ptr
    mean: Ptr
    steps: Ptr
    sums: Ptr
    query_steps: Ptr = field(init=False)
    query_zeros: Ptr = field(init=False)

    def __post_init__(self) -> None:
        if self.scoring.in_bytes:
            room = self.scoring.tiling.rows * self.e.lanes
            self.query_steps, self.query_zeros = self.e.stack(room), self.e.stack(room)

    def line(self, row: Int) -> Ptr:
        """The scores of a query of the tile."""
        return self.scores.at(row * padded_keys(self.scoring.m, self.e.target))

    def prepare(self, k: Ptr) -> None:
        """Packs the keys, once for all tiles of queries."""
        if not self.scoring.in_bytes:
            self._pack(k, self.scoring.k_row // self.scoring.tiling.dot.group)
            return
        e, scoring = self.e, self.scoring
        self._find_mean(k)
        with groups_of_rows(e, scoring.m) as keys:
            targets = [self.levels.at(key * scoring.depth).cast(DType.I8) for key in keys]
            steps = self._key_bytes([k.at(key * scoring.k_row) for key in keys], targets)
            for key, step in zip(keys, steps, strict=True):
                e.b.store(e.lane(step, 0), self.steps.at(key).value, align=4)
        self._pack(self.levels, scoring.depth)
        self._sum_keys()

    def score(self, count: int, valid: Int, q: Ptr) -> None:
        """Scores of `count` queries from `q` on, of which the first `valid` count, not scaled yet.

        Where tiles run in matrix registers those of bytes are whole numbers still, which `largest` makes floats of.
        """
        e, scoring = self.e, self.scoring
        if not scoring.in_bytes:
            self._multiply(count, q, scoring.q_row // scoring.tiling.dot.group)
            return
        with groups_of_rows(e, valid) as rows:
            targets = [self.queries.at(row * scoring.depth).cast(DType.U8) for row in rows]
            found = bytes_of_rows(e, [q.at(row * scoring.q_row) for row in rows], targets, scoring.d)
            for row, (step, zero) in zip(rows, found, strict=True):
                e.store(step, self.query_steps, row * e.lanes)
                e.store(-zero, self.query_zeros, row * e.lanes)
        self._multiply(count, self.queries, scoring.depth)

    def scale(self, row: Int, scale: float) -> Vec | float:
        """What the scores of a query are still to be multiplied by."""
        if not self.scoring.in_bytes:
            return scale
        return self.e.load(self.query_steps, row * self.e.lanes) * scale

    def largest(self, rows: Sequence[Int], biases: Sequence[Ptr], scale: float) -> list[Vec]:
        """The largest scores of queries, each in every lane; scaled already where `biases` are added to them."""
        e, m, count = self.e, self.scoring.m, len(rows)
        lines = [self.line(row) for row in rows]
        factors = [self.scale(row, scale) for row in rows] if biases else []
        whole = self.scoring.in_bytes and self.scoring.tiling.matrix

        def written(piece: Piece, most: Sequence[Vec]) -> list[Vec]:
            if whole:
                places = [piece.column + n * e.lanes for n in range(parts(e))]
                numbers = [[e.load(line.cast(DType.I32), place) for place in places] for line in lines]
                scores = self._floats(rows, places, numbers)
            else:
                scores = load_rows(e, lines, piece)
            for values, bias, factor in zip(scores, biases, factors, strict=False):
                more = load_parts(e, bias, piece)
                values[:] = [e.fma(value, factor, other) for value, other in zip(values, more, strict=True)]
            for values, line in zip(scores, lines, strict=True) if whole or biases else ():
                store_parts(e, values, line, piece)  # none before all are read
            found = [value for values in scores for value in inside(e, values, piece, float("-inf"))]
            return [e.max(value, best) for value, best in zip(found, most, strict=True)]

        most = fold_row(e, m, [e.constant(float("-inf"))] * (parts(e) * count), written)
        return each_row(e, joined(e, most, count, e.max), count)

    def _floats(self, rows: Sequence[Int], places: Sequence[Int], numbers: Sequence[Sequence[Vec]]) -> list[list[Vec]]:
        """Sums of products, of queries by keys from `places` on, as scores but for the queries' scales.

        What lies beyond the last key is any number.
        """
        e = self.e
        keys = [(e.load(self.sums, place), e.load(self.steps, place)) for place in places]
        zeros = [e.load(self.query_zeros, row * e.lanes) for row in rows]
        return [
            [
                e.fma(zero, total, e.convert(number, "sitofp", DType.F32)) * step
                for number, (total, step) in zip(some, keys, strict=True)
            ]
            for zero, some in zip(zeros, numbers, strict=True)
        ]

    def _key_bytes(self, keys: Sequence[Ptr], targets: Sequence[Ptr]) -> list[Vec]:
        """targets[d] = keys less the mean, as signed bytes; what a step of each is worth, in every lane."""
        e, d = self.e, self.scoring.d

        def centred(piece: Piece) -> list[list[Vec]]:
            mean = load_parts(e, self.mean, piece)
            rows = load_rows(e, keys, piece)
            return [[value - middle for value, middle in zip(row, mean, strict=True)] for row in rows]

        def further(piece: Piece, most: Sequence[Vec]) -> list[Vec]:
            sizes = [e.unary("fabs", value) for row in centred(piece) for value in row]
            return [e.max(size, best) for size, best in zip(sizes, most, strict=True)]

        most = fold_row(e, d, [e.constant(0.0)] * (parts(e) * len(keys)), further)
        largest = joined(e, most, len(keys), e.max)
        factor = e.choose(">", largest, 0.0, float(STEPS) / largest, 0.0)
        factors = each_row(e, factor, len(keys))

        def levels(piece: Piece, none: Sequence[Vec]) -> list[Vec]:
            for row, factor, target in zip(centred(piece), factors, targets, strict=True):
                words = [e.bitcast(e.fma(value, factor, SHIFTER), DType.I32) for value in row]
                store_parts(e, [e.convert(word, "trunc", DType.I8) for word in words], target, piece)
            return []

        fold_row(e, d, [], levels)
        return each_row(e, largest * (1 / STEPS), len(keys))

    def _find_mean(self, k: Ptr) -> None:
        """The mean of all keys."""
        e, scoring = self.e, self.scoring

        def further(key: Int, column: int, mask: ir.Value | None, total: Vec) -> Vec:
            return total + e.load(k.at(key * scoring.k_row), column, mask)

        totals = fold_columns(e, scoring.m, scoring.d, 0.0, further, add)
        for total, (column, mask) in zip(totals, columns(e, scoring.d), strict=True):
            e.store(total * (1 / max(scoring.m, 1)), self.mean, column, mask)

    def _pack(self, k: Ptr, step: int) -> None:
        """k[m,d], rows `step` words apart -> keys[m/panel][d words][panel], zero up to a whole vector."""
        e, scoring = self.e, self.scoring
        dot, depth, panel = scoring.tiling.dot, scoring.depth, panel_width(e.target)
        whole, rest = divmod(scoring.m, e.lanes)
        source = k.cast(dot.word)

        def turn(first: Int, count: int) -> None:
            target = self._packed(first)
            for column in range(0, depth, e.lanes):
                block, width = source.at(first * step + column), min(e.lanes, depth - column)
                to = target.at(column * panel)
                emit_transpose(e, block, e.int(step), to, e.int(panel), width, count, padded=True)

        with e.loop(whole) as loop:
            turn(loop.index * e.lanes, e.lanes)
        if rest:
            turn(e.int(whole * e.lanes), rest)

    def _packed(self, key: Int) -> Ptr:
        """The first word of a key; its next one is a panel further."""
        panel = panel_width(self.e.target)
        words = self.keys.cast(self.scoring.tiling.dot.word)
        return words.at(key // panel * (panel * self.scoring.depth) + key % panel)

    def _sum_keys(self) -> None:
        """sums[m] = the sum of each key's bytes, as floats."""
        e, scoring, panel = self.e, self.scoring, panel_width(self.e.target)
        ones = e.constant(0x01010101, DType.I32)
        with e.loop(-(-scoring.m // e.lanes)) as loop:
            first = loop.index * e.lanes
            block = self._packed(first)
            with e.loop(scoring.depth, carried=[e.constant(0, DType.I32)]) as along:
                (total,) = along.carried
                key = e.load(block, along.index * panel)
                for part in dot_parts(e, scoring.tiling.dot):
                    total = part.add(total, part.of_a(ones), part.of_b(key))
                along.carry([total])
            e.store(e.convert(along.carried[0], "sitofp", DType.F32), self.sums, first)

    def _multiply(self, count: int, q: Ptr, step: int) -> None:
        """scores[count, m] = q[count, d] k^T, up to the next whole vector of keys; rows of q are `step` words apart."""
        e, scoring, panel = self.e, self.scoring, panel_width(self.e.target)
        whole, rest = divmod(scoring.m, panel)
        strides = Strides(step, panel, padded_keys(scoring.m, e.target))

        def against(number: Int, vectors: int) -> None:
            at = number * panel
            keys, scores = self.keys.at(at * scoring.depth), self.scores.at(at)
            if not scoring.in_bytes or scoring.tiling.matrix:
                call_tile(e, scoring.tiling, strides, count, (q, keys, scores), scoring.depth, vectors=vectors)
                return
            tiling = replace(scoring.tiling, vectors=vectors)
            sums = of_each(tile_sums(e, tiling, strides, count, (q, keys), scoring.depth), count)
            places = [at + n * e.lanes for n in range(vectors)]
            rows = [e.int(row) for row in range(count)]
            for row, line in zip(rows, self._floats(rows, places, sums), strict=True):
                for place, score in zip(places, line, strict=True):
                    e.store(score, self.line(row), place)

        with e.loop(whole) as loop:
            against(loop.index, panel // e.lanes)
        if rest:
            against(e.int(whole), -(-rest // e.lanes))
