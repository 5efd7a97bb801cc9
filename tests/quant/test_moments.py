"""E[x x^T] by a few directions: against the whole matrix, in parts, divided by factors, and as text."""

import numpy as np
import pytest

from alula.quant.histogram import Floats
from alula.quant.moments import DIRECTIONS, PROBES, Moments, Sketch


def matrix(moments: Moments) -> Floats:
    return np.asarray(moments.shared @ moments.shared.T + np.diag(np.square(moments.own)))


def found(x: Floats, s: Floats, parts: int = 1) -> Moments:
    sketch = Sketch(x.shape[1])
    for part in np.split(x.astype(np.float32), parts):
        sketch.take(part)
    moments = sketch.moments(np.square(x).sum(axis=0), s)
    assert moments is not None
    return moments


def test_what_a_few_directions_can_tell_is_told() -> None:
    random = np.random.default_rng(0)
    x = random.standard_normal((400, DIRECTIONS)) @ random.standard_normal((DIRECTIONS, 100)) + 1
    s = random.uniform(0.5, 2, 100)
    wanted = (x / s).T @ (x / s)
    np.testing.assert_allclose(matrix(found(x, s)), wanted / wanted.diagonal().max(), atol=0.02)


def test_of_more_directions_the_largest_and_the_diagonal() -> None:
    random = np.random.default_rng(0)
    x = random.standard_normal((900, 200)) @ (np.diag(0.9 ** np.arange(200)) @ random.standard_normal((200, 200)))
    wanted = x.T @ x
    wanted /= wanted.diagonal().max()
    moments = found(x, np.ones(200))
    np.testing.assert_allclose(matrix(moments).diagonal(), wanted.diagonal(), rtol=1e-6)
    values = np.linalg.eigvalsh(wanted)
    beyond = np.linalg.norm(wanted - moments.shared @ moments.shared.T, 2)
    assert moments.shared.shape == (200, DIRECTIONS)
    assert beyond < 1.5 * values[-DIRECTIONS - 1]


def test_a_stream_keeps_as_much_whatever_its_parts() -> None:
    x = np.random.default_rng(0).standard_normal((60, 7))
    np.testing.assert_allclose(matrix(found(x, np.ones(7), 6)), matrix(found(x, np.ones(7))), atol=1e-4)
    assert Sketch(1000).sums.shape == (1000, PROBES)


def test_of_zeros_nothing() -> None:
    sketch = Sketch(3)
    sketch.take(np.zeros((5, 3), np.float32))
    assert sketch.moments(np.zeros(3), np.ones(3)) is None


def test_text_keeps_them_to_a_float16() -> None:
    moments = found(np.random.default_rng(0).standard_normal((60, 7)), np.ones(7))
    read = Moments.of_text(moments.text, 7)
    np.testing.assert_allclose(read.shared, moments.shared, atol=1e-3)
    np.testing.assert_allclose(read.own, moments.own, atol=1e-3)
    assert read.text == moments.text


@pytest.mark.parametrize("text", ["", "AAA", "AAAA", "äää", "AH4AAAAAAAAAAAAA"])
def test_text_that_is_none(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - each part of NumPy and base64 has its own words
        Moments.of_text(text, 3)
