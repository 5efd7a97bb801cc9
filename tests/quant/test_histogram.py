"""Histograms whose bins need no range beforehand, against NumPy's of the same numbers."""

import numpy as np
import pytest

from alula.quant.histogram import BINS, PARTS, Histogram

ONE = np.ones(1)


def of(*parts: np.ndarray) -> Histogram:
    histogram = Histogram(parts[0].shape[1])
    for part in parts:
        histogram.take(part.astype(np.float32))
    return histogram


def test_bins_are_an_eighth_of_an_octave() -> None:
    random = np.random.default_rng(0)
    x = random.standard_normal((4000, 1)) * np.exp(random.standard_normal((4000, 1)))
    numbers, amounts = of(x).spread(ONE, ONE)
    assert amounts.sum() == pytest.approx(4000)
    edges = np.concatenate([-(2.0 ** np.arange(5, -9, -1)), 2.0 ** np.arange(-8, 6)])
    np.testing.assert_array_equal(np.histogram(numbers, edges, weights=amounts)[0], np.histogram(x, edges)[0])
    for q in (0.001, 0.1, 0.9, 0.999):
        order = np.argsort(numbers)
        found = numbers[order][np.searchsorted(np.cumsum(amounts[order]) / 4000, q)]
        assert found == pytest.approx(np.quantile(x, q), rel=0.1)


def test_larger_numbers_move_the_bins_and_lose_none() -> None:
    random = np.random.default_rng(0)
    parts = [random.standard_normal((100, 3)) * 10.0**power for power in (-6, -3, -5, 4, 2)]
    together = of(np.concatenate(parts))
    in_turn = of(*parts)
    assert in_turn.top == together.top
    np.testing.assert_array_equal(in_turn.counts, together.counts)
    assert in_turn.counts.sum(axis=1).tolist() == [500] * 3
    assert in_turn.counts[:, [0, BINS]].sum() >= 300  # six orders below the greatest: they count as 0


def test_channels_may_be_weighed_and_multiplied_afterwards() -> None:
    x = np.random.default_rng(0).standard_normal((500, 2))
    numbers, amounts = of(x).spread(np.array([1.0, 3.0]), np.array([4.0, 0.5]))
    expected = of(x[:, :1] * 4).spread(ONE, ONE), of(x[:, 1:] / 2).spread(3 * ONE, ONE)
    np.testing.assert_allclose(numbers, np.concatenate([pair[0] for pair in expected]))
    np.testing.assert_allclose(amounts, np.concatenate([pair[1] for pair in expected]))


def test_zeros_and_nothing_at_all() -> None:
    numbers, amounts = of(np.zeros((5, 1))).spread(ONE, ONE)
    np.testing.assert_allclose(numbers, [0.0] * PARTS, atol=1e-38)
    assert amounts.sum() == 5
    assert of(np.zeros((0, 2))).counts.sum() == 0
