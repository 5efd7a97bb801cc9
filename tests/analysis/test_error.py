from math import inf

import numpy as np
import pytest

from alula.analysis.error import Error, error
from alula.core.dtype import to_bfloat16


def test_against_numpy() -> None:
    random = np.random.default_rng(0)
    expected = random.standard_normal((5, 7, 4)).astype(np.float32)
    got = expected + random.normal(0, 0.1, expected.shape).astype(np.float32) * np.float32([1, 1, 5, 1])
    found = error(got, expected)
    difference = (got.astype(np.float64) - expected).reshape(-1, 4)
    size = np.linalg.norm(expected.astype(np.float64)) / expected.size**0.5
    assert found.relative == pytest.approx(np.linalg.norm(difference) / np.linalg.norm(expected), rel=1e-6)
    assert found.channel == pytest.approx(np.linalg.norm(difference[:, 2]) / 35**0.5 / size, rel=1e-6)
    assert found.cosine == pytest.approx(np.corrcoef(got.ravel(), expected.ravel())[0, 1], abs=0.01)
    assert found.snr_db == pytest.approx(-20 * np.log10(found.relative))


def test_nothing_differs() -> None:
    values = np.array([1.0, np.nan, np.inf, -np.inf], np.float32)
    assert error(values, values.copy()) == Error(0.0, 0.0, 1.0)
    assert error(values, values.copy()).snr_db == inf
    assert error(np.zeros((0, 4)), np.zeros((0, 4))) == Error(0.0, 0.0, 1.0)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite(bad: float) -> None:
    assert error(np.array([1.0, bad]), np.array([1.0, 2.0])).relative == inf
    assert error(np.array([1.0, 2.0]), np.array([1.0, bad])).relative == inf
    assert error(np.zeros((2, 3)), np.zeros((3, 2))).relative == inf


def test_the_rest_of_a_cancellation_is_not_expected_to_be_exact() -> None:
    assert error(np.array([2e-7]), np.array([1e-7]), scale=1.0).relative == pytest.approx(1e-5)
    assert error(np.array([2e-7]), np.array([1e-7])).relative == pytest.approx(1.0)


def test_bytes_and_bfloat16() -> None:
    assert error(np.array([3], np.uint8), np.array([255], np.uint8)).relative == pytest.approx(252 / 255)
    assert error(to_bfloat16(np.array([1.5])), to_bfloat16(np.array([1.0]))).relative == pytest.approx(0.5)
