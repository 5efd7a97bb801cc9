import numpy as np
import pytest

from alula.vision.margins import expected_drop, logits, margins


def test_margins_by_hand() -> None:
    scores = np.array([[3.0, 1.0, 2.0], [0.0, 5.0, 4.0]])
    np.testing.assert_array_equal(margins(scores, np.array([0, 2])), [1.0, -1.0])


def test_nothing_moves_and_everything_moves_over() -> None:
    scores = np.array([[3.0, 1.0], [1.0, 3.0], [0.0, 2.0]])
    labels = np.array([0, 1, 0])
    assert expected_drop(scores, scores, labels) == 0
    assert expected_drop(scores[:1], scores[:1] + np.array([-9, 0]), labels[:1]) == 1
    assert expected_drop(scores, scores + [[-9, 0]] * 3, np.array([0, 0, 0])) == pytest.approx(1 / 3, abs=0.02)


@pytest.mark.parametrize("noise", [0.05, 0.3])  # at the least 0.15 and 0.35 of the count's error
def test_it_is_nearer_to_the_truth_than_a_count(noise: float) -> None:
    """On 200 of 40,000 pictures, over and over: the root mean square error of both against the drop of all."""
    random = np.random.default_rng(0)
    count, classes = 40_000, 5
    labels = random.integers(0, classes, count)
    reference = random.standard_normal((count, classes))
    reference[np.arange(count), labels] += 2
    other = reference + random.normal(0, noise, reference.shape)
    right, still = (scores.argmax(axis=1) == labels for scores in (reference, other))
    truth = right.mean() - still.mean()
    some = slice(4000)
    whole = expected_drop(reference[some], other[some], labels[some])
    assert abs(whole - truth) < 0.001 + 0.25 * truth  # pooled moves are not quite each picture's own
    errors = []
    for part in np.split(np.arange(count), 200):
        counted = right[part].mean() - still[part].mean()
        expected = expected_drop(reference[part], other[part], labels[part])
        errors.append((counted - truth, expected - truth))
    by_count, by_margins = np.sqrt(np.square(errors).mean(axis=0))
    assert by_margins < 0.4 * by_count


def test_without_labels_it_is_disagreement() -> None:
    random = np.random.default_rng(1)
    reference = random.standard_normal((4000, 5))
    other = reference + random.normal(0, 0.2, reference.shape)
    drop = expected_drop(reference, other, reference.argmax(axis=1))
    assert drop == pytest.approx((reference.argmax(axis=1) != other.argmax(axis=1)).mean(), abs=0.02)


def test_probabilities_are_compared_by_logarithms() -> None:
    scores = np.random.default_rng(2).standard_normal((8, 5)) * 9
    powers = np.exp(scores)
    likely = powers / powers.sum(axis=1, keepdims=True)
    labels = np.arange(8) % 5
    np.testing.assert_allclose(margins(logits(likely), labels), margins(scores, labels), rtol=1e-9)
    assert np.isfinite(logits(np.array([[1.0, 0.0]]))).all()
