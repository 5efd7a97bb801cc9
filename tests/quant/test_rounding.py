"""Rounding weights together: against every choice of levels, against the nearest ones, and on pictures not seen."""

from itertools import product

import numpy as np
import pytest

from alula.quant import rounding
from alula.quant.histogram import Floats
from alula.quant.moments import Moments, Sketch
from alula.quant.rounding import nearest, together


def alike(rows: int, channels: int, seed: int = 0) -> Floats:
    """x[rows,channels] in which three causes make up most of every channel."""
    causes = np.random.default_rng(1).standard_normal((3, channels))
    random = np.random.default_rng(seed)
    return random.standard_normal((rows, 3)) @ causes + 0.2 * random.standard_normal((rows, channels))


def moments_of(x: Floats) -> Moments:
    sketch = Sketch(x.shape[1])
    sketch.take(x.astype(np.float32))
    found = sketch.moments(np.square(x).sum(axis=0), np.ones(x.shape[1]))
    assert found is not None
    return found


def off(levels: Floats, weight: Floats, x: Floats) -> float:
    """The mean square of what the product with x is off by; every place of a kernel sees the same x."""
    return float(np.square(x @ (levels - weight).sum(axis=1).T).mean())


@pytest.mark.parametrize("places", [1, 9])
def test_a_product_is_off_by_far_less_than_with_the_nearest_levels(places: int) -> None:
    weight = np.random.default_rng(2).uniform(-100, 100, (8, places, 32))
    levels = together(weight, moments_of(alike(500, 32)))
    unseen = alike(500, 32, seed=9)
    assert off(levels, weight, unseen) < 0.2 * off(nearest(weight), weight, unseen)
    assert np.abs(levels - weight).max() < 4
    assert (levels == np.rint(levels)).all()


def test_hardly_a_choice_of_levels_is_better() -> None:
    """Of all that take each weight up or down."""
    random = np.random.default_rng(3)
    x = alike(200, 8)
    better = []
    for weight in random.uniform(-20, 20, (20, 1, 1, 8)):
        errors = [off(np.floor(weight) + np.array(up), weight, x) for up in product((0, 1), repeat=8)]
        better.append(np.mean(np.array(errors) < off(together(weight, moments_of(x)), weight, x)))
    assert np.mean(better) < 0.03
    assert np.max(better) < 0.2


def test_each_weight_is_moved_by_what_would_be_best_for_those_to_come() -> None:
    """The minimum over all weights that are not rounded yet, by the normal equations."""
    random = np.random.default_rng(4)
    shared, own = random.standard_normal((9, 3)), random.uniform(0.1, 1, 9)
    gains, matrix = rounding._gains(shared, own), shared @ shared.T + np.diag(own)
    errors = random.standard_normal(9)
    for j in range(9):
        best = -np.linalg.solve(matrix[j:, j:], matrix[j:, :j] @ errors[:j])
        np.testing.assert_allclose(-gains[j] @ (shared[:j].T @ errors[:j]), best[0], atol=1e-12)


def test_channels_with_nothing_in_common_get_the_nearest_levels() -> None:
    weight = np.random.default_rng(5).uniform(-200, 200, (4, 1, 6))
    levels = together(weight, Moments(np.zeros((6, 2)), np.ones(6)))
    assert levels.tolist() == nearest(weight).tolist()
    assert np.abs(levels).max() == 127
