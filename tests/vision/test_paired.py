from math import inf, isnan

import numpy as np
import pytest
from scipy.stats import binomtest

from alula.vision.paired import Flip, Paired, decibels, mcnemar


def paired(both: int, lost: int, won: int, neither: int) -> Paired:
    """Two models of two classes whose answers to pictures of class 0 are so often right."""
    first = np.repeat([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]], (both, lost, won, neither), axis=0)
    second = np.repeat([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]], (both, lost, won, neither), axis=0)
    result = Paired()
    result.take(range(len(first)), first, second, [0] * len(first))
    return result


@pytest.mark.parametrize(("lost", "won"), [(0, 0), (0, 1), (1, 7), (7, 1), (5, 5), (9, 11), (120, 171), (1000, 1100)])
def test_mcnemar_against_scipy(lost: int, won: int) -> None:
    expected = binomtest(lost, lost + won, 0.5).pvalue if lost + won else 1.0
    assert mcnemar(lost, won) == pytest.approx(expected, rel=1e-9)


def test_published_examples() -> None:
    """Two media for a culture (Armitage and Berry 1994, page 127), and airways of 21 children (Bentur et al. 2009)."""
    assert mcnemar(12, 2) == pytest.approx(0.0129, abs=5e-5)
    assert mcnemar(1, 7) == pytest.approx(0.0703, abs=5e-5)


def test_interval_by_hand() -> None:
    """Counts raised by one, of two pictures more: p = 2/23 and 8/23, variance (10/23 - (6/23)^2) / 23."""
    children = paired(1, 1, 7, 12)
    assert children.difference == pytest.approx(6 / 21)
    half = 1.959964 * ((10 / 23 - (6 / 23) ** 2) / 23) ** 0.5
    assert children.difference_interval() == pytest.approx((6 / 23 - half, 6 / 23 + half), abs=1e-6)


@pytest.mark.parametrize(("size", "lost", "won"), [(60, 0.1, 0.05), (650, 0.02, 0.012)])
def test_the_interval_covers_the_true_difference(size: int, lost: float, won: float) -> None:
    random = np.random.default_rng(1)
    covered = 0
    for both, a, b, neither in random.multinomial(size, [0.7, lost, won, 0.3 - lost - won], 1000):
        low, high = paired(both, a, b, neither).difference_interval()
        covered += low <= won - lost <= high
    assert 935 <= covered <= 985


def test_flips_in_both_directions() -> None:
    scores = np.eye(4)
    pair = Paired()
    pair.take([0, 1], scores[[0, 1]], scores[[0, 2]], [0, 1])
    pair.take([5, 6, 8], scores[[1, 3, 2]], scores[[2, 2, 2]], [2, 1, None])
    pair.take([9], scores[[0]], scores[[1]], [None])
    assert pair.flips == [Flip(1, 1, 2, 1), Flip(5, 1, 2, 2), Flip(6, 3, 2, 1), Flip(9, 0, 1, None)]
    assert [flip.kind for flip in pair.flips] == ["lost", "won", "still wrong", "changed"]
    assert (pair.agreement.correct, pair.agreement.total) == (2, 6)
    assert [(a.correct, a.total) for a in pair.accuracies] == [(2, 4), (2, 4)]


def test_signal_to_noise() -> None:
    pair = Paired()
    pair.take([0], np.array([[3.0, 4.0]]), np.array([[3.0, 4.5]]), [None])
    assert pair.snr_db == pytest.approx(20.0)
    assert (decibels(1.0, 0.0), decibels(0.0, 1.0)) == (inf, -inf)


@pytest.mark.parametrize(
    ("counts", "share", "expected"),
    [
        ((990, 10, 0, 0), 0.99, (True, False)),  # exactly the share, so not beyond doubt
        ((989, 11, 0, 0), 0.99, (False, False)),
        ((900, 100, 0, 0), 0.99, (False, True)),
        ((10_000, 1, 1, 0), 0.99, (True, True)),
        ((10_000, 5, 1, 0), 0.999, (True, True)),
    ],
)
def test_mlperf(counts: tuple[int, int, int, int], share: float, expected: tuple[bool, bool]) -> None:
    assert paired(*counts).keeps(share) == expected


def test_without_labels() -> None:
    pair = Paired()
    pair.take([0, 1], np.eye(2), np.eye(2), [None, None])
    figures = pair.to_json()
    assert (figures["pictures"], figures["agreement"]["accuracy"], figures["labelled"]) == (2, 1.0, 0)
    assert all(figures[key] is None for key in ("top1", "difference", "mcnemar_p", "mlperf", "snr_db"))
    assert isnan(pair.difference)
    assert pair.difference_interval() == (-1.0, 1.0)
