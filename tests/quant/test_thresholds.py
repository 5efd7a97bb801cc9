"""Algorithms for ranges: against the search of all of them, and numbers with a few that are far off."""

import numpy as np
import pytest

from alula.ops.quantize import Dequantize, Quantize
from alula.quant.histogram import Histogram
from alula.quant.ranges import Range
from alula.quant.thresholds import ALGORITHMS, Spread, entropy, eqnm, linear, moving_average, percentile

ONE = np.ones(1)


def spread(x: np.ndarray, moving: Range = Range(-1, 2)) -> Spread:  # noqa: B008
    histogram = Histogram(1)
    histogram.take(x.reshape(-1, 1).astype(np.float32))
    numbers, amounts = histogram.spread(ONE, ONE)
    return Spread.of(numbers, amounts, amounts, Range(min(0.0, x.min()), max(0.0, x.max())), moving)


def loss(x: np.ndarray, range: Range) -> float:
    """What bytes of that range lose, by the ops themselves."""
    op = range.quantize()
    back = Dequantize(op.scale, op.zero).reference(Quantize(op.scale, op.zero).reference(x.astype(np.float32)))
    return float(np.square(back - x).mean())


DISTRIBUTIONS = {
    "normal": lambda random: random.standard_normal(20_000),
    "laplace": lambda random: random.laplace(size=20_000),
    "relu": lambda random: np.maximum(random.laplace(size=20_000), 0),
    "tails": lambda random: random.standard_t(3, size=20_000),
    "one side": lambda random: np.concatenate([random.gamma(1.0, size=20_000), [-0.3]]),
}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_eqnm_is_as_good_as_any_range(name: str) -> None:
    x = DISTRIBUTIONS[name](np.random.default_rng(0))
    found = loss(x, eqnm(spread(x)))
    fractions = np.linspace(0.1, 1, 31)
    best = min(loss(x, Range(min(x.min(), 0) * low, x.max() * high)) for low in fractions for high in fractions)
    assert found <= 1.06 * best
    if name == "tails":
        assert found < 0.98 * loss(x, linear(spread(x)))


def test_the_ends_and_the_moving_average_are_given() -> None:
    x = np.array([-2.0, 0.1, 7.0])
    assert linear(spread(x)) == Range(-2.0, 7.0)
    assert moving_average(spread(x)) == Range(-1, 2)


def test_percentile_leaves_out_one_in_ten_thousand() -> None:
    x = np.random.default_rng(0).standard_normal(400_000)
    x[:10] = 50  # of 40 that may be outside
    found = percentile(spread(x))
    wanted = np.quantile(x, [0.00005, 0.99995])
    np.testing.assert_allclose([found.low, found.high], wanted, rtol=0.1)
    positive = percentile(spread(np.abs(x)))
    assert (positive.low, positive.high) == (0.0, pytest.approx(np.quantile(np.abs(x), 0.9999), rel=0.1))


def test_entropy_clips_tails_and_keeps_what_is_even() -> None:
    random = np.random.default_rng(0)
    even = entropy(spread(random.uniform(0, 1, 50_000)))
    assert (even.low, even.high) == (0.0, pytest.approx(1.0, rel=0.02))
    tailed = entropy(spread(np.concatenate([random.standard_normal(50_000), [40.0, -35.0]])))
    assert 2 < tailed.high < 10
    assert tailed.low == -tailed.high


@pytest.mark.parametrize("name", ALGORITHMS)
@pytest.mark.parametrize("x", [np.zeros(5), np.full(5, 3.0), np.full(5, -3.0)], ids=["0", "3", "-3"])
def test_one_number_alone_keeps_its_place(name: str, x: np.ndarray) -> None:
    ends = Range(min(0.0, x.min()), max(0.0, x.max()))
    found = ALGORITHMS[name](spread(x, moving=ends))
    assert found.low <= 0 <= found.high
    assert loss(x, found) < 0.05 * max(np.square(x).mean(), 1e-9)
