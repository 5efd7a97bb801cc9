import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import top_k_accuracy_score

from alula.vision.metrics import Accuracy, accuracy, ranked


@pytest.mark.parametrize("k", [1, 2, 5])
def test_against_scikit_learn(k: int) -> None:
    random = np.random.default_rng(k)
    scores = random.standard_normal((400, 12)).astype(np.float32)
    labels = random.integers(0, 12, 400)
    expected = top_k_accuracy_score(labels, scores, k=k, labels=np.arange(12), normalize=False)
    got = accuracy(ranked(scores, k), labels)
    assert (got.correct, got.total) == (expected, 400)


@pytest.mark.parametrize(("correct", "total"), [(0, 10), (10, 10), (523, 650), (1, 3), (42301, 50000)])
def test_interval_against_scipy(correct: int, total: int) -> None:
    expected = binomtest(correct, total).proportion_ci(0.95, method="wilson")
    np.testing.assert_allclose(Accuracy(correct, total).interval(), (expected.low, expected.high), atol=1e-12)


def test_equal_scores_go_to_the_lower_class() -> None:
    np.testing.assert_array_equal(ranked([[1, 3, 3, 1, 3]], 4), [[1, 2, 4, 0]])


def test_fewer_classes_than_k() -> None:
    assert ranked([[0.0, 1.0]], 5).tolist() == [[1, 0]]


def test_no_pictures() -> None:
    none = accuracy(np.empty((0, 5), int), [])
    assert (none.total, none.to_json()["accuracy"], none.interval()) == (0, None, (0.0, 1.0))


def test_text() -> None:
    assert str(Accuracy(523, 650)) == "80.46% (523 of 650, 95 % interval 77.24% to 83.33%)"
