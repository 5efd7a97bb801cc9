"""Spread, intervals and significance, on samples of which the truth is known."""

import numpy as np
import pytest

from alula.cli.statistics import difference_p, median_interval, ratio_interval, spread, summary

TRIALS = 60


def noisy(seed: int, count: int = 100, median: float = 10.0) -> np.ndarray:
    return median * np.exp(0.05 * np.random.default_rng(seed).standard_normal(count))


def drifting(seed: int, count: int = 100) -> np.ndarray:
    """Neighbours are alike: what disturbs a run disturbs the next ones too."""
    steps = np.random.default_rng(seed).standard_normal(count)
    value, values = 0.0, []
    for step in steps:
        value = 0.7 * value + step
        values.append(10 + 0.2 * value)
    return np.array(values)


def test_summary_is_numpy_s() -> None:
    values = np.arange(1.0, 102.0)
    assert summary(values) == {"min": 1, "mean": 51, "p50": 51, "p90": 91, "p95": 96, "p99": 100, "max": 101}


def test_spread_is_the_median_deviation_from_the_median() -> None:
    assert spread(np.array([1.0, 2.0, 3.0, 100.0, 3.5])) == 1.0
    assert spread(np.array([4.0])) == 0.0


@pytest.mark.parametrize("kind", [noisy, drifting])
def test_interval_holds_the_true_median_about_as_often_as_it_says(kind) -> None:
    intervals = [median_interval(kind(seed)) for seed in range(TRIALS)]
    held = sum(low <= 10 <= high for low, high in intervals)
    assert held >= 0.78 * TRIALS  # blocks of ten of a hundred: a little under 95 % is known of them
    assert np.median([high - low for low, high in intervals]) < 0.6


def test_interval_of_a_single_run_is_that_run() -> None:
    assert median_interval(np.array([3.0])) == (3.0, 3.0)


def test_ratio_interval_holds_the_true_ratio() -> None:
    low, high = ratio_interval(noisy(1, median=11.0), noisy(2))
    assert 1.05 < low < 1.1 < high < 1.15


@pytest.mark.parametrize("kind", [noisy, drifting])
def test_equal_machines_seldom_differ(kind) -> None:
    found = [difference_p(kind(seed), kind(seed + 1000)) for seed in range(TRIALS)]
    assert sum(p < 0.05 for p in found) <= 0.17 * TRIALS
    assert min(found) > 0


def test_what_is_slower_is_found() -> None:
    assert difference_p(noisy(1), noisy(2, median=10.5)) < 0.01
    assert difference_p(noisy(2, median=10.5), noisy(1)) < 0.01


def test_a_few_runs_prove_nothing() -> None:
    assert difference_p(np.array([1.0, 1.1]), np.array([2.0, 2.1])) > 0.1
